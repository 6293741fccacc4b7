"""Scores a run from its own cut-outs, without ground truth, as they are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from streammatte.frame import Cutout, Writer
from streammatte.media.lengths import Lengths
from streammatte.media.read.video import Video
from streammatte.media.write.composing import opacity, pixels_of
from streammatte.media.write.upload import UploadingWriter
from streammatte.media.write.video_writer import VideoWriter
from streammatte.motion import View
from streammatte.quality.moments import Alpha, Moment, Pictures, Spread, keep_worst, look_at, thumbnail
from streammatte.quality.page import heat, signed, small
from streammatte.quality.scores import SIZE, Flicker, contamination

Verdict = Literal["pass", "FAIL", "not measured"]

UNKNOWN = {
    "flicker": "no two frames of one shot to compare",
    "contamination": "no soft edge between different colours",
    "mended": "a single frame cannot be smoothed",
    "audio": "no audio of known duration to compare",
}
"""Why a run may lack a score."""

GRID = 640  # pixels of the longer side at most at which contamination is measured, on every n-th pixel


@dataclass(frozen=True, slots=True)
class Score:
    """The score of a run, and its worst frame; the audio's duration belongs to no frame."""

    score: float
    worst: float | None = None
    frame: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """Scores of a run without ground truth.

    Attributes:
        scores: Those that could be measured. ``flicker`` and ``contamination`` are means over the frames
            (:mod:`streammatte.quality.scores`); ``mended`` is the share of frames in which smoothing repaired more than
            an edge; ``audio`` is the largest difference in duration from the input, in seconds.
        cuts: Frames that begin a shot, but for the first.
        mended: The repaired frames, each with the share of its matte that changed.
        lengths: Stream durations by file, the input first.
    """

    scores: dict[str, Score]
    cuts: list[int]
    mended: dict[int, float]
    lengths: dict[str, Lengths] = field(default_factory=dict)

    def verdict(self, name: str, limit: float) -> Verdict:
        """Whether a score keeps its limit."""
        found = self.scores.get(name)
        if found is None:
            return "not measured"
        return "pass" if found.score <= limit else "FAIL"

    def crossed(self, limits: Mapping[str, float]) -> list[str]:
        """A line for each limit that is exceeded, or whose score could not be measured."""
        lines = []
        for name, limit in limits.items():
            verdict = self.verdict(name, limit)
            if verdict == "not measured":
                lines.append(f"{name} could not be measured: {UNKNOWN[name]}")
            elif verdict == "FAIL":
                found = self.scores[name]
                line = f"{name} is {found.score:.3g}, above the limit of {limit:g}"
                if found.frame is not None:
                    of_what = " of its matte" if name == "mended" else ""
                    line += f"; worst at frame {found.frame}, {found.seconds:.2f} s ({found.worst:.3g}{of_what})"
                lines.append(line)
        return lines


class Observer:
    """Scores cut-outs in order; keeps one matte, a few numbers a frame, and pictures of a bounded number of frames.

    Args:
        time_base: Seconds per unit of the frames' pts.
        mended: What smoothing repaired, by frame, read as it grows; ``None`` without smoothing.
        colors: Whether the outputs hold colours, not only a matte.

    Attributes:
        per_frame: A score for each frame by name, ``None`` where there is none.
        worst: The worst frames by name, the worst first.
        spread: Frames spread evenly over the clip.
        cuts: Frames that begin a shot, but for the first.
        flicker: Where the matte flickers.
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
        self._before: Alpha | None = None

    def write(self, cutout: Cutout) -> None:
        """Score the next cut-out."""
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
        for name, score in (("flicker", flicker), ("contamination", dirt), ("mended", mended)):
            self.per_frame[name].append(score)

        before, self._before = self._before, alpha
        self.spread.offer(index, seconds, lambda: look_at(cutout))
        keep_worst(self.worst["flicker"], flicker, index, seconds, lambda: self._jump(cutout, before))
        keep_worst(self.worst["contamination"], dirt, index, seconds, lambda: _fringe(cutout, where))
        keep_worst(self.worst["mended"], mended, index, seconds, lambda: look_at(cutout))

    def findings(self, lengths: Mapping[str, Lengths]) -> Findings:
        """The scores; the first of ``lengths`` is the input's."""
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

    def _jump(self, cutout: Cutout, before: Alpha | None) -> Sequence[Pictures]:
        """A frame that flickers, beside the matte before it."""
        change = self.flicker.change
        assert change is not None, "a score of flicker comes with the change it measures"
        maps = {"what jumps: red appears, blue disappears": signed(small(change))}
        return look_at(cutout, np.abs(change), before=before, maps=maps)


def _fringe(cutout: Cutout, where: Alpha) -> Sequence[Pictures]:
    """A frame where the old background shows in the edge."""
    strength = np.maximum(where, 0)
    shown = small(strength / max(float(strength.max()), 1e-6))
    return look_at(cutout, strength, maps={"where the old background shows": heat(shown)})


def _sampled(cutout: Cutout, alpha: Alpha) -> tuple[Alpha, Alpha, Alpha]:
    """Frame, foreground and alpha at every n-th pixel: averaging would mix the two sides of an edge."""
    step = -(-max(alpha.shape) // GRID)
    rgb = pixels_of(replace(cutout.frame, rgb=cutout.frame.rgb[:, ::step, ::step]).as_float())
    foreground = rgb if cutout.foreground is None else pixels_of(cutout.as_float()[:, ::step, ::step])
    return rgb, foreground, np.ascontiguousarray(alpha[::step, ::step])


def lengths_of_all(name: str, source: Video, writers: Iterable[Writer], *, silent: bool = False) -> dict[str, Lengths]:
    """Stream durations of the input, called ``name``, and of each finished video.

    Args:
        silent: The audio is dropped on purpose, so its duration is not compared.
    """
    read = replace(source.lengths, audio=None) if silent else source.lengths
    found = {name: read}
    for writer in writers:
        path, file = (writer.place, writer.inner) if isinstance(writer, UploadingWriter) else (writer.path, writer)
        if isinstance(file, VideoWriter):
            found[str(path)] = file.lengths()
    return found
