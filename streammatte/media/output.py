"""Files that appear under their final name only when they are whole."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from streammatte.errors import UnsupportedOutput, WriteFailed
from streammatte.media.sequence import NumberedName


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse an output that could not be put in its place, before any work is done.

    Raises:
        WriteFailed: The folder is missing or cannot be written, or the output exists and may not be replaced.
        UnsupportedOutput: The name is that of a folder.
    """
    folder = path.parent
    if not folder.is_dir():
        raise WriteFailed(f"there is no folder {folder}", hint=f"create it first: mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteFailed(f"the folder {folder} cannot be written", hint="choose another, or change its permissions")
    if path.is_dir():
        raise UnsupportedOutput(f"{path} is a folder", hint=f"name a file in it, such as {path / 'out.mov'}")
    numbered = NumberedName.parse(path)
    there = path if path.exists() else None
    if numbered is not None and (numbers := numbered.numbers()):
        there = numbered.path(numbers[0])
    if there is not None and not overwrite:
        raise WriteFailed(f"{there} exists", hint="choose another name, or replace it with --overwrite")


def temporary_beside(path: Path) -> Path:
    """A hidden, unused name in the same folder, so that renaming it is one step on one file system."""
    return path.with_name(f".{path.stem[:64]}.{uuid4().hex[:12]}.part")
