"""One evaluation: a clip's matte and its truth → figures for each frame → a table, a JSON file, a page to look at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streammatte.errors import DecodeFailed, InputError
from streammatte.frame import Cutout, Footage, Frame
from streammatte.media.write.composing import pixels_of
from streammatte.quality import metrics
from streammatte.quality.moments import Moment, Pictures, offer, thumbnail
from streammatte.quality.options import EvaluationOptions
from streammatte.quality.page import (
    ENDINGS,
    MARKED,
    element,
    grey,
    heat,
    page,
    picture,
    plot,
    row,
    section,
    signed,
    small,
    table,
    to_bytes,
)

MEASURES = {
    "mad": "MAD × 1000",
    "mse": "MSE × 1000",
    "grad": "Grad ÷ 1000",
    "conn": "Conn ÷ 1000",
    "dtssd": "dtSSD × 100",
    "dtssd_rvm": "dtSSD × 100, the first frame counted as 0",
    "messddt": "MESSDdt × 1000",
    "iou": "IoU at one half",
    "foreground_mse": "foreground MSE × 1000",
}
"""What is measured: its name in JSON, and what people call it."""

_OF_ONE_FRAME = {name: getattr(metrics, name) for name in ("mad", "mse", "grad", "conn", "iou")}
_WORST = {"mad": "The worst frames, by MAD", "dtssd": "The frames whose error changed most, by dtSSD"}
_MAP_WIDTH = 720


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What was measured.

    Attributes:
        width, height: Of the mattes.
        per_frame: By name, a figure for each frame; ``None`` where there is none: the first frame is no change, and
            without a subject there is no foreground.
        worst: By name, the frames that stand out, the worst first.
        flicker: (H, W): root mean square over time of the change of a pixel's error from a frame to the next.
    """

    pred: str
    truth: str
    width: int
    height: int
    per_frame: dict[str, list[float | None]]
    worst: dict[str, list[Moment]]
    flicker: NDArray[np.float64]

    @property
    def frames(self) -> int:
        return len(self.per_frame["mad"])

    def scores(self) -> dict[str, float | None]:
        """The mean of each measure over the frames that have it, in the order of ``MEASURES``."""
        known = {name: [value for value in each if value is not None] for name, each in self.per_frame.items()}
        means = {name: sum(each) / len(each) if each else None for name, each in known.items()}
        means["dtssd_rvm"] = sum(known["dtssd"]) / self.frames
        return {name: means[name] for name in MEASURES if name in means}

    def worst_frame(self, name: str) -> tuple[int, float] | None:
        """Where a measure is worst, and what it is there; ``None`` where no frame has it."""
        figures = [(index, value) for index, value in enumerate(self.per_frame.get(name, ())) if value is not None]
        worst = min if name == "iou" else max
        return worst(figures, key=lambda figure: figure[1], default=None)

    def as_json(self) -> str:
        said = {name: getattr(self, name) for name in ("pred", "truth", "width", "height", "frames")}
        shown = {name: [frame.index for frame in frames] for name, frames in self.worst.items()}
        return json.dumps({**said, "scores": self.scores(), "worst": shown, "per_frame": self.per_frame}, indent=2)

    def as_html(self) -> str:
        rows = []
        for name, score in self.scores().items():
            index, value = self.worst_frame(name) or (None, None)
            rows.append([MEASURES[name], score, value, index])
        marks = {name: [frame.index for frame in frames] for name, frames in self.worst.items()}
        curves = [
            plot(
                MEASURES[name],
                figures,
                marks=marks["dtssd" if name in ("dtssd", "messddt") else "mad"],
                keep="lowest" if name == "iou" else "highest",
            )
            for name, figures in self.per_frame.items()
        ]
        highest = float(self.flicker.max())
        caption = f"dtSSD × 100 of each pixel: black is none, pale yellow {100 * highest:.3g}"
        flicker = picture(heat(small(self.flicker, _MAP_WIDTH) / (highest or 1)), caption)
        return page(
            f"{self.pred} against {self.truth}",
            element("p", f"{self.frames} frames of {self.width}×{self.height}. Best is 0, and 1 for IoU."),
            table(["measure", "mean", "worst", "at frame"], rows),
            section("Over time", element("p", MARKED), *curves),
            *(section(title, *(each.element() for each in self.worst[name])) for name, title in _WORST.items()),
            section("Where the error changes", row(flicker)),
        )


