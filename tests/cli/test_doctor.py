"""The report on this machine, whole and broken."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from streammatte.cli import doctor

pytestmark = pytest.mark.unit


def test_what_the_tests_themselves_need_is_found() -> None:
    found = {check.name: check for check in doctor.examine()}
    for name in ("python", "torch", "cpu", "pyav", "ffmpeg", "opencv", "numpy"):
        assert found[name].ok, found[name]
    for codec, mode, _ in doctor.CODECS:
        assert found[f"{codec}, {'write' if mode == 'w' else 'read'}"].ok
    assert found["torch"].detail == torch.__version__


def test_whatever_is_missing_says_what_that_costs() -> None:
    for check in doctor.examine():
        assert check.ok != bool(check.hint), check


def test_the_report_fits_a_terminal() -> None:
    page = io.StringIO()
    doctor.print_report(Console(file=page, width=80))
    lines = page.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert {line.split()[0] for line in lines if not line.startswith(" ")} <= {"ok", "missing"}


def test_the_report_as_json() -> None:
    page = io.StringIO()
    doctor.print_report(Console(file=page, width=20), as_json=True)
    assert [row["name"] for row in json.loads(page.getvalue())] == [check.name for check in doctor.examine()]


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_is_said(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    (hub,) = (check for check in doctor.examine() if check.name == "hub")
    assert not hub.ok and hub.hint


def test_parts_that_cannot_be_imported_are_lines_of_the_report(tmp_path: Path) -> None:
    lines = {"torch": "torch", "av": "pyav", "cv2": "opencv", "numpy": "numpy"}
    for module in lines:
        (tmp_path / f"{module}.py").write_text("raise OSError('libGL.so.1: cannot open shared object file')\n")
    script = (
        "from rich.console import Console\n"
        "from streammatte.cli.doctor import print_report\n"
        "print_report(Console(), True)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = {check["name"]: check for check in json.loads(run.stdout)}
    for line in lines.values():
        assert not found[line]["ok"] and "libGL.so.1" in found[line]["detail"] and found[line]["hint"]
    assert found["python"]["ok"]


def test_a_look_that_fails_does_not_take_the_others_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(checkpoint: object) -> None:
        raise PermissionError("/root/.cache")

    monkeypatch.setattr(doctor, "locate", fail)
    found = {check.name: check for check in doctor.examine()}
    assert not found["weights"].ok and "PermissionError" in found["weights"].detail
    assert found["hub"].name == "hub"
