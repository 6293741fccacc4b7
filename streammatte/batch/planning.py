"""What of a batch is left to do, by what the manifest and the files say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from streammatte.batch.jobs import Job
from streammatte.batch.manifest import Manifest, Record, asked_of, intact, read_of, stat_of
from streammatte.errors import WriteFailed
from streammatte.media.read.numbered import NumberedName
from streammatte.media.remote import FILE_SYSTEMS, place_of
from streammatte.options import Network, Options
from streammatte.stages.transparent.sdmatte_on_demand import weights_signature

State = Literal["new", "changed", "interrupted", "failed", "finished", "unchanged"]


class Notices(Protocol):
    """What finding the weights reports."""

    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Step:
    """A job, and whether there is anything to do for it.

    Attributes:
        job: Its network is named, where ``auto`` was asked, and it may replace what earlier runs wrote.
        state: ``unchanged`` and ``finished`` need no work. A ``finished`` one was killed between its output and the
            manifest's line.
        why: What has changed.
        read: What it reads, as the manifest will have it.
        before: Size and time of each output that is there, by its name in the manifest.
        known: Its last record.
    """

    job: Job
    state: State
    why: str
    read: dict[str, dict[str, Any]]
    before: dict[str, dict[str, int] | None]
    known: Record | None

    @property
    def to_do(self) -> bool:
        return self.state not in ("unchanged", "finished")


def planned(jobs: Sequence[Job], manifest: Manifest, notices: Notices) -> list[Step]:
    """A step for each job.

    Weights are fetched if they are not here, once for all jobs.

    Raises:
        WriteFailed: An output exists that no earlier run wrote, and ``--overwrite`` is not given.
        ModelError, DeviceError: There are no such weights, or no such device.
    """
    found: dict[Network, tuple[Network, dict[str, Any]]] = {}
    steps, strange = [], []
    for job in jobs:
        asked = replace(job.options.network, batch=1, stride=1)
        if asked not in found:
            found[asked] = _weights(asked, notices)
        network, weights = found[asked]
        named = replace(job.options.network, model=network.model)
        job = replace(job, options=replace(job.options, network=named))  # as it is recorded
        step = _step(job, manifest, weights)
        if not job.options.writing.overwrite:
            strange += [output for output in job.outputs if _strange(output, step, manifest)]
        writing = replace(job.options.writing, overwrite=True)
        options = replace(job.options, writing=writing if step.known else job.options.writing)
        steps.append(replace(step, job=replace(job, options=options)))
    if strange:
        others = f", and {len(strange) - 1} more," if len(strange) > 1 else ""
        raise WriteFailed(
            f"{strange[0]}{others} exists, and not as an earlier run wrote it",
            hint="replace it with --overwrite, or choose other names with --to or --name",
        )
    return steps


def _weights(network: Network, notices: Notices) -> tuple[Network, dict[str, Any]]:
    """The network by its own name, and its checkpoint's fingerprint."""
    if network.weights is not None:
        return network, read_of(network.weights)
    from streammatte.models.device import choose_device
    from streammatte.models.hub import resolve

    checkpoint, path = resolve(
        network.model,
        device_type=choose_device(network.device).type,
        offline=network.offline,
        on_progress=notices.fetching,
        on_notice=notices.notice,
    )
    return replace(network, model=checkpoint.name), read_of(str(path))


def _step(job: Job, manifest: Manifest, weights: dict[str, Any]) -> Step:
    known = manifest.of(job)
    was = known.get("read", {}) if known else {}
    read = {what: read_of(path, was.get(what)) for what, path in job.reads()} | {"weights": weights}
    asked = job.options.transparency
    if asked.transparency == "on" or asked.transparent or asked.transparent_masks:
        read["sdmatte"] = {"size": 0, "mtime": 0, "hash": weights_signature(asked.sdmatte, "sdmatte")}
    before = {manifest.name(output): stat_of(output) for output in job.outputs}
    state, why = _compared(job, known, read, before, manifest)
    return Step(job, state, why, read, before, known)


def _compared(
    job: Job,
    known: Record | None,
    read: Mapping[str, Mapping[str, Any]],
    before: Mapping[str, Mapping[str, int] | None],
    manifest: Manifest,
) -> tuple[State, str]:
    if known is None:
        return "new", ""
    other = next((why for why, same in _sames(job, known, read, before) if not same), None)
    if known["state"] == "failed":
        return "failed", "failed before"
    if known["state"] == "asked":
        # Published all at once, but for numbered pictures: whether those are all there, nobody knows.
        whole = all(now is not None and now != known["before"].get(name) for name, now in before.items())
        if other is None and whole and not any(NumberedName.parse(output) for output in job.outputs):
            return "finished", ""
        return "interrupted", "interrupted before"
    if other is not None:
        return "changed", f"{other} changed"
    for output in job.outputs:
        wrote = known["written"].get(manifest.name(output))
        if wrote is None or not intact(output, wrote):
            return "changed", f"{Path(output).name} is missing or changed"
    return "unchanged", ""


def _sames(
    job: Job, known: Record, read: Mapping[str, Mapping[str, Any]], before: Mapping[str, object]
) -> list[tuple[str, bool]]:
    """What can have changed, and whether it is the same."""
    was = known.get("read", {})

    def contents(of: Mapping[str, Mapping[str, Any]], what: str) -> tuple[object, object]:
        return of.get(what, {}).get("size"), of.get(what, {}).get("hash")

    files = [(what.split()[0], contents(was, what) == contents(read, what)) for what in {**was, **read}]
    return [("options", known["options"] == asked_of(job)), ("outputs", known["outputs"] == list(before)), *files]


def _strange(output: str, step: Step, manifest: Manifest) -> bool:
    """Whether something is there that no earlier run wrote or was allowed to replace."""
    name = manifest.name(output)
    now = step.before[name]
    if now is None:
        return False
    known = step.known or {}
    if "before" in known:  # unfinished: it is what was there, or what a killed run completed
        return bool(known["state"] == "failed") and now != known["before"].get(name)
    wrote = known.get("written", {}).get(name)
    return wrote is None or not intact(output, wrote)


def missing_folders(options: Options) -> None:
    """Make the folders that outputs are to lie in."""
    named = (*options.writing.files, options.writing.deliver, options.reporting.report)
    for folder in {place_of(name).parent for name in named if name is not None}:
        try:
            if isinstance(folder, Path):
                folder.mkdir(parents=True, exist_ok=True)
            elif folder.url.startswith(FILE_SYSTEMS):  # elsewhere, a folder is the beginning of a name
                system, path = folder.system()
                system.makedirs(path, exist_ok=True)
        except OSError as exc:
            reason = (exc.strerror or str(exc)).lower()
            raise WriteFailed(f"cannot create the folder {folder}: {reason}", hint="choose another name") from exc
