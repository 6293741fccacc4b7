"""An alpha for every frame that is shown, its own, at the speed that the machine has.

The network runs on every n-th frame. Between, the last alpha goes along with the picture (`trail`), for as long as the
picture's motion explains what is seen; where it does not, the network runs. It looks at the part of the picture that
the subject is in (`region`), and now and then at all of it. What it says is settled by the clip's colours, if its
input is small, and steadied by what the frame before came to, as far as the picture is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from streammatte.errors import ModelError
from streammatte.frame import Cutout, Frame, Model
from streammatte.live.contracts import Captured
from streammatte.live.controller import Controller, Setting, settings_for
from streammatte.live.region import NOT_BEYOND, Box, beyond, choose, lost, newcomer, subject_box, touches
from streammatte.live.trail import Moved, Trail, shrunk, stretched
from streammatte.media.write.composing import at_depth, quantised
from streammatte.models.birefnet import check_size
from streammatte.motion import Plane
from streammatte.stages import SURE_OF_ITSELF, ClipColors
from streammatte.stages.detail import lifted

if TYPE_CHECKING:
    from streammatte.live.options import LiveOptions
    from streammatte.models.birefnet import BiRefNetModel

LOOK = 10
"""Frames after which the network looks at all of the picture again."""

PUT_OFF = 4
"""Frames that this waits for one that is cheap: whoever has come in is looked for within these and those."""

WARM, SLOW = 2, 2.0
"""So many frames at a new size are not counted, as kernels are chosen and memory is found; after the first, only if
they took less than so many seconds."""

STEADY = 0.6  # what the frame before counts for where the picture is the same, and it shows less
STEADY_UP = 0.3  # where it shows more: the room shown is worse than the subject not shown
DOUBT = 0.15  # of a frame: beyond, its motion explains too little, and the network runs
DOUBTS = 0.2  # of all frames since the network ran
REACH = 8.0  # pixels of the small picture that the subject has moved since: flow errs too far, and the network runs
INTRUDER = 0.01  # of the picture's area, new and outside of the part: all of the picture is looked at
SMALLEST = 640  # pixels of the longer side that mattes are kept at, at least, if the frame has as many


class SizedMatter(Model, Protocol):
    """A matter whose input can be made smaller."""

    size: tuple[int, int]


class AdaptiveMatter:
    """Frames in order, each of which gets its alpha before the next comes.

    Args:
        matter: The network's. Its ``size`` is changed as the speed asks for.
        quality: ``auto``, ``high``, ``medium``, ``low``, or the network's input (H, W)
            and every how many frames it runs.
        rate: Frames a second to keep up with.

    Raises:
        ModelError: The quality's size is none that the network takes.

    Attributes:
        runs: How often the network has run.
    """

    def __init__(
        self, matter: SizedMatter, quality: str | tuple[tuple[int, int], int] = "auto", rate: Fraction = Fraction(30)
    ) -> None:
        own = matter.size
        settings = settings_for(quality, own)
        for setting in settings:
            check_size(setting.size, "--quality ")
        self.runs, self._warm = 0, 0
        self._matter = matter
        self._controller = Controller(settings, float(1 / rate))
        self._longest = max(SMALLEST, 2 * max(own))
        self._colors = ClipColors() if max(own) < SURE_OF_ITSELF else None
        self._trail = Trail()
        self._state = _State()

    @property
    def setting(self) -> str:
        """How it computes at present: "192×192, every 2nd frame"."""
        return str(self._controller.setting)

    @property
    def exhausted(self) -> bool:
        """Whether it is too slow for the rate, and can do nothing more about it."""
        return self._controller.exhausted

    def __call__(self, captured: Captured) -> Cutout:
        """The frame with its alpha, (H, W) float32 on the CPU.

        Raises:
            ModelError: The network's answer is no matte. The frame must not be shown; the next one begins anew.
        """
        begin, runs = time.perf_counter(), self.runs
        frame = captured.frame
        picture = shrunk(at_depth(quantised(frame.rgb), 8), self._longest)
        try:
            alpha = self._alpha(picture, self._controller.setting)
        except BaseException:
            self._trail, self._state = Trail(), _State()  # nothing half known goes on
            raise
        whole = torch.from_numpy(stretched(alpha, frame.rgb.shape[1:]).clip(0, 1))
        busy, ran = captured.worked + time.perf_counter() - begin, self.runs > runs
        self._warm += ran
        if not ran or self._warm > (WARM if busy < SLOW else 1):
            self._controller.took(busy, ran=ran)
        return Cutout(frame, whole)

    def _alpha(self, picture: NDArray[np.uint8], setting: Setting) -> Plane:
        """(h, w) of one picture (h, w, 3); the same picture again has the same alpha."""
        state = self._state
        if state.last is not None and np.array_equal(state.last[0], picture):
            return state.last[1]
        moved = self._trail.look(picture)
        if moved is None:
            self._state = state = _State()
            alpha = self._closer(picture, self._run(picture, None, setting), setting)
        else:
            alpha = self._next(picture, moved, setting)
        own = state.since_run == 0
        self._trail.keep(alpha, own=own)
        if moved is not None and not own:
            # Cut for the screen alone: the part and the next alphas are to know of all of the subject.
            alpha = alpha * stretched(moved.shown, alpha.shape)
        state.last = picture.copy(), alpha  # whoever gave the picture may use its memory again
        return alpha

    def _next(self, picture: NDArray[np.uint8], moved: Moved, setting: Setting) -> Plane:
        """The alpha of a picture that goes on from the last."""
        state = self._state
        state.since_run += 1
        state.since_look += 1
        state.doubts += moved.doubt
        due = moved.doubt > DOUBT or state.doubts > DOUBTS or moved.travel > REACH or state.since_run >= setting.every
        if state.part is not None and self._wants_a_look(moved, due, setting):
            subject, seen = subject_box(moved.alpha), self._run(picture, None, setting)
            # Also what the part holds already: it would shrink to what the network finds in it, and lose that for good.
            state.beyond = beyond(subject, newcomer(seen, subject)) if subject is not None else NOT_BEYOND
            state.since_look = 0
            due = due or newcomer(seen, state.part) is not None
        if not due:
            return moved.alpha
        alpha = self._steadied(self._closer(picture, moved.alpha, setting), moved)
        return alpha if state.part is None else state.part.alone(alpha)

    def _closer(self, picture: NDArray[np.uint8], expected: Plane, setting: Setting) -> Plane:
        """The network's alpha of the part that the subject is expected in, and of all if it goes on beyond that."""
        state = self._state
        height, width = expected.shape
        subject = subject_box(expected)
        if subject is not None:
            subject = subject.grown_by(state.beyond, width, height)
        part = choose(subject, state.part, width, height)
        alpha = self._settled(picture, part, setting)
        if part is not None and (touches(alpha, part) or lost(alpha, expected)):
            part = None
            alpha = self._settled(picture, part, setting)
        return alpha

    def _settled(self, picture: NDArray[np.uint8], part: Box | None, setting: Setting) -> Plane:
        """What network and colours make of a part of the picture; nothing is subject outside of it."""
        state = self._state
        if part != state.part or setting.size != state.size:
            state.part, state.size = part, setting.size
        state.since_run, state.doubts = 0, 0.0
        if part is None:
            state.since_look = 0
        return self._run(picture, part, setting, self._colors)

    def _wants_a_look(self, moved: Moved, due: bool, setting: Setting) -> bool:
        """Whether the network is to see all of the picture, too: on a frame that costs little, if there are such."""
        state = self._state
        assert state.part is not None
        if due and setting.every > 1:
            return state.since_look >= LOOK + PUT_OFF
        if state.since_look >= LOOK:
            return True
        scale = moved.strange.shape[0] / moved.alpha.shape[0]
        part = Box(*(round(scale * side) for side in state.part))
        outside = int(np.count_nonzero(moved.strange)) - int(np.count_nonzero(part.of(moved.strange)))
        # Not twice in a row: what moves out there goes on moving.
        return state.since_look >= LOOK // 2 and outside > INTRUDER * moved.strange.size

    def _run(
        self, picture: NDArray[np.uint8], part: Box | None, setting: Setting, colors: ClipColors | None = None
    ) -> Plane:
        """The network's alpha of all of a picture or of a part, (h, w) of the picture either way."""
        pixels = picture if part is None else part.of(picture)
        frame = Frame(torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1), 0, 0)
        if self._matter.size != setting.size:
            self._matter.size, self._warm = setting.size, 0
        self.runs += 1
        (alpha,) = self._matter([frame])
        if alpha.ndim != 2 or not alpha.isfinite().all():
            raise ModelError("the model returned NaN", hint="try --precision fp32")
        cutout = Cutout(frame, alpha.float().cpu())
        if colors is not None:
            (cutout,) = colors.push(cutout)
        alpha = lifted(cutout).alpha
        if part is None:
            return np.asarray(alpha.numpy(), np.float32)
        whole = np.zeros(picture.shape[:2], np.float32)
        part.of(whole)[:] = alpha.numpy()
        return whole

    def _steadied(self, alpha: Plane, moved: Moved) -> Plane:
        """The network's alpha, drawn toward the one before where both are of the same picture."""
        change = (moved.alpha - alpha) * stretched(moved.trust, alpha.shape)
        return np.asarray(alpha + np.where(change > 0, np.float32(STEADY_UP), np.float32(STEADY)) * change, np.float32)


