"""``streammatte live --list-cameras``: what ``--camera`` may be."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from streammatte.live.cameras import HOW_TO_LOOK, list_cameras


def print_cameras(console: Console, beside: Console, as_json: bool = False) -> None:
    """Print every camera: its number, name and device.

    Args:
        console: Where to.
        beside: Where to say how to find one, if there is none.
        as_json: One JSON array of objects instead of the table.
    """
    cameras = list_cameras()
    if as_json:
        console.out(json.dumps([asdict(camera) for camera in cameras], indent=2), highlight=False)
    elif cameras:
        table = Table("camera", "name", "device", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for camera in cameras:
            table.add_row(str(camera.index), camera.name, camera.device + (" (virtual)" if camera.virtual else ""))
        console.print(table)
    if not cameras:
        beside.print(f"no camera was found: {HOW_TO_LOOK}", highlight=False, soft_wrap=True)
