"""Inputs and outputs at addresses that fsspec opens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import fsspec
import numpy as np
import pytest
import torch
from fsspec.registry import known_implementations
from support.clips import even_pts, index_of, picture, write_clip

import streammatte
from streammatte.cli.main import main
from streammatte.errors import DecodeFailed, InputError, SourceNotFound, WriteFailed
from streammatte.frame import Cutout
from streammatte.media import containers, remote
from streammatte.media.read.signature import signature
from streammatte.media.remote import Remote, RemoteFile, is_remote, open_remote

pytestmark = pytest.mark.media

QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu", "--smooth", "off", "--quiet"]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """An empty ``memory://``, and a cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "_PAUSES", ())
    system = fsspec.filesystem("memory")
    system.rm("/", recursive=True) if system.find("/") else None
    yield system
    system.store.clear()


def put_pictures(store: Any, folder: str, numbers: range) -> None:
    for number in numbers:
        whole, data = cv2.imencode(".png", picture(number)[..., ::-1])
        assert whole
        store.pipe(f"{folder}/plate.{number:04d}.png", data.tobytes())


def frames(path: Any) -> list[np.ndarray]:
    with streammatte.open_video(path) as video:
        return [frame.rgb.permute(1, 2, 0).numpy() for frame in video]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi", "clip.ts"])
def test_a_clip_equals_the_file(name: str, store: Any, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / name, audio="mp2" if name.endswith("avi") else "aac")
    store.put(str(clip), f"/in/{name}")
    here, there = frames(clip), frames(f"memory://in/{name}")
    assert len(there) == len(here)
    assert all((one == other).all() for one, other in zip(here, there, strict=True))


def test_a_part_of_a_clip(store: Any, tmp_path: Path) -> None:
    store.put(str(write_clip(tmp_path / "clip.mp4")), "/in/clip.mp4")
    with streammatte.open_video("memory://in/clip.mp4", mark_in=3, mark_out=5) as video:
        assert [frame.index for frame in video] == [3, 4, 5]


