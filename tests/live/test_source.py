"""Sources: addresses, damaged streams, cameras that come back; secrets are not shown, and silence holds nothing up."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
from contextlib import closing, suppress
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import av
import numpy as np
import pytest
from support import clips
from support.live_footage import COUNT, SIZE, picture, write_counted

from streammatte.cli.live_display import LiveDisplay
from streammatte.cli.main import main
from streammatte.errors import InputError, SourceNotFound, StreammatteError
from streammatte.frame import ColorSpec, StreamInfo
from streammatte.live import cameras
from streammatte.live.cameras import Camera, Place, find_again, find_camera
from streammatte.live.live_backgrounds import open_behind
from streammatte.live.reconnecting import Capture
from streammatte.live.source import LiveSource
from streammatte.live.status import Status
from streammatte.live.stream_out import StreamWriter
from streammatte.live.targets import check_outputs
from streammatte.media.addresses import without_secrets

pytestmark = pytest.mark.e2e

INFO = StreamInfo(*SIZE, Fraction(1, 1000), Fraction(25), None, ColorSpec())
SECRET = "hunter2"


def test_secrets_are_left_out() -> None:
    for address, shown in (
        (f"rtsp://me:{SECRET}@cam.local:8554/x", "rtsp://…@cam.local:8554/x"),
        (f"rtsp://{SECRET}@cam.local/@home", "rtsp://…@cam.local/@home"),
        (
            f"srt://host:9?mode=caller&passphrase={SECRET}&latency=16",
            "srt://host:9?mode=caller&passphrase=…&latency=16",
        ),
        (f"srt://host:9?streamid=publish:a:{SECRET}", "srt://host:9?streamid=…"),
        (f"https://host/live.m3u8?access_token={SECRET}", "https://host/live.m3u8?access_token=…"),
        (f"rtmp://a.rtmp.host/live2/{SECRET}", "rtmp://a.rtmp.host/live2/…"),
        (f"rtmps://host:443/app/instance/{SECRET}?x=1", "rtmps://host:443/app/…"),
        (f"rtmp://host/app playpath=x pubPasswd={SECRET}", "rtmp://host/app/…"),
        ("udp://127.0.0.1:9?pkt_size=1316", "udp://127.0.0.1:9?pkt_size=1316"),
        ("a folder/me@home?key=1.mp4", "a folder/me@home?key=1.mp4"),
        ("rtmp://host/app", "rtmp://host/app"),
    ):
        assert without_secrets(address) == shown


@pytest.mark.parametrize(
    "address",
    [
        f"rtsp://me:{SECRET}@127.0.0.1:1/x",
        f"http://me:{SECRET}@127.0.0.1:1/x.mp4?token={SECRET}",
        f"rtmp://127.0.0.1:1/live/{SECRET}",
        f"nonsense://me:{SECRET}@127.0.0.1/x",
    ],
)
def test_no_message_has_a_secret(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    room = str(write_counted(tmp_path / "room.mkv", 3))
    out = str(tmp_path / "out.mkv")
    unknown = address.startswith(("http", "nonsense"))  # nothing is written there: wrong usage
    for arguments, code in (
        (["--camera", address, "--bg", "green", "--to", out], 1),
        (["--camera", room, "--bg", address, "--to", out], 1),
        (["--camera", room, "--bg", "green", "--to", address, "--seconds", "3"], 2 if unknown else 1),
        (["--camera", room, "--bg", "transparent", "--to", address], 2),
    ):
        assert main(["live", *arguments, "--model", "birefnet-nano", "--device", "cpu"]) == code
        said = capsys.readouterr()
        assert "…" in said.err and SECRET not in said.err + said.out
    with pytest.raises(StreammatteError) as refused:
        check_outputs([address, address], alpha=False, overwrite=False, json=False, read=[])
    assert SECRET not in str(refused.value)
    if not address.startswith(("nonsense", "http")):
        assert SECRET not in StreamWriter(address, INFO).description


class _Ranges(SimpleHTTPRequestHandler):
    """Files of a folder, from any byte on, over connections that are kept."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        content = Path(self.translate_path(self.path)).read_bytes()
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(content[first:])

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: a test's output is its own."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A caller may hang up."""


@pytest.mark.parametrize("name", ["quick.mp4", "clip.mp4", "clip.mkv", "clip.ts"])
def test_a_clip_on_a_web_server_plays(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w", options={"movflags": "faststart"} if name == "quick.mp4" else {}) as out:
        stream = out.add_stream("libx264", rate=60, options={"preset": "ultrafast"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(clips.picture(number % 10), "rgb24").reformat(96, 72, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 60)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with _Server(("127.0.0.1", 0), partial(_Ranges, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/{name}"
        with closing(LiveSource(address)) as source:
            assert source.paced
            assert [picture.index for picture in source.pictures()] == list(range(30))
        with closing(open_behind(address, INFO)) as behind:
            assert behind.light
        server.shutdown()


def test_a_file_may_be_written_as_an_address(tmp_path: Path) -> None:
    path = write_counted(tmp_path / "a room.mkv", 3)
    assert Place.of(path.as_uri()).kind == "file"
    with closing(LiveSource(path.as_uri())) as source:
        assert len(list(source.pictures())) == 3
    with pytest.raises(SourceNotFound, match="gone"):
        LiveSource((tmp_path / "gone").as_uri())


def test_a_server_that_says_nothing_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "ANSWER_WITHIN", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(SourceNotFound, match=r"127\.0\.0\.1"):
        LiveSource(f"tcp://127.0.0.1:{server.getsockname()[1]}")


def test_a_status_that_nobody_reads_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writing, b"x" * 1000)
    os.set_blocking(writing, True)
    status = Status("live", 1.0, 30.0, 20.0, 50.0, 60.0, 9, 1, 0, 1, 0, 0, 0, "320×320", "birefnet-nano", "cpu")
    with os.fdopen(writing, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with LiveDisplay(as_json=True) as display:
            display.status(status)
            display.ended(status)
        os.set_blocking(reading, False)
        with pytest.raises(BlockingIOError):
            while os.read(reading, 100_000):
                pass
        display.ended(status)
    assert json.loads(os.read(reading, 10_000)) == status.as_dict()
    os.close(reading)


class Slow:
    """A camera with a picture every four seconds."""

    info = SimpleNamespace(frame_rate=Fraction(1, 4))
    paced = broken = False

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def pictures(self) -> object:
        self._stopped.wait(60)
        return iter(())

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        """Nothing is open."""


def test_a_camera_whose_pictures_come_far_apart_is_not_lost() -> None:
    with closing(Capture(cast(LiveSource, Slow()))) as capture:
        capture.arrived.last -= 11
        assert capture.state == "live"
        capture.arrived.last -= 2
        assert capture.state == "lost"


def test_a_late_taker_gets_the_newest_frame_and_the_others_are_counted(tmp_path: Path) -> None:
    with closing(Capture(LiveSource(str(write_counted(tmp_path / "room.mkv"))))) as capture:
        first = capture.take(10)
        assert first is not None and first.index == 0
        waiting = threading.Event()
        while capture.state != "ended":
            waiting.wait(0.02)
        last = capture.take(10)
        assert last is not None and last.index == COUNT - 1
        assert (capture.arrived.count, capture.dropped) == (COUNT, COUNT - 2)
        assert capture.take(0) is None


def test_times_count_from_the_first_frame(tmp_path: Path) -> None:
    with closing(LiveSource(str(write_counted(tmp_path / "room.mkv", 4)))) as source:
        assert [picture.pts * source.info.time_base for picture in source.pictures()] == [
            Fraction(number, 40) for number in range(4)
        ]


def damaged(tmp_path: Path) -> Path:
    """:func:`picture` s in a transport stream that has lost a packet here and there; a keyframe is every tenth."""
    whole = tmp_path / "whole.ts"
    with av.open(str(whole), "w") as out:
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": "10", "crf": "5", "threads": "1"}
        stream = out.add_stream("libx264", rate=200, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv444p"
        for number in range(100):
            frame = av.VideoFrame.from_ndarray(_textured(number), "rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = number, Fraction(1, 200)
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


def test_of_a_damaged_stream_only_whole_pictures_are_given(tmp_path: Path) -> None:
    with closing(LiveSource(str(damaged(tmp_path)))) as source:
        pictures = list(source.pictures())
    assert source.damaged > 3 and 10 < len(pictures) < 90
    truth = [_textured(number) for number in range(100)]
    for given in pictures:
        rgb = given.frame().rgb.permute(1, 2, 0).numpy().astype(int)
        assert min(np.abs(rgb - each).mean() for each in truth) < 4


def test_what_comes_back_keeps_the_first_size_and_counts_on(tmp_path: Path) -> None:
    path = write_counted(tmp_path / "room.mkv", 3)
    with closing(LiveSource(str(path))) as source:
        before = [(picture.index, picture.pts) for picture in source.pictures()]
        shutil.copy(write_counted(tmp_path / "wide.mkv", 3, size=(192, 64)), path)
        source.reopen()
        after = list(source.pictures())
        assert [picture.index for picture in after] == [3, 4, 5]
        assert after[0].pts > before[-1][1]
        for each in after:
            assert each.frame().rgb.shape == (3, SIZE[1], SIZE[0])
        path.unlink()
        with pytest.raises(InputError):
            source.reopen()


def test_a_camera_that_comes_back_is_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Camera(3, "Cam", "/dev/video3", virtual=True)
    there = [Camera(1, "Cam 2", "/dev/video1"), loop]
    monkeypatch.setattr(cameras, "list_cameras", lambda: there)
    mine = Camera(0, "Cam", "/dev/video0")
    with pytest.raises(SourceNotFound, match="Cam"):
        find_again(mine)
    there.insert(0, Camera(0, "Other", "/dev/video0"))  # its number has gone to another one
    with pytest.raises(SourceNotFound, match="Cam"):
        find_again(mine)
    there.append(Camera(4, "Cam", "/dev/video4"))
    assert find_again(mine).index == 4
    there.append(mine)
    assert find_again(mine).index == 0
    monkeypatch.setattr(cameras, "list_cameras", lambda: [loop])
    with pytest.raises(SourceNotFound):
        find_camera(None)
    assert find_camera("Cam") == loop
