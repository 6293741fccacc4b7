"""Live runs: the real command on files and patterns in real time, and the session with a matter that knows the room."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from conftest import SAMPLES
from streammatte.live.capture import Capture
from streammatte.live.controls import Controls
from streammatte.live.look import Look
from support.live_footage import COUNT, SIZE, Kept, Keyed, number_in, of_room, picture, sender, write_counted

from streammatte.cli.live_display import LiveDisplay
from streammatte.cli.main import main
from streammatte.errors import InputError, ModelError, SourceNotFound
from streammatte.frame import Cutout, Frame
from streammatte.live import source as live_source
from streammatte.live.cameras import list_cameras
from streammatte.live.contracts import Captured
from streammatte.live.session import Session, too_slow
from streammatte.live.source import LiveSource
from streammatte.live.status import Status

GREEN = (0, 177, 64)
QUICK = ["--model", "birefnet-nano", "--device", "cpu"]
PATTERN = "lavfi:testsrc2=size=128x96:rate=30"


class Told:
    """What a session said."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def fetching(self, done: int, total: int | None) -> None:
        raise AssertionError("nothing is fetched here")

    def status(self, status: Status) -> None:
        assert status.line()


def played(
    source: LiveSource,
    outputs: Kept,
    matter: Callable[[], Keyed] = Keyed,
    *,
    meanwhile: Callable[[Session], bool] = lambda session: False,
    told: Told | None = None,
) -> Session:
    """A session over green, until the source or the outputs end or ``meanwhile`` says so, for a minute at most."""
    begin = time.monotonic()
    with closing(Capture(source)) as capture, closing(Look(source.info, ["0,177,64"], Controls())) as look:
        session = Session(capture, matter, look, outputs, source.info, told or Told())  # type: ignore[arg-type]
        with closing(session):
            session.run(seconds=60, stopped=lambda: meanwhile(session))
    assert time.monotonic() - begin < 60
    return session


def test_a_file_is_played_to_its_end_in_order_each_picture_with_its_own_alpha(tmp_path: Path) -> None:
    outputs = Kept()
    session = played(LiveSource(str(write_counted(tmp_path / "room.mkv"))), outputs)
    indices = [shown.index for shown in outputs.fresh]
    assert indices == sorted(set(indices)) and indices[-1] == COUNT - 1
    for shown in outputs.fresh:
        assert number_in(shown.rgb, GREEN) == (shown.index, shown.index)
    assert sum(of_room(shown.rgb) for shown in outputs.shown) == 0
    status = session.status("stopped", whole=True)
    assert status.shown == len(indices) and status.shown + status.dropped == COUNT
    # Before there is a cut-out, the background alone; the model was not even ready.
    assert outputs.shown[0].held and outputs.shown[0].index == -1
    assert (outputs.shown[0].rgb == GREEN).all()


class Shifted(Keyed):
    """Gives each frame the alpha of the one before."""

    def __init__(self) -> None:
        self._before: torch.Tensor | None = None

    def __call__(self, captured: Captured) -> Cutout:
        alpha = self.alpha(captured.frame)
        before, self._before = self._before, alpha
        return Cutout(captured.frame, alpha if before is None else before)


def test_an_alpha_of_another_frame_would_be_seen(tmp_path: Path) -> None:
    """That is to say: the test above can fail."""
    outputs = Kept()
    played(LiveSource(str(write_counted(tmp_path / "room.mkv"))), outputs, Shifted)
    assert sum(of_room(shown.rgb) for shown in outputs.shown) > 0
    assert any(number_in(shown.rgb, GREEN)[0] != shown.index for shown in outputs.fresh)


class Failing(Keyed):
    """Right for three frames, and then wrong in one way."""

    def __init__(self, how: Callable[[Frame, Frame], Cutout]) -> None:
        self._how = how
        self._seen: list[Frame] = []

    def __call__(self, captured: Captured) -> Cutout:
        self._seen.append(captured.frame)
        if len(self._seen) <= 3:
            return super().__call__(captured)
        return self._how(self._seen[-2], captured.frame)


