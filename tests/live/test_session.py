"""Live runs: the command on files and patterns in real time, and a session with a model that knows the room."""

from __future__ import annotations

import itertools
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
import pytest
import torch
from conftest import SAMPLES
from support.live_footage import COUNT, Kept, Keyed, number_in, of_room, sender, write_counted

from streammatte.cli.live_display import LiveDisplay
from streammatte.cli.main import main
from streammatte.errors import ModelError
from streammatte.frame import Frame
from streammatte.live import cameras
from streammatte.live.cameras import list_cameras
from streammatte.live.contracts import Controls
from streammatte.live.over_background import Look
from streammatte.live.reconnecting import Capture
from streammatte.live.session import Session, too_slow
from streammatte.live.source import LiveSource, Picture
from streammatte.live.status import Status
from streammatte.live.targets import Outputs

pytestmark = pytest.mark.e2e

GREEN = (0, 177, 64)
QUICK = ["--model", "birefnet-nano", "--device", "cpu"]
PATTERN = "lavfi:testsrc2=size=128x96:rate=30"


class Told:
    """What a session said."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)

    warning = notice

    def fetching(self, done: int, total: int | None) -> None:
        raise AssertionError("nothing is fetched here")

    def status(self, status: Status) -> None:
        assert status.line()

    def ended(self, status: Status) -> None:
        """Told by ``run_live``."""


def played(
    source: LiveSource,
    outputs: Kept,
    model: Callable[[], Keyed] = Keyed,
    *,
    meanwhile: Callable[[Session], bool] = lambda session: False,
    told: Told | None = None,
) -> Session:
    """A session over green, until the source ends or ``meanwhile`` says so, for a minute at most."""
    rate = float(source.info.frame_rate)
    with closing(Capture(source)) as capture, closing(Look(source.info, ["0,177,64"], Controls())) as look:
        session = Session(capture, model, look, cast(Outputs, outputs), told or Told(), rate)
        with closing(session):
            session.run(seconds=60, stopped=lambda: meanwhile(session))
    return session


@pytest.fixture
def room(tmp_path: Path) -> LiveSource:
    return LiveSource(str(write_counted(tmp_path / "room.mkv")))


def test_a_file_is_played_to_its_end_in_order_each_picture_with_its_own_alpha(room: LiveSource) -> None:
    outputs = Kept()
    session = played(room, outputs)
    indices = [shown.index for shown in outputs.fresh]
    assert indices == sorted(set(indices)) and indices[-1] == COUNT - 1
    for shown in outputs.fresh:
        assert number_in(shown.rgb, GREEN) == (shown.index, shown.index)
    assert sum(of_room(shown.rgb) for shown in outputs.shown) == 0
    status = session.status("stopped", whole=True)
    assert status.shown == len(indices) and status.shown + status.dropped == COUNT
    # Before the first cut-out there is the background alone: the model was not even loaded.
    assert outputs.shown[0].held and outputs.shown[0].index == -1
    assert (outputs.shown[0].rgb == GREEN).all()


class Shifted(Keyed):
    """Gives each frame the alpha of the one before."""

    def __init__(self) -> None:
        self._before: torch.Tensor | None = None

    def __call__(self, frames: list[Frame]) -> list[torch.Tensor]:
        (alpha,) = super().__call__(frames)
        before, self._before = self._before, alpha
        return [alpha if before is None else before]


def test_an_alpha_of_another_frame_would_be_seen(room: LiveSource) -> None:
    """That is to say: the test above can fail."""
    outputs = Kept()
    played(room, outputs, Shifted)
    assert sum(of_room(shown.rgb) for shown in outputs.shown) > 0
    assert any(number_in(shown.rgb, GREEN)[0] != shown.index for shown in outputs.fresh)


class Failing(Keyed):
    """Right for three frames, and then wrong in one way."""

    def __init__(self, how: Callable[[], list[torch.Tensor]]) -> None:
        self._how = how
        self._seen = 0

    def __call__(self, frames: list[Frame]) -> list[torch.Tensor]:
        self._seen += 1
        return super().__call__(frames) if self._seen <= 3 else self._how()


def _raises() -> list[torch.Tensor]:
    raise RuntimeError("the network broke")


@pytest.mark.parametrize(
    "how", [_raises, list, lambda: [torch.full((64, 96), torch.nan)]], ids=["raises", "none", "NaN"]
)
def test_a_frame_without_its_matte_is_not_shown(room: LiveSource, how: Callable[[], list[torch.Tensor]]) -> None:
    outputs, told = Kept(), Told()
    with pytest.raises((ModelError, RuntimeError)):
        played(room, outputs, lambda: Failing(how), told=told)
    assert len(outputs.fresh) == 3
    assert sum(of_room(shown.rgb) for shown in outputs.shown) == 0


def test_a_model_that_cannot_be_loaded_ends_the_run_and_shows_no_room(room: LiveSource) -> None:
    outputs = Kept()

    def load() -> Keyed:
        raise ModelError("no such model")

    with pytest.raises(ModelError, match="no such model"):
        played(room, outputs, load)
    assert outputs.shown and all((shown.rgb == GREEN).all() for shown in outputs.shown)


def test_a_picture_without_colours_is_not_shown_and_not_the_end(
    room: LiveSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours = Picture.frame

    def fails_once(self: Picture) -> Frame:
        if self.index == 0:
            raise ValueError("no such colours")
        return colours(self)

    monkeypatch.setattr(Picture, "frame", fails_once)
    outputs, told = Kept(), Told()
    session = played(room, outputs, told=told)
    assert session.status().failed == 1
    assert outputs.fresh and outputs.fresh[-1].index == COUNT - 1
    assert sum("no such colours" in notice for notice in told.notices) <= 1  # none if the run was over before


def test_a_stream_that_falls_silent_is_held_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "SILENCE", 0.4)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"udp://127.0.0.1:{port}"
    outputs, told = Kept(), Told()
    sending = sender(f"{address}?pkt_size=1316")
    sending.__enter__()
    source = LiveSource(address)
    changes: list[int] = []

    def meanwhile(session: Session) -> bool:
        nonlocal sending
        status = session.status()
        if not changes and len(outputs.fresh) >= 5:
            sending.__exit__(None, None, None)
            changes.append(len(outputs.shown))
        if len(changes) == 1 and status.state == "lost" and outputs.shown[-1].held:
            sending = sender(f"{address}?pkt_size=1316")
            sending.__enter__()
            changes.append(len(outputs.fresh))
        if len(changes) < 2 or not any("is back" in notice for notice in told.notices):
            return False
        return status.reconnections > 0 and len(outputs.fresh) >= changes[1] + 5

    try:
        session = played(source, outputs, meanwhile=meanwhile, told=told)
    finally:
        sending.__exit__(None, None, None)
    assert session.status().reconnections == 1
    assert any("is back" in notice for notice in told.notices)
    indices = [shown.index for shown in outputs.fresh]
    assert indices == sorted(set(indices))
    assert any(shown.held and shown.index >= 0 for shown in outputs.shown)
    assert sum(of_room(shown.rgb) for shown in outputs.shown) == 0


def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("still.png", np.zeros((32, 32, 3), np.uint8))
    wrong = ("--size", "--json", "nonsense", "--quality 100x100")
    for *arguments, says in (
        ["--camera", "nobody's camera", "nobody's camera"],
        ["--camera", "97", "97"],
        ["--camera", "testsrc2", "--camera lavfi:testsrc2"],
        ["--camera", "/dev/video97", "/dev/video97"],
        ["--camera", "gone.mp4", "gone.mp4"],
        ["--camera", "lavfi:nonsense", "lavfi:nonsense"],
        ["--camera", "rtsp://127.0.0.1:1/x", "Connection refused"],
        ["--camera", "nonsense://127.0.0.1/x", "nonsense://127.0.0.1/x"],
        ["--camera", str(SAMPLES / "talking.mp4"), "--size", "4x4", "--size"],
        ["--camera", PATTERN, "--to", "-", "--json", "--json"],
        ["--camera=-1", "'-1'"],
        ["--camera", "", "--camera"],
        ["--camera", ".", ". is a folder"],
        ["--camera", "still.png", "still.png"],
        ["--camera", PATTERN, "--model", "nonsense", "nonsense"],
        ["--camera", PATTERN, "--quality", "100x100", "--quality 100x100"],
        ["--camera", PATTERN, "--weights", "gone.safetensors", "gone.safetensors"],
        ["--camera", PATTERN, "--weights", "still.png", "still.png"],
    ):
        targets = [] if "--to" in arguments else ["--to", "out.mkv"]
        model = [] if {"--model", "--weights"} & set(arguments) else QUICK
        assert main(["live", *arguments, *targets, *model, "--bg", "green"]) == (2 if says in wrong else 1), arguments
        said = capsys.readouterr().err
        assert said.startswith("streammatte: error:") and says in said and "Traceback" not in said
        assert [path.name for path in tmp_path.iterdir()] == ["still.png"]


def test_without_a_camera_it_says_how_to_find_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["live", "--list-cameras", "--json"]) == 0
    said = capsys.readouterr()
    cameras = json.loads(said.out)
    assert len(cameras) == len(list_cameras())
    if not cameras:
        assert said.err
        assert main(["live"]) == 1
        assert "hint: " in capsys.readouterr().err


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
    arguments = ["--camera", PATTERN, "--bg", "green", "--to", str(tmp_path / "out.mkv"), "--seconds", "1", "--json"]
    assert main(["live", *arguments, *QUICK]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["seconds"] >= 1


def test_a_run_that_showed_nobody_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveDisplay() as display:
        display.ended(Status("stopped", 1.0, 25.0, 0.0, None, None, 0, 5, 0, 19, 0, 0, 0, "", "", ""))
    assert "only the background" in capsys.readouterr().err


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
        [*command, "--json", *QUICK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
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


def test_a_run_that_fails_says_in_json_that_it_has_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Picture) -> Frame:
        raise ValueError("no such colours")

    monkeypatch.setattr(Picture, "frame", fails)
    arguments = ["--camera", PATTERN, "--bg", "green", "--to", str(tmp_path / "out.mkv"), "--json", *QUICK]
    with pytest.raises(ValueError, match="no such colours"):
        main(["live", *arguments])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["state"] == "stopped"


def test_size_and_rate_are_what_was_asked_for(tmp_path: Path) -> None:
    path = str(write_counted(tmp_path / "room.mkv", rate=20))
    with closing(LiveSource(path, size=(32, 32), rate=Fraction(10))) as source:
        assert (source.info.width, source.info.height, source.info.frame_rate) == (32, 32, 10)
        assert "96×64" in source.notes[0] and "32×32" in source.notes[0] and "33 %" in source.notes[0]
        pictures = list(source.pictures())
        assert len(pictures) == COUNT // 2
        assert pictures[0].frame().rgb.shape == (3, 32, 32)


def test_a_camera_that_does_not_answer_can_be_interrupted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        arguments = ["live", "--camera", address, "--bg", "green", "--to", str(tmp_path / "out.mkv")]
        with subprocess.Popen([sys.executable, "-m", "streammatte", *arguments], stderr=subprocess.PIPE) as run:
            assert run.stderr is not None and b"waiting for" in run.stderr.readline()
            run.send_signal(signal.SIGINT)
            assert run.wait(60) == 128 + signal.SIGINT
    assert not list(tmp_path.iterdir())


def test_waiting_for_a_camera_shows_no_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("streammatte.live.session._SAY_AFTER", 0.1)
    monkeypatch.setattr(cameras, "ANSWER_WITHIN", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://bob:hunter2@127.0.0.1:{server.getsockname()[1]}"
        assert main(["live", "--camera", address, "--bg", "green", "--to", "udp://127.0.0.1:9"]) == 1
    shown = capsys.readouterr().err
    assert "waiting for" in shown and "hunter2" not in shown
