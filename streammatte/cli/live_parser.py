"""What ``streammatte live`` understands: every option with its help."""

from __future__ import annotations

import argparse

from streammatte.cli.arguments import (
    Parser,
    above_zero,
    quality,
    rate,
    size,
    up_from_zero,
)


def live_parser() -> Parser:
    """The parser of the live command; its names are those of ``LiveOptions``."""
    parser = Parser(
        prog="streammatte live",
        description="The camera with another background, on a virtual camera, in a window, a stream or a file. Ctrl-C "
        "ends it, and completes files.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=26),
    )
    camera = parser.add_argument_group("the camera")
    camera.add_argument(
        "--camera",
        metavar="CAMERA",
        help="a number, name or device (default: the first); an address (rtsp, udp, rtmp, http); or, in real time "
        "and once, a file or lavfi:PATTERN",
    )
    camera.add_argument("--list-cameras", action="store_true", help="tell which there are, and end")
    camera.add_argument(
        "--size",
        metavar="WxH",
        type=size,
        help="asked of a camera (default: 1280x720); what comes is scaled to cover it, and the rest cut off",
    )
    camera.add_argument(
        "--rate", metavar="N", type=rate, help="frames a second asked of a camera (default: 30), or taken at most"
    )

    picture = parser.add_argument_group("the picture")
    picture.add_argument(
        "--bg",
        dest="backgrounds",
        metavar="BG",
        action="append",
        help="colour, picture, clip, checker, blur[:RADIUS] or transparent; a key goes round several (default: blur)",
    )
    picture.add_argument("--mirror", action="store_true", help="turn the camera's picture left to right")
    picture.add_argument(
        "--light-wrap", choices=("on", "off"), default="on", help="the background's light creeps round the edge"
    )
    picture.add_argument(
        "--match", choices=("on", "off"), default="on", help="brightness and warmth go some way to the background's"
    )
    picture.add_argument("--feather", metavar="PX", type=up_from_zero, default=0.0, help="soften the edge, inwards")

    writing = parser.add_argument_group("where it goes")
    writing.add_argument(
        "--to",
        dest="outputs",
        metavar="TARGET",
        action="append",
        default=[],
        help="camera[:DEVICE], window, a file (mp4, webm, mov, mkv), an address (udp, tcp, rtsp, rtmp; srt if FFmpeg "
        "has it) or -; several at once (default: camera)",
    )
    writing.add_argument("--overwrite", action="store_true", help="replace files that exist")

    network = parser.add_argument_group("the network")
    network.add_argument(
        "--model",
        metavar="NAME",
        default="auto",
        help="as of a file; auto is birefnet-lite on a GPU, else birefnet-nano (default: %(default)s)",
    )
    network.add_argument("--weights", metavar="FILE", help="a checkpoint of your own")
    network.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps (default: the best one here)")
    network.add_argument(
        "--precision", choices=("auto", "fp32", "fp16", "bf16"), default="auto", help="(default: %(default)s)"
    )
    network.add_argument(
        "--quality",
        metavar="Q",
        type=quality,
        default="auto",
        help="auto keeps to the rate; high, medium, low or WxH[/N] (the network's input, run on every Nth frame) stay "
        "(default: %(default)s)",
    )
    network.add_argument("--offline", action="store_true", help="ask no hub for weights")

    run = parser.add_argument_group("the run")
    run.add_argument("--seconds", metavar="N", type=above_zero, help="stop so long after the network is ready")
    run.add_argument("--json", action="store_true", help="how it goes, one JSON object a second on standard output")
    run.add_argument("--quiet", action="store_true", help="say what went wrong, and no more")
    run.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser
