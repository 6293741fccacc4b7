"""Animations, pictures for the web, first numbers, links, and pipes: read back by Pillow, and by the command itself."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from support import clips
from support.footage import shown_times

from streammatte.cli.main import main
from streammatte.errors import InputError, OutputError, StreammatteError, UnsupportedOutput, WriteFailed
from streammatte.frame import ColorSpec, Cutout, Frame, StreamInfo
from streammatte.media import open_video, open_writer
from streammatte.media.write.output import check_apart

pytestmark = pytest.mark.media

QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu", "--colors", "off"]
INFO = StreamInfo(64, 48, clips.TIME_BASE, clips.RATE, None, ColorSpec(matrix=0, full_range=True))
STEPS = torch.tensor([1.0, 1.0, 0.8, 0.5, 0.49, 0.4, 0.2, 0.0]).repeat_interleave(8).expand(48, 64)


def cutout(index: int, pts: int, duration: int = 0, alpha: torch.Tensor = STEPS) -> Cutout:
    rgb = torch.from_numpy(clips.picture(index % 14)).permute(2, 0, 1)
    return Cutout(Frame(rgb, pts, index, duration), alpha)


def written(path: Path, times: list[int], last: int = 512, *, info: StreamInfo = INFO, **options: object) -> str:
    """Cut-outs at these times, the last one shown for ``last``; gives the description."""
    with open_writer(path, info, **options) as writer:  # type: ignore[arg-type]
        for index, pts in enumerate(times):
            end = times[index + 1] if index + 1 < len(times) else pts + last
            writer.write(cutout(index, pts, end - pts))
    return writer.description


def read(path: Path) -> tuple[list[np.ndarray], list[int]]:
    """Every frame as (H, W, 4), and how many milliseconds it is shown."""
    with Image.open(path) as file:
        shown = [(np.array(frame.convert("RGBA")), frame.info["duration"]) for frame in ImageSequence.Iterator(file)]
        if file.format == "WEBP":  # Pillow says how long the frame before was shown, until the next one is loaded
            shown = []
            for index in range(file.n_frames):  # type: ignore[attr-defined]
                file.seek(index)
                file.load()
                shown.append((np.array(file.convert("RGBA")), file.info["duration"]))
    return [picture for picture, _ in shown], [duration for _, duration in shown]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames with sound."""
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    return clips.write_clip(path, pts=clips.even_pts(4), audio="aac")


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_keep_every_time_and_do_not_drift(tmp_path: Path, suffix: str) -> None:
    rate = Fraction(30000, 1001)
    info = replace(INFO, time_base=1 / rate, frame_rate=rate)
    out = tmp_path / f"out{suffix}"
    said = written(out, list(range(7, 97)), 1, info=info)
    assert said.startswith("animated")
    pictures, durations = read(out)
    tick = 10 if suffix == ".gif" else 1
    ends = np.cumsum(durations)
    due = [round(Fraction(n) / rate * 1000 / tick) * tick for n in range(1, 91)]
    assert ends.tolist() == due
    assert [clips.index_of(picture[..., :3]) for picture in pictures[:14]] == list(range(14))
    assert not [left for left in tmp_path.iterdir() if left != out]


def test_frames_of_any_length_are_shown_as_long(tmp_path: Path) -> None:
    times = [0, 512, 1280, 6400, 6400 + 700 * 12800]  # the fourth for 700 s, longer than GIF can say at once
    for suffix in (".gif", ".webp"):
        written(tmp_path / f"out{suffix}", times, last=12800)
        pictures, durations = read(tmp_path / f"out{suffix}")
        if suffix == ".gif":
            assert durations == [40, 60, 400, 655350, 44650, 1000]
            assert [clips.index_of(each[..., :3]) for each in pictures] == [0, 1, 2, 3, 3, 4]
        else:
            assert durations == [40, 60, 400, 700000, 1000]


def test_frames_too_brief_for_browsers_are_left_out_and_said(tmp_path: Path) -> None:
    info = replace(INFO, time_base=Fraction(1, 120), frame_rate=Fraction(120))
    said = written(tmp_path / "out.gif", list(range(24)), 1, info=info)
    _, durations = read(tmp_path / "out.gif")
    assert sum(durations) == 200 and min(durations) >= 20
    assert f"{24 - len(durations)} frames left out" in said and "0.02 s" in said


