"""The table of checkpoints, the hub's cache, and the download, against a hub on the loopback."""

from __future__ import annotations

import hashlib
import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import torch
from rich.console import Console
from support.hub import COMMIT, Hub

from streammatte.errors import ModelError, WeightsMismatch, WeightsMissing
from streammatte.models import hub as hub_module
from streammatte.models import table
from streammatte.models.birefnet import check_size
from streammatte.models.device import choose_device, choose_precision
from streammatte.models.hub import fetch, locate, resolve
from streammatte.models.listing import list_models, pull
from streammatte.models.table import CHECKPOINTS, Checkpoint, find

pytestmark = pytest.mark.unit

CONTENT = bytes(range(256)) * 16384  # 4 MiB: several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REPO = "somebody/some-network"
CHECKPOINT = Checkpoint(name="some-network", repo=REPO, good_at="tests")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty hub cache, no token, and no hub: nothing listens at port 9."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    # Read by the library at its import, which may have been offline.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    yield tmp_path / "cache"
    huggingface_hub.close_session()


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub(files={f"{REPO}/model.safetensors": CONTENT}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub
        huggingface_hub.close_session()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# The table


def test_names_are_unique_and_complete() -> None:
    names = [checkpoint.name for checkpoint in CHECKPOINTS]
    assert len(set(names)) == len(names)
    assert set(names) == {
        "birefnet", "birefnet-lite", "birefnet-matting", "birefnet-portrait", "birefnet-dis5k", "birefnet-hrsod",
        "birefnet-cod", "birefnet-hr", "birefnet-hr-matting", "birefnet-dynamic", "birefnet-lite-2k", "birefnet-512",
        "birefnet-lite-matting", "birefnet-dynamic-matting", "lucida",
        "toonout", "rmbg-2.0", "sdmatte", "sdmatte-plus", "sdmatte-lite", "sam2-tiny", "sam2-small",
        "sam2-large", "birefnet-nano",
    }  # fmt: skip


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda checkpoint: checkpoint.name)
def test_each_entry_is_usable(checkpoint: Checkpoint) -> None:
    assert checkpoint.file.endswith((".safetensors", ".pth"))
    assert checkpoint.licence and checkpoint.good_at
    assert all(side % 32 == 0 for side in checkpoint.size)
    assert checkpoint.repo is None or checkpoint.repo.count("/") == 1
    assert checkpoint.sha256 is None or re.fullmatch("[0-9a-f]{64}", checkpoint.sha256)
    # A branch moves: a hash beside it would refuse the file on the day it does.
    assert (checkpoint.sha256 is None) == (not re.fullmatch("[0-9a-f]{40}", checkpoint.revision))


def test_the_non_commercial_one_is_the_only_one() -> None:
    assert [checkpoint.name for checkpoint in CHECKPOINTS if not checkpoint.commercial] == ["rmbg-2.0"]


def test_no_two_entries_are_the_same_file() -> None:
    hashes = [checkpoint.sha256 for checkpoint in CHECKPOINTS if checkpoint.sha256]
    assert len(set(hashes)) == len(hashes)


def test_an_unknown_name_lists_the_close_ones() -> None:
    with pytest.raises(ModelError, match="birefnet-light") as caught:
        find("birefnet-light")
    assert caught.value.hint is not None
    assert "birefnet-lite" in caught.value.hint and "streammatte models" in caught.value.hint
    with pytest.raises(ModelError) as caught:
        find("zzz")
    assert caught.value.hint is not None and "birefnet" not in caught.value.hint


# The cache


