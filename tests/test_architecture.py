"""Imports point down, so that the listing can be read from the top; and the command answers before torch is there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import streammatte

pytestmark = pytest.mark.unit

PACKAGE = Path(streammatte.__file__).parent

# cli → bench, api → batch → run, live → quality, train → pipeline, subject → stages → models, media → color → frame →
# motion, options, errors.
# A room may import from lower levels and from itself.
LEVELS = {
    "errors": 0,
    "motion": 0,
    "frame": 1,
    "options": 1,
    "color": 2,
    "media": 3,
    "models": 3,
    "stages": 4,
    "stride": 4,
    "subject": 5,
    "pipeline": 5,
    "refusals": 6,
    "quality": 6,
    "train": 7,
    "cache": 6,
    "summary": 7,
    "chain": 8,
    "run": 9,
    "live": 9,
    "batch": 10,
    "api": 11,
    "cli": 12,
    "__main__": 13,
}


def imported_rooms(path: Path) -> set[str]:
    """Rooms of the package that a module names in an import, ``TYPE_CHECKING`` ones and late ones included."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports here are absolute, so that they can be searched for"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("streammatte.")}
    return rooms & LEVELS.keys()  # `from streammatte import __version__` names no room


def test_imports_point_down() -> None:
    upward = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        upward += [
            f"{path.relative_to(PACKAGE)} imports {other}"
            for other in imported_rooms(path)
            if other != room and LEVELS[other] >= LEVELS[room]
        ]
    assert upward == []


def test_public_names_are_there() -> None:
    assert streammatte.__all__ == sorted(streammatte.__all__)
    for name in streammatte.__all__:
        assert getattr(streammatte, name) is not None


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from streammatte.cli.main import COMMANDS, main\n"
        "for typed in ([], ['--help'], ['--help-all'], *([name, '--help'] for name in COMMANDS)):\n"
        "    try: assert main(typed) == 2 and not typed\n"
        "    except SystemExit as leaving: assert leaving.code == 0\n"
        "heavy = {'torch', 'av', 'cv2', 'numpy', 'rich', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "examples:" in done.stdout


def test_benchmarks_can_be_imported() -> None:
    """They are run by hand, rarely, and some on machines that are lent by the minute."""
    root = PACKAGE.parent
    names = [f"benchmarks.{path.stem}" for path in sorted((root / "benchmarks").glob("*.py"))]
    assert names
    code = (
        "from importlib import import_module\n"
        f"for name in {names}:\n"
        "    try: import_module(name)\n"
        "    except ModuleNotFoundError as exc:\n"  # a few need packages that the tests do not
        "        if exc.name.partition('.')[0] in ('streammatte', 'benchmarks', 'training'): raise\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
