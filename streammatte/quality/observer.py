"""Looks at the cut-outs of a run as they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from streammatte.frame import Cutout
from streammatte.media.lengths import Lengths
from streammatte.media.write.composing import opacity, pixels_of
from streammatte.motion import Plane, View
from streammatte.quality.looks import edge, looks
from streammatte.quality.moments import Moment, Pictures, Spread, offer, thumbnail
from streammatte.quality.page import grey, signed, small
from streammatte.quality.scores import SIZE, Flicker, contamination

UNTOLD = {
    "flicker": "no frame follows another of its shot",
    "contamination": "no soft edge lies between colours that differ",
    "mended": "a frame alone has no other to be mended by",
    "audio": "there is no sound of a stated length to compare",
}
"""Why a run may have no such score."""

GRID = 640  # pixels of the longer side, at most, that the edge's colours are looked at in: every n-th, as it is


@dataclass(frozen=True, slots=True)
class Score:
    """A figure of the whole run, and where the worst of it is; a frame has no part in the sound's length."""

    score: float
    worst: float | None = None
    frame: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What the run's own cut-outs tell.

    Attributes:
        scores: By name: ``flicker`` and ``contamination``, means over the frames (:mod:`streammatte.quality.scores`);
            ``mended``, the share of frames of which smoothing turned over more than an edge, the worst by how much;
            ``audio``, the seconds by which sound is longer or shorter than it was. What could not be told is not here.
        cuts: Frames that begin a shot, the first one left out.
        mended: Those frames, each with the share of its matte.
        lengths: By file, the input first, how long its streams are.
    """

    scores: dict[str, Score]
    cuts: list[int]
    mended: dict[int, float]
    lengths: dict[str, Lengths] = field(default_factory=dict)

    def crossed(self, limits: Mapping[str, float]) -> list[str]:
        """A line for each limit that a score is above, and for each that nothing could be held to."""
        said = []
        for name, limit in limits.items():
            found = self.scores.get(name)
            if found is None:
                said.append(f"{name} could not be measured: {UNTOLD[name]}")
                continue
            if found.score <= limit:
                continue
            line = f"{name} is {found.score:.3g}, above the limit of {limit:g}"
            if found.frame is not None:
                of_what = " of its matte" if name == "mended" else ""
                line += f"; the worst is frame {found.frame}, at {found.seconds:.2f} s ({found.worst:.3g}{of_what})"
            said.append(line)
        return said


class Observer:
    """Takes cut-outs in order; remembers one small picture, a few figures for each, and pictures of a bounded number.

    Args:
        time_base: Seconds that a unit of the frames' pts lasts.
        mended: What smoothing says it mended, by frame, read while it grows; ``None`` where there is no smoothing.
        colors: Colours are written, and not a matte alone.

    Attributes:
        per_frame: By name, a figure for each cut-out; ``None`` where there is none.
        worst: By name, the frames that stand out, the worst first.
        spread: Frames evenly spread over the clip.
        cuts: Frames that begin a shot, the first one left out.
        flicker: Holds where it flickers.
    """

    def __init__(self, time_base: Fraction, mended: Mapping[int, float] | None, *, colors: bool) -> None:
        self.per_frame: dict[str, list[float | None]] = {"flicker": [], "contamination": [], "mended": []}
        self.worst: dict[str, list[Moment]] = {name: [] for name in self.per_frame}
        self.spread = Spread()
        self.cuts: list[int] = []
        self.flicker = Flicker()
        self._seconds: list[float] = []
        self._frames: list[int] = []
        self._time_base = time_base
        self._mended = mended
        self._colors = colors

    def write(self, cutout: Cutout) -> None:
        """Look at the next cut-out."""
        alpha, index = opacity(cutout), cutout.frame.index
        seconds = float(cutout.frame.pts * self._time_base)
        view = View.of(thumbnail(cutout.frame, SIZE, SIZE), np.ascontiguousarray(small(alpha, SIZE, SIZE)))
        flicker = self.flicker(view)
        if self.flicker.cut:
            self.cuts.append(index)
        dirt, where = contamination(*_sampled(cutout, alpha)) if self._colors else (None, alpha)
        mended = None if self._mended is None else self._mended.get(index)
        self._frames.append(index)
        self._seconds.append(seconds)
        self.per_frame["flicker"].append(flicker)
        self.per_frame["contamination"].append(dirt)
        self.per_frame["mended"].append(mended)

        self.spread.offer(index, seconds, lambda: looks(cutout))
        offer(self.worst["flicker"], flicker, index, seconds, lambda: self._change(cutout, view))
        offer(self.worst["contamination"], dirt, index, seconds, lambda: edge(cutout, where))
        offer(self.worst["mended"], mended, index, seconds, lambda: looks(cutout))

    def findings(self, lengths: Mapping[str, Lengths]) -> Findings:
        """What was found; of ``lengths``, the first is the input's."""
        scores = {}
        for name, figures in self.per_frame.items():
            known = [(value, place) for place, value in enumerate(figures) if value is not None]
            if known:
                worst, place = max(known, key=lambda pair: pair[0])
                mean = sum(value for value, _ in known) / len(known)
                score = len(known) / len(figures) if name == "mended" else mean
                scores[name] = Score(score, worst, self._frames[place], self._seconds[place])
            elif name == "mended" and self._mended is not None and len(figures) > 1:
                scores[name] = Score(0.0)
        read, *written = lengths.values() or [Lengths(None, None)]
        heard = [each.heard for each in written if each.heard is not None]
        if read.audio is not None and heard:
            scores["audio"] = Score(max(abs(each - read.audio) for each in heard))
        mended = {
            frame: share
            for frame, share in zip(self._frames, self.per_frame["mended"], strict=True)
            if share is not None
        }
        return Findings(scores, self.cuts, mended, dict(lengths))

    def _change(self, cutout: Cutout, view: View) -> Pictures:
        """What flickers in a frame."""
        assert self.flicker.before is not None and self.flicker.change is not None
        return {
            "frame": thumbnail(cutout.frame),
            "the matte before": grey(small(self.flicker.before)),
            "matte": grey(small(view.alpha)),
            "what jumps: red comes, blue goes": signed(small(self.flicker.change)),
        }


def _sampled(cutout: Cutout, alpha: Plane) -> tuple[Plane, Plane, Plane]:
    """Frame, foreground and alpha at every n-th pixel: an average over pixels would mix what an edge keeps apart."""
    step = -(-max(alpha.shape) // GRID)
    rgb = pixels_of(replace(cutout.frame, rgb=cutout.frame.rgb[:, ::step, ::step]).as_float())
    foreground = rgb if cutout.foreground is None else pixels_of(cutout.foreground[:, ::step, ::step])
    return rgb, foreground, np.ascontiguousarray(alpha[::step, ::step])
