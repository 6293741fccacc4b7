"""Addresses, as they may be shown."""

from __future__ import annotations

import re

PIPE = "-"
"""As an input, standard input; as an output, standard output."""

_USER = re.compile(r"(?<=://)[^/?#\s]*@")
_QUERY = re.compile(
    r"([?&][^=&\s]*(?:pass|pwd|key|token|secret|sig|auth|cred|user|streamid)[^=&\s]*=)[^&\s]*", re.IGNORECASE
)
# What follows the application's name is the key of who may send, or is librtmp's `name=value` after a blank.
_RTMP = re.compile(r"(\brtmp\w*://[^/\s]*/[^/?\s]+)[/\s].*", re.IGNORECASE | re.DOTALL)


def without_secrets(address: str) -> str:
    """An address as messages, descriptions and logs may have it; what is no address stays as it is.

    Names, passwords, SRT's passphrase and stream's name, whatever a query names a key or a token, and RTMP's stream key
    are replaced by an ellipsis. An input that is ``-`` is called standard input.
    """
    if address == PIPE:
        return "standard input"
    if "://" not in address:
        return address
    shown = _QUERY.sub(r"\1…", _USER.sub("…@", address))
    return _RTMP.sub(r"\1/…", shown)
