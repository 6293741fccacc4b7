"""A model that gives every frame its own alpha, as fast as the machine allows.

The network runs on every n-th frame. In between, the last alpha follows the picture (``carried_alpha``) for as long as
motion explains the picture; where it does not, the network runs. It sees the subject's region (``subject_region``), and
now and then the whole picture. If its input is small, the clip's colours settle what it is unsure of. Where the picture
has not changed, the previous frame's alpha steadies its answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from streammatte.errors import ModelError
from streammatte.frame import Cutout, Frame, Model
from streammatte.live.carried_alpha import WIDTH, CarriedAlpha, Moved, shrunk
from streammatte.live.pace_keeper import PaceKeeper, Setting, settings_for
from streammatte.media.copies import fetched_once
from streammatte.media.write.composing import at_depth, quantised
from streammatte.models.birefnet import check_size
from streammatte.motion import Plane
from streammatte.stages.colors import ClipColors
from streammatte.stages.detail import lifted
from streammatte.stages.order import SURE_OF_ITSELF
from streammatte.stride import stretched
from streammatte.subject.region import NOT_BEYOND, Box, beyond, choose, lost, newcomer, subject_box, touches

if TYPE_CHECKING:
    from streammatte.live.live_options import LiveOptions
    from streammatte.models.birefnet import BiRefNetModel

LOOK = 10
"""Frames after which the network sees the whole picture again."""

PUT_OFF = 4
"""Frames to wait for one without a run. Newcomers are found within the sum of both."""

WARM, SLOW = 2, 2.0
"""Untimed runs at a new size, while kernels are chosen and memory is allocated; only one if it takes more seconds than
this."""

STEADY = 0.6  # weight of the frame before where the picture is the same and its alpha is lower
STEADY_UP = 0.3  # where its alpha is higher: showing the room is worse than missing the subject
DOUBT = 0.15  # in one frame: above it, motion explains too little and the network runs
DOUBTS = 0.2  # summed since the network ran
REACH = 8.0  # pixels of the small picture that the subject has moved since: flow is too inaccurate beyond
INTRUDER = 0.01  # of the picture's area, new and outside of the region: the network sees the whole picture
SMALLEST = 640  # pixels of the longer side that mattes keep, if the frame has as many


class ResizableModel(Model, Protocol):
    """A model whose input size can be changed."""

    size: tuple[int, int]


class AdaptiveModel:
    """A ``LiveModel``.

    Args:
        model: The network. Its ``size`` is changed to keep up.
        quality: ``auto``, ``high``, ``medium``, ``low``, or ((H, W), n) for that input on every n-th frame.
        rate: The frame rate to keep up with.

    Raises:
        ModelError: The network does not take that size.
    """

    size = (WIDTH // 2, WIDTH // 2)  # `matte()` makes links for twice that size: small, as nobody here asks for them

    def __init__(
        self, model: ResizableModel, quality: str | tuple[tuple[int, int], int] = "auto", rate: Fraction = Fraction(30)
    ) -> None:
        own = model.size
        settings = settings_for(quality, own)
        for setting in settings:
            check_size(setting.size, "--quality ")
        self.runs, self._warm, self._ran = 0, 0, False
        self._model = model
        self._pace = PaceKeeper(settings, float(1 / rate))
        self._longest = max(SMALLEST, 2 * max(own))
        self._colors = ClipColors() if max(own) < SURE_OF_ITSELF else None
        self._carried = CarriedAlpha()
        self._shot = _Shot()

    @property
    def setting(self) -> str:
        return str(self._pace.setting)

    @property
    def exhausted(self) -> bool:
        return self._pace.exhausted

    @property
    def region(self) -> Box | None:
        """What the network sees, in pixels of the shrunk picture; ``None`` is all of it."""
        return self._shot.region

    def took(self, seconds: float) -> None:
        self._warm += self._ran
        if not self._ran or self._warm > (WARM if seconds < SLOW else 1):
            self._pace.took(seconds, ran=self._ran)

    def __call__(self, frames: Sequence[Frame]) -> list[torch.Tensor]:
        """Alphas, (H, W) float32 on the CPU.

        Raises:
            ModelError: The network returned NaN. The next frame starts afresh.
        """
        return [self._alpha_of(frame) for frame in frames]

    def _alpha_of(self, frame: Frame) -> torch.Tensor:
        runs = self.runs
        picture = shrunk(at_depth(quantised(frame.rgb), 8), self._longest)
        try:
            alpha = self._alpha(picture, self._pace.setting)
        except BaseException:
            self._carried, self._shot = CarriedAlpha(), _Shot()  # forget what is half known
            raise
        self._ran = self.runs > runs
        return torch.from_numpy(stretched(alpha, frame.rgb.shape[1:]).clip(0, 1))

    def _alpha(self, picture: NDArray[np.uint8], setting: Setting) -> Plane:
        """(h, w), for a picture (h, w, 3). A repeated picture gets the same alpha."""
        shot = self._shot
        if shot.last is not None and np.array_equal(shot.last[0], picture):
            return shot.last[1]
        moved = self._carried.look(picture)
        if moved is None:
            self._shot = shot = _Shot()
            alpha = self._closer(picture, self._run(picture, None, setting), setting)
        else:
            alpha = self._next(picture, moved, setting)
        own = shot.since_run == 0
        self._carried.keep(alpha, own=own)
        if moved is not None and not own:
            # Only what is shown is cut: the region and the next alphas need the whole subject.
            alpha = alpha * stretched(moved.shown, alpha.shape)
        shot.last = picture.copy(), alpha  # the picture's memory may be reused
        return alpha

    def _next(self, picture: NDArray[np.uint8], moved: Moved, setting: Setting) -> Plane:
        """The alpha of a picture that continues the last one."""
        shot = self._shot
        shot.since_run += 1
        shot.since_look += 1
        shot.doubts += moved.doubt
        due = moved.doubt > DOUBT or shot.doubts > DOUBTS or moved.travel > REACH or shot.since_run >= setting.every
        if shot.region is not None and self._wants_a_look(shot.region, moved, due, setting):
            subject, seen = subject_box(moved.alpha), self._run(picture, None, setting)
            # With what the region contains already, or it would shrink to what the network finds in it.
            shot.beyond = beyond(subject, newcomer(seen, subject)) if subject is not None else NOT_BEYOND
            shot.since_look = 0
            due = due or newcomer(seen, shot.region) is not None
        if not due:
            return moved.alpha
        alpha = self._steadied(self._closer(picture, moved.alpha, setting), moved)
        return alpha if shot.region is None else shot.region.alone(alpha)

    def _closer(self, picture: NDArray[np.uint8], expected: Plane, setting: Setting) -> Plane:
        """The network's alpha of the region where the subject is expected, or of the whole if it extends beyond."""
        shot = self._shot
        height, width = expected.shape
        subject = subject_box(expected)
        if subject is not None:
            subject = subject.grown_by(shot.beyond, width, height)
        region = choose(subject, shot.region, width, height)
        alpha = self._run(picture, region, setting, self._colors)
        if region is not None and (touches(alpha, region) or lost(alpha, expected)):
            region = None
            alpha = self._run(picture, region, setting, self._colors)
        shot.region, shot.since_run, shot.doubts = region, 0, 0.0
        if region is None:
            shot.since_look = 0
        return alpha

    def _wants_a_look(self, region: Box, moved: Moved, due: bool, setting: Setting) -> bool:
        """Whether the network should see the whole picture, too: if possible on a frame without a run."""
        shot = self._shot
        if due and setting.every > 1:
            return shot.since_look >= LOOK + PUT_OFF
        if shot.since_look >= LOOK:
            return True
        scale = moved.strange.shape[0] / moved.alpha.shape[0]
        small = Box(*(round(scale * side) for side in region))
        outside = int(np.count_nonzero(moved.strange)) - int(np.count_nonzero(small.of(moved.strange)))
        # Not twice in a row: what moves out there goes on moving.
        return shot.since_look >= LOOK // 2 and outside > INTRUDER * moved.strange.size

    def _run(
        self, picture: NDArray[np.uint8], region: Box | None, setting: Setting, colors: ClipColors | None = None
    ) -> Plane:
        """The network's alpha of a picture or a region of it, in both cases of the picture's size."""
        pixels = picture if region is None else region.of(picture)
        frame = Frame(torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1), 0, 0)
        if self._model.size != setting.size:
            self._model.size, self._warm = setting.size, 0
        self.runs += 1
        (alpha,) = self._model([frame])
        if not alpha.isfinite().all():
            raise ModelError("the model returned NaN", hint="try --precision fp32")
        cutout = Cutout(frame, alpha.float().cpu())
        if colors is not None:
            (cutout,) = colors.push(cutout)
        found = np.asarray(lifted(cutout).alpha.numpy(), np.float32)
        if region is None:
            return found
        whole = np.zeros(picture.shape[:2], np.float32)
        region.of(whole)[:] = found
        return whole

    def _steadied(self, alpha: Plane, moved: Moved) -> Plane:
        """The network's alpha, drawn towards the previous one where the picture is the same."""
        change = (moved.alpha - alpha) * stretched(moved.trust, alpha.shape)
        return np.asarray(alpha + np.where(change > 0, np.float32(STEADY_UP), np.float32(STEADY)) * change, np.float32)


