"""The pipeline composes any frames, matter and stages, in order, losing nothing; and its thread leaves no trace."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from typing import Any

import cv2
import pytest
import torch
from torch import Tensor

from streammatte import pipeline
from streammatte.errors import ModelError, StreammatteError
from streammatte.frame import Cutout, Frame
from streammatte.models.device import cores, opencv_cores
from streammatte.pipeline import matte, prefetch
from streammatte.stages import TemporalSmoother, stages_for
from streammatte.stages.frame_by_frame import FrameByFrame

pytestmark = pytest.mark.unit


def frames(count: int) -> list[Frame]:
    return [Frame(torch.full((3, 4, 6), i, dtype=torch.uint8), pts=10 * i - 20, index=i) for i in range(count)]


def brightness(batch: Sequence[Frame]) -> list[Tensor]:
    """A model whose alpha says which frame it came from."""
    return [frame.as_float()[0] for frame in batch]


class Delay:
    """A stage that looks ahead: it holds ``length`` cut-outs back."""

    behind = 0

    def __init__(self, length: int) -> None:
        self.ahead = length
        self.length, self.held = length, list[Cutout]()

    def push(self, cutout: Cutout) -> Iterable[Cutout]:
        self.held.append(cutout)
        return [self.held.pop(0)] if len(self.held) > self.length else []

    def flush(self) -> Iterable[Cutout]:
        held, self.held = self.held, []
        return held


def test_every_frame_leaves_once_with_its_own_alpha() -> None:
    for ahead, batch, delays in product([0, 1, 2], [1, 3, 50], [(), (2,), (1, 3), (100,)]):
        given = frames(10)
        cutouts = list(matte(given, brightness, [Delay(length) for length in delays], batch=batch, ahead=ahead))
        assert [cutout.frame for cutout in cutouts] == given
        for cutout in cutouts:
            assert torch.equal(cutout.alpha, cutout.frame.as_float()[0])


class Halved:
    """A stage that any thread may call; it takes longest for the first frames, so that later ones overtake them."""

    behind = ahead = 0
    ordered = False

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at, self.together, self.most = fails_at, 0, 0
        self.counting = threading.Lock()

    def push(self, cutout: Cutout) -> Iterable[Cutout]:
        with self.counting:
            self.together += 1
            self.most = max(self.most, self.together)
        time.sleep(0.02 / (1 + cutout.frame.index))
        with self.counting:
            self.together -= 1
        if cutout.frame.index == self.fails_at:
            raise StreammatteError("this frame cannot be halved")
        yield replace(cutout, alpha=cutout.alpha / 2)

    def flush(self) -> Iterable[Cutout]:
        return ()


def test_stages_work_on_several_frames_at_a_time_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streammatte.models.device.MOST_WORKERS", 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for ahead, most in ((0, [1]), (1, [2, 3])):
        halved, given = Halved(), frames(10)
        cutouts = list(matte(given, brightness, [Delay(2), halved, Halved(), Delay(1)], ahead=ahead))
        assert [cutout.frame for cutout in cutouts] == given
        assert all(torch.equal(cutout.alpha, cutout.frame.as_float()[0] / 4) for cutout in cutouts)
        assert halved.most in most

    failing = matte(frames(10), brightness, [Halved(fails_at=4)], ahead=1)
    assert [next(failing).frame.index for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(StreammatteError, match="cannot be halved"):
        next(failing)
    stopped = matte(frames(10), brightness, [Halved()], ahead=1)
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("streammatte")]


def test_no_frames_give_no_cutouts() -> None:
    assert list(matte([], brightness)) == []


def test_the_batch_is_what_the_model_sees() -> None:
    sizes: list[int] = []

    def counting(batch: Sequence[Frame]) -> list[Tensor]:
        sizes.append(len(batch))
        return brightness(batch)

    list(matte(frames(7), counting, [], batch=3))
    assert sizes == [3, 3, 1]


def test_a_batch_to_be_found_out_is_asked_for_once_two_frames_were_read() -> None:
    read: list[int] = []
    asked: list[int] = []
    sizes: list[int] = []

    def reading(count: int) -> Iterator[Frame]:
        for frame in frames(count):
            read.append(frame.index)
            yield frame

    def find_out() -> int:
        asked.append(len(read))
        return 3

    def counting(batch: Sequence[Frame]) -> list[Tensor]:
        sizes.append(len(batch))
        return brightness(batch)

    for count, batches in ((0, []), (1, [1]), (2, [2]), (7, [3, 3, 1])):
        read.clear(), asked.clear(), sizes.clear()
        cutouts = list(matte(reading(count), counting, [], batch=find_out))
        assert [cutout.frame.index for cutout in cutouts] == list(range(count))
        assert sizes == batches
        assert asked == ([2] if count > 1 else []), "a single picture needs no batch"


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    taken: list[int] = []

    def watched() -> Iterator[Frame]:
        for frame in frames(10):
            taken.append(frame.index)
            yield frame

    cutouts = matte(watched(), brightness, [])
    next(cutouts)
    assert taken == [0]


@pytest.mark.parametrize(
    "broken",
    [
        lambda batch: [],
        lambda batch: [torch.zeros(1, 2, 2) for _ in batch],
        lambda batch: [torch.full(frame.rgb.shape[-2:], torch.nan) for frame in batch],
    ],
    ids=["too few alphas", "a channel", "NaN"],
)
def test_a_model_that_breaks_its_contract_is_refused(broken) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ModelError):
        list(matte(frames(2), broken, []))


class Returning:
    """A stage that does not keep its contract."""

    behind = ahead = 0

    def __init__(self, returned: Any) -> None:
        self._returned = returned

    def push(self, cutout: Cutout) -> Any:
        return self._returned(cutout)

    def flush(self) -> Any:
        return []


@pytest.mark.parametrize(
    ("returned", "named"),
    [
        (lambda cutout: cutout.alpha, "Tensor"),
        (lambda cutout: [cutout.alpha], "Tensor"),
        (lambda cutout: cutout, "Cutout"),
        (lambda cutout: None, "NoneType"),
    ],
    ids=["tensor", "tensors", "not iterable", "nothing"],
)
def test_a_stage_that_returns_no_cutouts_is_an_error_that_says_so(returned: Any, named: str) -> None:
    with pytest.raises(StreammatteError, match=f"Returning.push returned {named}") as raised:
        list(matte(frames(2), brightness, [Returning(returned)]))
    assert raised.value.hint is not None


def test_a_small_matte_stays_small_for_the_stages_and_leaves_at_the_frames_size() -> None:
    sizes = list[tuple[int, ...]]()

    def watched(cutout: Cutout) -> list[Cutout]:
        sizes.append(tuple(cutout.alpha.shape))
        return [cutout]

    def answer(batch: Sequence[Frame]) -> list[Tensor]:
        return [torch.full((2, 2), 0.123456789) for _ in batch]

    cutouts = list(matte(frames(2), answer, [Returning(watched)]))
    assert sizes == [(2, 2)] * 2
    assert [tuple(cutout.alpha.shape) for cutout in cutouts] == [(4, 6)] * 2
    assert cutouts[0].alpha[0, 0].item() == pytest.approx(round(0.123456789 * 65535) / 65535, abs=1e-7), "16 bits"


def test_the_commands_own_stages_are_the_default_and_their_options_are_taken() -> None:
    given = [Frame(torch.randint(256, (3, 48, 64), dtype=torch.uint8), index, index) for index in range(3)]
    assert all(cutout.foreground is not None for cutout in matte(given, brightness))
    bare = list(matte(given, brightness, smooth="off", decontaminate=False))
    assert all(torch.equal(cutout.alpha, cutout.frame.as_float()[0]) for cutout in bare)
    with pytest.raises(TypeError):
        matte(given, brightness, [], smooth="off")


def test_a_frame_is_seen_once_a_size_whichever_thread_asks() -> None:
    calls = list[int]()

    def view(rgb: Tensor) -> Tensor:
        calls.append(1)
        return 255 - rgb

    frame = Frame(torch.randint(256, (3, 90, 120), dtype=torch.uint8), 0, 0, view=view)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(frame.seen, [(30, 40), (9, 12)] * 40))
    assert len(calls) == 2 and all(each is found[place % 2] for place, each in enumerate(found))
    assert found[0].shape == (3, 30, 40) and found[0].dtype == torch.float32
    assert torch.equal(frame.seen((90, 120)), (255 - frame.rgb).float() / 255)
    for dtype, largest in ((torch.uint16, 65535), (torch.float32, 1)):
        other = Frame((frame.rgb.float() / 255 * largest).to(dtype), 0, 0).seen((30, 40))
        assert (other + found[0] - 1).abs().max() < 1 / 255  # bytes are rounded


def test_a_model_that_could_be_trained_hinders_no_stage() -> None:
    weight = torch.tensor(0.5, requires_grad=True)

    def trainable(batch: Sequence[Frame]) -> list[Tensor]:
        return [weight * frame.as_float()[0] for frame in batch]

    given = [Frame(torch.randint(256, (3, 90, 120), dtype=torch.uint8), index, index) for index in range(3)]
    stages = stages_for((64, 64), colors="on", detail="on", screen=(0.0, 1.0, 0.0))
    cutouts = list(matte(given, trainable, stages))
    assert len(cutouts) == 3
    assert not any(cutout.alpha.requires_grad for cutout in cutouts)


def prefetching() -> bool:
    return any(thread.name == "streammatte-prefetch" for thread in threading.enumerate())


@pytest.mark.parametrize("depth", [1, 4, 100])
def test_prefetch_keeps_every_item_in_order(depth: int) -> None:
    assert list(prefetch(iter(range(50)), depth)) == list(range(50))
    assert not prefetching()


def test_prefetch_carries_none() -> None:
    assert list(prefetch([None, 1, None])) == [None, 1, None]


def test_prefetch_raises_the_threads_exception_after_what_came_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("the third")

    got = []
    with pytest.raises(ValueError, match="the third"):
        for item in prefetch(failing()):
            got.append(item)
    assert got == [1, 2]
    assert not prefetching()


def test_a_model_that_raises_leaves_no_thread_and_no_open_source() -> None:
    """The exception, whose traceback mentions the generators, is alive while this looks."""
    closed: list[str] = []

    def source() -> Iterator[Frame]:
        try:
            yield from frames(200)
        finally:
            closed.append("source")

    def failing(batch: Sequence[Frame]) -> list[Tensor]:
        raise ModelError("out of memory, say")

    with pytest.raises(ModelError) as caught:
        list(prefetch(matte(prefetch(source()), failing, [Delay(1)])))
    assert caught.value.__traceback__ is not None
    assert closed == ["source"]
    assert not prefetching()


class Failing:
    """A stage that raises at the third cut-out."""

    behind = ahead = 0

    def push(self, cutout: Cutout) -> Iterable[Cutout]:
        if cutout.frame.index == 2:
            raise ValueError("the third")
        return [cutout]

    def flush(self) -> Iterable[Cutout]:
        return []


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_stage_that_raises_in_a_thread_is_heard_after_what_came_before_it(before: int) -> None:
    """Whichever stage of three it is; and what was given before it has left."""
    closed: list[str] = []

    def source() -> Iterator[Frame]:
        try:
            yield from frames(200)
        finally:
            closed.append("source")

    stages = [*[Delay(0) for _ in range(before)], Failing(), *[Delay(0) for _ in range(2 - before)]]
    got = []
    with pytest.raises(ValueError, match="the third"):
        for cutout in prefetch(matte(prefetch(source()), brightness, stages, ahead=1)):
            got.append(cutout.frame.index)
    assert got == [0, 1]
    assert closed == ["source"]
    assert not prefetching()


def test_closing_early_stops_every_thread() -> None:
    closed: list[str] = []

    def source() -> Iterator[Frame]:
        try:
            yield from frames(200)
        finally:
            closed.append("source")

    cutouts = prefetch(matte(prefetch(source()), brightness, [Delay(1), Delay(2)], ahead=2))
    assert next(cutouts).frame.index == 0
    assert sum(thread.name == "streammatte-prefetch" for thread in threading.enumerate()) == 3
    cutouts.close()
    assert closed == ["source"]
    assert not prefetching()


def test_a_model_in_a_thread_is_no_further_ahead_than_it_may_be() -> None:
    taken, ahead = list[int](), 1

    def watched() -> Iterator[Frame]:
        for frame in frames(200):
            taken.append(frame.index)
            yield frame

    cutouts = matte(watched(), brightness, [Delay(0)] * 3, ahead=ahead)
    for _ in range(20):
        next(cutouts)
    assert len(taken) <= 20 + ahead + 2  # in the queue, and in the hand of the thread on either side of it
    cutouts.close()  # type: ignore[attr-defined]


def test_prefetch_is_bounded() -> None:
    taken: list[int] = []
    third = threading.Event()

    def endless() -> Iterator[int]:
        number = 0
        while True:
            taken.append(number)
            if number == 3:
                third.set()
            yield number
            number += 1

    ahead = prefetch(endless(), depth=2)
    assert next(ahead) == 0
    assert third.wait(10)  # one handed out, two in the queue, one in the thread's hand
    assert taken == [0, 1, 2, 3]
    ahead.close()


def test_closing_prefetch_closes_what_it_reads_before_returning() -> None:
    closed: list[str] = []

    def source() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.append("source")

    ahead = prefetch(prefetch(source()))
    next(ahead)
    ahead.close()
    assert closed == ["source"]
    assert not prefetching()


def test_the_garbage_collector_may_end_it_in_a_thread_that_it_waits_for() -> None:
    dropped = threading.Event()

    def source() -> Iterator[int]:
        while True:
            yield 0
            if dropped.is_set():
                gc.collect()

    ahead: list[Any] = [prefetch(prefetch(source(), depth=1), depth=1)]
    next(ahead[0])
    ahead.append(ahead)  # only the collector finds it
    workers = [thread for thread in threading.enumerate() if thread.name == "streammatte-prefetch"]
    gc.disable()
    try:
        del ahead
        dropped.set()
        for thread in workers:
            thread.join(10)
    finally:
        gc.enable()
    assert len(workers) == 2 and not prefetching()


def test_the_garbage_collector_may_end_it_in_a_thread_of_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "workers", lambda: 4)
    dropped, collecting = threading.Event(), threading.Lock()

    class Collecting(FrameByFrame):
        ordered = False

        def better(self, cutout: Cutout) -> Cutout:
            if dropped.is_set() and collecting.acquire(blocking=False):
                gc.collect()
            return cutout

    ahead: list[Any] = [prefetch(matte(frames(200), brightness, [Collecting()], ahead=2), depth=1)]
    next(ahead[0])
    ahead.append(ahead)  # only the collector finds it
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("streammatte-")]
    gc.disable()
    try:
        del ahead
        dropped.set()
        for thread in threads:
            thread.join(10)
    finally:
        gc.enable()
    assert len(threads) >= 3 and collecting.locked()
    assert not any(thread.is_alive() for thread in threads)


def test_no_stage_that_looks_around_no_motion() -> None:
    assert all(cutout.link is None for cutout in matte(frames(3), brightness, []))
    assert all(cutout.link is not None for cutout in matte(frames(3), brightness, [Delay(1)]))


@pytest.mark.parametrize("answer", [torch.full((4, 6), 255, dtype=torch.uint8), [[0.5]]], ids=["bytes", "a list"])
def test_an_answer_that_is_not_an_alpha_is_refused(answer: Any) -> None:
    with pytest.raises(ModelError, match="expected a float tensor"):
        list(matte(frames(1), lambda batch: [answer], []))
    with pytest.raises(ValueError, match="batch"):
        matte(frames(1), brightness, [], batch=0)


def test_a_new_thread_keeps_its_number_of_cores_when_another_one_sets_its_own() -> None:
    inside, set_elsewhere = threading.Event(), threading.Event()
    found = list[int]()

    def work() -> None:
        with cores(1, before=2):
            inside.set()
            set_elsewhere.wait(10)
            torch.rand(500, 500).sum()
            found.append(torch.get_num_threads())

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    with cores(3):
        set_elsewhere.set()
        thread.join(10)
    assert found == [1]


def test_values_read_well_in_a_terminal() -> None:
    frame = Frame(rgb=torch.zeros(3, 4, 6, dtype=torch.uint8), pts=512, index=7)
    assert repr(frame) == "Frame(7, pts 512, 6×4 uint8)"
    assert repr(Cutout(frame, torch.zeros(4, 6))) == "Cutout(frame 7, alpha 6×4)"
    assert (
        repr(Cutout(frame, torch.zeros(2, 3), foreground=frame.as_float())) == "Cutout(frame 7, alpha 3×2, foreground)"
    )


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_batch_that_is_found_out_is_checked(wrong: int) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        list(matte(frames(3), brightness, [], batch=lambda: wrong))


def test_a_frame_keeps_nothing_elsewhere_once_its_cutout_has_left() -> None:
    """Whoever keeps cut-outs would fill a GPU; here the device that only knows shapes."""
    there = torch.device("meta")

    def elsewhere(batch: Sequence[Frame]) -> list[Tensor]:
        assert all(frame.seen_on(there, (2, 3)).is_meta for frame in batch)
        return brightness(batch)

    for cutout in matte(frames(3), elsewhere, []):
        assert not cutout.frame._copies


def test_what_a_screen_shows_is_sent_if_only_a_cpu_computes_it() -> None:
    seen: list[torch.device] = []

    def view(rgb: Tensor) -> Tensor:
        seen.append(rgb.device)
        return rgb

    frame = replace(frames(1)[0], view=view)
    assert frame.shown_on(torch.device("meta")).is_meta and frame.seen_on(torch.device("meta"), (2, 3)).is_meta
    assert {device.type for device in seen} == {"cpu"}


def test_runs_beside_each_other_leave_opencv_as_it_was() -> None:
    before = cv2.getNumThreads()
    first, second = opencv_cores(1), opencv_cores(1)
    first.__enter__(), second.__enter__()
    first.__exit__(None, None, None)
    assert cv2.getNumThreads() == 1
    second.__exit__(None, None, None)
    assert cv2.getNumThreads() == before


def test_a_stage_ends_its_threads_when_nobody_wants_more() -> None:
    smoother = TemporalSmoother(hands=3)
    cutouts = matte(frames(30), brightness, [smoother])
    next(cutouts)
    assert smoother._pool is not None
    cutouts.close()
    assert smoother._pool is None
