"""Where checkpoints are on this machine, and how they are downloaded.

Files live in the Hugging Face hub's own cache, so downloads are shared with other programs. They are fetched here
rather than by ``hf_hub_download``, which renames a file before its hash has been checked and waits without limit for a
name server that does not answer. The environment (``HF_ENDPOINT``, ``HF_HUB_CACHE``, ``HF_HOME``, ``HF_TOKEN``,
``HF_HUB_OFFLINE``) is read at each call.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from uuid import uuid4

from streammatte.errors import ModelError, WeightsMismatch, WeightsMissing
from streammatte.models.table import BUNDLED, FLAGS, Checkpoint, find

if TYPE_CHECKING:  # a third of a second to import, and most runs find their weights without the network
    from httpx2 import Response
    from huggingface_hub import HfFileMetadata

Progress = Callable[[int, int | None], None]
Result = TypeVar("Result")

HUB_SECONDS = 4.0  # for the hub's first answer, so that a run without a network starts within five seconds
STALL_SECONDS = 30.0  # without a single byte, during a download
ATTEMPTS = 5  # at a download, with pauses that grow fourfold from a tenth of a second


def resolve(
    name: str,
    *,
    device_type: str,
    offline: bool,
    network: str = "birefnet",
    on_progress: Progress | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> tuple[Checkpoint, Path]:
    """The checkpoint that a name stands for, and its file, downloaded if necessary.

    ``"auto"`` is birefnet on a GPU and birefnet-lite-matting on a CPU if they are here or can be downloaded; otherwise
    the bundled checkpoint, with a notice. If only birefnet-lite is here, a CPU uses that: it is nearly as good and
    saves a download.

    Args:
        name: A checkpoint's name, or ``"auto"``.
        device_type: As ``torch.device.type`` has it.
        offline: Do not try the network, as with ``HF_HUB_OFFLINE``.
        network: ``birefnet``, ``sdmatte`` or ``sam2``: what a named checkpoint must be for.
        on_progress: Called with the bytes done and the total (``None`` if unknown) during a download.
        on_notice: Called with a line that the user should see before the model is used.

    Raises:
        ModelError: The name is unknown, or for something else.
        WeightsMissing, WeightsMismatch: As for ``fetch``. For ``"auto"``: the bundled file itself is missing.
    """
    notify = on_notice or (lambda line: None)
    if name != "auto":
        checkpoint = find(name, network)
        if notice := checkpoint.licence_notice:
            notify(notice)
        return checkpoint, _obtain(checkpoint, offline, on_progress)

    wanted = find("birefnet-lite-matting" if device_type == "cpu" else "birefnet")
    if device_type == "cpu" and locate(wanted) is None:
        earlier = find("birefnet-lite")
        if (path := locate(earlier)) is not None:
            return earlier, path
    try:
        return wanted, _obtain(wanted, offline, on_progress)
    except ModelError:
        bundled = find(BUNDLED)
        path = _obtain(bundled, offline, on_progress)
        notify("using the bundled model; `streammatte models` lists better ones")
        return bundled, path


def locate(checkpoint: Checkpoint) -> Path | None:
    """The checkpoint's file if it is on this machine; the network is not used."""
    if checkpoint.repo is None:
        bundled = Path(__file__).with_name(checkpoint.file)
        return bundled if bundled.is_file() else None
    if not _folder(checkpoint.repo).is_dir():
        return None

    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(
        checkpoint.repo, checkpoint.file, cache_dir=hub_cache(), revision=checkpoint.revision
    )
    if isinstance(cached, str):
        return Path(cached)
    # The same bytes under another commit, as a program that follows "main" leaves them. The cache names a blob by
    # its hash, so this comparison is exact.
    for path in _folder(checkpoint.repo).glob(f"snapshots/*/{checkpoint.file}"):
        if path.is_file() and path.resolve().name == checkpoint.sha256:
            return path
    return None


def fetch(checkpoint: Checkpoint, *, on_progress: Progress | None = None, timeout: float = HUB_SECONDS) -> Path:
    """Download the checkpoint into the hub's cache, even if it is there already.

    The file gets its name once its SHA-256 is the table's, or the hub's if the table has none. Until then, and after
    any failure, nothing exists under that name.

    Args:
        checkpoint: One with a ``repo``.
        on_progress: Called with the bytes done and the total (``None`` if the hub does not state it).
        timeout: Seconds for the hub to be found and to start its answer, all steps together.

    Raises:
        WeightsMissing: Offline, unreachable, gated, gone, interrupted, or the cache cannot be written.
        WeightsMismatch: The hub's file is not the table's, or arrived damaged.
    """
    if checkpoint.repo is None:
        raise WeightsMissing(
            f"{checkpoint.file}, the bundled model, is missing",
            hint="reinstall streammatte, or pass a checkpoint with --weights FILE",
        )
    if offline_by_environment():
        raise WeightsMissing(f"{checkpoint.name} is not here, and HF_HUB_OFFLINE is set", hint=_by_hand(checkpoint))
    metadata, response = _ask(checkpoint, timeout)
    part = None
    try:
        commit, sha256 = _check(checkpoint, metadata)
        part = hub_cache() / f"{sha256}.{uuid4().hex}.incomplete"  # in the cache: a rename must not cross file systems
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w+b") as file:
            _receive(checkpoint, response, file, metadata.size or checkpoint.bytes, on_progress, timeout)
            file.seek(0)
            received = hashlib.file_digest(file, "sha256").hexdigest()
        if received != sha256:
            raise WeightsMismatch(
                f"{checkpoint.name} arrived damaged: its SHA-256 is {received}, not {sha256}",
                hint=f"the file was removed; try again, or {_by_hand(checkpoint)}",
            )
        return _file_away(checkpoint, part, commit, sha256)
    except OSError as exc:
        raise WeightsMissing(
            f"cannot write {checkpoint.name} to {hub_cache()}: {exc.strerror or exc}",
            hint="make room, or set HF_HUB_CACHE to another folder",
        ) from exc
    finally:
        response.close()
        if part is not None and part.is_file():
            part.unlink()