def test_what_the_hub_library_left_is_found(cache: Path) -> None:
    folder = cache / "models--somebody--some-network"
    blob = folder / "blobs" / SHA256
    link = folder / "snapshots" / COMMIT / "model.safetensors"
    for parent in (blob.parent, link.parent, folder / "refs"):
        parent.mkdir(parents=True)
    blob.write_bytes(CONTENT)
    link.symlink_to(Path("..", "..", "blobs", SHA256))
    (folder / "refs" / "main").write_text(COMMIT)

    assert locate(CHECKPOINT) == link
    assert locate(replace(CHECKPOINT, file="other.safetensors")) is None
    other_commit = replace(CHECKPOINT, revision="f" * 40)
    assert locate(other_commit) is None
    assert locate(replace(other_commit, sha256=SHA256)) == link
    assert locate(replace(other_commit, sha256="0" * 64)) is None


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HF_HUB_CACHE": "/a"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/b"}, "/b"),
        ({"HF_HOME": "/c"}, "/c/hub"),
        ({"XDG_CACHE_HOME": "/d"}, "/d/huggingface/hub"),
        ({"HOME": "/e"}, "/e/.cache/huggingface/hub"),
        ({"HOME": "/e", "HF_HOME": "~/f"}, "/e/f/hub"),
        ({"BASE": "/g", "HF_HUB_CACHE": "$BASE/h"}, "/g/h"),
    ],
)
def test_the_cache_is_where_the_hub_library_has_it(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert hub_module.hub_cache() == Path(expected)


# The download


def test_a_file_is_fetched_and_then_found(hub: Hub, cache: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = fetch(CHECKPOINT, on_progress=lambda done, total: seen.append((done, total)))

    assert path.read_bytes() == CONTENT
    assert path.name == "model.safetensors"
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen) and len(seen) > 1
    assert locate(CHECKPOINT) == path
    assert huggingface_hub.try_to_load_from_cache(REPO, "model.safetensors", cache_dir=cache) == str(path)
    assert files(cache) == [
        f"models--somebody--some-network/blobs/{SHA256}",
        "models--somebody--some-network/refs/main",
        f"models--somebody--some-network/snapshots/{COMMIT}/model.safetensors",
    ]
    (repo,) = huggingface_hub.scan_cache_dir(cache).repos
    assert repo.repo_id == REPO and repo.size_on_disk == len(CONTENT)


def test_a_pinned_file_is_fetched_at_its_commit(hub: Hub) -> None:
    pinned = replace(CHECKPOINT, revision=COMMIT, sha256=SHA256, bytes=len(CONTENT))
    assert fetch(pinned) == locate(pinned)
    assert {path for _, path, _ in hub.requests} == {f"/{REPO}/resolve/{COMMIT}/model.safetensors"}


def test_fetching_again_replaces_the_file(hub: Hub) -> None:
    path = fetch(CHECKPOINT)
    path.resolve().write_bytes(b"damaged on disk")
    assert fetch(CHECKPOINT).read_bytes() == CONTENT


def test_a_system_without_links_keeps_the_file_in_the_snapshot(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: str) -> None:
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    path = fetch(CHECKPOINT)
    assert path.read_bytes() == CONTENT and not path.is_symlink()
    assert locate(CHECKPOINT) == path


def test_the_table_s_hash_is_asked_for_before_the_download(hub: Hub, cache: Path) -> None:
    with pytest.raises(WeightsMismatch, match=f"SHA-256 is {SHA256}"):
        fetch(replace(CHECKPOINT, sha256="0" * 64))
    assert files(cache) == []


def test_other_bytes_than_promised_are_refused(hub: Hub, cache: Path) -> None:
    hub.corrupt = True
    with pytest.raises(WeightsMismatch, match="some-network"):
        fetch(CHECKPOINT)
    assert files(cache) == [] and locate(CHECKPOINT) is None


def test_a_download_that_breaks_off_leaves_nothing(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "ATTEMPTS", 2)
    hub.break_after, hub.ranges = 1_000_000, False
    with pytest.raises(WeightsMissing, match=f"1000000 of {len(CONTENT)} bytes"):
        fetch(CHECKPOINT)
    assert files(cache) == []


def test_a_broken_download_is_taken_up_where_it_broke(hub: Hub) -> None:
    hub.break_after = 3_000_000
    done: list[int] = []
    assert fetch(CHECKPOINT, on_progress=lambda n, total: done.append(n)).read_bytes() == CONTENT
    assert done == sorted(done)
    assert [headers["Range"] for _, _, headers in hub.requests if "Range" in headers] == ["bytes=3000000-"]


def test_an_interrupt_leaves_nothing(hub: Hub, cache: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(CHECKPOINT, on_progress=interrupt)
    assert files(cache) == []


@pytest.mark.parametrize(
    ("status", "error_code", "message"),
    [
        (401, "", f"{REPO}: "),
        (401, "GatedRepo", f"{REPO}: "),
        (403, "GatedRepo", f"{REPO}: "),
        (404, "RepoNotFound", f"{REPO}: "),
        (404, "EntryNotFound", r"model\.safetensors at main"),
        (404, "RevisionNotFound", r"model\.safetensors at main"),
        (500, "", " 500 "),
    ],
)
def test_a_refusal_says_which(hub: Hub, cache: Path, status: int, error_code: str, message: str) -> None:
    hub.status, hub.error_code = status, error_code
    with pytest.raises(WeightsMissing, match=message) as caught:
        fetch(CHECKPOINT)
    assert caught.value.hint is not None and "--weights FILE" in caught.value.hint
    assert ("HF_TOKEN" in caught.value.hint) == (status in (401, 403) or error_code == "RepoNotFound")
    assert "\n" not in str(caught.value) and files(cache) == []


def test_a_web_server_that_is_no_hub_is_told_apart(hub: Hub, cache: Path) -> None:
    hub.plain = True
    with pytest.raises(WeightsMissing, match=hub.url):
        fetch(CHECKPOINT)
    assert files(cache) == []


def test_the_token_goes_to_the_hub_and_not_to_the_host_it_names(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(CHECKPOINT)
    hub.cdn = True
    assert fetch(CHECKPOINT).read_bytes() == CONTENT
    assert [
        (method, headers["Host"].partition(":")[0], headers["Authorization"]) for method, _, headers in hub.requests
    ] == [
        ("HEAD", "127.0.0.1", "Bearer hf_secret"),
        ("GET", "127.0.0.1", "Bearer hf_secret"),
        ("HEAD", "127.0.0.1", "Bearer hf_secret"),
        ("GET", "127.0.0.1", "Bearer hf_secret"),
        ("GET", "localhost", None),
    ]


def test_a_cache_that_cannot_be_written_is_one_line(hub: Hub, cache: Path) -> None:
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file where the folder should be")
    with pytest.raises(WeightsMissing, match=str(cache)) as caught:
        fetch(CHECKPOINT)
    assert caught.value.hint is not None and "HF_HUB_CACHE" in caught.value.hint


# No hub


def test_a_hub_that_refuses_the_connection(cache: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"127.0.0.1:9 .*\(.+\)") as caught:
        fetch(CHECKPOINT)
    assert caught.value.hint is not None and "birefnet-nano" in caught.value.hint


@pytest.mark.parametrize("endpoint", ["nonsense", "http://", "http://[", "http://name.invalid", "ftp://127.0.0.1"])
def test_an_endpoint_that_is_none(cache: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(WeightsMissing, match="some-network"):
        fetch(CHECKPOINT)


def test_a_hub_that_never_answers_is_given_up(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as blackhole:  # connects, and says nothing
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{blackhole.getsockname()[1]}")
        with pytest.raises(WeightsMissing, match="some-network"):
            fetch(CHECKPOINT, timeout=0.2)


def test_a_name_server_that_never_answers_is_given_up(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *args, **kwargs: released.wait())
    with pytest.raises(WeightsMissing, match="some-network"):
        fetch(CHECKPOINT, timeout=0.05)
    released.set()


def test_five_seconds_are_promised() -> None:
    assert hub_module.HUB_SECONDS < 5


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_asks_nobody(hub: Hub, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(WeightsMissing, match="HF_HUB_OFFLINE"):
        fetch(CHECKPOINT)
    assert hub.requests == []


# A name, and what it stands for


@pytest.fixture
def embedded(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the embedded checkpoint's file: these tests look at paths, not into them."""
    monkeypatch.setattr(hub_module, "__file__", str(tmp_path / "package" / "hub.py"))
    path = tmp_path / "package" / find("birefnet-nano").file
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


def publish(hub: Hub, name: str, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """Let the hub hold this one of the table's checkpoints, with our own content."""
    checkpoint = replace(find(name), sha256=SHA256, revision=COMMIT, bytes=len(CONTENT))
    entries = tuple(checkpoint if entry.name == name else entry for entry in table.CHECKPOINTS)
    monkeypatch.setattr(table, "CHECKPOINTS", entries)
    hub.files[f"{checkpoint.repo}/{checkpoint.file}"] = CONTENT
    return checkpoint


def test_the_embedded_one_needs_no_hub(embedded: Path) -> None:
    assert resolve("birefnet-nano", device_type="cpu", offline=True) == (find("birefnet-nano"), embedded)


@pytest.mark.parametrize(
    ("device_type", "name"), [("cpu", "birefnet-lite-matting"), ("cuda", "birefnet"), ("mps", "birefnet")]
)
def test_auto_fetches_what_the_device_can_bear(
    hub: Hub, embedded: Path, monkeypatch: pytest.MonkeyPatch, device_type: str, name: str
) -> None:
    checkpoint = publish(hub, name, monkeypatch)
    notices: list[str] = []
    progress: list[int] = []
    chosen, path = resolve(
        "auto",
        device_type=device_type,
        offline=False,
        on_progress=lambda done, total: progress.append(done),
        on_notice=notices.append,
    )
    assert chosen == checkpoint and path.read_bytes() == CONTENT and notices == [] and progress[-1] == len(CONTENT)
    asked = len(hub.requests)
    assert resolve("auto", device_type=device_type, offline=False) == (checkpoint, path)
    assert resolve("auto", device_type=device_type, offline=True) == (checkpoint, path)
    assert len(hub.requests) == asked, "it is here: nobody needs to be asked"


@pytest.mark.parametrize("offline", [True, False])
def test_auto_falls_to_the_embedded_one_and_says_so(embedded: Path, offline: bool) -> None:
    notices: list[str] = []
    chosen, path = resolve("auto", device_type="cpu", offline=offline, on_notice=notices.append)
    assert (chosen.name, path) == ("birefnet-nano", embedded)
    (notice,) = notices
    assert "streammatte models" in notice and "\n" not in notice and len(f"streammatte: {notice}") <= 80


def test_auto_on_a_cpu_keeps_to_the_lite_one_that_is_here(
    hub: Hub, embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is made to fetch another file; whoever has both gets the one made for mattes."""
    matting = publish(hub, "birefnet-lite-matting", monkeypatch)
    lite = publish(hub, "birefnet-lite", monkeypatch)
    path, asked = fetch(lite), len(hub.requests)
    for offline in (True, False):
        assert resolve("auto", device_type="cpu", offline=offline) == (lite, path)
    assert len(hub.requests) == asked
    path = fetch(matting)
    assert resolve("auto", device_type="cpu", offline=True) == (matting, path)


@pytest.mark.parametrize(
    ("name", "device", "dtype"),
    [
        ("auto", "mps", torch.float32),  # in fp16 Swin and SDMatte return NaN there
        ("fp16", "mps", torch.float16),
        ("bf16", "mps", torch.bfloat16),
        ("auto", "cuda", torch.float16),
        ("fp32", "cuda", torch.float32),
    ],
)
def test_the_type_that_a_device_computes_in(name: str, device: str, dtype: torch.dtype) -> None:
    assert choose_precision(name, torch.device(device)) == dtype


def test_an_unknown_precision() -> None:
    with pytest.raises(ModelError, match="fp8"):
        choose_precision("fp8", torch.device("cpu"))


def test_auto_does_not_take_a_damaged_file(hub: Hub, embedded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(hub, "birefnet", monkeypatch)
    hub.corrupt = True
    notices: list[str] = []
    chosen, _ = resolve("auto", device_type="cuda", offline=False, on_notice=notices.append)
    assert chosen.name == "birefnet-nano" and len(notices) == 1


def test_auto_with_nothing_at_all(embedded: Path) -> None:
    embedded.unlink()
    with pytest.raises(WeightsMissing, match=r"birefnet-nano\.safetensors"):
        resolve("auto", device_type="cpu", offline=True)


def test_a_name_that_is_not_here_and_cannot_be_fetched(embedded: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"birefnet-hr .*--offline") as caught:
        resolve("birefnet-hr", device_type="cpu", offline=True)
    assert caught.value.hint is not None and "huggingface.co/ZhengPeng7/BiRefNet_HR/resolve/" in caught.value.hint
    with pytest.raises(ModelError, match="birefnet-xl"):
        resolve("birefnet-xl", device_type="cpu", offline=True)


@pytest.mark.parametrize("name", ["sdmatte", "sdmatte-plus", "sdmatte-lite", "sam2-tiny", "sam2-small", "sam2-large"])
def test_the_others_are_fetched_in_the_same_way_and_never_matted_with_by_themselves(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    checkpoint = publish(hub, name, monkeypatch)
    network, flag = checkpoint.network, "--tracker" if name.startswith("sam2") else "--sdmatte"
    with pytest.raises(ModelError, match=name) as caught:
        resolve(name, device_type="cpu", offline=False)
    assert caught.value.hint is not None and f"{flag} {name}" in caught.value.hint
    with pytest.raises(WeightsMissing, match="--offline") as caught:
        resolve(name, device_type="cpu", offline=True, network=network)
    assert caught.value.hint is not None and f"{flag} FILE" in caught.value.hint
    assert hub.requests == []
    found, path = resolve(name, device_type="cpu", offline=False, network=network)
    assert found == checkpoint and path.read_bytes() == CONTENT
    assert resolve(name, device_type="cpu", offline=True, network=network) == (found, path)
    with pytest.raises(ModelError, match="birefnet"):
        resolve("birefnet", device_type="cpu", offline=False, network=network)


def test_a_non_commercial_licence_is_shown_before_the_download(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(hub, "rmbg-2.0", monkeypatch)
    notices: list[str] = []

    def notice(line: str) -> None:
        notices.append(line)
        assert hub.requests == []

    resolve("rmbg-2.0", device_type="cpu", offline=False, on_notice=notice)
    assert len(notices) == 1 and "CC BY-NC 4.0" in notices[0] and "commercial" in notices[0]


# The commands


def printed(width: int = 80) -> tuple[Console, io.StringIO]:
    page = io.StringIO()
    return Console(file=page, width=width), page


def test_the_list_fits_a_terminal(embedded: Path) -> None:
    console, page = printed()
    list_models(console)
    lines = page.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    for checkpoint in CHECKPOINTS:
        assert any(line.split()[:1] == [checkpoint.name] for line in lines)
    assert "commercial" in page.getvalue()


def test_the_list_as_json(hub: Hub, embedded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = publish(hub, "birefnet", monkeypatch)
    fetched = fetch(checkpoint)
    console, page = printed(width=20)
    list_models(console, as_json=True)
    rows = {row["name"]: row for row in json.loads(page.getvalue())}
    assert list(rows) == [entry.name for entry in CHECKPOINTS]
    assert rows["birefnet-nano"]["path"] == str(embedded) and rows["birefnet-nano"]["bytes"] == 7
    assert rows["birefnet-lite-2k"]["path"] is None and rows["birefnet-lite-2k"]["width"] == 2560
    assert rows["rmbg-2.0"]["commercial"] is False
    assert fetched.is_file()


def test_pull_fetches_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = publish(hub, "rmbg-2.0", monkeypatch)
    console, page = printed()
    path = pull("rmbg-2.0", console)
    assert path.read_bytes() == CONTENT and path == locate(checkpoint)
    assert "commercial" in page.getvalue() and "4.2/4.2 MB" in page.getvalue()
    assert str(path) in page.getvalue()
    asked = len(hub.requests)
    assert pull("rmbg-2.0", console) == path and len(hub.requests) == asked


def test_pull_of_an_unknown_name(cache: Path) -> None:
    with pytest.raises(ModelError, match="auto"):
        pull("auto", printed()[0])


def test_arguments_of_the_wrong_type_are_refused_and_a_torch_device_is_taken() -> None:
    for size in (320, (320,), (320.0, 320.0), "320x320", (320, 320, 3), (100, 100), (0, 0)):
        with pytest.raises(ModelError):
            check_size(size)  # type: ignore[arg-type]
    for name in (None, 3, ""):
        with pytest.raises(ModelError):
            find(name)  # type: ignore[arg-type]
    assert choose_device(torch.device("cpu")) == torch.device("cpu")
