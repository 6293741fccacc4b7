"""Where checkpoints are on this machine, and how they get here.

Files live in the Hugging Face hub's own cache, so what other programs have fetched is found, and the other way round.
They are fetched by this module rather than by ``hf_hub_download``, which renames a file before anyone has hashed it
and, with a name server that does not answer, waits for as long as the operating system does. The environment
(``HF_ENDPOINT``, ``HF_HUB_CACHE``, ``HF_HOME``, ``HF_TOKEN``, ``HF_HUB_OFFLINE``) is read at each call.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from streammatte.errors import ModelError, WeightsMismatch, WeightsMissing
from streammatte.models.table import CHECKPOINTS, Checkpoint

if TYPE_CHECKING:  # a third of a second to import, and most runs find their weights without the network
    from httpx2 import Response
    from huggingface_hub import HfFileMetadata

Progress = Callable[[int, int | None], None]
Result = TypeVar("Result")

EMBEDDED = "birefnet-nano"
HUB_SECONDS = 4.0  # for the hub's first answer; with starting up, within the five seconds that are promised
STALL_SECONDS = 30.0  # without a single byte, in the middle of a download
ATTEMPTS = 5  # to take a broken download up again, a tenth of a second apart at first and four times longer each

_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def find(name: str, network: str | None = None) -> Checkpoint:
    """The checkpoint of that name.

    Args:
        name: As the table has it.
        network: What it has to be for; anything by default.

    Raises:
        ModelError: There is none, and the hint lists the names that come close; or it is for something else.
    """
    names = [checkpoint.name for checkpoint in CHECKPOINTS]
    if name in names:
        found = CHECKPOINTS[names.index(name)]
        if network in (None, found.network):
            return found
        if network == "birefnet":
            raise ModelError(
                f"{name} sees through glass, and mattes no whole frame by itself",
                hint=f"--sdmatte {name} puts it beside another --model",
            )
        raise ModelError(
            f"{name} mattes whole frames, and sees through nothing",
            hint=f"--model {name} takes it; --sdmatte takes sdmatte, sdmatte-plus, sdmatte-lite or a file",
        )
    close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    raise ModelError(f"unknown model: {name}", hint=f"{meant}`streammatte models` lists all of them")


def locate(checkpoint: Checkpoint) -> Path | None:
    """The checkpoint's file if it is on this machine, without a look at the network."""
    if checkpoint.repo is None:
        embedded = Path(__file__).with_name(checkpoint.file)
        return embedded if embedded.is_file() else None
    if not _folder(checkpoint.repo).is_dir():
        return None

    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(
        checkpoint.repo, checkpoint.file, cache_dir=hub_cache(), revision=checkpoint.revision
    )
    if isinstance(cached, str):
        return Path(cached)
    # The same bytes under another commit, as a program that follows "main" leaves them. The cache names a blob by
    # its hash, which makes this exact.
    for path in _folder(checkpoint.repo).glob(f"snapshots/*/{checkpoint.file}"):
        if path.is_file() and path.resolve().name == checkpoint.sha256:
            return path
    return None


def fetch(checkpoint: Checkpoint, *, on_progress: Progress | None = None, timeout: float = HUB_SECONDS) -> Path:
    """Download the checkpoint into the hub's cache, whether or not it is there already.

    The file gets its name once its SHA-256 is the table's, or the hub's where the table has none; until then, and
    after any failure, nothing is there under that name.

    Args:
        checkpoint: One that has a ``repo``.
        on_progress: Called with the bytes done and the bytes in all (``None`` if the hub does not say).
        timeout: Seconds for the hub to be found and to begin its answer, all steps together.

    Raises:
        WeightsMissing: Offline, unreachable, gated, gone, broken off, or the cache cannot be written.
        WeightsMismatch: The hub's file is another one than the table's, or arrived damaged.
    """
    if checkpoint.repo is None:
        raise WeightsMissing(
            f"{checkpoint.name} is part of streammatte, and its file {checkpoint.file} is gone",
            hint="install streammatte again, or pass a checkpoint with --weights FILE",
        )
    if offline_by_environment():
        raise WeightsMissing(f"{checkpoint.name} is not here, and HF_HUB_OFFLINE is set", hint=_by_hand(checkpoint))
    metadata, response = _ask(checkpoint, timeout)
    try:
        commit, sha256 = _check(checkpoint, metadata)
        part = hub_cache() / f"{sha256}.{uuid4().hex}.incomplete"  # in the cache: a rename must not cross file systems
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            received = _receive(checkpoint, metadata, response, part, on_progress, timeout)
            if received != sha256:
                raise WeightsMismatch(
                    f"{checkpoint.name} arrived damaged: its SHA-256 is {received}, not {sha256}",
                    hint=f"the file was removed; try again, or {_by_hand(checkpoint)}",
                )
            return _file_away(checkpoint, part, commit, sha256)
        finally:
            part.unlink(missing_ok=True)
    except OSError as exc:
        raise WeightsMissing(
            f"cannot write {checkpoint.name} to {hub_cache()}: {exc.strerror or exc}",
            hint="make room, or set HF_HUB_CACHE to a folder elsewhere",
        ) from exc
    finally:
        response.close()


