"""The room is never shown: only a frame's own matte lets it pass, and what is shown meanwhile has nothing of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from streammatte.errors import ModelError
from streammatte.frame import Cutout, Frame
from streammatte.live import privacy
from streammatte.live.contracts import Shown
from streammatte.live.privacy import HOLD_AFTER, HOLD_FOR, StandIn, check_own_alpha

pytestmark = pytest.mark.unit

FRAME = Frame(torch.zeros(3, 8, 12, dtype=torch.uint8), 0, 0)
EMPTY = np.zeros((8, 12, 3), np.uint8)


def test_only_its_own_matte_lets_a_frame_pass() -> None:
    check_own_alpha(FRAME, Cutout(FRAME, torch.rand(8, 12)))
    other = Frame(FRAME.rgb, 1, 1)
    wrong = [Cutout(other, torch.ones(8, 12)), Cutout(FRAME, torch.ones(2, 2))]
    wrong += [Cutout(FRAME, torch.full((8, 12), value)) for value in (torch.nan, 7.0, -0.1, torch.inf)]
    for cutout in wrong:
        with pytest.raises(ModelError):
            check_own_alpha(FRAME, cutout)


def test_the_last_picture_is_held_for_a_while_and_then_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(privacy, "time", SimpleNamespace(monotonic=lambda: clock.now))
    stand_in = StandIn(lambda at: EMPTY, 1 / 25)
    first = stand_in.picture()
    assert first.rgb is EMPTY and first.held and first.index == -1
    stand_in.sent(first, fresh=False)
    assert stand_in.due == pytest.approx(100.04)  # before the first matte the background keeps coming
    somebody = Shown(EMPTY + 1, 5, clock.now)
    stand_in.sent(somebody, fresh=True)
    assert stand_in.due == pytest.approx(100 + HOLD_AFTER)
    clock.now = 100 + HOLD_FOR
    held = stand_in.picture()
    assert held.rgb is somebody.rgb and (held.held, held.index, held.at) == (True, 5, clock.now)
    clock.now += 0.1
    assert stand_in.picture().rgb is EMPTY
