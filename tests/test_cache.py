"""The matte cache: no network is asked twice, and damage costs no more than what is damaged."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from streammatte.cache import MatteCache, Remembered, RememberedRegions
from streammatte.frame import Frame
from streammatte.media.matte_records import packed, unpacked

pytestmark = pytest.mark.unit

KEY = {"source": "a clip", "size": "64x64"}


def matte(index: int) -> torch.Tensor:
    steps = np.random.default_rng(index).integers(0, 65536, (24 + index, 32))
    return torch.from_numpy(steps.astype(np.float32)) / 65535


def at(index: int, pts: int | None = None) -> Frame:
    return Frame(torch.zeros(3, 8, 8, dtype=torch.uint8), index if pts is None else pts, index)


def opened(folder: Path, notices: list[str] | None = None, *, keep: bool = True, **key: str) -> MatteCache:
    said = [] if notices is None else notices
    return MatteCache(folder, "clip", KEY | key, keep=keep, notice=said.append)


def filled(folder: Path, count: int = 6) -> Path:
    with opened(folder) as cache:
        for index in range(count):
            cache.put(bytes(8), at(index), matte(index))
    return next(folder.glob("clip.*.mattes"))


def test_answers_come_back_bit_for_bit(tmp_path: Path) -> None:
    for shape in ((1, 1), (1, 9), (7, 1), (40, 33)):
        steps = np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)
        assert np.array_equal(unpacked(packed(steps), shape), steps)
    filled(tmp_path)
    with opened(tmp_path) as cache:
        for index in range(6):
            assert torch.equal(cache.get(bytes(8), at(index)), matte(index))
        assert cache.get(b"another.", at(0)) is None and cache.get(bytes(8), at(6)) is None
        assert cache.get(bytes(8), at(5, pts=4)) is None, "another picture"
    with opened(tmp_path, size="96x96") as cache:
        assert len(cache) == 0


def test_torn_and_damaged_files_cost_no_more_than_what_is_damaged(tmp_path: Path) -> None:
    path = filled(tmp_path)
    data = path.read_bytes()
    chance = random.Random(1)
    for case in range(60):
        cut, place = chance.randrange(len(data) + 1), chance.randrange(len(data))
        flipped = data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]
        path.write_bytes(data[:cut] if case % 2 else flipped)
        with opened(tmp_path) as cache:
            found = [cache.get(bytes(8), at(index)) for index in range(6)]
            assert all(alpha is None or torch.equal(alpha, matte(index)) for index, alpha in enumerate(found))
            for index in range(6):
                cache.put(bytes(8), at(index), matte(index))
        with opened(tmp_path) as cache:
            assert all(torch.equal(cache.get(bytes(8), at(index)), matte(index)) for index in range(6)), (
                case,
                cut,
                place,
            )


def test_foreign_files_are_left_out(tmp_path: Path) -> None:
    path = filled(tmp_path)
    for foreign in (b"", b"\0" * 5000, b"streammatte mattes 1\n{}\n", b"streammatte mattes 1\n" + b"x" * 100_000):
        path.write_bytes(foreign)
        with opened(tmp_path) as cache:
            assert len(cache) == 0 and cache.get(bytes(8), at(0)) is None


def test_where_nothing_can_be_written_one_notice_is_all(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    notices: list[str] = []
    with opened(tmp_path / "file", notices) as cache:
        for index in range(30):
            cache.put(bytes(8), at(index), matte(index))
            assert cache.get(bytes(8), at(index)) is None
    assert len(notices) == 1


def test_another_run_reads_and_does_not_write(tmp_path: Path) -> None:
    with opened(tmp_path, keep=False) as first:
        first.put(bytes(8), at(0), matte(0))
        with opened(tmp_path, keep=False) as second:
            second.put(bytes(8), at(1), matte(1))
        assert list(tmp_path.glob(".clip.*.mattes"))
    assert not list(tmp_path.iterdir())


class Counting:
    """Keeps Model's contract; its answers tell the batch apart."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, frames: Sequence[Frame]) -> list[torch.Tensor]:
        self.asked.append([frame.index for frame in frames])
        return [torch.full((8, 8), 1 / (3 + frame.index)) for frame in frames]


def frames(*indices: int) -> list[Frame]:
    return [at(index) for index in indices]


def test_a_model_is_asked_for_what_is_missing(tmp_path: Path) -> None:
    network = Counting()
    plain = Remembered(Counting(), None)(frames(0, 1))
    with opened(tmp_path) as cache:
        first = Remembered(network, cache)
        assert all(map(torch.equal, first(frames(0, 1)), plain)), "the same with and without a cache"
    with opened(tmp_path) as cache:
        again = Remembered(network, cache)
        assert all(map(torch.equal, again(frames(0, 1)), plain))
        again(frames(1, 2))  # half of it is known, and a batch of another size could give other bits
    assert network.asked == [[0, 1], [1, 2]]
    assert (again.read, again.computed) == (2, 2)


def test_nan_is_not_stored(tmp_path: Path) -> None:
    with opened(tmp_path) as cache:
        (answer,) = Remembered(lambda asked: [torch.full((4, 4), torch.nan)], cache)(frames(0))
        assert answer.isnan().all()
    assert not list(tmp_path.iterdir())


def test_answers_about_a_region_belong_to_it(tmp_path: Path) -> None:
    asked: list[int] = []

    def matted(frame: Frame, region: torch.Tensor) -> torch.Tensor:
        asked.append(frame.index)
        return region.float() / 3

    left, right = torch.zeros(8, 8, dtype=torch.bool), torch.zeros(8, 8, dtype=torch.bool)
    left[:, :4] = right[:, 4:] = True
    for identity in ("one", "one", "another", None):
        with opened(tmp_path) as cache:
            regions = RememberedRegions(matted, cache, lambda identity=identity: identity)
            for region in (left, right):
                assert torch.allclose(regions(frames(5)[0], region), region.float() / 3, atol=1e-5)
    assert len(asked) == 2 + 0 + 2 + 2