def resolve(
    name: str,
    *,
    device_type: str,
    offline: bool,
    network: str = "birefnet",
    on_progress: Progress | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> tuple[Checkpoint, Path]:
    """The checkpoint that a name stands for, and its file, fetched if need be.

    ``"auto"`` is birefnet on a GPU and birefnet-lite-matting on a CPU where they are here or can be fetched, and
    otherwise the embedded checkpoint, with a notice of what that means. Where birefnet-lite is here and
    birefnet-lite-matting is not, a CPU takes birefnet-lite, which does nearly as well without another download.

    Args:
        name: A checkpoint's name, or ``"auto"``.
        device_type: As ``torch.device.type`` has it.
        offline: Do not try the network, as with ``HF_HUB_OFFLINE``.
        network: What a named checkpoint has to be for, as the table has it.
        on_progress: As for ``fetch``.
        on_notice: Called with a line that the user should see before the model is used.

    Raises:
        ModelError: No such name, or one for something else.
        WeightsMissing, WeightsMismatch: As for ``fetch``. For ``"auto"``: the embedded file itself is gone.
    """
    notify = on_notice or (lambda line: None)
    if name != "auto":
        checkpoint = find(name, network)
        if not checkpoint.commercial:
            notify(licence_notice(checkpoint))
        return checkpoint, _obtain(checkpoint, offline, on_progress)

    wanted = find("birefnet-lite-matting" if device_type == "cpu" else "birefnet")
    if device_type == "cpu" and locate(wanted) is None:
        earlier = find("birefnet-lite")
        if (path := locate(earlier)) is not None:
            return earlier, path
    try:
        return wanted, _obtain(wanted, offline, on_progress)
    except ModelError as exc:
        embedded = find(EMBEDDED)
        path = _obtain(embedded, offline, on_progress)
        notify(
            f"using {EMBEDDED}, the embedded model, because {exc}. It is small and made for trying out: faces and "
            f"figures at webcam distance, coarse in hair and fine edges. For the real one: "
            f"`streammatte models pull {wanted.name}` once, or --weights FILE"
        )
        return embedded, path


def licence_notice(checkpoint: Checkpoint) -> str:
    """The line to show before a checkpoint is used that is not for commercial use."""
    where = f" (https://huggingface.co/{checkpoint.repo})" if checkpoint.repo else ""
    return f"{checkpoint.name} is licensed {checkpoint.licence}: not for commercial use{where}"


def hub_cache() -> Path:
    """The hub's cache folder, by the rules of huggingface_hub, which reads the environment at its import only."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or Path(home) / "hub"
    return Path(os.path.expandvars(cache)).expanduser()


def hub_endpoint() -> str:
    """The hub's address, without a slash at its end."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def offline_by_environment() -> bool:
    """Whether ``HF_HUB_OFFLINE`` (or transformers' own variable, which the hub's library takes too) is set."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in {"1", "ON", "YES", "TRUE"}


def _obtain(checkpoint: Checkpoint, offline: bool, on_progress: Progress | None) -> Path:
    path = locate(checkpoint)
    if path is not None:
        return path
    if offline and checkpoint.repo is not None:
        raise WeightsMissing(f"{checkpoint.name} is not here, and --offline is set", hint=_by_hand(checkpoint))
    return fetch(checkpoint, on_progress=on_progress)


def _ask(checkpoint: Checkpoint, timeout: float) -> tuple[HfFileMetadata, Response]:
    """What the hub says of the file, and the response whose body is the file, within ``timeout`` seconds in all."""
    from huggingface_hub import errors, get_hf_file_metadata

    repo, endpoint, url = checkpoint.repo, hub_endpoint(), _url(checkpoint, hub_endpoint())

    def ask() -> tuple[HfFileMetadata, Response]:
        metadata = get_hf_file_metadata(url, timeout=timeout, endpoint=endpoint, library_name="streammatte")
        return metadata, _open(url, timeout)

    try:
        return _within(timeout, ask)
    except errors.HfHubHTTPError as exc:
        status, hint = exc.response.status_code, _by_hand(checkpoint)
        message = f"{endpoint} answers {status} for {repo}/{checkpoint.file}"
        if isinstance(exc, errors.RepositoryNotFoundError) or status in (401, 403):
            message = f"the hub does not hand out {repo}: it is gated, private or gone"
            hint = f"accept its terms at {endpoint}/{repo} and set HF_TOKEN, or {hint}"
        elif isinstance(exc, errors.EntryNotFoundError | errors.RevisionNotFoundError):
            message = f"{repo} has no {checkpoint.file} at {checkpoint.revision}"
        raise WeightsMissing(message, hint=hint) from exc
    except (_network_error(), OSError) as exc:  # TimeoutError is an OSError
        reason = (str(exc) or f"no answer in {timeout:g} s").splitlines()[0]
        raise WeightsMissing(
            f"{checkpoint.name} is not here, and {endpoint} cannot be reached ({reason})",
            hint=_by_hand(checkpoint),
        ) from exc


def _check(checkpoint: Checkpoint, metadata: HfFileMetadata) -> tuple[str, str]:
    """The commit and the SHA-256 that the file will be kept under."""
    commit, stated = metadata.commit_hash or "", metadata.etag or ""
    if not _COMMIT.fullmatch(commit) or not _SHA256.fullmatch(stated):
        # A sign-in page of a hotel's network answers every address, too. Both end up in file names: never as they are.
        raise WeightsMissing(
            f"{hub_endpoint()} does not answer as a hub does: no commit and SHA-256 for {checkpoint.repo}",
            hint=f"look at HF_ENDPOINT and at the network's sign-in page, or {_by_hand(checkpoint)}",
        )
    if checkpoint.sha256 not in (None, stated):
        raise WeightsMismatch(
            f"the hub's {checkpoint.repo} is another file than the one known here: its SHA-256 is {stated}, "
            f"not {checkpoint.sha256}",
            hint="nothing was fetched; pass a file that you trust with --weights FILE",
        )
    return commit, stated


def _receive(
    checkpoint: Checkpoint,
    metadata: HfFileMetadata,
    response: Response,
    part: Path,
    on_progress: Progress | None,
    timeout: float,
) -> str:
    """Write the body to ``part``, taking a broken connection up again where it broke; its SHA-256."""
    broken = (_network_error(), TimeoutError)
    url, total = _url(checkpoint, hub_endpoint()), metadata.size or checkpoint.bytes
    digest, done, attempt = hashlib.sha256(), 0, 1
    with part.open("wb") as file:
        while True:
            try:
                if attempt > 1:
                    response = _within(timeout, partial(_open, url, timeout, first=done))
                    if response.status_code != 206:  # not the rest, but the whole file again
                        file.truncate(file.seek(0))
                        digest, done = hashlib.sha256(), 0
                for chunk in response.iter_bytes():
                    file.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    if on_progress is not None:
                        on_progress(done, total)
                return digest.hexdigest()
            except broken as exc:
                if attempt == ATTEMPTS:
                    raise WeightsMissing(
                        f"the download of {checkpoint.name} broke off after {done} of {total or '?'} bytes",
                        hint=f"try again, or {_by_hand(checkpoint)}",
                    ) from exc
                time.sleep(0.1 * 4 ** (attempt - 1))
                attempt += 1
            finally:
                response.close()


def _file_away(checkpoint: Checkpoint, part: Path, commit: str, sha256: str) -> Path:
    """Move the finished file to where the hub's library keeps and finds it: a blob, and a snapshot's link to it."""
    folder = _folder(str(checkpoint.repo))
    blob, link = folder / "blobs" / sha256, folder / "snapshots" / commit / checkpoint.file
    blob.parent.mkdir(parents=True, exist_ok=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    part.replace(blob)
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(os.path.relpath(blob, link.parent))
    except OSError:  # Windows without developer mode: there the hub's library keeps the file itself in the snapshot
        blob.replace(link)
    if checkpoint.revision != commit:
        branch = folder / "refs" / checkpoint.revision
        branch.parent.mkdir(exist_ok=True)
        branch.write_text(commit)
    return link


def _open(url: str, timeout: float, *, first: int = 0) -> Response:
    """Start to read a file of the hub from byte ``first`` on.

    The hub sends us on to another host, by an address that is good for an hour; each attempt asks for a new one. The
    token is for the hub alone: the HTTP library drops it on the way.
    """
    from huggingface_hub import get_session, get_token

    headers = {"Accept-Encoding": "identity"}
    if first:
        headers["Range"] = f"bytes={first}-"
    if token := get_token():
        headers["Authorization"] = f"Bearer {token}"
    session = get_session()
    connect_read_write_pool = (timeout, STALL_SECONDS, timeout, timeout)
    request = session.build_request("GET", url, headers=headers, timeout=connect_read_write_pool)
    response = session.send(request, stream=True, follow_redirects=True)
    if response.is_error:
        response.close()
        response.raise_for_status()
    return response


def _within(seconds: float, call: Callable[[], Result]) -> Result:
    """The result of ``call``, or ``TimeoutError``. In a thread, because looking up a host's name has no time limit."""
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as exc:
            outcome.set_exception(exc)

    threading.Thread(target=run, name="hub", daemon=True).start()
    return outcome.result(seconds)


def _network_error() -> type[Exception]:
    """The base of what the hub's HTTP library raises: httpx's under huggingface_hub 1, httpx2's under 2."""
    from huggingface_hub.errors import HfHubHTTPError

    return next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")


def _folder(repo: str) -> Path:
    return hub_cache() / f"models--{repo.replace('/', '--')}"


def _url(checkpoint: Checkpoint, endpoint: str) -> str:
    return f"{endpoint}/{checkpoint.repo}/resolve/{checkpoint.revision}/{checkpoint.file}"


def _by_hand(checkpoint: Checkpoint) -> str:
    url = _url(checkpoint, "https://huggingface.co")
    if checkpoint.network == "sdmatte":
        return f"fetch {url} by any means and pass it with --sdmatte FILE"
    return (
        f"fetch {url} by any means and pass it with --model {checkpoint.name} --weights FILE, or use --model {EMBEDDED}"
    )
