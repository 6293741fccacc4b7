"""``streammatte evaluate``: a clip's matte against ground truth, as a table, a JSON file and a page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from streammatte.errors import DecodeFailed, InputError, refusing
from streammatte.frame import Cutout, Footage, Frame
from streammatte.media.write.composing import pixels_of
from streammatte.quality import metrics
from streammatte.quality.moments import CloseUp, Moment, Pictures, keep_worst
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
    "dtssd_rvm": "dtSSD × 100, first frame as 0",
    "messddt": "MESSDdt × 1000",
    "iou": "IoU at 0.5",
    "foreground_mse": "foreground MSE × 1000",
}
"""Each metric's title, by its name in JSON."""

_OF_A_FRAME = {name: getattr(metrics, name) for name in ("mad", "mse", "grad", "conn", "iou")}
_WORST = {"mad": "Worst frames by MAD", "dtssd": "Worst frames by dtSSD: the error changed most"}


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The result of a comparison.

    Attributes:
        width, height: Of the mattes.
        per_frame: A figure for each frame by metric; ``None`` where there is none: the first frame has no change, and
            a frame without a subject no foreground.
        worst: The worst frames by metric, the worst first.
        flicker: (H, W), RMS over time of how much a pixel's error changes from frame to frame.
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
        """The mean of each metric over the frames that have it, in the order of ``MEASURES``."""
        known = {name: [value for value in each if value is not None] for name, each in self.per_frame.items()}
        means = {name: sum(each) / len(each) if each else None for name, each in known.items()}
        means["dtssd_rvm"] = sum(known["dtssd"]) / self.frames
        return {name: means[name] for name in MEASURES if name in means}

    def worst_frame(self, name: str) -> tuple[int, float] | None:
        """Index and figure of a metric's worst frame, ``None`` if no frame has one."""
        figures = [(index, value) for index, value in enumerate(self.per_frame.get(name, ())) if value is not None]
        worst = min if name == "iou" else max
        return worst(figures, key=lambda figure: figure[1], default=None)

    def as_json(self) -> str:
        facts = {name: getattr(self, name) for name in ("pred", "truth", "width", "height", "frames")}
        worst = {name: [moment.index for moment in moments] for name, moments in self.worst.items()}
        return json.dumps({**facts, "scores": self.scores(), "worst": worst, "per_frame": self.per_frame}, indent=2)

    def as_html(self) -> str:
        rows = []
        for name, score in self.scores().items():
            index, value = self.worst_frame(name) or (None, None)
            rows.append([MEASURES[name], score, value, index])
        highest = float(self.flicker.max())
        caption = f"dtSSD × 100 of each pixel: black is 0, pale yellow {100 * highest:.3g}"
        return page(
            f"{self.pred} against {self.truth}",
            element("p", f"{self.frames} frames of {self.width}×{self.height}. 0 is best, and 1 for IoU."),
            table(["metric", "mean", "worst", "at frame"], rows),
            section("Over time", element("p", MARKED), *map(self._curve, self.per_frame)),
            *(section(title, *(each.element() for each in self.worst[name])) for name, title in _WORST.items()),
            section("Where the error changes", row(picture(heat(small(self.flicker, 720) / (highest or 1)), caption))),
        )

    def _curve(self, name: str) -> Element:
        marked = self.worst["dtssd" if name in ("dtssd", "messddt") else "mad"]
        return plot(
            MEASURES[name],
            self.per_frame[name],
            marks=[moment.index for moment in marked],
            keep="lowest" if name == "iou" else "highest",
        )


