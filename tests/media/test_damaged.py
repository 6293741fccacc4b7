"""Files of every format that something happened to, each through the real command: every end is a clear one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.damaging import complaints, runs

pytestmark = pytest.mark.media

EACH = 2  # of a format; benchmarks/damaged.py has nine times as many
SEED = 5


def test_every_damaged_input_ends_clearly(tmp_path: Path) -> None:
    done = runs(tmp_path, EACH, seed=SEED, processes=2)
    wrong = [
        f"{run.given} ({run.kind}, {run.damage}): {complaint}\n{run.end.err}"
        for run in done
        for complaint in complaints(run)
    ]
    assert not wrong, "\n".join(wrong)
    codes = [run.end.code for run in done]
    assert min(codes.count(0), codes.count(1)) > len(done) / 10, "some are refused, and of some what is whole is kept"
