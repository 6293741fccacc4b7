"""``streammatte bench``: how fast a run is on this machine, and where its time goes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from streammatte.cli.command import Command, TerminalOptions
from streammatte.cli.parser import instance, parse, refuse
from streammatte.errors import refusing
from streammatte.media.addresses import PIPE
from streammatte.options import Edges, Matting, Network, Options, Reading, Transparency, Writing, values
from streammatte.options.field import like, option, options_of
from streammatte.refusals import proposed

if TYPE_CHECKING:
    from streammatte.cli.measuring import Bench
    from streammatte.cli.terminal import Terminal
    from streammatte.frame import StreamInfo
    from streammatte.media.write.output import TextFile
    from streammatte.models.birefnet import BiRefNetModel


@dataclass(frozen=True, slots=True)
class BenchOptions:
    clip: str | None = option(
        None, "CLIP", section="measuring", common=True, help="footage (default: a generated clip)"
    )
    frames: int = option(24, "--frames", common=True, parse=values.whole(1), help="most frames to measure")
    clip_size: tuple[int, int] | None = option(
        None, "--clip-size WxH", example="1280x720", common=True, help="size of the generated clip (default: 1920x1080)"
    )
    page: str | None = option(
        None, "-o, --output PAGE.html", example="bench.html", common=True, help="write a page with a bar chart"
    )
    json: str | None = option(
        None, "--json FILE", example="bench.json", common=True, help="write all figures; - prints them"
    )
    overwrite: bool = like(Writing, "overwrite")
    quiet: bool = like(TerminalOptions, "quiet")


@dataclass(frozen=True, slots=True)
class BenchedOptions:
    """The options of a run that change what a frame takes."""

    network: Network = like(Options, "network")
    matting: Matting = like(Options, "matting")
    edges: Edges = like(Options, "edges")
    transparency: Transparency = like(Options, "transparency")
    interlaced: Literal["refuse", "deinterlace", "as-is"] = like(Reading, "interlaced", section="reading and writing")
    input_transfer: Literal["srgb", "rec709", "linear", "logc3", "slog3", "pq", "hlg"] | None = like(
        Reading, "input_transfer"
    )
    suffix: Literal["mov", "webm", "mkv", "mp4", "gif", "webp", "png", "tif", "exr", "jpg"] | None = option(
        None, "--format", help="format to write; pictures are numbered (default: what a run proposes for CLIP)"
    )
    background: str | None = like(Writing, "background")
    codec: Literal["prores4444", "prores4444xq", "png"] = like(Writing, "codec")
    quality: Literal["draft", "standard", "best"] = like(Writing, "quality")
    bits: Literal[8, 10, 12, 16, 32] | None = like(Writing, "bits")


COMMAND = Command(
    prog="streammatte bench",
    usage=("streammatte bench [CLIP] [options]",),
    about="Measure how fast a run is on this machine: what each step takes for a frame, with nothing beside it and in "
    "the run, next to reading and writing without matting. Nothing is kept but what you ask for.",
    takes=(BenchOptions, BenchedOptions),
    places=("clip",),
    examples=(
        ("streammatte bench", "the default options at 1920×1080"),
        ("streammatte bench clip.mp4 -o bench.html", "your footage; a page with bars"),
    ),
)


def main(arguments: Sequence[str]) -> int:
    given = parse(COMMAND, arguments)
    options = instance(BenchOptions, given)
    run = {name: value for name, value in given.items() if name in options_of(BenchedOptions)}
    if options.clip is not None and options.clip_size is not None:
        refuse(COMMAND, "--clip-size cannot be combined with CLIP", f"{COMMAND.prog} {options.clip}")
    if options.clip == PIPE:
        refuse(COMMAND, "CLIP is read several times and cannot be a pipe", f"{COMMAND.prog} clip.mp4")
    height, width = options.clip_size or (1080, 1920)
    if height % 2 or width % 2 or not (64 <= height <= 8192 and 64 <= width <= 8192):
        refuse(COMMAND, f"--clip-size: expected even sides from 64 to 8192, got {width}x{height}", COMMAND.prog)

    from streammatte.cli.measuring import bench, write_clip
    from streammatte.cli.terminal import Terminal

    # Opened before the work: a name that cannot be written is refused at once.
    silent = options.quiet or options.json == "-"
    with ExitStack() as texts, Terminal(progress=not silent, notices=not options.quiet) as shown:
        files = _files(options, texts)
        with TemporaryDirectory(prefix="streammatte-bench-") as folder:
            clip = options.clip
            if clip is None:
                clip = str(Path(folder) / f"generated-{width}x{height}.mp4")
                write_clip(Path(clip), (height, width), options.frames)
            output = Path(folder) / _name(run.pop("suffix", None), clip)
            result = bench(Options.of(clip, output, overwrite=True, **run), options.frames, _Display(shown))
        if (page := files.get("page")) is not None:
            page.write(result.as_html())
        if (figures := files.get("json")) is not None:
            figures.write(result.as_json() + "\n")
    if options.json == "-":
        print(result.as_json())
    elif not options.quiet:
        print_bench(result)
    return 0


@refusing()
def _files(options: BenchOptions, texts: ExitStack) -> dict[str, TextFile]:
    """The page and the figures that are wanted as files."""
    from streammatte.media.write.output import open_text
    from streammatte.quality.page import ENDINGS

    wanted = {"page": (options.page, ENDINGS), "json": (options.json, (".json",))}
    return {
        name: texts.enter_context(open_text(path, endings, overwrite=options.overwrite))
        for name, (path, endings) in wanted.items()
        if path not in (None, PIPE)
    }


def _name(suffix: str | None, clip: str) -> str:
    """The output's name; it is thrown away."""
    if suffix is None:
        return Path(proposed(clip)).name
    return f"bench.####.{suffix}" if suffix in ("png", "tif", "exr", "jpg") else f"bench.{suffix}"


def print_bench(result: Bench) -> None:
    """Print a table of the steps, and what limits the whole."""
    from rich.console import Console
    from rich.table import Table

    out = Console(highlight=False)
    steps = Table(box=None, pad_edge=False)
    for head in result.HEAD:
        steps.add_column(head, justify="left" if head == "step" else "right")
    for name, *figures in result.rows():
        steps.add_row(name, *("" if figure is None else f"{figure:.1f}" for figure in figures))
    for line in result.setup.lines():
        out.print(line, markup=False)
    out.print("", steps, "", sep="\n")
    for line in result.findings():
        out.print(line, markup=False)


class _Display:
    """Keeps ``bench.Phases``' contract."""

    def __init__(self, terminal: Terminal) -> None:
        self.notice, self.fetching = terminal.notice, terminal.fetching
        self._terminal = terminal
        self._phase = ""
        self._total: int | None = None

    def phase(self, name: str) -> None:
        self._phase = name

    def started(self, info: StreamInfo, model: BiRefNetModel) -> None:
        self._total = info.frame_count

    def keyframe(self, index: int | None) -> None: ...

    def finding(self, whom: str, done: int, total: int) -> None: ...

    def written(self, frames: int) -> None:
        self._terminal.working(self._phase, frames, self._total)
