"""Subjects in a run: their prompts, the pass that follows them, and a model for each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from streammatte.errors import InputError, WeightsMissing
from streammatte.models.table import BUNDLED
from streammatte.stages.order import sharpens
from streammatte.subject.looks import LONGEST, Clip, ClipLooks, Network
from streammatte.subject.prompts import resolved
from streammatte.subject.subject_model import SubjectModel
from streammatte.subject.tracks import Store, Tracks, track

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from streammatte.frame import Frame, StreamInfo
    from streammatte.options import Options
    from streammatte.options.prompts import Prompted
    from streammatte.subject.contracts import Looks, Prompt, Tracker

BESIDE = 2  # pixels of a mask beside which a transparent region goes on
_TOLD = 3  # stretches without a subject that are told


class Display(Protocol):
    """What it reports."""

    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def finding(self, whom: str, done: int, total: int) -> None: ...


class Loaded(Protocol):
    """What is known of the network."""

    name: str
    device: torch.device


@dataclass(frozen=True, slots=True)
class Course:
    """How sure a tracker was of a subject over time.

    Attributes:
        subject: Its name; empty if it has none.
        indices: Of the clip's frames.
        confidences: One for each, in [0, 1].
        prompted: Frames with prompts.
        lost: Stretches in which it is lost or not in the picture.
        doubtful: Frames that most want a correction.
    """

    subject: str
    indices: range
    confidences: list[float]
    prompted: list[int]
    lost: list[range]
    doubtful: list[int]


class OnePicture:
    """A picture as a clip."""

    def __init__(self, frame: Frame, info: StreamInfo) -> None:
        self.info, self.indices, self._frame = info, range(frame.index, frame.index + 1), frame

    def frame_at(self, mark: str, option: str) -> int:
        if mark not in ("0", "0s"):
            raise InputError(f"{option} {mark} is not in a picture, whose only frame is 0", hint="leave out the time")
        return self._frame.index

    def between(self, start: int, stop: int) -> Iterator[Frame]:
        yield self._frame


class Followed:
    """Subjects that were followed through a clip.

    Attributes:
        tracks: Where they are.
        prompts: By which they were named.
        indices: Of the clip's frames.
    """

    def __init__(
        self,
        tracks: Tracks,
        prompts: Sequence[Prompt],
        indices: range,
        model: Callable[[Sequence[str]], SubjectModel],
    ) -> None:
        self.tracks, self.prompts, self.indices = tracks, prompts, indices
        self._model = model

    def model(self, name: str, *, join: bool) -> SubjectModel:
        """The model of one subject, or of all of them together."""
        return self._model(self.tracks.names if join else (name,))

    def notes(self) -> list[str]:
        """A line for each subject that is lost somewhere."""
        return _losses(self.tracks, self.indices, "the subject")

    def courses(self, name: str, *, join: bool) -> list[Course]:
        """How sure the tracker was of one subject, or of each of them."""
        names = self.tracks.names if join else (name,)
        return [
            Course(
                each,
                self.indices,
                self.tracks.confidences(each, self.indices),
                sorted({prompt.index for prompt in self.prompts if prompt.subject == each}),
                self.tracks.lost(each, self.indices),
                self.tracks.doubtful(each, self.indices),
            )
            for each in names
        ]


def follow(
    options: Options,
    source: Clip,
    network: Network,
    size: tuple[int, int],
    store: Store | None,
    display: Display,
    tracker: Tracker | None = None,
    *,
    model: Loaded | None = None,
    wanted: Collection[int] | None = None,
) -> Followed | None:
    """Follow the subjects that the options name; ``None`` if they name none.

    Args:
        size: (H, W) of the network's input.
        store: The cache.
        tracker: Another than the one the options name.
        model: The network itself: the tracker computes where it does. Without one, no weights are fetched.
        wanted: Frames to follow them to, if not all.

    Raises:
        InputError: As :func:`~streammatte.subject.prompts.resolved`.
        StreammatteError: The tracker broke its contract.
    """
    asked = options.whom.asked()
    if not asked:
        return None
    tracks, prompts = _tracks(
        asked, "the subject", options, source, network, store, display, tracker, model=model, wanted=wanted
    )
    sharpen = sharpens(options.matting.detail, size)
    frame_size, indices = (source.info.height, source.info.width), source.indices

    def model_for(names: Sequence[str]) -> SubjectModel:
        return SubjectModel(network.parts, size, tracks, names, frame_size, indices, sharpen=sharpen)

    return Followed(tracks, prompts, indices, model_for)


class FollowedRegion:
    """Where something transparent is, as the tracker says. Keeps ``Guide``'s contract.

    Outside of a region SDMatte has no say, so it is a little wider than the tracker's mask.
    """

    def __init__(self, tracks: Tracks, indices: range) -> None:
        self._tracks, self._indices = tracks, indices

    def at(self, frame: Frame) -> Tensor:
        """(H, W) float32 in [0, 1], of the frame's size."""
        import torch

        masks = [self._tracks.at(name, frame.index).mask for name in self._tracks.names]
        wide = cv2.dilate(np.maximum.reduce(masks), np.ones((2 * BESIDE + 1, 2 * BESIDE + 1), np.uint8))
        return torch.from_numpy(np.asarray(cv2.resize(wide, (frame.width, frame.height)), np.float32))

    def notes(self) -> list[str]:
        """A line for each region that is lost somewhere."""
        return _losses(self._tracks, self._indices, "the transparent region")


