"""What the main command understands: every option with its help."""

from __future__ import annotations

import argparse

from streammatte.cli.arguments import (
    Parser,
    box,
    input_side,
    keyframe_distance,
    limit,
    number,
    positive,
    rate,
    size,
    up_from_zero,
    whole,
)

EXAMPLES = """\
examples:
  streammatte clip.mp4 -o out.mov                   ProRes 4444 with alpha, audio kept
  streammatte clip.mp4 -o out.webm                  VP9 with alpha, for the web
  streammatte clip.mp4 -o comp.mp4 --bg beach.jpg   another background: picture, clip, colour, blur
  streammatte clip.mp4 -o out.mov --matte matte.mov the cut-out, and its matte alone, in one pass
  streammatte plate.####.exr -o cut.####.exr        an image sequence
  streammatte clip.mp4 --deliver out                the whole set, with a note on which player shows what
  streammatte clip.mp4 -o out.mov --report out.html how steady and how clean it is, the worst frames: a page
  streammatte live --bg blur                        the camera with another background, on a virtual camera
  streammatte models                                what can be used, what is already here
  streammatte doctor                                what this machine can do, what is missing
  streammatte evaluate out.mov truth.mkv            how far a clip's alpha is from the truth; --html for a page
  streammatte train pairs -o mine.safetensors       a network trained on with pictures and alphas of your own
"""