@pytest.mark.parametrize("suffix", [".webp", ".####.webp"])
def test_alpha_in_webp_is_exact(tmp_path: Path, suffix: str) -> None:
    written(tmp_path / f"out{suffix}", [0, 512], quality="draft")
    files = sorted(tmp_path.iterdir())
    assert len(files) == (1 if suffix == ".webp" else 2)
    pictures, _ = read(files[0]) if suffix == ".webp" else ([np.array(Image.open(file)) for file in files], [])
    for picture in pictures:
        assert np.array_equal(picture[..., 3], np.rint(STEPS.numpy() * 255))
    solid = pictures[1][:, :16, :3].astype(int) - clips.picture(1)[:, :16]
    assert np.abs(solid).mean() < 6


def test_alpha_in_gif_is_one_bit(tmp_path: Path) -> None:
    written(tmp_path / "out.gif", [0, 512])
    pictures, _ = read(tmp_path / "out.gif")
    for index, picture in enumerate(pictures):
        assert np.array_equal(picture[..., 3] > 0, STEPS.numpy() >= 0.5)
        solid = picture[:, :16, :3].astype(int) - clips.picture(index)[:, :16]
        assert np.abs(solid).mean() < 4


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_matte_is_exact_and_a_composite_has_no_alpha(tmp_path: Path, suffix: str) -> None:
    matte, comp = tmp_path / f"matte{suffix}", tmp_path / f"comp{suffix}"
    written(matte, [0, 512], content="matte")
    for picture in read(matte)[0]:
        assert np.array_equal(picture[..., 0], np.rint(STEPS.numpy() * 255))
        assert np.array_equal(picture[..., 0], picture[..., 2]) and picture[..., 3].min() == 255
    written(comp, [0, 512], background="#00ff00")
    picture = read(comp)[0][1]
    assert picture[..., 3].min() == 255
    assert np.abs(picture[:, 58:, :3].astype(int) - (0, 255, 0)).mean() < 6


@pytest.mark.parametrize(("suffix", "kind"), [(".gif", "GIF"), (".webp", "WEBP")])
def test_a_single_frame_is_a_plain_picture(tmp_path: Path, suffix: str, kind: str) -> None:
    said = written(tmp_path / f"out{suffix}", [0])
    assert "animated" not in said
    with Image.open(tmp_path / f"out{suffix}") as file:
        assert file.format == kind and getattr(file, "n_frames", 1) == 1 and file.size == (64, 48)
        assert b"NETSCAPE" not in (tmp_path / f"out{suffix}").read_bytes()


def test_an_odd_size_and_a_matte_of_nothing(tmp_path: Path) -> None:
    info = replace(INFO, width=33, height=17)
    rgb = torch.randint(0, 255, (3, 17, 33), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    for suffix in (".gif", ".webp"):
        with open_writer(tmp_path / f"out{suffix}", info) as writer:
            for index in range(3):
                writer.write(Cutout(Frame(rgb, 512 * index, index), torch.zeros(17, 33)))
        pictures, durations = read(tmp_path / f"out{suffix}")
        assert [picture.shape for picture in pictures] == [(17, 33, 4)] * 3 and durations == [40] * 3
        assert max(picture[..., 3].max() for picture in pictures) == 0


def test_another_library_reads_the_animation(tmp_path: Path) -> None:
    written(tmp_path / "out.webp", [0, 512, 1280])
    found, animation = cv2.imreadanimation(str(tmp_path / "out.webp"))
    assert found and list(animation.durations) == [40, 60, 40] and animation.loop_count == 0
    written(tmp_path / "out.gif", [0, 512, 1280])
    assert shown_times(tmp_path / "out.gif") == [0, Fraction(4, 100), Fraction(10, 100)]


def test_an_animation_that_fails_leaves_nothing(tmp_path: Path) -> None:
    for suffix in (".gif", ".webp"):
        with pytest.raises(WriteFailed), open_writer(tmp_path / f"out{suffix}", INFO):
            pass
        with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / f"out{suffix}", INFO) as writer:
            writer.write(cutout(0, 0))
            writer.write(cutout(1, 512))
            raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_numbered_gifs_are_pictures_and_read_back(tmp_path: Path) -> None:
    written(tmp_path / "out.####.gif", [0, 512])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.0001.gif", "out.0002.gif"]
    with open_video(tmp_path / "out.####.gif") as source:
        assert source.has_alpha and len(list(source)) == 2


