"""``streammatte live``: the camera with another background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        from rich.console import Console

        from streammatte.live.cameras import print_cameras

        print_cameras(Console(), Console(stderr=True), as_json=options.json)
        return 0

    from streammatte.cli.live_display import LiveDisplay
    from streammatte.live.session import run_live

    with LiveDisplay(quiet=terminal.quiet, as_json=options.json) as display:
        run_live(options, display)
    return 0