def _raises(before: Frame, frame: Frame) -> Cutout:
    raise RuntimeError("the network broke")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (_raises, "the network broke"),
        (lambda before, frame: Cutout(before, torch.ones(frame.rgb.shape[1:])), "was given the matte of frame"),
        (lambda before, frame: Cutout(frame, torch.full(frame.rgb.shape[1:], torch.nan)), "no numbers"),
        (lambda before, frame: Cutout(frame, torch.ones(2, 2)), "another size"),
        (lambda before, frame: Cutout(frame, torch.full(frame.rgb.shape[1:], 7.0)), "goes from 7 to 7"),
    ],
)
def test_a_frame_without_its_matte_is_not_shown(
    tmp_path: Path, how: Callable[[Frame, Frame], Cutout], says: str
) -> None:
    outputs, told = Kept(), Told()
    with pytest.raises((ModelError, RuntimeError), match=says):
        played(
            LiveSource(str(write_counted(tmp_path / "room.mkv", 2 * COUNT))), outputs, lambda: Failing(how), told=told
        )
    assert len(outputs.fresh) == 3
    assert sum(of_room(shown.rgb) for shown in outputs.shown) == 0


def test_a_model_that_cannot_be_loaded_ends_the_run_and_shows_no_room(tmp_path: Path) -> None:
    outputs = Kept()

    def load() -> Keyed:
        raise ModelError("no such model")

    with pytest.raises(ModelError, match="no such model"):
        played(LiveSource(str(write_counted(tmp_path / "room.mkv"))), outputs, load)
    assert outputs.shown and all((shown.rgb == GREEN).all() for shown in outputs.shown)


def test_a_stream_that_falls_silent_is_held_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_source, "_SILENCE", 0.4)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"udp://127.0.0.1:{port}"
    outputs, told = Kept(), Told()
    sending = sender(f"{address}?pkt_size=1316")
    sending.__enter__()
    source = LiveSource(address)
    held_from: list[int] = []

    def meanwhile(session: Session) -> bool:
        nonlocal sending
        status = session.status()
        if not held_from and len(outputs.fresh) >= 5:
            sending.__exit__(None, None, None)
            held_from.append(len(outputs.shown))
        if len(held_from) == 1 and status.state == "lost" and outputs.shown[-1].held:
            sending = sender(f"{address}?pkt_size=1316")
            sending.__enter__()
            held_from.append(len(outputs.fresh))
        return len(held_from) == 2 and status.reconnections > 0 and len(outputs.fresh) >= held_from[1] + 5

    try:
        session = played(source, outputs, meanwhile=meanwhile, told=told)
    finally:
        sending.__exit__(None, None, None)
    assert session.status().reconnections == 1
    assert any("held" in notice for notice in told.notices) and any("is back" in notice for notice in told.notices)
    indices = [shown.index for shown in outputs.fresh]
    assert indices == sorted(set(indices))
    assert any(shown.held and shown.index >= 0 for shown in outputs.shown)
    assert sum(of_room(shown.rgb) for shown in outputs.shown) == 0


def test_who_is_late_gets_the_newest_frame_and_the_others_are_counted(tmp_path: Path) -> None:
    with closing(Capture(LiveSource(str(write_counted(tmp_path / "room.mkv"))))) as capture:
        first = capture.take(10)
        assert first is not None and first.index == 0
        while capture.state != "ended":
            time.sleep(0.05)
        last = capture.take(10)
        assert last is not None and last.index == COUNT - 1
        assert (capture.count, capture.dropped) == (COUNT, COUNT - 2)
        assert capture.take(0) is None


def test_times_count_from_the_first_frame(tmp_path: Path) -> None:
    source = LiveSource(str(write_counted(tmp_path / "room.mkv", 4)))
    with closing(source):
        assert [picture.pts * source.info.time_base for picture in source.pictures()] == [
            Fraction(number, 20) for number in range(4)
        ]