class Scorer:
    """Compares frames in order; keeps one error, the pictures of a few frames, and the figures.

    Args:
        time_base: Seconds per unit of the frames' pts.
        has_colors: The mattes belong to cut-outs, whose colours are worth showing.

    Attributes:
        opaque: Which of ``pred`` and ``truth`` has been opaque in every frame so far.
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
        """Compare a frame. ``source`` is only shown; ``foreground`` holds the true colours, to compare those too."""
        ours, theirs = pred.alpha.numpy(), truth.alpha.numpy()
        figures: dict[str, float | None] = {name: measure(ours, theirs) for name, measure in _OF_A_FRAME.items()}
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

        shown = self._shown(pred, source)
        for name, kept in self.worst.items():
            seconds = float(pred.frame.pts * self._time_base)
            keep_worst(
                kept, figures[name], pred.frame.index, seconds, lambda: _pictures(shown, ours, theirs, error, change)
            )

    def _shown(self, pred: Cutout, source: Frame | None) -> dict[str, Frame | Cutout]:
        if source is not None:
            return {"frame": source}
        return {"frame, over grey": pred} if self._has_colors else {}


def _pictures(
    shown: Mapping[str, Frame | Cutout],
    ours: NDArray[np.float32],
    theirs: NDArray[np.float32],
    error: NDArray[np.float32],
    change: NDArray[np.float32] | None,
) -> Sequence[Pictures]:
    """The whole frame with its error, and a close-up of where the error is largest."""
    part = CloseUp.around(np.abs(error), error.shape)
    whole, close = {}, {}
    for name, each in shown.items():
        if isinstance(each, Cutout):  # without its alpha, colours beyond the edge would show that nobody sees
            full = to_bytes(pixels_of(each.frame.as_float()) * ours[..., None] + 0.5 * (1 - ours)[..., None])
        else:
            full = to_bytes(pixels_of(each.as_float()))
        whole[name], close[part.named(name)] = part.framed(small(full), full.shape), part.of(full)
    whole["error: red is too much, blue too little"] = signed(small(error))
    if change is not None:
        whole["change of the error since the frame before"] = signed(small(change))
    close |= {part.named("matte"): grey(part.of(ours)), part.named("ground truth"): grey(part.of(theirs))}
    close[part.named("error")] = signed(part.of(error))
    return [whole, close]


class Display(Protocol):
    """Receives notices and progress."""

    def notice(self, text: str) -> None: ...
    def working(self, what: str, done: int, total: int | None) -> None: ...


def evaluate(options: EvaluationOptions, display: Display) -> Evaluation:
    """Compare ``options.pred`` with ``options.truth`` frame by frame, and write the files asked for.

    Memory does not grow with the clip, apart from a few numbers a frame.

    Raises:
        InputError: The clips differ in size or number of frames, or lack alpha or colours.
        DecodeFailed: A clip is damaged: a missing frame would shift all that follow.
        OutputError: A file cannot be written.
    """
    from streammatte.media import open_video
    from streammatte.media.write.output import check_apart, open_text

    inputs = {name: getattr(options, name) for name in ("pred", "truth", "source", "foreground")}
    inputs = {name: path for name, path in inputs.items() if path is not None}
    if options.source is not None and options.html is None:
        raise InputError(
            "--source needs --html: the footage is only shown on the page",
            hint="add --html, or leave --source out",
            usage=True,
        )
    targets = [path for path in (options.json, options.html) if path is not None]
    with refusing():
        check_apart(targets, [(path, "one of the inputs") for path in inputs.values()])
    with ExitStack() as writing, ExitStack() as reading:
        files = []
        for path, endings in ((options.json, (".json",)), (options.html, ENDINGS)):
            if path is not None:
                with refusing():
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
            display.notice(f"{inputs[name]} is opaque in every frame; was a matte meant?")
        evaluation = Evaluation(
            options.pred, options.truth, info.width, info.height, scorer.per_frame, scorer.worst, scorer.flicker
        )
        for file in files:  # both are complete before either gets its name
            file.write(evaluation.as_html() if file.path.suffix.lower() in ENDINGS else evaluation.as_json())
    return evaluation


def _side_by_side(inputs: Mapping[str, str], sources: Mapping[str, Footage]) -> Iterator[dict[str, Any]]:
    """Each moment's cut-out or frame of every clip, by name."""
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
                    hint="a missing frame would shift all that follow; write the clip again",
                )
        if len(ended) == len(clips):
            return
        if ended:
            longer = next(name for name in clips if name not in ended)
            raise InputError(
                f"{inputs[ended[0]]} ends after {count} frame{'s' * (count != 1)}; {inputs[longer]} is longer",
                hint="frames are paired by number, so both clips need the same frames",
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
                f"{inputs[name]} is {width}×{height}, but {inputs['truth']} is {true_width}×{true_height}",
                hint="scale both to one size",
            )
    if "foreground" in sources and not sources["pred"].has_alpha:
        raise InputError(
            f"{inputs['pred']} is a matte, so it has no colours to compare with {inputs['foreground']}",
            hint="give the cut-out with its colours, or leave --foreground out",
            usage=True,
        )