def test_alpha_of_a_background_is_told_of_animations(tmp_path: Path) -> None:
    Image.fromarray(np.full((48, 64, 4), 90, np.uint8)).save(tmp_path / "behind.png")
    said = written(tmp_path / "out.webp", [0, 512], background=str(tmp_path / "behind.png"))
    assert said.endswith("(the background's own alpha was ignored)")


def test_jpeg_needs_a_background_and_says_what_it_holds(tmp_path: Path) -> None:
    for name in ("out.jpg", "out.####.jpeg"):
        with pytest.raises(UnsupportedOutput, match=name) as caught:
            open_writer(tmp_path / name, INFO)
        assert "--bg" in str(caught.value.hint)
    sizes = []
    for quality in ("draft", "standard", "best"):
        path = tmp_path / f"{quality}.jpg"
        written(path, [0], background="#00ff00", quality=quality, bits=16)
        with Image.open(path) as file:
            assert file.mode == "RGB" and file.info["comment"] == b"RGB 8 bit, composite"
            assert np.abs(np.array(file)[:, 58:].astype(int) - (0, 255, 0)).mean() < 8
        sizes.append(path.stat().st_size)
    assert sizes == sorted(sizes)
    written(tmp_path / "matte.jpg", [0], content="matte")
    with Image.open(tmp_path / "matte.jpg") as file:
        assert file.mode == "L"


def test_a_turned_photograph_comes_out_upright_without_its_tag(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(clips.picture(3)).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    outputs = [argument for kind in ("webp", "gif", "png") for argument in ("-o", str(tmp_path / f"out.{kind}"))]
    comp = ["--foreground", str(tmp_path / "fill.jpg")]
    assert main([str(tmp_path / "phone.jpg"), *outputs, *comp, *QUICK, "--quiet"]) == 0
    for name in ("out.webp", "out.gif", "out.png", "fill.jpg"):
        with Image.open(tmp_path / name) as file:
            assert file.size == (48, 64) and file.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("out.avi", ".mov"),
        ("out.mxf", ".mov"),
        ("out.heic", ".png"),
        ("out.psd", ".png"),
        ("out.####.dpx", ".png"),
        ("out.xyz", ".webm"),
        ("out", ".mov"),
    ],
)
def test_suffixes_that_are_not_written_are_refused_with_one_that_is(tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(UnsupportedOutput, match=name) as caught:
        open_writer(tmp_path / name, INFO)
    assert hint in str(caught.value.hint)


def test_what_animations_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOutput, match="premultiplied"):
        open_writer(tmp_path / "out.webp", INFO, alpha="premultiplied")
    with pytest.raises(UnsupportedOutput, match="16383"):
        open_writer(tmp_path / "out.webp", replace(INFO, width=16384))


def test_numbers_begin_where_they_are_asked_to(tmp_path: Path, clip: Path) -> None:
    asked = ["--start-number", "1001", "--no-audio", "--quiet", *QUICK]
    assert main([str(clip), "-o", str(tmp_path / "a.####.png"), "--in", "2", *asked]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.1001.png", "a.1002.png"]
    colors = ["--decontaminate", "off"]
    source = str(tmp_path / "a.####.png")
    assert main([source, "-o", str(tmp_path / "b.#.webp"), *asked[2:], "--start-number", "0", *colors]) == 0
    assert sorted(path.name for path in tmp_path.glob("b.*")) == ["b.0.webp", "b.1.webp"]


def test_a_first_number_needs_a_numbered_output(tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(clip), "-o", str(tmp_path / "out.mov"), "--start-number", "1001", *QUICK]) == 2
    assert "--start-number" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(clip), "-o", str(tmp_path / "a.####.png"), "--start-number", "-1", *QUICK])