@dataclass(slots=True, eq=False)
class _State:
    """What is known of a shot.

    Attributes:
        part: That the network last ran on; ``None`` is all of the picture.
        size: (H, W) of its input then.
        since_run, since_look: Frames since the network ran for an alpha, and since it saw all of the picture.
        doubts: The sum of them since it ran.
        beyond: How far the next parts are to go on beyond the subject, as the last look at all of the picture had it.
        last: The picture before and its alpha.
    """

    part: Box | None = None
    size: tuple[int, int] | None = None
    since_run: int = 0
    since_look: int = 0
    doubts: float = 0.0
    beyond: Box = NOT_BEYOND
    last: tuple[NDArray[np.uint8], Plane] | None = None


def live_matter(
    options: LiveOptions,
    *,
    on_progress: Callable[[int, int | None], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> BiRefNetModel:
    """The network of a live run.

    ``auto`` is birefnet-lite on a GPU, if it is here or can be fetched, and the embedded one elsewhere: on a CPU the
    others take seconds for a frame.

    Raises:
        As :func:`streammatte.models.load_model`.
    """
    from streammatte.models.birefnet import load_model
    from streammatte.models.device import choose_device

    def load(model: str) -> BiRefNetModel:
        return load_model(
            model,
            weights=options.weights,
            device=options.device,
            precision=options.precision,
            offline=options.offline,
            on_progress=on_progress,
            on_notice=on_notice,
        )

    if options.model != "auto" or options.weights is not None:
        return load(options.model)
    if choose_device(options.device).type == "cpu":
        return load("birefnet-nano")
    try:
        return load("birefnet-lite")
    except ModelError as exc:
        if on_notice is not None:
            on_notice(f"using birefnet-nano, the embedded model, because {exc}")
        return load("birefnet-nano")
