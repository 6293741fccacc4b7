"""The job templates of farms, with a stand-in for the command that only says what it was given."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.unit

FARM = Path(__file__).parents[2] / "docs" / "farm"
LIST = '"a b.mp4" -o "cut/a b.mov"\nc.mp4 $(touch made) cut/c.mov\n'


def run(script: Path, folder: Path, *given: str, task: str = "1") -> subprocess.CompletedProcess[str]:
    """The script in a folder where ``streammatte`` prints its arguments, one a line, and fails for ``fails.mp4``."""
    command = folder / "bin" / "streammatte"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n! [ "$1" = fails.mp4 ]\n')
    command.chmod(0o755)
    there = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": task}
    return subprocess.run(["bash", script, *given], cwd=folder, env=there, capture_output=True, text=True, check=False)


def embedded(template: str, folder: Path, **parameters: str) -> Path:
    """The script in a template, its parameters filled in."""
    step = yaml.safe_load((FARM / template).read_text())["steps"][0]
    text = step["script"]["embeddedFiles"][0]["data"]
    for name, value in parameters.items():
        text = text.replace(f"{{{{Param.{name}}}}}", value).replace(f"{{{{Task.Param.{name}}}}}", value)
    script = folder / "script.sh"
    script.write_text(text)
    return script


def test_slurm_takes_a_line(tmp_path: Path) -> None:
    (tmp_path / "list").write_text(LIST)
    done = run(FARM / "list.sbatch", tmp_path, "list", "--bg", "green")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["--quiet", "--bg", "green", "a b.mp4", "-o", "cut/a b.mov"]


def test_a_list_runs_nothing_but_the_command(tmp_path: Path) -> None:
    (tmp_path / "list").write_text(LIST)
    done = run(FARM / "list.sbatch", tmp_path, "list", task="2")
    assert "$(touch" in done.stdout
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(("line", "text"), [("1", "fails.mp4 a.mov\n"), ("7", "a.mp4 a.mov\n")])
def test_a_failure_fails_the_task(line: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(text)
    script = embedded("list.openjd.yaml", tmp_path, List=str(tmp_path / "list"), Line=line, Options="")
    assert run(script, tmp_path).returncode != 0


def test_open_job_description_takes_a_line(tmp_path: Path) -> None:
    (tmp_path / "list").write_text(LIST)
    script = embedded("list.openjd.yaml", tmp_path, List=str(tmp_path / "list"), Line="1", Options="--quiet")
    done = run(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["--quiet", "a b.mp4", "-o", "cut/a b.mov"]


def test_ranges_are_clipped_to_the_film(tmp_path: Path) -> None:
    asked = {"Input": "in.mov", "Folder": "cut", "Name": "c.####.png", "Start": "10", "Count": "5", "Last": "11"}
    script = embedded("frames.openjd.yaml", tmp_path, **asked, Handles="8", Options="--quiet")
    done = run(script, tmp_path)
    assert done.stdout.splitlines()[:6] == ["in.mov", "cut/.part-10/c.####.png", "--in", "10", "--out", "11"]