def test_a_part_of_an_indexed_clip_is_not_read_through(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_BLOCK", 1 << 13)
    monkeypatch.setattr(containers, "_BUFFER", 1 << 13)
    made = {"codec": "prores_ks", "pixels": "yuv422p10le", "options": {"qscale": "1"}}
    clip = write_clip(tmp_path / "clip.mov", size=(96, 64), pts=even_pts(200), **made)
    store.put(str(clip), "/in/clip.mov")
    with open_remote(Remote("memory://in/clip.mov")) as file:
        assert isinstance(file, RemoteFile)
        for start in (2, 190):
            with streammatte.open_video("memory://in/clip.mov", mark_in=start, mark_out=start + 2) as video:
                assert [frame.index for frame in video] == list(range(start, start + 3))
        assert file.blocks.size > 400_000
        assert file.blocks.received < 0.6 * file.blocks.size


def test_the_command_in_and_out(store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sound, numbered pictures, a guide matte, a background and a report; and it equals a run on files."""
    clip = write_clip(tmp_path / "clip.mp4", audio="aac")
    store.put(str(clip), "/in/clip.mp4")
    put_pictures(store, "/in/bg", range(1, 2))
    cv2.imwrite(str(tmp_path / "core.png"), np.zeros((48, 64), np.uint8))
    store.put(str(tmp_path / "core.png"), "/in/core.png")
    there = ["memory://in/clip.mp4", "-o", "memory://out/cut.mkv", "-o", "memory://out/cut.####.png"]
    guides = ["--core-matte", "memory://in/core.png", "--report", "memory://out/page.html"]
    assert main([*there, *guides, *QUICK, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["path"] for each in told["outputs"]] == [there[2], there[4], "memory://out/page.html"]
    assert told["mattes_computed"] == 12
    assert main([str(clip), str(tmp_path / "cut.mkv"), "--core-matte", str(tmp_path / "core.png"), *QUICK]) == 0
    store.get("/out/cut.mkv", str(tmp_path / "there.mkv"))
    decoded = []
    for name in ("cut.mkv", "there.mkv"):
        with av.open(str(tmp_path / name)) as container:
            assert len(container.streams.audio) == 1
            decoded.append([frame.to_ndarray(format="rgba64le") for frame in container.decode(video=0)])
    assert all((one == other).all() for one, other in zip(*decoded, strict=True))
    assert [Path(each).name for each in store.glob("/out/cut.*.png")] == [f"cut.{n:04d}.png" for n in range(1, 13)]
    assert (
        main(["memory://out/cut.0003.png", "memory://out/comp.jpg", "--bg", "memory://in/bg/plate.0001.png", *QUICK])
        == 0
    )


def test_all_options_of_a_writer_hold_at_an_address(store: Any, tmp_path: Path) -> None:
    """EXR's compression, and where a moving background begins."""
    clip = str(write_clip(tmp_path / "clip.mp4"))
    for folder in (str(tmp_path), "memory://out"):
        asked = [clip, "--in", "5", "--out", "7", *QUICK]
        assert main([*asked, "-o", f"{folder}/comp.mkv", "--bg", clip]) == 0
        assert main([*asked, "-o", f"{folder}/cut.####.exr", "--exr-compression", "piz"]) == 0
    for name in ("comp.mkv", "cut.0006.exr", "cut.0008.exr"):
        store.get(f"/out/{name}", str(tmp_path / f"there.{name}"))
    with av.open(str(tmp_path / "comp.mkv")) as here, av.open(str(tmp_path / "there.comp.mkv")) as there:
        pairs = list(zip(here.decode(video=0), there.decode(video=0), strict=True))
        assert len(pairs) == 3
        assert all((one.to_ndarray(format="rgb24") == other.to_ndarray(format="rgb24")).all() for one, other in pairs)
    for name in ("cut.0006.exr", "cut.0008.exr"):
        assert (tmp_path / name).read_bytes() == (tmp_path / f"there.{name}").read_bytes()


def test_numbered_pictures(store: Any) -> None:
    put_pictures(store, "/in", range(8, 13))
    with streammatte.open_video("memory://in/plate.%04d.png") as video:
        assert video.first_number == 8
        assert [index_of(frame.rgb.permute(1, 2, 0).numpy()) for frame in video] == [8, 9, 10, 11, 12]
    store.rm("/in/plate.0010.png")
    with pytest.raises(SourceNotFound, match=r"memory://in/plate\.0010\.png"):
        streammatte.open_video("memory://in/plate.####.png")


def test_a_damaged_picture_is_named_by_its_address(store: Any) -> None:
    put_pictures(store, "/in", range(1, 5))
    store.pipe("/in/plate.0003.png", store.cat("/in/plate.0003.png")[:60])
    with streammatte.open_video("memory://in/plate.####.png") as video, pytest.raises(DecodeFailed) as told:
        list(video)
    assert str(told.value).startswith("memory://in/plate.0003.png ")


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_an_animation(kind: str, store: Any, tmp_path: Path) -> None:
    from PIL import Image

    pictures = [Image.fromarray(picture(index)) for index in range(3)]
    pictures[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=pictures[1:], duration=100)
    store.put(str(tmp_path / f"a.{kind}"), f"/in/a.{kind}")
    assert len(frames(f"memory://in/a.{kind}")) == 3


def test_nothing_is_replaced_unless_asked(store: Any, tmp_path: Path) -> None:
    clip = str(write_clip(tmp_path / "clip.mp4"))
    store.pipe("/out/cut.mov", b"old")
    assert main([clip, "memory://out/cut.mov", *QUICK]) == 1
    assert store.cat("/out/cut.mov") == b"old"
    assert main([clip, "memory://out/cut.mov", *QUICK, "--overwrite"]) == 0
    assert len(store.cat("/out/cut.mov")) > 1000
    store.pipe("/out/p.0099.png", b"old")
    assert main([clip, "memory://out/p.####.png", *QUICK]) == 1
    assert main([clip, "memory://out/p.####.png", *QUICK, "--overwrite"]) == 0
    assert not store.exists("/out/p.0099.png")


@pytest.mark.parametrize("name", ["cut.mov", "cut.####.png"])
def test_a_failed_run_leaves_nothing(name: str, store: Any) -> None:
    put_pictures(store, "/in", range(1, 4))
    store.pipe("/in/plate.0003.png", b"\x89PNG\r\n\x1a\nbroken")
    assert main(["memory://in/plate.####.png", f"memory://out/{name}", *QUICK]) == 1
    assert store.find("/out") == []


def test_pictures_that_were_sent_are_taken_back(store: Any, tmp_path: Path) -> None:
    clip = streammatte.open_video(write_clip(tmp_path / "clip.mp4"))
    writer = streammatte.open_writer("memory://out/p.####.png", like=clip)
    with clip, pytest.raises(RuntimeError, match="after all"), writer:
        for frame in clip:
            writer.write(Cutout(frame, torch.ones(frame.rgb.shape[1:])))
        writer.finish()
        assert len(store.find("/out")) == 12
        raise RuntimeError("failed after all")
    assert store.find("/out") == []


def test_kept_mattes_and_weights(store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store.put(str(write_clip(tmp_path / "clip.mp4")), "/in/clip.mp4")
    store.put(str(Path(streammatte.__file__).parent / "models/birefnet-nano.safetensors"), "/models/n.safetensors")
    asked = ["--weights", "memory://models/n.safetensors", *QUICK[2:], "--keep-mattes", "--json"]
    assert main(["memory://in/clip.mp4", "memory://out/a.mov", *asked]) == 0
    assert json.loads(capsys.readouterr().out)["mattes_computed"] == 12
    assert len(store.glob("/out/clip.*.mattes")) == 1
    assert not list((tmp_path / "cache").rglob("*.mattes"))
    assert main(["memory://in/clip.mp4", "memory://out/b.mov", *asked]) == 0
    assert json.loads(capsys.readouterr().out)["mattes_read"] == 12
    store.put(str(write_clip(tmp_path / "other.mp4", pts=[0, 512])), "/in/clip.mp4")
    assert main(["memory://in/clip.mp4", "memory://out/c.mov", *asked]) == 0
    assert json.loads(capsys.readouterr().out)["mattes_computed"] == 2


def test_a_delivery(store: Any, tmp_path: Path) -> None:
    assert main([str(write_clip(tmp_path / "clip.mp4")), "--deliver", "memory://shots/010", *QUICK]) == 0
    suffixes = ("comp.mp4", "fill.mov", "matte.mov", "mov", "txt", "webm")
    assert [Path(each).name for each in store.find("/shots/010")] == [f"clip.{each}" for each in suffixes]


def test_what_is_wrong_is_said(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceNotFound, match=r"memory://in/clip\.mp4"):
        streammatte.open_video("memory://in/clip.mp4")
    store.pipe("/in/text.mp4", b"no film" * 100)
    with pytest.raises(DecodeFailed, match=r"memory://in/text\.mp4"):
        streammatte.open_video("memory://in/text.mp4")
    store.pipe("/in/empty.mp4", b"")
    with pytest.raises(DecodeFailed, match="empty"):
        streammatte.open_video("memory://in/empty.mp4")
    monkeypatch.setitem(known_implementations, "gs", {"class": "absent.FileSystem", "err": "install it"})
    with pytest.raises(InputError, match="gs://") as told:
        streammatte.open_video("gs://bucket/clip.mp4")
    assert "pip install 'streammatte[gs]'" in str(told.value.hint)


def test_no_secret_is_printed(store: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    place = Remote("memory://me:opensesame@host/clip.mp4")
    assert "opensesame" not in f"{place} {place.parent} {place / 'a'}"

    def fails(*given: object, **named: object) -> None:
        raise ConnectionError("cannot reach sftp://me:opensesame@host:22")

    monkeypatch.setattr(type(store), "cat_file", fails)
    assert main(["memory://me:opensesame@host/clip.mp4", "memory://me:opensesame@host/out.mov", *QUICK]) == 1
    said = capsys.readouterr()
    assert "opensesame" not in said.out + said.err
    assert "cannot reach" in said.err


def test_a_lost_store_may_come_back(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed read is not remembered: the same process can read the file again."""
    data = bytes(range(256)) * 100
    store.pipe("/in/data", data)
    monkeypatch.setattr(remote, "_BLOCK", 1000)
    with open_remote(Remote("memory://in/data")) as file:
        assert file.read(10) == data[:10]
        with monkeypatch.context() as gone:
            gone.setattr(type(store), "cat_file", lambda *given, **named: b"")
            with pytest.raises(SourceNotFound, match=r"memory://in/data"):
                file.read()
        assert file.read() == data[10:]


def test_signatures(store: Any) -> None:
    put_pictures(store, "/in", range(1, 4))
    before = signature("memory://in/plate.####.png"), signature("memory://in/plate.0002.png")
    assert all(before)
    store.pipe("/in/plate.0002.png", store.cat("/in/plate.0002.png") + b"0")
    after = signature("memory://in/plate.####.png"), signature("memory://in/plate.0002.png")
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_who_opens_an_address() -> None:
    assert all(is_remote(each) for each in ("s3://b/a.mov", "gs://b/a.mov", "sftp://h/a.mov", "memory://a.mov"))
    others = (
        "a.mov",
        "-",
        "file:///a.mov",
        "http://h/a.mov",
        "https://h/a.mov",
        "rtsp://h/a",
        "srt://h:1",
        "ftp://h/a",
    )
    assert not any(is_remote(each) for each in others)
    assert [each.url for each in (Remote("s3://b/x/a.mov").parent, Remote("memory://a").parent / "b")] == [
        "s3://b/x",
        "memory://b",
    ]


def test_globs(store: Any) -> None:
    put_pictures(store, "/in", range(1, 3))
    assert [each.url for each in Remote("memory://in/*.png").glob()] == [
        "memory://in/plate.0001.png",
        "memory://in/plate.0002.png",
    ]


def test_file_addresses(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    assert main([f"file://{clip}", f"file://{tmp_path}/cut.mov", *QUICK]) == 0
    assert (tmp_path / "cut.mov").exists()


def test_s3_and_a_lost_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In and out; a connection cut in the middle is taken up again; a lost store leaves nothing of an output."""
    pytest.importorskip("moto")
    s3fs = pytest.importorskip("s3fs")
    from support.s3 import store as s3

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "_PAUSES", (0.0, 0.0))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # the libraries' own attempts take a minute
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    with s3("shots") as connection:
        system = fsspec.filesystem("s3")
        system.put(str(write_clip(tmp_path / "clip.mp4", audio="aac")), "shots/in/clip.mp4")
        assert main(["s3://shots/in/clip.mp4", "s3://shots/out/cut.mov", *QUICK]) == 0
        assert system.ls("shots/out") == ["shots/out/cut.mov"]
        data = np.random.default_rng(0).bytes(9 << 20)
        system.pipe("shots/data", data)
        connection.cuts, connection.after = 2, 1 << 20
        with open_remote(Remote("s3://shots/data")) as file:
            assert file.read() == data
        assert connection.cuts == 0
        with streammatte.open_video("s3://shots/in/clip.mp4") as video:
            writer = streammatte.open_writer("s3://shots/out/lost.mov", like=video)
            with pytest.raises(WriteFailed, match=r"s3://shots/out/lost\.mov"), writer:
                for frame in video:
                    writer.write(Cutout(frame, torch.ones(frame.rgb.shape[1:])))
                connection.cuts, connection.after = -1, 0
        connection.cuts = 0
        system.invalidate_cache()
        assert not system.exists("shots/out/lost.mov")
