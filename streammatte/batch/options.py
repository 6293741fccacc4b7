"""What can be asked of a batch."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Literal

from streammatte.options import Options, Spreading
from streammatte.options.field import like, option, options_of, without


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """See ``streammatte batch --help``."""

    to: str = option(
        MISSING,
        "--to DIR",
        section="batch",
        example="cutouts",
        common=True,
        help="folder for the outputs and the manifest; it is made if it does not exist",
    )
    inputs: tuple[str, ...] = option(
        (), "INPUT", common=True, help='clips, pictures, numbered names, folders, "globs", or a list: .csv or .json'
    )
    listed: str | None = option(
        None, "--list FILE", example="shots.csv", help="a list, whatever its name ends in; see docs/batch.md"
    )
    name: str = option(
        "{stem}{suffix}",
        "--name TEMPLATE",
        example="{stem}_cut{suffix}",
        common=True,
        help="the outputs' names, of {stem}, {suffix}, the input's whole {name}, its {folder} and its {number} here",
    )
    suffix: Literal["mov", "webm", "mkv", "mp4", "gif", "webp", "png", "tif", "exr", "jpg"] | None = option(
        None,
        "--format",
        common=True,
        help="format to write; pictures take it if it is one of pictures (default: .mov for clips, .png for pictures)",
    )
    dry_run: bool = option(
        False,
        "--dry-run",
        common=True,
        help="show what would be done, and how long and large it would be by a short measurement",
    )


@dataclass(frozen=True, slots=True)
class BatchSpreading:
    """``Spreading`` over whole inputs."""

    workers: int | None = like(
        Spreading,
        "workers",
        section="several workers",
        help="do N inputs at once, each in a process that loads the model (default with --engine ray: one for each GPU "
        "of the cluster, or else for each core; otherwise all are done in this process)",
    )
    engine: Literal["local", "ray"] = like(Spreading, "engine")
    address: str | None = like(Spreading, "address")


BatchedOptions = without(Options, "input", "outputs", "resume", *options_of(Spreading))
"""The options of every run; a list can change them for each input."""
