"""What the documents point at is there, and what they tell a reader to type can be typed."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from streammatte.cli import matte
from streammatte.cli.command import Command
from streammatte.cli.main import COMMANDS
from streammatte.cli.parser import instance, parse
from streammatte.options import Options
from streammatte.refusals import refusals

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent
FOLDERS = ("", "docs", "samples", "benchmarks", "training")
DOCUMENTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
EVERY_DOCUMENT = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
ANYWHERE = {"--help", "--help-all", "--version", "--debug"}


def prose_of(document: Path) -> str:
    """The text without its fenced blocks, in which a bracket or a # means something else."""
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors_of(document: Path) -> set[str]:
    """What GitHub calls each heading."""
    headings = re.findall(r"^#+ (.+)$", prose_of(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(document: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(((?!https?://)[^)]+)\)", prose_of(document)):
        path, _, anchor = target.partition("#")
        there = document.parent / path if path else document
        if not there.exists() or (anchor and anchor not in anchors_of(there)):
            yield target


@EVERY_DOCUMENT
def test_links_resolve(document: Path) -> None:
    assert not list(broken_links(document))


def test_every_page_is_linked_to() -> None:
    linked = {
        (document.parent / target.partition("#")[0]).resolve()
        for document in DOCUMENTS
        for target in re.findall(r"\]\(([^)]+)\)", prose_of(document))
    }
    assert not [path.name for path in (ROOT / "docs").glob("*.md") if path.resolve() not in linked]


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 250


@EVERY_DOCUMENT
def test_python_snippets_parse(document: Path) -> None:
    for snippet in re.findall(r"^```python\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE):
        ast.parse(snippet)


def command_named(name: str) -> Command:
    module = importlib.import_module(f"streammatte.cli.{name}") if name in COMMANDS else matte
    return module.COMMAND


def lines_to_type(document: Path) -> Iterator[list[str]]:
    """What follows ``streammatte`` in the lines of shell blocks, comments and pipes cut off."""
    for block in re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            for part in re.split(r" +# ", line)[0].split(" | "):
                if part.startswith("streammatte "):
                    yield shlex.split(part)[1:]


@EVERY_DOCUMENT
def test_lines_to_type_are_understood(document: Path) -> None:
    for arguments in lines_to_type(document):
        command = command_named(arguments[0])
        given = parse(command, arguments[1:] if arguments[0] in COMMANDS else arguments)
        for options in (instance(cls, given) for cls in command.takes):
            assert not isinstance(options, Options) or not list(refusals(options)), arguments


def test_options_are_called_what_the_documents_call_them() -> None:
    known = {
        flag for name in ("", *COMMANDS) for option in command_named(name).options.values() for flag in option.flags
    }
    guides = [document for document in DOCUMENTS if document.parent in (ROOT, ROOT / "docs")]
    for document in guides:
        text = prose_of(document).split("## How the bundled model is made")[0]  # which is not the command's work
        for code in re.findall(r"`((?:--|streammatte )[^`]+)`", text):
            assert set(re.findall(r"--[a-z][a-z-]*", code)) <= known | ANYWHERE, f"{document.name}: {code}"


@EVERY_DOCUMENT
def test_files_that_are_named_exist(document: Path) -> None:
    for name in re.findall(r"`((?:streammatte|tests|benchmarks|samples|training)/[\w/]+\.py)", document.read_text()):
        assert (ROOT / name).exists(), name
