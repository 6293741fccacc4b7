"""Addresses, shown without their secrets."""

from __future__ import annotations

import re

PIPE = "-"
"""As an input, standard input; as an output, standard output."""

_USER = re.compile(r"(?<=://)[^/?#\s]*@")
_QUERY = re.compile(
    r"([?&][^=&\s]*(?:pass|pwd|key|token|secret|sig|auth|cred|user|streamid)[^=&\s]*=)[^&\s]*", re.IGNORECASE
)
# After the application's name comes the stream key, or librtmp's `name=value` after a blank.
_RTMP = re.compile(r"(\brtmp\w*://[^/\s]*/[^/?\s]+)[/\s].*", re.IGNORECASE | re.DOTALL)


def without_secrets(address: str) -> str:
    """An address as messages and logs may show it; paths stay as they are, and ``-`` becomes "standard input".

    An ellipsis replaces user names, passwords, SRT's passphrase and stream name, RTMP's stream key, and whatever a
    query calls a key or a token.
    """
    if address == PIPE:
        return "standard input"
    if "://" not in address:
        return address
    shown = _QUERY.sub(r"\1…", _USER.sub("…@", address))
    return _RTMP.sub(r"\1/…", shown)
