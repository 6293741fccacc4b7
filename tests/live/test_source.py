"""Addresses: secrets are not said, clips on web servers play, and a server that says nothing holds nothing up."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from contextlib import closing, suppress
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import pytest
from streammatte.live.backgrounds import open_behind
from streammatte.live.capture import Capture
from streammatte.live.outputs import check_outputs
from streammatte.live.writer import StreamWriter
from support import clips
from support.live_footage import SIZE, write_counted

from streammatte.cli.live_display import LiveDisplay
from streammatte.cli.main import main
from streammatte.errors import InputError, SourceNotFound, StreammatteError
from streammatte.frame import ColorSpec, StreamInfo
from streammatte.live import cameras
from streammatte.live.cameras import Camera, find_again, find_camera
from streammatte.live.source import LiveSource
from streammatte.live.status import Status
from streammatte.media import containers
from streammatte.media.addresses import without_secrets

INFO = StreamInfo(*SIZE, Fraction(1, 1000), Fraction(25), None, ColorSpec())
SECRET = "hunter2"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
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
    ],
)
def test_secrets_are_left_out(address: str, shown: str) -> None:
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
    for arguments in (
        ["--camera", address, "--bg", "green", "--to", out],
        ["--camera", room, "--bg", address, "--to", out],
        ["--camera", room, "--bg", "green", "--to", address, "--seconds", "3"],
        ["--camera", room, "--bg", "transparent", "--to", address],
    ):
        assert main(["live", *arguments, "--model", "birefnet-nano", "--device", "cpu"]) == 1
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
        stream = out.add_stream("libx264", rate=20, options={"preset": "ultrafast"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(clips.picture(number % 10), "rgb24").reformat(96, 72, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 20)
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
    with closing(LiveSource(path.as_uri())) as source:
        assert source.kind == "file" and len(list(source.pictures())) == 3
    with pytest.raises(SourceNotFound, match="there is no file"):
        LiveSource((tmp_path / "gone").as_uri())


class Stalling:
    """A web server that sends the first part of a file, and then nothing."""

    def __init__(self, content: bytes, part: float) -> None:
        self._content, self._part = content, part
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._server.getsockname()[1]}/clip.ts"
        self._held: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                asking, _ = self._server.accept()
            except OSError:
                return
            self._held.append(asking)
            asking.recv(10_000)
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(self._content)}\r\n\r\n"
            asking.sendall(head.encode() + self._content[: int(self._part * len(self._content))])

    def close(self) -> None:
        self._server.close()
        for each in self._held:
            each.close()


def test_a_background_that_says_nothing_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_PATIENCE", (0.5, 0.5))
    with closing(Stalling(b"x" * 100, 0)) as server, pytest.raises(InputError, match="nothing came in time"):
        open_behind(server.address, INFO)


def test_a_status_that_nobody_reads_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writing, b"x" * 1000)
    os.set_blocking(writing, True)
    status = Status("live", 1.0, 30.0, 20.0, 50.0, 60.0, 9, 1, 0, 1, 0, 0, 0, "192×192", "birefnet-nano", "cpu")
    with os.fdopen(writing, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        begin = time.monotonic()
        with LiveDisplay(as_json=True) as display:
            display.status(status)
            display.ended(status)
        assert time.monotonic() - begin < 5
        os.set_blocking(reading, False)
        with pytest.raises(BlockingIOError):
            while os.read(reading, 100_000):
                pass
        display.ended(status)
    assert json.loads(os.read(reading, 10_000)) == status.as_dict()
    os.close(reading)


def test_pictures_that_come_far_apart_are_no_lost_camera(tmp_path: Path) -> None:
    source = LiveSource(str(write_counted(tmp_path / "slow.mkv", 3, rate=1)), rate=None)
    assert source.info.frame_rate == 1
    source.close()
    with av.open(str(tmp_path / "slower.mkv"), "w") as out:
        stream = out.add_stream("ffv1", rate=Fraction(1, 4))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "bgr0"
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(clips.picture(number, SIZE), "rgb24")
            frame.pts, frame.time_base = number, Fraction(4)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    slower = LiveSource(str(tmp_path / "slower.mkv"))
    assert slower.info.frame_rate == Fraction(1, 4)
    with closing(Capture(slower)) as capture:
        assert capture.take(10) is not None
        time.sleep(2.5)
        assert capture.state == "live"


def test_a_camera_that_comes_back_is_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Camera(3, "Cam", "/dev/video3", virtual=True)
    there = [Camera(1, "Cam 2", "/dev/video1"), loop]
    monkeypatch.setattr(cameras, "list_cameras", lambda: there)
    mine = Camera(0, "Cam", "/dev/video0")
    with pytest.raises(SourceNotFound, match="Cam is not there"):
        find_again(mine)
    there.insert(0, Camera(0, "Other", "/dev/video0"))  # its number has gone to another one
    with pytest.raises(SourceNotFound, match="Cam is not there"):
        find_again(mine)
    there.append(Camera(4, "Cam", "/dev/video4"))
    assert find_again(mine).index == 4
    there.append(mine)
    assert find_again(mine).index == 0
    monkeypatch.setattr(cameras, "list_cameras", lambda: [loop])
    with pytest.raises(SourceNotFound, match="no camera"):
        find_camera(None)
    assert find_camera("Cam") == loop
