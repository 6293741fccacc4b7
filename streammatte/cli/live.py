"""``streammatte live``: the camera with another background."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from streammatte.cli.command import Command, TerminalOptions
from streammatte.cli.parser import instance, parse
from streammatte.live.live_options import LiveOptions
from streammatte.options.field import like, option


@dataclass(frozen=True, slots=True)
class LiveTerminal:
    quiet: bool = like(TerminalOptions, "quiet", section="run")
    list_cameras: bool = option(False, "--list-cameras", section="camera", help="list the cameras and exit")


COMMAND = Command(
    prog="streammatte live",
    usage=("streammatte live [options]",),
    about="Show the camera with another background on a virtual camera, in a window, a stream or a file. Ctrl-C stops "
    "it and completes files.",
    takes=(LiveOptions, LiveTerminal),
    likely="camera",
    examples=(
        ("streammatte live --bg beach.jpg", "on the virtual camera"),
        ("streammatte live --to window --camera 1", "camera 1 in a window"),
        ("streammatte live --bg green --to talk.mp4", "to a file"),
    ),
)


def main(arguments: Sequence[str]) -> int:
    given = parse(COMMAND, arguments)
    options, terminal = instance(LiveOptions, given), instance(LiveTerminal, given)
    if terminal.list_cameras:
        _list_cameras(as_json=options.json)
        return 0
    from streammatte.cli.live_display import LiveDisplay
    from streammatte.live.session import run_live

    with LiveDisplay(quiet=terminal.quiet, as_json=options.json) as display:
        run_live(options, display)
    return 0


def _list_cameras(*, as_json: bool) -> None:
    """Print the number, name and device of every camera; where there are none, advice on standard error."""
    from rich.console import Console
    from rich.table import Table

    from streammatte.live.cameras import HOW_TO_LOOK, list_cameras

    cameras = list_cameras()
    if as_json:
        print(json.dumps([asdict(camera) for camera in cameras], indent=2))
    elif cameras:
        table = Table("camera", "name", "device", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for camera in cameras:
            table.add_row(str(camera.index), camera.name, camera.device + (" (virtual)" if camera.virtual else ""))
        Console().print(table)
    if not cameras:
        Console(stderr=True).print(f"no camera found: {HOW_TO_LOOK}", highlight=False, soft_wrap=True)
