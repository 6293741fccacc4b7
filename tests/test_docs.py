"""What the documents point at is there, and what they tell a reader to type can be typed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent
FOLDERS = ("", "docs", "samples", "benchmarks", "training")
DOCUMENTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(document: Path) -> None:
    assert not list(broken_links(document))


def test_readme_links_to_every_page() -> None:
    """A page that nothing links to is a page that nobody reads."""
    linked = set()
    for document in DOCUMENTS:
        linked |= {(document.parent / t.partition("#")[0]).resolve() for t in re.findall(r"\]\(([^)]+)\)", prose_of(document))}
    assert not [path.name for path in (ROOT / "docs").glob("*.md") if path.resolve() not in linked]


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 250


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_snippets_parse(document: Path) -> None:
    for snippet in re.findall(r"^```python\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE):
        ast.parse(snippet)