def follow_transparent(
    options: Options,
    source: Clip,
    network: Network,
    store: Store | None,
    display: Display,
    *,
    model: Loaded | None = None,
    wanted: Collection[int] | None = None,
) -> FollowedRegion | None:
    """Follow what the prompts of ``--transparent`` name, in a pass of its own; ``None`` without any."""
    asked = options.transparency.asked()
    if not asked or options.transparency.transparency == "off":
        return None
    nobody = "the transparent region"
    tracks, _ = _tracks(asked, nobody, options, source, network, store, display, None, model=model, wanted=wanted)
    return FollowedRegion(tracks, source.indices)


def _tracks(
    asked: Sequence[Prompted],
    nobody: str,
    options: Options,
    source: Clip,
    network: Network,
    store: Store | None,
    display: Display,
    tracker: Tracker | None,
    *,
    model: Loaded | None,
    wanted: Collection[int] | None,
) -> tuple[Tracks, list[Prompt]]:
    """Where the named are, and their prompts by frames; ``nobody`` is what one without a name is called."""
    prompts = resolved(asked, source, options.reading.mark_in)
    whom = ", ".join(dict.fromkeys(each.subject for each in asked if each.subject)) or nobody
    indices, frame_size, seen = source.indices, (source.info.height, source.info.width), set[int]()

    def looked(index: int) -> None:
        seen.add(index)
        display.finding(whom, len(seen), len(indices))

    def looks(part: range) -> Looks:
        return ClipLooks(source, network, part, looked, getattr(used, "longest", LONGEST))

    if tracker is None:
        # Where the hub was not reached for the network, it is not waited for again.
        unreached = model is None or (options.network.model == "auto" and model.name == BUNDLED)
        device, offline = "cpu" if model is None else str(model.device), options.network.offline or unreached
        name, used = tracker_of(options, display, device, offline=offline)
    else:
        name, used = type(tracker).__name__, tracker
    return track(used, name, looks, prompts, indices, frame_size, store, wanted), prompts


def tracker_of(options: Options, display: Display, device: str, *, offline: bool) -> tuple[str, Tracker]:
    """The tracker that the options name, and what identifies it in the cache.

    Raises:
        ModelError, WeightsMissing, WeightsMismatch, OutOfMemory: SAM 2 was named, and cannot be loaded.
    """
    name = options.whom.tracker
    if name != "flow":
        from streammatte.subject.sam2 import load_sam2_tracker

        try:
            tracker = load_sam2_tracker(
                "sam2" if name == "auto" else name,
                device=device,
                offline=offline,
                on_progress=display.fetching,
                on_notice=display.notice,
            )
            return tracker.identity, tracker
        except WeightsMissing:
            if name != "auto":
                raise
            display.notice("following by motion; `streammatte models pull sam2-tiny` fetches a surer tracker")

    from streammatte.subject.flow import FlowTracker

    return "flow 4", FlowTracker()


def _losses(tracks: Tracks, indices: range, nobody: str) -> list[str]:
    notes = []
    for name in tracks.names:
        stretches = tracks.lost(name, indices)
        told = [_frames(stretch) for stretch in stretches[:_TOLD]]
        if len(stretches) > _TOLD:
            told.append(f"in {len(stretches) - _TOLD} more stretches")
        if told:
            notes.append(
                f"lost {name or nobody} {', '.join(told)}; where it is in the picture, another prompt there brings it "
                "back"
            )
    return notes


def _frames(stretch: range) -> str:
    if len(stretch) == 1:
        return f"at frame {stretch.start}"
    return f"from frame {stretch.start} to {stretch.stop - 1}"