def hub_cache() -> Path:
    """The hub's cache folder, by the rules of huggingface_hub, which reads the environment only when imported."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or Path(home) / "hub"
    return Path(os.path.expandvars(cache)).expanduser()


def hub_endpoint() -> str:
    """Without a trailing slash."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def offline_by_environment() -> bool:
    """Whether ``HF_HUB_OFFLINE``, or transformers' own variable, is set."""
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
    """The hub's metadata, and the response whose body is the file, within ``timeout`` seconds in all."""
    from huggingface_hub import errors, get_hf_file_metadata

    repo, endpoint, url = checkpoint.repo, hub_endpoint(), _url(checkpoint, hub_endpoint())

    def ask() -> tuple[HfFileMetadata, Response]:
        metadata = get_hf_file_metadata(url, timeout=timeout, endpoint=endpoint, library_name="streammatte")
        return metadata, _open(url, timeout)

    try:
        return _within(timeout, ask)
    except errors.HfHubHTTPError as exc:
        status, hint = exc.response.status_code, _by_hand(checkpoint)
        message = f"{endpoint} answered {status} for {repo}/{checkpoint.file}"
        if isinstance(exc, errors.RepositoryNotFoundError) or status in (401, 403):
            message = f"cannot download {repo}: it is gated, private or gone"
            hint = f"accept its terms at {endpoint}/{repo} and set HF_TOKEN, or {hint}"
        elif isinstance(exc, errors.EntryNotFoundError | errors.RevisionNotFoundError):
            message = f"{repo} has no {checkpoint.file} at {checkpoint.revision}"
        raise WeightsMissing(message, hint=hint) from exc
    except (_network_error(), OSError) as exc:  # TimeoutError is an OSError
        reason = (str(exc) or f"no answer in {timeout:g} s").splitlines()[0]
        raise WeightsMissing(
            f"{checkpoint.name} is not here, and {endpoint} cannot be reached ({reason})", hint=_by_hand(checkpoint)
        ) from exc


def _check(checkpoint: Checkpoint, metadata: HfFileMetadata) -> tuple[str, str]:
    """The commit and the SHA-256 that the file will be kept under."""
    commit, stated = metadata.commit_hash or "", metadata.etag or ""
    if not re.fullmatch(r"[0-9a-f]{40}", commit) or not re.fullmatch(r"[0-9a-f]{64}", stated):
        # A hotel's sign-in page answers every address. Both end up in file names, so both are checked.
        raise WeightsMissing(
            f"{hub_endpoint()} is not a Hugging Face hub: it stated no commit and SHA-256 for {checkpoint.repo}",
            hint=f"check HF_ENDPOINT and whether the network wants you to sign in, or {_by_hand(checkpoint)}",
        )
    if checkpoint.sha256 not in (None, stated):
        raise WeightsMismatch(
            f"the hub's {checkpoint.repo} is not the known file: its SHA-256 is {stated}, not {checkpoint.sha256}",
            hint="nothing was downloaded; pass a file that you trust with --weights FILE",
        )
    return commit, stated


def _receive(
    checkpoint: Checkpoint,
    response: Response,
    file: BinaryIO,
    total: int | None,
    on_progress: Progress | None,
    timeout: float,
) -> None:
    """Write the body to ``file``, resuming a broken connection where it broke."""
    url, done = _url(checkpoint, hub_endpoint()), 0
    for attempt in range(1, ATTEMPTS + 1):
        try:
            if attempt > 1:
                response = _within(timeout, partial(_open, url, timeout, first=done))
                if response.status_code != 206:  # the whole file again, not the rest
                    done = file.truncate(file.seek(0))
            for chunk in response.iter_bytes():
                file.write(chunk)
                done += len(chunk)
                if on_progress is not None:
                    on_progress(done, total)
            return
        except (_network_error(), TimeoutError) as exc:
            if attempt == ATTEMPTS:
                raise WeightsMissing(
                    f"the download of {checkpoint.name} broke off after {done} of {total or '?'} bytes",
                    hint=f"try again, or {_by_hand(checkpoint)}",
                ) from exc
            time.sleep(0.1 * 4 ** (attempt - 1))
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
    except OSError:  # Windows without developer mode: the hub's library keeps the file itself in the snapshot there
        blob.replace(link)
    if checkpoint.revision != commit:
        branch = folder / "refs" / checkpoint.revision
        branch.parent.mkdir(exist_ok=True)
        branch.write_text(commit)
    return link


def _open(url: str, timeout: float, *, first: int = 0) -> Response:
    """Start reading a file of the hub from byte ``first`` on.

    The hub redirects to another host, by an address that is valid for an hour, so each attempt asks for a new one. The
    HTTP library drops the token on the way: it is for the hub alone.
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
    """The result of ``call``, or ``TimeoutError``. It runs in a thread, because name look-ups have no time limit."""
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
    if checkpoint.network != "birefnet":
        return f"download {url} and pass it with --{FLAGS[checkpoint.network]} FILE"
    return f"download {url} and pass it with --model {checkpoint.name} --weights FILE, or use --model {BUNDLED}"