def damaged(tmp_path: Path) -> Path:
    """:func:`picture` s in a transport stream that has lost a packet here and there; a keyframe is every tenth."""
    whole = tmp_path / "whole.ts"
    with av.open(str(whole), "w") as out:
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": "10", "crf": "5", "threads": "1"}
        stream = out.add_stream("libx264", rate=100, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv444p"
        for number in range(100):
            frame = av.VideoFrame.from_ndarray(_textured(number), "rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = number, Fraction(1, 100)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    data = bytearray(whole.read_bytes())
    for place in range(188 * 100, len(data) - 300, 188 * 97):
        data[place : place + 300] = b"\xff" * 300
    path = tmp_path / "damaged.ts"
    path.write_bytes(data)
    return path


def _textured(number: int) -> np.ndarray:
    rgb = picture(number % COUNT)
    rgb[40:] = np.random.default_rng(number).integers(0, 256, (SIZE[1] - 40, SIZE[0], 1))
    return rgb


def test_of_a_damaged_stream_only_what_is_whole_is_given(tmp_path: Path) -> None:
    told = Told()
    source = LiveSource(str(damaged(tmp_path)))
    with closing(source):
        pictures = list(source.pictures())
    assert source.damaged > 3 and 10 < len(pictures) < 90
    truth = [_textured(number) for number in range(100)]
    for given in pictures:
        rgb = given.frame().rgb.permute(1, 2, 0).numpy().astype(int)
        assert min(np.abs(rgb - each).mean() for each in truth) < 4
    session = played(LiveSource(str(tmp_path / "damaged.ts")), Kept(), told=told)
    assert sum("is damaged" in notice for notice in told.notices) == 1
    assert "damaged" in session.status().line()


def test_what_comes_back_keeps_the_first_size_and_counts_on(tmp_path: Path) -> None:
    path = write_counted(tmp_path / "room.mkv", 3)
    with closing(LiveSource(str(path))) as source:
        before = [(picture.index, picture.pts) for picture in source.pictures()]
        shutil.copy(write_counted(tmp_path / "wide.mkv", 3, size=(192, 64)), path)
        source.reopen()
        after = list(source.pictures())
        assert [picture.index for picture in after] == [3, 4, 5]
        assert after[0].pts > before[-1][1]
        for picture in after:
            assert picture.frame().rgb.shape == (3, SIZE[1], SIZE[0])
        path.unlink()
        with pytest.raises(InputError):
            source.reopen()


def test_size_and_rate_are_what_was_asked_for(tmp_path: Path) -> None:
    path = str(write_counted(tmp_path / "room.mkv"))
    with closing(LiveSource(path, size=(32, 32), rate=Fraction(10))) as source:
        assert (source.info.width, source.info.height, source.info.frame_rate) == (32, 32, 10)
        assert "gives 96×64 at 20 a second, brought to 32×32: 33 % of it is cut off left and right" in source.notes[0]
        pictures = list(source.pictures())
        assert len(pictures) == COUNT // 2
        assert pictures[0].frame().rgb.shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--camera", "nobody's camera"], "no camera is a"),
        (["--camera", "97"], "camera 97 is not there"),
        (["--camera", "/dev/video97"], "/dev/video97 is not there"),
        (["--camera", "gone.mp4"], "there is no file gone.mp4"),
        (["--camera", "lavfi:nonsense"], "no pattern"),
        (["--camera", "rtsp://127.0.0.1:1/x"], "gives no pictures: Connection refused"),
        (["--camera", "nonsense://127.0.0.1/x"], "does not know nonsense://"),
        (["--camera", str(SAMPLES / "talking.mp4"), "--size", "4x4"], "no camera gives 4×4"),
        (["--camera", PATTERN, "--to", "-", "--json"], "both write to standard output"),
        (["--camera", "-1"], "camera -1 is not there"),
        (["--camera", ""], "the name is empty"),
        (["--camera", "."], ". is a folder"),
        (["--camera", "still.png"], "is a still picture"),
        (["--camera", PATTERN, "--model", "nonsense"], "nonsense"),
        (["--camera", PATTERN, "--quality", "100x100"], "--quality 100x100"),
        (["--camera", PATTERN, "--weights", "gone.safetensors"], "there is no file gone.safetensors"),
        (["--camera", PATTERN, "--weights", "still.png"], "still.png"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("still.png", np.zeros((32, 32, 3), np.uint8))
    targets = [] if "--to" in arguments else ["--to", "out.mkv"]
    model = [] if {"--model", "--weights"} & set(arguments) else QUICK
    assert main(["live", *arguments, *targets, *model, "--bg", "green"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("streammatte: error:") and says in said and "hint:" in said and "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["still.png"]


def test_a_server_that_says_nothing_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_source, "_ANSWER_WITHIN", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(SourceNotFound, match="nothing came in time"):
        LiveSource(f"tcp://127.0.0.1:{server.getsockname()[1]}")


def test_without_a_camera_it_says_how_to_find_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["live", "--list-cameras", "--json"]) == 0
    said = capsys.readouterr()
    cameras = json.loads(said.out)
    assert len(cameras) == len(list_cameras())
    if not cameras:
        assert "no camera was found" in said.err
        assert main(["live"]) == 1
        assert "there is no camera on this machine" in capsys.readouterr().err


def test_the_command_on_a_file_writes_one_json_object_a_second(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mkv"
    arguments = ["--camera", str(SAMPLES / "talking.mp4"), "--bg", "green", "--to", str(out), "--json", *QUICK]
    assert main(["live", *arguments]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["state"] for line in lines[:1] + lines[-1:]] == ["starting", "stopped"]
    assert lines[-1]["shown"] + lines[-1]["dropped"] + lines[-1]["failed"] == 50
    assert {"rate_in", "rate_out", "latency_ms", "latency_p95_ms", "setting", "device"} <= lines[-1].keys()
    with av.open(str(out)) as file:
        frames = list(file.decode(video=0))
    assert all(early.pts < late.pts for early, late in itertools.pairwise(frames))
    first = frames[0].to_ndarray(format="rgb24").astype(int)
    assert np.abs(first - first[0, 0]).max() == 0  # before the first cut-out there is the background and nothing else


def test_seconds_begin_when_the_network_is_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out.mkv")
    arguments = ["--camera", PATTERN, "--bg", "green", "--to", out, "--seconds", "3", *QUICK]
    assert main(["live", *arguments]) == 0
    said = capsys.readouterr().err
    assert " pictures in " in said and "the background alone" not in said


def test_a_run_that_showed_nobody_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveDisplay() as display:
        display.ended(Status("stopped", 1.0, 25.0, 0.0, None, None, 0, 5, 0, 19, 0, 0, 0, "", "", ""))
    assert "the background alone" in capsys.readouterr().err


def test_advice_is_given_where_it_helps() -> None:
    nano = too_slow("birefnet-nano", "cpu", 30, lights=True, pinned=False)
    assert "birefnet-nano" not in nano and "--light-wrap" in nano and "a GPU" in nano
    lite = too_slow("birefnet-lite", "cuda:0", 30, lights=False, pinned=True)
    assert "birefnet-nano" in lite and "--light-wrap" not in lite and "a GPU" not in lite and "--quality auto" in lite


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such signals")
def test_a_signal_ends_it_with_a_whole_file(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    command = [sys.executable, "-m", "streammatte", "live", "--camera", PATTERN, "--bg", "green", "--to", str(out)]
    with subprocess.Popen(
        [*command, "--json", *QUICK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    ) as run:
        assert run.stdout is not None and run.stderr is not None
        for line in run.stdout:
            if json.loads(line)["shown"]:
                break
        run.send_signal(signal.SIGINT)
        rest = run.stdout.read().splitlines()
        assert run.wait(60) == 0, run.stderr.read()
    assert json.loads(rest[-1])["state"] == "stopped"
    with av.open(str(out)) as file:
        assert sum(1 for _ in file.decode(video=0)) > 0


def test_a_picture_without_colours_is_not_shown_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours = live_source.Picture.frame

    def fails_once(self: live_source.Picture) -> Frame:
        if self.index == 0:
            raise ValueError("no such colours")
        return colours(self)

    monkeypatch.setattr(live_source.Picture, "frame", fails_once)
    outputs, told = Kept(), Told()
    session = played(LiveSource(str(write_counted(tmp_path / "room.mkv"))), outputs, told=told)
    assert session.status().failed == 1
    assert outputs.fresh and outputs.fresh[-1].index == COUNT - 1
    assert sum("no such colours" in notice for notice in told.notices) == 1


def test_a_run_that_fails_says_in_json_that_it_has_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: live_source.Picture) -> Frame:
        raise ValueError("no such colours")

    monkeypatch.setattr(live_source.Picture, "frame", fails)
    arguments = ["--camera", PATTERN, "--bg", "green", "--to", str(tmp_path / "out.mkv"), "--json", *QUICK]
    with pytest.raises(ValueError, match="no such colours"):
        main(["live", *arguments])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["state"] == "stopped"
