"""What the tests share: a machine without a hub, and clips made once."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

# No test may reach for a network; the ones about the hub bring their own, on the loopback.
os.environ["HF_HUB_OFFLINE"] = "1"

# What corrupts the heap is seen when garbage is collected: CI runs the tests of reading once with hardly any patience.
if threshold := os.environ.get("STREAMMATTE_GC_THRESHOLD"):
    gc.set_threshold(int(threshold))

SAMPLES = Path(__file__).parent.parent / "samples"


def unless(given: Sequence[str], usual: Sequence[str]) -> list[str]:
    """The usual options, each with its value, without those that are given: none may be given twice."""
    options = zip(usual[::2], usual[1::2], strict=True)
    return [part for option in options if option[0] not in given for part in option]


PARTS = {"unit", "media", "e2e"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every file belongs to one part, so that each can be run alone."""
    for item in items:
        if len(PARTS & {mark.name for mark in item.iter_markers()}) != 1:
            raise pytest.UsageError(f"{item.nodeid}: mark its file as one of {sorted(PARTS)}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """``gpu`` tests are skipped without a GPU, and fail instead where one is required: they cannot vanish unseen."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            if os.environ.get("STREAMMATTE_REQUIRE_GPU"):
                pytest.fail("STREAMMATTE_REQUIRE_GPU is set, and torch sees no CUDA device")
            pytest.skip("needs a CUDA device")