@pytest.mark.parametrize("name", ["out.mov", "out.png", "out.gif", "out.webp"])
def test_what_is_written_through_a_link_lands_where_it_leads(tmp_path: Path, name: str) -> None:
    store = tmp_path / "store"
    store.mkdir()
    link = tmp_path / name
    link.symlink_to(Path("store") / "blob")
    written(link, [0])
    first = (store / "blob").read_bytes()
    assert link.is_symlink() and not (store / "blob").is_symlink() and len(first) > 100
    with pytest.raises(WriteFailed, match="blob"):
        open_writer(link, INFO)
    written(link, [0], overwrite=True, background="#ff0000" if name != "out.mov" else None)
    assert link.is_symlink() and len(list(store.iterdir())) == 1 and len(list(tmp_path.iterdir())) == 2


def test_a_link_to_nowhere_says_which_folder_is_missing(tmp_path: Path) -> None:
    (tmp_path / "out.mov").symlink_to("gone/out.mov")
    with pytest.raises(WriteFailed, match="gone"):
        open_writer(tmp_path / "out.mov", INFO)


def test_a_link_to_what_is_read_is_what_is_read(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "link.mkv").symlink_to(clip)
    (tmp_path / "folder").symlink_to(clip.parent)
    for name in ("link.mkv", f"folder/{clip.name}"):
        with pytest.raises(OutputError, match="the input itself"):
            check_apart([str(tmp_path / name)], [(str(clip), "the input itself")])
    with pytest.raises(OutputError, match="the input itself"):
        pattern = clip.parent / "plate.####.png"
        check_apart([str(tmp_path / "folder" / "plate.####.png")], [(str(pattern), "the input itself")])


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "streammatte", *arguments, *QUICK]


