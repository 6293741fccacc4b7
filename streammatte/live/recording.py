"""Files that can be played at any moment while they grow, so that a killed recording can be rescued."""

from __future__ import annotations

from pathlib import Path

from streammatte.media.boxes import boxes

UNBROKEN = {
    # An edit list would hide all of the first fragment of a file without an end.
    "mp4": {
        "movflags": "+hybrid_fragmented+frag_keyframe",
        "frag_duration": "500000",
        "use_editlist": "0",
        "flush_packets": "1",
    },
    "mov": {"movflags": "+hybrid_fragmented+frag_keyframe", "use_editlist": "0", "flush_packets": "1"},
    "matroska": {"cluster_time_limit": "1", "flush_packets": "1"},
    "webm": {"cluster_time_limit": "1000", "flush_packets": "1"},
}
"""The muxer's options, by container."""


def whole_until(path: Path) -> int | None:
    """Bytes of a fragmented MOV or MP4 up to the end of its last whole fragment; ``None`` for any other file."""
    with path.open("rb") as file:
        return max((box.end for box in boxes(file) if box.kind == b"mdat"), default=None)
