"""``streammatte models``, the list of checkpoints, and ``streammatte models pull NAME``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from streammatte.models.hub import fetch, locate
from streammatte.models.table import CHECKPOINTS, Checkpoint, find


def list_models(console: Console, as_json: bool = False) -> None:
    """Print every checkpoint, as a table or as a JSON array of objects with sizes in bytes and pixels."""
    found = [(checkpoint, locate(checkpoint)) for checkpoint in CHECKPOINTS]
    if as_json:
        console.out(json.dumps([_as_dict(checkpoint, path) for checkpoint, path in found], indent=2), highlight=False)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("model", no_wrap=True)
    table.add_column("here", no_wrap=True)
    table.add_column("input", justify="right", no_wrap=True)
    table.add_column("licence", max_width=12)
    table.add_column("good at")
    for checkpoint, path in found:
        height, width = checkpoint.size
        table.add_row(
            checkpoint.name if path is None else f"[bold]{checkpoint.name}[/]",
            _here(checkpoint, path),
            f"{width}×{height}",
            checkpoint.licence if checkpoint.commercial else f"[red]{checkpoint.licence}[/]",
            checkpoint.good_at if checkpoint.commercial else f"{checkpoint.good_at}; [red]not for commercial use[/]",
        )
    console.print(table)
    console.print()
    console.print("Download one: streammatte models pull NAME")
    console.print(
        "Use your own: --weights FILE for a BiRefNet, --sdmatte FILE for an SDMatte, --tracker FILE for a SAM 2"
    )


def pull(name: str, console: Console) -> Path:
    """Download a checkpoint with a progress bar, unless it is here; return its file.

    Raises:
        ModelError: Unknown, or as for ``fetch``.
    """
    checkpoint = find(name)
    if notice := checkpoint.licence_notice:
        console.print(notice, style="yellow", highlight=False)
    path = locate(checkpoint)
    if path is None:
        with download_bar(console, checkpoint.name) as on_progress:
            path = fetch(checkpoint, on_progress=on_progress)
    console.print(f"{checkpoint.name} is here: {path}", highlight=False, markup=False, soft_wrap=True)
    return path


@contextmanager
def download_bar(console: Console, label: str) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar that appears at the first call of the yielded function: bytes done, bytes in all."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    progress = Progress(TextColumn("{task.description}"), *columns, console=console)
    task = progress.add_task(label, total=None)

    def update(done: int, total: int | None) -> None:
        progress.start()
        progress.update(task, completed=done, total=total)

    try:
        yield update
    finally:
        progress.stop()


def _here(checkpoint: Checkpoint, path: Path | None) -> str:
    if path is not None:
        return f"[green]{_megabytes(path.stat().st_size)}[/]"
    return f"no ({_megabytes(checkpoint.bytes)})" if checkpoint.bytes else "no"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size < 10e6 else f"{size / 1e6:.0f} MB"


def _as_dict(checkpoint: Checkpoint, path: Path | None) -> dict[str, object]:
    height, width = checkpoint.size
    return {
        "name": checkpoint.name,
        "path": str(path) if path is not None else None,
        "bytes": path.stat().st_size if path is not None else checkpoint.bytes,
        "width": width,
        "height": height,
        "licence": checkpoint.licence,
        "commercial": checkpoint.commercial,
        "good_at": checkpoint.good_at,
        "network": checkpoint.network,
        "repo": checkpoint.repo,
        "revision": checkpoint.revision if checkpoint.repo else None,
        "file": checkpoint.file,
        "sha256": checkpoint.sha256,
    }