@dataclass(slots=True, eq=False)
class _Shot:
    """What is known about a shot.

    Attributes:
        region: What the network saw last; ``None`` is the whole picture.
        since_run, since_look: Frames since the network ran for an alpha, and since it saw the whole picture.
        doubts: Their sum since it ran.
        beyond: How far regions must extend beyond the subject, from the last run on the whole picture.
        last: The previous picture and its alpha.
    """

    region: Box | None = None
    since_run: int = 0
    since_look: int = 0
    doubts: float = 0.0
    beyond: Box = NOT_BEYOND
    last: tuple[NDArray[np.uint8], Plane] | None = None


def load_live_model(
    options: LiveOptions,
    *,
    stopping: threading.Event | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> BiRefNetModel:
    """The network of a live run.

    ``auto`` is birefnet-lite on a GPU if it is here or can be downloaded, otherwise the bundled birefnet-nano: on a
    CPU, all others take seconds per frame.

    Args:
        stopping: Once set, a download and the network raise ``KeyboardInterrupt``. A thread that is still inside torch
            when Python exits aborts the process.

    Raises:
        As :func:`streammatte.models.load_model`.
    """
    from streammatte.models.birefnet import load_model
    from streammatte.models.device import choose_device

    def progressed(done: int, total: int | None) -> None:
        if stopping is not None and stopping.is_set():
            raise KeyboardInterrupt
        if on_progress is not None:
            on_progress(done, total)

    def load(name: str) -> BiRefNetModel:
        model = load_model(
            name,
            weights=None if options.weights is None else fetched_once(options.weights),
            device=options.device,
            precision=options.precision,
            offline=options.offline,
            on_progress=progressed,
            on_notice=on_notice,
        )
        model.obey(stopping or threading.Event())
        return model

    if options.model != "auto" or options.weights is not None:
        return load(options.model)
    if choose_device(options.device).type == "cpu":
        return load("birefnet-nano")
    try:
        return load("birefnet-lite")
    except ModelError as exc:
        if on_notice is not None:
            on_notice(f"using the bundled birefnet-nano: {exc}")
        return load("birefnet-nano")