def matting_parser() -> Parser:
    """The parser of the main command; its names are those of ``Options``."""
    parser = Parser(
        prog="streammatte",
        usage="streammatte INPUT -o OUTPUT [options]\n       streammatte live [options]\n"
        "       streammatte models [pull NAME]\n"
        "       streammatte doctor\n       streammatte evaluate PRED TRUTH [options]\n"
        "       streammatte train PAIRS -o OUTPUT.safetensors [options]",
        description=EXAMPLES,
        formatter_class=_Help,
    )
    parser.add_argument(
        "input", metavar="INPUT", help="a video, a picture, a sequence: plate.####.png, or - for a pipe"
    )

    writing = parser.add_argument_group("what to write")
    writing.add_argument(
        "-o",
        "--output",
        dest="outputs",
        metavar="OUTPUT",
        action="append",
        default=[],
        help="the name says the format: .mov .webm .mkv .mp4 .gif .webp .jpg name.####.png, .tif or .exr; - writes NUT "
        "to a pipe; may be given several times",
    )
    writing.add_argument("--matte", metavar="PATH", help="the matte alone, in grey: as -o")
    writing.add_argument(
        "--foreground",
        metavar="PATH",
        help="the fill: the subject's colours alone, carried on beyond its edge: as -o",
    )
    writing.add_argument(
        "--pair",
        choices=("above", "beside"),
        help="-o holds fill and matte in one picture, the fill above or left, for players that know no alpha",
    )
    writing.add_argument(
        "--deliver",
        metavar="DIR",
        help="the whole set: ProRes 4444, WebM, fill and matte, a comp over a checkerboard (or --bg), a note",
    )
    writing.add_argument(
        "--bg",
        dest="background",
        metavar="WHAT",
        help="compose over a colour (green, #00b140), a picture, a clip (looped), checker or blur[:RADIUS]",
    )
    writing.add_argument(
        "--alpha",
        choices=("straight", "premultiplied"),
        help="without --bg: colour as it is, or multiplied by alpha (default: straight; in .exr premultiplied)",
    )
    writing.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    writing.add_argument(
        "--resume",
        action="store_true",
        help="continue an interrupted run: mattes that it computed are read back, whatever the output",
    )
    writing.add_argument(
        "--keep-mattes",
        action="store_true",
        help="keep the network's mattes beside the first output: later runs with another background, choke, codec or "
        "smoothing compute none",
    )

    encoding = parser.add_argument_group("how to write it")
    encoding.add_argument(
        "--quality",
        choices=("draft", "standard", "best"),
        default="standard",
        help="encoder quality of ProRes, VP9, H.264, JPEG and WebP (default: %(default)s)",
    )
    encoding.add_argument(
        "--codec",
        choices=("prores4444", "prores4444xq", "png"),
        default="prores4444",
        help="of .mov; png is lossless, and so is FFV1, in .mkv (default: %(default)s)",
    )
    encoding.add_argument(
        "--bits",
        type=int,
        choices=(8, 10, 12, 16, 32),
        help="of .png, .tif and PNG in .mov 8 or 16, of .mkv 8 to 16, of .exr 16 or 32 (default: what holds the "
        "source's, in .mkv 10 at least, in .exr 16)",
    )
    encoding.add_argument(
        "--exr-compression",
        choices=("zip", "piz", "dwaa", "dwab"),
        default="zip",
        help="dwaa and dwab lose a little of the colours (default: %(default)s)",
    )

    encoding.add_argument(
        "--start-number",
        metavar="N",
        type=whole,
        help="number of the first picture of name.####.png, such as 1001 (default: the source's own, or 1)",
    )

    reading = parser.add_argument_group("what to read")
    reading.add_argument(
        "--fps",
        dest="frame_rate",
        metavar="RATE",
        type=rate,
        help="of an image sequence: 25, 23.976, 30000/1001 (default: 24)",
    )
    reading.add_argument("--layer", metavar="NAME", help="layer or part of an OpenEXR file (default: the main layer)")
    reading.add_argument(
        "--strict", action="store_true", help="refuse damaged footage instead of keeping what is whole"
    )

    reading.add_argument(
        "--input-transfer",
        choices=("srgb", "rec709", "linear", "logc3", "slog3", "pq", "hlg"),
        help="how the footage encodes light: what the network sees is made for a screen from it, colours leave as they "
        "came (default: as tagged; camera logs have no tag)",
    )
    reading.add_argument(
        "--input-alpha",
        choices=("ignore", "core", "garbage"),
        default="ignore",
        help="what to do with alpha that the input has: core keeps what is white in it, as --core-matte does; garbage "
        "throws away what is black in it, as --garbage-matte does with what is white (default: %(default)s)",
    )
    time = parser.add_argument_group("which part, and its time")
    time.add_argument(
        "--in",
        dest="mark_in",
        metavar="MARK",
        help="the first frame: a number, from 0 (of numbered pictures, the picture's), or timecode HH:MM:SS:FF, with ; "
        "before FF for drop frame, on the clip's own if it has one and else from 00:00:00:00",
    )
    time.add_argument(
        "--out", dest="mark_out", metavar="MARK", help="the last frame, which is taken too, as where editors mark out"
    )
    time.add_argument(
        "--handles",
        metavar="N",
        type=whole,
        default=0,
        help="frames more before --in and after --out, where there are any; outputs begin with the first of them",
    )
    time.add_argument("--no-audio", action="store_true", help="leave all sound out")
    time.add_argument(
        "--interlaced",
        choices=("refuse", "deinterlace", "as-is"),
        default="refuse",
        help="of footage whose frames hold two moments: deinterlace makes one whole picture of each "
        "(default: %(default)s)",
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

    through = parser.add_argument_group(
        "glass, veils and smoke", "SDMatte mattes what can be seen through on keyframes; they are carried to the others"
    )
    through.add_argument(
        "--transparency",
        choices=("off", "auto", "on"),
        default="auto",
        help="auto: where a network whose input has 512 pixels or more is in doubt over more than an edge, or where "
        "you say, if SDMatte is here or (for a GPU, or where you say) can be fetched; on: an error if not "
        "(default: %(default)s)",
    )
    through.add_argument(
        "--transparent",
        metavar="BOX",
        type=box,
        help="where to look: LEFT,TOP,RIGHT,BOTTOM in pixels of the first frame that is taken; what is in it is "
        "followed to the end of its shot",
    )
    through.add_argument(
        "--transparent-mask",
        dest="transparent_masks",
        metavar="PATH",
        action="append",
        default=[],
        help="the same as a matte like those below, which does not follow: white can be seen through",
    )
    through.add_argument(
        "--keyframe-every",
        metavar="N",
        type=keyframe_distance,
        default=12,
        help="frames from one keyframe to the next, at most (default: %(default)s)",
    )
    through.add_argument(
        "--sdmatte",
        metavar="NAME|FILE",
        default="sdmatte",
        help="sdmatte, sdmatte-plus or sdmatte-lite; a checkpoint, or a folder as on the hub (default: %(default)s)",
    )
    through.add_argument(
        "--sdmatte-size",
        metavar="N",
        type=input_side,
        default=1024,
        help="of its input, squared; smaller takes less memory and sees less (default: %(default)s)",
    )

    mattes = parser.add_argument_group(
        "mattes that you have",
        "each a picture, or a clip or name.####.png in step with the footage: its alpha or else its brightness, grey "
        "doing its share; invert:PATH exchanges black and white; several of a kind count together",
    )
    for kind, says in (
        ("garbage", "white is thrown away: alpha is 0 there"),
        ("core", "white is the subject: alpha is 1 there"),
        ("holdout", "white marks objects in front of the subject, which is held out there"),
    ):
        mattes.add_argument(
            f"--{kind}-matte", dest=f"{kind}_mattes", metavar="PATH", action="append", default=[], help=says
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
        "--choke",
        metavar="N",
        type=number,
        default=0.0,
        help="move it N pixels of the footage inwards, below 0 outwards; fractions count (default: 0)",
    )
    edge.add_argument(
        "--feather",
        metavar="N",
        type=up_from_zero,
        default=0.0,
        help="soften it: a hard edge becomes N pixels wide, half of them inside (default: 0)",
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
        dest="limits",
        metavar="NAME=LIMIT",
        type=limit,
        action="append",
        default=[],
        help="write everything, and exit with 1 if a score is above its limit: flicker=0.5, contamination=0.8, "
        "mended=0.1 (share of frames), audio=0.1 (seconds); may be given several times",
    )
    saying.add_argument("--json", action="store_true", help="the summary as one JSON object on standard output")
    saying.add_argument("--timings", action="store_true", help="show how long each part of the run took")
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
