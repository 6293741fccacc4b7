"""Replayed networks give what the network gives, and choose how many frames they take."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from streammatte.frame import Frame
from streammatte.models.birefnet import AT_ONCE, BiRefNetModel
from streammatte.models.device import frames_at_once, stop_at_a_layer
from streammatte.models.graphs import SHAPES, CudaGraphs, Record, Recording, Replayed
from streammatte.models.nets.birefnet import NANO, BiRefNet, BiRefNetConfig, fold_batch_norms
from streammatte.models.nets.swin import SwinConfig

pytestmark = pytest.mark.unit

SMALL = BiRefNetConfig(SwinConfig(32, (2, 2, 4, 2), (1, 2, 4, 8), 7), inter=16, aspp=24, kernels=(1, 3))


class Doubling(nn.Module):
    """Keeps the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, batch: Tensor) -> Tensor:
        self.sizes.append(len(batch))
        return 2 * batch


class InPlace:
    """Records as a device would: each replay reads and writes the same memory."""

    def __init__(self) -> None:
        self.recorded: list[int] = []
        self.replayed: list[int] = []

    def __call__(self, net: nn.Module, batch: Tensor) -> Recording:
        given, answer = batch.clone(), net(batch).clone()
        self.recorded.append(len(batch))

        def replay() -> None:
            self.replayed.append(len(given))
            answer.copy_(2 * given)

        return Recording((given,), answer, replay)


def batch(size: int, value: float = 1) -> Tensor:
    return torch.full((size, 2), value)


def test_a_shape_is_recorded_when_it_comes_again() -> None:
    net, record = Doubling(), InPlace()
    replayed = Replayed(net, record)
    answers = [replayed(batch(size, value)) for value, size in enumerate((3, 3, 1, 3, 1))]
    assert record.recorded == [3, 1]
    assert record.replayed == [3, 3, 1]
    assert net.sizes == [3, 3, 1, 1], "twice each: at first as usual, then recorded"
    for value, answer in enumerate(answers):
        assert torch.equal(answer, torch.full_like(answer, 2 * value)), "no later replay changes it"


def test_type_and_layout_belong_to_the_shape() -> None:
    record = InPlace()
    replayed = Replayed(Doubling(), record)
    picture = torch.ones(1, 4, 4, 4)
    for each in (picture, picture.half(), picture.contiguous(memory_format=torch.channels_last)):
        replayed(each)
    assert not record.recorded
    assert replayed(picture.half()).dtype == torch.float16


def test_the_shape_that_was_used_longest_ago_is_forgotten() -> None:
    record = InPlace()
    replayed = Replayed(Doubling(), record)
    for size in range(1, SHAPES + 1):
        replayed(batch(size)), replayed(batch(size))
    replayed(batch(1))
    replayed(batch(SHAPES + 1))  # instead of 2
    record.replayed.clear()
    for size in (1, 2):
        replayed(batch(size))
    assert record.replayed == [1]


@pytest.mark.parametrize("error", [RuntimeError("operation not permitted"), torch.OutOfMemoryError("out of memory")])
def test_after_a_failure_nothing_is_recorded(error: Exception) -> None:
    tried: list[int] = []

    def failing(net: nn.Module, given: Tensor) -> Recording:
        tried.append(len(given))
        raise error

    net = Doubling()
    replayed = Replayed(net, failing)
    for size in (2, 2, 2, 1, 1):
        assert torch.equal(replayed(batch(size)), 2 * batch(size))
    assert tried == [2]
    assert net.sizes == [2, 2, 2, 1, 1]


def test_what_is_too_large_is_not_recorded_and_other_shapes_are() -> None:
    record, tried = InPlace(), []

    def careful(net: nn.Module, given: Tensor) -> Recording | None:
        tried.append(len(given))
        return record(net, given) if len(given) < 3 else None

    replayed = Replayed(Doubling(), careful)
    for size in (3, 3, 3, 1, 1):
        assert torch.equal(replayed(batch(size)), 2 * batch(size))
    assert (tried, record.recorded) == ([3, 1], [1])


@pytest.mark.parametrize("record", [None, InPlace()], ids=["eager", "replayed"])
def test_a_replay_obeys_who_stops_it(record: Record | None) -> None:
    replayed, stopping = Replayed(Doubling(), record), threading.Event()
    stop_at_a_layer(replayed, stopping)
    replayed(batch(1)), replayed(batch(1))
    stopping.set()
    with pytest.raises(KeyboardInterrupt):
        replayed(batch(1))


def test_as_many_frames_as_a_quarter_of_free_memory_holds() -> None:
    expected = {0: 1, 3: 1, 4: 1, 8: 2, 15: 2, 16: 4, 31: 4, 32: 8, 1000: 8}
    assert {free: frames_at_once(free, 1, 8) for free in expected} == expected
    assert frames_at_once(100, 0, 8) == 8
    assert frames_at_once(1000, 1, 6) == 4
    assert frames_at_once(1000, 1, 1) == 1


def model_of(config: BiRefNetConfig, device: str, dtype: torch.dtype) -> BiRefNetModel:
    torch.manual_seed(0)
    net = fold_batch_norms(BiRefNet(config).eval())
    return BiRefNetModel(net, name="random", device=torch.device(device), dtype=dtype, size=(128, 192))


def frames(count: int) -> list[Frame]:
    draw = torch.Generator().manual_seed(0)
    return [Frame(torch.randint(256, (3, 90, 160), generator=draw, dtype=torch.uint8), i, i) for i in range(count)]


def test_a_cpu_takes_one_frame_at_a_time() -> None:
    assert model_of(NANO, "cpu", torch.float32).at_once() == 1


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("config", [NANO, SMALL], ids=["nano", "swin"])
def test_a_graph_gives_what_the_network_gives(config: BiRefNetConfig, dtype: torch.dtype) -> None:
    model, given = model_of(config, "cuda", dtype), frames(5)
    for some in (given, given[:2], given):
        first, *others = [torch.stack(model(some)) for _ in range(3)]
        for other in others:
            torch.testing.assert_close(other, first, atol=1e-5 if dtype == torch.float32 else 2e-3, rtol=0)
    recorded = [known for known in model._net._known.values() if isinstance(known, Recording)]
    assert sorted(len(each.input) for each in recorded) == [2, 5], "every shape was recorded, without a failure"


@pytest.mark.gpu
def test_what_cannot_be_recorded_is_computed_as_usual() -> None:
    class Asking(nn.Module):
        def forward(self, given: Tensor) -> Tensor:
            return 2 * given if given.sum().item() > 0 else given

    replayed = Replayed(Asking(), CudaGraphs(torch.device("cuda")))
    given = torch.ones(2, 3, device="cuda")
    with torch.inference_mode():
        for _ in range(3):
            assert torch.equal(replayed(given), 2 * given)
    # The device and torch's memory go on as before.
    torch.cuda.empty_cache()
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert torch.zeros(4, device="cuda").sum().item() == 0


@pytest.mark.gpu
def test_a_gpu_takes_several_frames_at_a_time() -> None:
    model = model_of(NANO, "cuda", torch.float16)
    model(frames(2)), model(frames(2))
    assert 1 < model.at_once() <= AT_ONCE
    assert model.at_once() == model.at_once()


def test_shapes_that_change_too_often_are_not_recorded_again() -> None:
    """Recording takes far longer than computing."""
    record = InPlace()
    replayed = Replayed(Doubling(), record)
    for size in (*range(1, 2 * SHAPES + 1),) * 6:
        for _ in range(2):
            assert torch.equal(replayed(batch(size)), 2 * batch(size))
    assert len(record.recorded) == len(set(record.recorded))