def test_frames_go_from_one_run_through_a_pipe_to_the_next(tmp_path: Path, clip: Path) -> None:
    matte = tmp_path / "matte.mkv"
    with subprocess.Popen(
        command(str(clip), "-o", "-", "--matte", str(matte)), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as first:
        second = subprocess.run(
            command("-", "-o", str(tmp_path / "out.mov"), "--json"), stdin=first.stdout, capture_output=True
        )
        assert first.stdout is not None and first.stderr is not None
        first.stdout.close()
        told = first.stderr.read().decode()
    assert first.returncode == 0 and second.returncode == 0, (told, second.stderr)
    assert "raw rgba" in told and "sound left out" in told and "4 frames" in told  # the summary is on standard error
    assert json.loads(second.stdout)["frames"] == 4
    assert shown_times(tmp_path / "out.mov") == shown_times(clip) == shown_times(matte)


def piped(data: bytes) -> Iterator[int]:
    """A pipe's end from which these bytes can be read, as standard input; they fit its buffer."""
    reading, writing = os.pipe()
    before = os.dup(0)
    os.dup2(reading, 0)
    os.close(reading)
    os.write(writing, data)
    os.close(writing)
    try:
        yield 0
    finally:
        os.dup2(before, 0)
        os.close(before)


@pytest.fixture
def through(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, clip: Path) -> Iterator[int]:
    """Standard input is a pipe with what the test asks for."""
    kind = getattr(request, "param", "clip")
    data = {"clip": clip.read_bytes(), "noise": bytes(range(256)) * 64, "nothing": b""}[kind]
    with open(0, closefd=False) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield from piped(data)


def test_a_pipe_is_read_once(through: int) -> None:
    with open_video("-", interlaced="refuse") as source:
        frames = list(source)
        assert [clips.index_of(frame.rgb.permute(1, 2, 0).numpy()) for frame in frames] == [0, 1, 2, 3]
        assert source.lost is None
        assert source.notes == ["sound left out: a pipe can be read only once"]


@pytest.mark.parametrize("through", ["noise", "nothing"], indirect=True)
def test_what_has_no_header_is_refused(through: int) -> None:
    with pytest.raises(InputError) as caught:
        open_video("-")
    assert "-f nut" in str(caught.value.hint)


def test_a_pipe_with_tags_in_another_alphabet_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.mkv"
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "TITLEXXXX"
        stream = out.add_stream("ffv1", rate=25, width=64, height=48, pix_fmt="yuv420p")
        for index in range(2):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(clips.picture(index), "rgb24")))
        out.mux(stream.encode(None))
    with open(0, closefd=False) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        for _ in piped(path.read_bytes().replace(b"TITLEXXXX", b"TITL\xe9\xce\xe1\xf0X")):
            with open_video("-") as source:
                assert len(list(source)) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "{out}", "--in", "1"], "--in"),
        (["-o", "{out}", "--out", "1"], "--out"),
        (["-o", "{out}", "--resume"], "--resume"),
        (["-o", "{out}", "--garbage-matte", "invert:-"], "guide matte"),
        (["-o", "{out}", "--bg", "-"], "--bg"),
        (["-o", "-", "--matte", "-"], "standard output"),
        (["-o", "-", "--json"], "--json"),
    ],
)
def test_what_pipes_cannot_do_is_refused(
    tmp_path: Path, through: int, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-", *(each.format(out=tmp_path / "out.mov") for each in arguments), *QUICK]) == 2
    told = capsys.readouterr()
    assert says in told.err and told.out == ""
    assert not list(tmp_path.iterdir())


def test_a_reader_that_leaves_ends_the_run_with_a_line(clip: Path) -> None:
    with subprocess.Popen(command(str(clip), "-o", "-"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None and run.stderr is not None
        run.stdout.close()
        told = run.stderr.read().decode()
    assert run.returncode == 1
    assert told.strip().startswith("streammatte: error: ") and len(told.strip().splitlines()) == 1


def test_a_terminal_is_not_filled_with_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(StreammatteError):
        open_writer("-", INFO)


@pytest.mark.parametrize(
    ("options", "pixels"),
    [
        ({}, "rgba"),
        ({"bits": 16}, "rgba64le"),
        ({"background": "#00ff00"}, "rgb24"),
        ({"content": "matte"}, "gray"),
    ],
)
def test_raw_frames_on_standard_output_are_exact(tmp_path: Path, options: dict[str, object], pixels: str) -> None:
    path = tmp_path / "out.nut"
    before = os.dup(1)
    with path.open("wb") as file:
        os.dup2(file.fileno(), 1)
    try:
        said = written(Path("-"), [-512, 0, 768], **options)
    finally:
        os.dup2(before, 1)
        os.close(before)
    assert pixels in said
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert [frame.pts * frame.time_base for frame in frames] == [0, Fraction(1, 25), Fraction(1, 10)]
    assert {frame.format.name for frame in frames} == {pixels}
    if not options:
        got = frames[1].to_ndarray()
        assert np.array_equal(got[..., :3], clips.picture(1))
        assert np.array_equal(got[..., 3], np.rint(STEPS.numpy() * 255))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("waits_for", ["a reader", "a writer"])
def test_a_run_that_waits_for_a_pipe_can_be_ended(tmp_path: Path, waits_for: str) -> None:
    big = tmp_path / "big.mkv"
    clips.write_clip(big, pts=clips.even_pts(8), size=(320, 180))
    out = tmp_path / "out.mov"
    arguments = [str(big), "-o", "-"] if waits_for == "a reader" else ["-", "-o", str(out)]
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
    with subprocess.Popen(command(*arguments), **pipes) as run:
        assert run.stdin is not None and run.stdout is not None and run.stderr is not None
        if waits_for == "a reader":
            run.stdout.read(4)  # so that it is there, and then waits: all frames are more than a pipe holds
        else:
            run.stdin.write(big.read_bytes()[:2000])
            run.stdin.flush()
            while fcntl.ioctl(run.stdin, termios.FIONREAD, bytes(4)) != bytes(4):  # until it has read what there is
                time.sleep(0.02)
        run.terminate()
        assert run.wait(60) in (128 + signal.SIGTERM, -signal.SIGTERM)  # the latter: before Python listened
        assert "Traceback" not in run.stderr.read().decode()
    assert list(tmp_path.iterdir()) == [big]