class Scorer:
    """Takes the frames of a clip with their truth in order; remembers one, the pictures of a few, and the figures.

    Args:
        time_base: Seconds that a unit of the frames' pts lasts.
        has_colors: The mattes are of cut-outs, whose frames are worth a look.

    Attributes:
        opaque: Which of ``pred`` and ``truth`` has no pixel yet that is not opaque.
    """

    def __init__(self, time_base: Fraction, *, has_colors: bool) -> None:
        self.per_frame: dict[str, list[float | None]] = {}
        self.worst: dict[str, list[Moment]] = {name: [] for name in _WORST}
        self.opaque = {"pred", "truth"}
        self._time_base = time_base
        self._has_colors = has_colors
        self._over_time: dict[str, metrics.DtSSD | metrics.MESSDdt]
        self._over_time = {"dtssd": metrics.DtSSD(), "messddt": metrics.MESSDdt()}
        self._before: NDArray[np.float32] | None = None
        self._changed: NDArray[np.float64] = np.zeros((1, 1))

    @property
    def flicker(self) -> NDArray[np.float64]:
        return np.sqrt(self._changed / max(1, len(self.per_frame["mad"]) - 1))

    def push(self, pred: Cutout, truth: Cutout, source: Frame | None = None, foreground: Frame | None = None) -> None:
        """Measure a frame; with ``foreground``, the true colours, those of ``pred``, too. ``source`` is to look at."""
        ours, theirs = pred.alpha.numpy(), truth.alpha.numpy()
        figures: dict[str, float | None] = {name: measure(ours, theirs) for name, measure in _OF_ONE_FRAME.items()}
        figures |= {name: measure(ours, theirs) for name, measure in self._over_time.items()}
        if foreground is not None:
            colors = pred.frame.as_float().numpy(), foreground.as_float().numpy()
            figures["foreground_mse"] = metrics.foreground_mse(*colors, theirs) if theirs.any() else None
        for name in MEASURES:
            if name in figures:
                self.per_frame.setdefault(name, []).append(figures[name])

        self.opaque -= {name for name, alpha in (("pred", ours), ("truth", theirs)) if alpha.min() < 1}
        error = ours - theirs
        change = None if self._before is None else error - self._before
        if change is not None:
            self._changed = self._changed + np.square(change, dtype=np.float64)
        self._before = error

        def pictures() -> Pictures:
            shown = {}
            if source is not None:
                shown["frame"] = thumbnail(source)
            elif self._has_colors:  # its own would show what lies beyond the edge, where nobody sees it
                light = small(pixels_of(pred.frame.as_float()) * ours[..., None])
                shown["frame, over grey"] = to_bytes(light + 0.5 * (1 - small(ours))[..., None])
            shown |= {"matte": grey(small(ours)), "truth": grey(small(theirs))}
            shown["error: red is too much, blue too little"] = signed(small(error))
            if change is not None:
                shown["its change from the frame before"] = signed(small(change))
            return shown

        for name, kept in self.worst.items():
            offer(kept, figures[name], pred.frame.index, float(pred.frame.pts * self._time_base), pictures)


class Display(Protocol):
    """Whoever is watching."""

    def notice(self, text: str) -> None: ...
    def working(self, what: str, done: int, total: int | None) -> None: ...


