"""The command line: arguments → Options → job. Nothing heavy is imported until an argument asks for it."""

from __future__ import annotations

import argparse
import difflib
import io
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from streammatte.arguments import limit, positive, rate, size, whole
from streammatte.commands import COMMANDS
from streammatte.errors import StreammatteError
from streammatte.job import Options

EXAMPLES = """\
examples:
  streammatte clip.mp4 -o out.mov                   ProRes 4444 with alpha, audio kept
  streammatte clip.mp4 -o out.webm                  VP9 with alpha, for the web
  streammatte clip.mp4 -o comp.mp4 --bg beach.jpg   another background: picture, clip, colour, blur
  streammatte clip.mp4 -o out.mov --matte matte.mov the plate, and its matte alone, in one pass
  streammatte plate.####.png -o cut.####.png        an image sequence
  streammatte clip.mp4 -o out.mov --report out.html how steady and how clean it is, the worst frames: a page
  streammatte models                                what can be used, what is already here
  streammatte doctor                                what this machine can do, what is missing
  streammatte evaluate out.mov truth.mkv            how far a clip's alpha is from the truth; --html for a page
  streammatte train pairs -o mine.safetensors       a network trained on with pictures and alphas of your own
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 for what went wrong, 2 for wrong usage, 128 + n for signal n."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # As on standard error: a file's name that the terminal has no letters for must not end a run that is done.
        sys.stdout.reconfigure(errors="backslashreplace")
    with _signals() as received:
        try:
            command = COMMANDS.get(arguments[0]) if arguments else None
            return _matte(arguments) if command is None else command(arguments[1:])
        except (StreammatteError, KeyboardInterrupt) as exc:
            if debug:
                traceback.print_exc()
            # Native code that an interruption hits may turn it into an error of its own, as safetensors does.
            if received or isinstance(exc, KeyboardInterrupt):
                print("streammatte: interrupted; nothing was written", file=sys.stderr)
                return 128 + (received[0] if received else signal.SIGINT)  # as shells have it
            print(f"streammatte: error: {exc}", file=sys.stderr)
            if exc.hint:
                print(f"  hint: {exc.hint}", file=sys.stderr)
            return 1


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Let a polite kill, or a terminal that is closed, clean up as Ctrl-C does; gives the signals received.

    Under ``nohup``, which ignores the closing of the terminal for us, it stays ignored.
    """
    received: list[int] = []

    def stop(number: int, frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # Windows has none
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _matte(arguments: Sequence[str]) -> int:
    parser = _parser()
    if not arguments:
        parser.print_help()
        return 2
    given = parser.parse_args(arguments)
    meant = difflib.get_close_matches(given.input, COMMANDS, n=1, cutoff=0.7)
    if meant and not given.output and given.matte is None:
        parser.error(f"{given.input} is not a command: did you mean `streammatte {meant[0]}`?")
    options = Options(
        input=given.input,
        outputs=tuple(given.output),
        matte=given.matte,
        background=given.bg,
        alpha=given.alpha,
        bits=given.bits,
        frame_rate=given.frame_rate,
        model=given.model,
        weights=given.weights,
        device=given.device,
        precision=given.precision,
        size=given.size,
        batch=given.batch,
        colors=given.colors,
        smooth=given.smooth,
        lookahead=given.lookahead,
        detail=given.detail,
        decontaminate=given.decontaminate == "on",
        despill=given.despill,
        offline=given.offline,
        overwrite=given.overwrite,
        strict=given.strict,
        report=given.report,
        limits=tuple(given.fail_on),
    )
    from streammatte.display import TerminalDisplay
    from streammatte.job import run

    with TerminalDisplay(quiet=given.quiet or given.json) as display:
        summary = run(options, display)
        if given.json:
            print(summary.as_json())
        else:
            display.summary(summary)
        for line in summary.crossed:
            display.notice(line)
    return 1 if summary.crossed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="streammatte",
        usage="streammatte INPUT -o OUTPUT [options]\n       streammatte models [pull NAME]\n"
        "       streammatte doctor\n       streammatte evaluate PRED TRUTH [options]\n"
        "       streammatte train PAIRS -o OUTPUT.safetensors [options]",
        description=EXAMPLES,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    parser.add_argument("input", metavar="INPUT", help="a video, a picture, or a sequence: plate.####.png")

    writing = parser.add_argument_group("what to write")
    writing.add_argument(
        "-o",
        "--output",
        metavar="OUTPUT",
        action="append",
        default=[],
        help="the name says the format: .mov .webm .mp4 name.####.png; may be given several times",
    )
    writing.add_argument("--matte", metavar="PATH", help="the matte alone: .mov .webm .mp4 name.####.png")
    writing.add_argument(
        "--bg",
        metavar="WHAT",
        help="compose over a colour (green, #00b140), a picture, a clip (looped) or blur[:RADIUS]",
    )
    writing.add_argument(
        "--alpha",
        choices=("straight", "premultiplied"),
        default="straight",
        help="without --bg: colour as it is, or multiplied by alpha (default: %(default)s)",
    )
    writing.add_argument(
        "--bits", type=int, choices=(8, 16), help="of .png files (default: 8 for 8-bit sources, else 16)"
    )
    writing.add_argument("--overwrite", action="store_true", help="replace outputs that exist")

    reading = parser.add_argument_group("what to read")
    reading.add_argument(
        "--fps",
        dest="frame_rate",
        metavar="RATE",
        type=rate,
        help="of an image sequence: 25, 23.976, 30000/1001 (default: 24)",
    )
    reading.add_argument(
        "--strict", action="store_true", help="refuse damaged footage instead of keeping what is whole"
    )

    network = parser.add_argument_group("the network")
    network.add_argument(
        "--model",
        metavar="NAME",
        default="auto",
        help="as `streammatte models` lists them; auto: the best one that is here or can be fetched "
        "(default: %(default)s)",
    )
    network.add_argument(
        "--weights", metavar="FILE", help="a checkpoint file, .safetensors or .pth; --model may say which"
    )
    network.add_argument("--size", metavar="WxH", type=size, help="of the network's input (default: the model's own)")
    network.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps (default: the best one here)")
    network.add_argument(
        "--precision",
        choices=("auto", "fp32", "fp16", "bf16"),
        default="auto",
        help="(default: %(default)s, what is quick on the device)",
    )
    network.add_argument("--batch", metavar="N", type=positive, default=1, help="frames at once (default: %(default)s)")
    network.add_argument(
        "--colors",
        choices=("auto", "on", "off"),
        default="auto",
        help="settle what the network is unsure of by the clip's own colours, which makes veils and smoke solid; auto: "
        "for one whose input is small, as birefnet-nano's is (default: %(default)s)",
    )
    network.add_argument(
        "--offline", action="store_true", help="ask no hub for weights; HF_HUB_OFFLINE=1 does the same"
    )

    matte = parser.add_argument_group("the matte")
    matte.add_argument(
        "--smooth",
        choices=("off", "low", "medium", "high"),
        default="medium",
        help="steady it over time: 5, 9 or 17 frames are asked, moved along with the picture (default: %(default)s)",
    )
    matte.add_argument(
        "--lookahead",
        metavar="N",
        type=whole,
        help="how many of these may lie ahead; 0 looks back only (default: half of them)",
    )

    edge = parser.add_argument_group("the edge")
    edge.add_argument(
        "--detail",
        choices=("auto", "on", "off"),
        default="auto",
        help="lift the matte from the network's size to the footage's by the picture's own edges; auto: for networks "
        "whose input has 512 pixels or more (default: %(default)s)",
    )
    edge.add_argument(
        "--decontaminate",
        choices=("on", "off"),
        default="on",
        help="give soft edges the subject's own colours in place of the old background's (default: %(default)s)",
    )
    edge.add_argument(
        "--despill", metavar="COLOUR", help="take a screen's light off the subject: green, blue or #00b140"
    )

    saying = parser.add_argument_group("what to say")
    saying.add_argument(
        "--report",
        metavar="PAGE.html",
        help="write a page: frames over several backgrounds, how steady the matte is and how clean its edge, what was "
        "mended, the worst frames",
    )
    saying.add_argument(
        "--fail-on",
        metavar="NAME=LIMIT",
        type=limit,
        action="append",
        default=[],
        help="write everything, and exit with 1 if a score is above its limit: flicker=0.5, contamination=0.8, "
        "mended=0.1 (share of frames), audio=0.1 (seconds); may be given several times",
    )
    saying.add_argument("--json", action="store_true", help="the summary as one JSON object on standard output")
    saying.add_argument("--quiet", action="store_true", help="no progress, no summary")
    saying.add_argument("--debug", action="store_true", help="show the traceback of an error")
    saying.add_argument("--version", action="version", version=_version())
    return parser


class _Help(argparse.RawDescriptionHelpFormatter):
    """Leaves the examples as they are set, and gives the options' names room."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)


def _version() -> str:
    from streammatte import __version__

    return f"streammatte {__version__}"