def evaluate(options: EvaluationOptions, display: Display) -> Evaluation:
    """Compare ``options.pred`` with ``options.truth``, and write the files asked for.

    Frames are paired by number: a run writes as many as its source has, in their order. Memory does not grow with the
    clip, but for a few figures a frame.

    Raises:
        InputError: The clips differ in size or in their number of frames, or lack alpha or colours.
        DecodeFailed: One is damaged: what is missing would shift all that follows.
        OutputError: A file cannot be written.
    """
    from streammatte.media import open_video
    from streammatte.media.write.output import check_apart, open_text

    inputs = {name: getattr(options, name) for name in ("pred", "truth", "source", "foreground")}
    inputs = {name: path for name, path in inputs.items() if path is not None}
    if options.source is not None and options.html is None:
        raise InputError(
            f"{options.source} is to be shown on a page, and there is none", hint="add --html, or leave --source out"
        )
    targets = [path for path in (options.json, options.html) if path is not None]
    check_apart(targets, [(path, "one of the inputs") for path in inputs.values()])
    with ExitStack() as writing, ExitStack() as reading:
        files = []
        for path, endings in ((options.json, (".json",)), (options.html, ENDINGS)):
            if path is not None:
                files.append(writing.enter_context(open_text(path, endings, overwrite=options.overwrite)))
        sources: dict[str, Footage] = {}
        for name, path in inputs.items():
            sources[name] = open_video(path)
            reading.enter_context(sources[name])
        _check_sources(inputs, sources)
        info, has_colors = sources["pred"].info, sources["pred"].has_alpha
        scorer = Scorer(info.time_base, has_colors=has_colors)
        for moment in _side_by_side(inputs, sources):
            scorer.push(**moment)
            display.working("evaluating", moment["pred"].frame.index + 1, info.frame_count)
        for name in sorted(scorer.opaque):
            display.notice(f"{inputs[name]} is opaque in every frame: is it a plate?")
        evaluation = Evaluation(
            options.pred, options.truth, info.width, info.height, scorer.per_frame, scorer.worst, scorer.flicker
        )
        for file in files:  # both are whole before either has its name
            file.write(evaluation.as_html() if file.path.suffix.lower() in ENDINGS else evaluation.as_json())
    return evaluation


def _side_by_side(inputs: Mapping[str, str], sources: Mapping[str, Footage]) -> Iterator[dict[str, Any]]:
    """By name, the cut-out or frame of each clip, one moment after the other.

    Raises:
        InputError: A clip ends before the others.
        DecodeFailed: A clip is damaged.
    """
    with_alpha = ("pred", "truth")
    clips = {name: source.cutouts() if name in with_alpha else iter(source) for name, source in sources.items()}
    count = 0
    while True:
        moment = {name: next(clip, None) for name, clip in clips.items()}
        ended = [name for name, item in moment.items() if item is None]
        for name in ended:
            if (lost := sources[name].lost) is not None:
                raise DecodeFailed(
                    f"{inputs[name]} is damaged: {lost}",
                    hint="a missing frame would shift all that follow; make it anew",
                )
        if len(ended) == len(clips):
            return
        if ended:
            longer = next(name for name in clips if name not in ended)
            raise InputError(
                f"{inputs[ended[0]]} ends after {count} frame{'s' * (count != 1)}, and {inputs[longer]} goes on",
                hint="frames are paired by number: both clips need the same ones",
            )
        yield moment
        count += 1


def _check_sources(inputs: Mapping[str, str], sources: Mapping[str, Footage]) -> None:
    """Refuse clips that cannot be compared."""
    sizes = {name: (source.info.width, source.info.height) for name, source in sources.items()}
    for name, size in sizes.items():
        if size != sizes["truth"]:
            (width, height), (true_width, true_height) = size, sizes["truth"]
            raise InputError(
                f"{inputs[name]} is {width}×{height}, {inputs['truth']} {true_width}×{true_height}",
                hint="bring both to one size",
            )
    if "foreground" in sources and not sources["pred"].has_alpha:
        raise InputError(
            f"{inputs['pred']} is a matte, and has no colours to compare with those of {inputs['foreground']}",
            hint="give the plate, or leave --foreground out",
        )
