"""Live pictures arrive where they are sent, in order, at their times; what cannot be is refused, and nothing hangs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support import clips
from support.live_children import INFO, LARGE, SIZE, children_in

from streammatte.cli.main import main
from streammatte.errors import OutputError, UnsupportedOutput, WriteFailed
from streammatte.frame import ColorSpec, StreamInfo
from streammatte.live import stream_out
from streammatte.live.contracts import Controls, Shown
from streammatte.live.recording import Recording
from streammatte.live.targets import Outputs, check_outputs
from streammatte.live.window import NAME

pytestmark = pytest.mark.e2e

TIMES = [10.0, 10.04, 10.08, 10.2, 10.24, 10.3, 10.5, 10.54, 10.58, 10.62]
COUNT = len(TIMES)
CAMERA = ["--model", "birefnet-nano"]


def pictures(alpha: bool = False, size: tuple[int, int] = SIZE) -> list[Shown]:
    """At the times of :data:`TIMES`; with alpha, clear on the left."""
    made = []
    for index, at in enumerate(TIMES):
        rgb = clips.picture(index, size)
        if alpha:
            opacity = np.full((*rgb.shape[:2], 1), 255, np.uint8)
            opacity[:, size[0] * 2 // 3 :] = 0
            opacity[:, size[0] // 2 : size[0] * 2 // 3] = 100
            rgb = np.concatenate([rgb, opacity], 2)
        made.append(Shown(rgb, index, at))
    return made


def send(targets: Sequence[str], shown: Sequence[Shown], *, pause: float = 0.0, info: StreamInfo = INFO, **options):
    """Through outputs as a run has them; gives them back for what they say."""
    with Outputs(targets, info, Controls(), **options) as outputs:
        for picture in shown:
            outputs.show(picture)
            time.sleep(pause)
    return outputs


def decoded(path: Path | str, codec: str | None = None) -> list[av.VideoFrame]:
    with av.open(str(path)) as file:
        if codec is None:
            return list(file.decode(video=0))
        decoder = av.CodecContext.create(codec, "r")
        stream = file.streams.video[0]
        frames = []
        for packet in file.demux(stream):
            for frame in decoder.decode(packet if packet.size else None):
                frame.time_base = stream.time_base
                frames.append(frame)
        return frames


def seconds(frames: Sequence[av.VideoFrame]) -> list[float]:
    return [float((frame.pts - frames[0].pts) * frame.time_base) for frame in frames]


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# A second process: what it decodes, as a line each of time and which picture it is.
_READ = """
import sys, av
sys.path.insert(0, sys.argv[3])
from support import clips
print("ready", flush=True)
with av.open(sys.argv[1], options=dict(word.split("=") for word in sys.argv[4:])) as stream:
    for count, frame in enumerate(stream.decode(video=0), 1):
        print(float((frame.pts or 0) * frame.time_base), clips.index_of(frame.to_ndarray(format="rgb24")), flush=True)
        if count == int(sys.argv[2]):
            break
"""


@contextmanager
def reader(address: str, count: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A second process that reads ``count`` pictures; see :func:`received`."""
    here = str(Path(__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, "-c", _READ, address, str(count), here, *options], stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def received(process: subprocess.Popen[str]) -> list[tuple[float, int]]:
    out, _ = process.communicate(timeout=30)
    return [(float(line.split()[0]), int(line.split()[1])) for line in out.splitlines()]


@pytest.fixture(scope="module")
def children(tmp_path_factory):
    with children_in(tmp_path_factory.mktemp("children")) as started:
        yield started


@pytest.mark.parametrize("name", ["out.mp4", "out.webm", "out.mkv", "out.mov"])
def test_a_file_has_every_picture_at_its_time(tmp_path, name):
    outputs = send([str(tmp_path / name)], pictures())
    frames = decoded(tmp_path / name)
    assert outputs.dropped == 0 and outputs.failures == []
    assert [clips.index_of(frame.to_ndarray(format="rgb24")) for frame in frames] == list(range(COUNT))
    assert np.allclose(seconds(frames), np.array(TIMES) - TIMES[0], atol=0.0011)
    assert list(tmp_path.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize(("name", "codec"), [("out.webm", "libvpx-vp9"), ("out.mov", None), ("out.mkv", None)])
def test_clear_pictures_keep_their_alpha(tmp_path, name, codec):
    send([str(tmp_path / name)], pictures(alpha=True), alpha=True)
    frames = decoded(tmp_path / name, codec)
    assert len(frames) == COUNT
    rgba = frames[4].to_ndarray(format="rgba").astype(int)
    assert (np.abs(rgba[:, :40, 3] - 255) <= 1).all() and (rgba[:, 72:, 3] <= 1).all()
    assert (np.abs(rgba[:, 52:60, 3] - 100) <= 2).all()


def test_pictures_that_are_late_or_held_stay_in_order(tmp_path):
    shown = pictures()
    shown[3] = Shown(shown[3].rgb, 3, shown[2].at)  # the clock did not go on
    shown[5] = Shown(shown[4].rgb, 4, shown[5].at, held=True)
    send([str(tmp_path / "out.mp4")], shown)
    frames = decoded(tmp_path / "out.mp4")
    assert len(frames) == COUNT and (np.diff(seconds(frames)) > 0).all()
    assert clips.index_of(frames[5].to_ndarray(format="rgb24")) == 4


def test_a_transport_stream_arrives_in_a_second_process_in_order():
    """Whatever was sent before it listened is lost; from then on every picture is there, at its time."""
    port = free_port(socket.SOCK_DGRAM)
    address = f"udp://127.0.0.1:{port}"
    sent = []
    with (
        reader(f"{address}?timeout=20000000&buffer_size=1000000", COUNT, "analyzeduration=200000") as receiving,
        Outputs([address], replace(INFO, frame_rate=Fraction(5)), Controls()) as outputs,
    ):
        end = time.monotonic() + 30
        while receiving.poll() is None and time.monotonic() < end:
            at = 10 + len(sent) / 20 + (len(sent) % 3) / 100
            sent.append((at - 10, len(sent) % 10))
            outputs.show(Shown(clips.picture(sent[-1][1], SIZE), len(sent), at))
            time.sleep(0.02)
        found = received(receiving)
    times = np.array([at for at, _ in sent])
    assert len(found) == COUNT

    def goes_on_from(first: int) -> bool:
        places = [int(np.abs(times - times[first] - at + found[0][0]).argmin()) for at, _ in found]
        return (
            [sent[place][1] for place in places] == [which for _, which in found]
            and np.allclose(times[places] - times[first], [at - found[0][0] for at, _ in found], atol=0.001)
            and places[-1] - places[0] - (COUNT - 1) <= outputs.dropped
        )

    assert any(goes_on_from(first) for first in range(len(sent)))


def test_rtsp_arrives_at_a_server():
    port = free_port()
    address = f"rtsp://127.0.0.1:{port}/live"
    with reader(address, COUNT - 1, "rtsp_flags=listen", "listen_timeout=30") as receiving:
        patience = time.monotonic() + 10
        while True:
            try:
                send([f"{address}?tcp"], pictures(), pause=0.05)
                break
            except WriteFailed:
                assert time.monotonic() < patience
                time.sleep(0.1)
        which = [index for _, index in received(receiving)]
    assert len(which) > 3 and which == sorted(which)


def test_standard_output_is_read_as_it_is(tmp_path, children):
    clip = clips.write_clip(tmp_path / "clip.mp4", size=SIZE)
    arguments = ["live", "--camera", str(clip), "--bg", "transparent", "--to", "-", *CAMERA]
    child = children.start("command", *arguments, out=tmp_path / "out.nut")
    assert child.wait() == 0, child.err.read_text()
    frames = decoded(tmp_path / "out.nut")
    assert frames and frames[0].format.name == "rgba" and (frames[0].width, frames[0].height) == SIZE
    assert (np.diff(seconds(frames)) > 0).all()


def test_a_reader_that_leaves_ends_the_run_cleanly(tmp_path, children):
    os.mkfifo(tmp_path / "pipe")
    child = children.start("endless", "-", out=tmp_path / "pipe")
    with (tmp_path / "pipe").open("rb") as pipe:
        assert len(pipe.read(50_000)) == 50_000
    assert child.wait() == 0
    assert child.err.read_text() == ""


def test_a_receiver_that_leaves_is_told_and_the_others_go_on(tmp_path):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        path = tmp_path / "out.mp4"
        with pytest.raises(WriteFailed, match=address), Outputs([address, str(path)], INFO, Controls()) as outputs:
            server.accept()[0].close()
            for shown in 30 * pictures():
                outputs.show(Shown(shown.rgb, shown.index, time.monotonic()))
                time.sleep(0.01)
                if outputs.failures:
                    break
            assert len(outputs.failures) == 1 and not outputs.ended
            outputs.show(shown)
    assert decoded(path)


def test_the_command_tells_a_loss_once_and_how_it_went(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        clip = clips.write_clip(tmp_path / "clip.mp4", size=SIZE, pts=clips.even_pts(50))
        targets = ["--to", address, "--to", str(tmp_path / "out.mkv")]
        assert main(["live", "--camera", str(clip), "--bg", "green", *targets, *CAMERA]) == 1
    said = capsys.readouterr().err
    assert said.count(address) == 2  # when it was lost, and at the end
    assert decoded(tmp_path / "out.mkv")


def test_a_receiver_that_stalls_holds_nothing_up():
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", 0))
        server.listen()
        noise = np.random.default_rng(1).integers(0, 256, (360, 640, 3), dtype=np.uint8)
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(WriteFailed, match=address), Outputs([address], LARGE, Controls()) as outputs:
            taken, _ = server.accept()  # and reads nothing
            end = time.monotonic() + 30
            while outputs.dropped < 50 and time.monotonic() < end:
                outputs.show(Shown(noise, 0, time.monotonic()))
                time.sleep(0.01)
            assert outputs.dropped >= 50 and outputs.failures == []
            taken.close()


@pytest.mark.parametrize("address", ["rtmp://127.0.0.1:{}/live/x", "rtsp://127.0.0.1:{}/live"])
def test_a_server_that_says_nothing_holds_nothing_up(monkeypatch, address):
    monkeypatch.setattr(stream_out, "ANSWER_WITHIN", 500_000)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(WriteFailed, match=r"127\.0\.0\.1"):
        send([address.format(server.getsockname()[1])], 20 * pictures(), pause=0.01)


def test_outputs_that_stall_are_left_together(tmp_path):
    """One after the other they would take as many times as long; and what is a file is completed."""
    noise = np.random.default_rng(1).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    path = tmp_path / "out.mkv"
    with ExitStack() as open_:
        targets = [str(path)]
        for _ in range(3):
            server = open_.enter_context(socket.socket())
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            server.bind(("127.0.0.1", 0))
            server.listen()
            targets.append(f"tcp://127.0.0.1:{server.getsockname()[1]}?send_buffer_size=4096")
        outputs = Outputs(targets, LARGE, Controls())
        outputs.__enter__()
        for _ in range(30):  # one of them is more than such a connection holds
            outputs.show(Shown(noise, 0, time.monotonic()))
            time.sleep(0.01)
        with pytest.raises(WriteFailed):
            outputs.__exit__(None, None, None)
    assert len(outputs.failures) == 3
    assert decoded(path) and str(path) in outputs.kept()[0]


def test_an_output_that_breaks_in_a_way_of_its_own_takes_no_other_along(tmp_path, monkeypatch):
    broken, whole = tmp_path / "broken.mkv", tmp_path / "whole.mkv"
    leave = Recording.__exit__

    def breaks(self, *left):
        leave(self, *left)
        if self.path == broken:
            raise TypeError("a bug")

    monkeypatch.setattr(Recording, "__exit__", breaks)
    with pytest.raises(TypeError), Outputs([str(broken), str(whole)], INFO, Controls()) as outputs:
        for shown in pictures():
            outputs.show(shown)
    assert len(decoded(whole)) == COUNT


def test_odd_sizes_are_continued(tmp_path):
    size = (95, 71)
    info = StreamInfo(*size, Fraction(1, 1000), Fraction(25), None, ColorSpec())
    port = free_port(socket.SOCK_DGRAM)
    outputs = send([str(tmp_path / "out.mp4"), f"udp://127.0.0.1:{port}"], pictures(size=size), info=info)
    assert "96×72" in outputs.notes[0]
    frame = decoded(tmp_path / "out.mp4")[0]
    assert (frame.width, frame.height) == (96, 72)


def test_a_run_that_is_stopped_by_an_error_keeps_its_recording(tmp_path):
    with pytest.raises(ValueError), Outputs([str(tmp_path / "out.mp4")], INFO, Controls()) as outputs:
        for shown in pictures():
            outputs.show(shown)
        raise ValueError("the camera is gone")
    assert len(decoded(tmp_path / "out.mp4")) == COUNT


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
def test_what_a_killed_run_leaves_plays_from_its_beginning_and_is_rescued_by_the_next(tmp_path, children, name):
    path = tmp_path / name
    assert children.start("killed", str(path)).wait() == -signal.SIGKILL
    assert not path.exists()
    (growing,) = path.with_name(f".{name}.part").glob("*.*")
    left = [clips.index_of(frame.to_ndarray(format="rgb24")) for frame in decoded(growing)]
    assert len(left) > 150 and left == [index % 10 for index in range(len(left))]
    outputs = send([str(path)], pictures())
    rescued = path.with_name(f"out.rescued{path.suffix}")
    assert len(decoded(path)) == COUNT and len(decoded(rescued)) == len(left)
    assert rescued.name in outputs.notes[0]
    assert sorted(tmp_path.iterdir()) == sorted([path, rescued])


@pytest.mark.parametrize("name", ["out.mov", "out.mp4", "out.webm", "out.mkv"])
def test_a_full_disk_is_told_and_costs_nothing_that_was_written(tmp_path, children, name):
    child = children.start("on_a_full_disk", str(tmp_path / name))
    assert child.wait() == 0, child.err.read_text()
    (rescued,) = tmp_path.iterdir()
    assert rescued.name == name.replace(".", ".rescued.")
    assert len(decoded(rescued)) > 5


def test_a_run_that_an_error_ends_before_anybody_was_shown_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), Outputs([str(tmp_path / "out.mp4")], INFO, Controls()) as outputs:
        for shown in pictures():
            outputs.show(replace(shown, held=True))
        raise ValueError("there is no such model")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_refused_before_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("there.mp4", "room.mp4"):
        Path(name).write_bytes(b"")
    for targets, options, says in (
        (["out.avi"], {}, "out.avi"),
        (["nowhere/out.mp4"], {}, "nowhere"),
        (["there.mp4"], {}, "there.mp4"),
        (["room.mp4"], {"overwrite": True}, "room.mp4"),
        (["gopher://host/x"], {}, "gopher"),
        (["udp://127.0.0.1"], {}, "127.0.0.1"),
        (["tcp://:9000"], {}, ":9000"),
        (["out.####.png"], {}, "out.####.png"),
        (["window", "window"], {}, "--to window"),
        (["-"], {"json": True}, "--json"),
        (["out.mp4"], {"alpha": True}, "transparent"),
        (["camera"], {"alpha": True}, "transparent"),
        (["camera:/dev/video9"], {"alpha": True}, "transparent"),
        (["udp://127.0.0.1:9"], {"alpha": True}, "transparent"),
    ):
        settings = {"alpha": False, "overwrite": False, "json": False, **options}
        with pytest.raises(OutputError, match=says) as refused:
            check_outputs(targets, read=[("room.mp4", "the camera")], **settings)
        assert refused.value.hint


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{}", "rtmp://127.0.0.1:{}/live/x", "rtsp://127.0.0.1:{}/live"])
def test_nobody_there_is_told(address):
    with pytest.raises(WriteFailed, match=r"127\.0\.0\.1") as refused:
        send([address.format(free_port())], pictures())
    assert refused.value.hint


def test_srt_arrives_or_is_told_to_be_missing():
    port = free_port(socket.SOCK_DGRAM)
    with reader(f"srt://127.0.0.1:{port}?mode=listener", COUNT - 1, "analyzeduration=200000") as receiving:
        end = time.monotonic() + 20
        while True:
            try:
                send([f"srt://127.0.0.1:{port}"], pictures(), pause=0.05)
                break
            except UnsupportedOutput as exc:
                assert "srt" in str(exc)
                return
            except WriteFailed:
                assert time.monotonic() < end
                time.sleep(0.1)
        which = [index for _, index in received(receiving)]
    assert len(which) > 3 and which == sorted(which)


@pytest.mark.skipif(sys.platform != "linux" or any(Path("/dev").glob("video*")), reason="there may be a device")
def test_no_virtual_camera_says_how_to_make_one(tmp_path, capsys):
    pytest.importorskip("pyvirtualcam", reason="needs streammatte[live]")
    for name in ("camera", "camera:/dev/video77"):
        with pytest.raises(WriteFailed) as refused:
            send([name], pictures())
        assert "modprobe v4l2loopback" in str(refused.value.hint)
    clip = clips.write_clip(tmp_path / "clip.mp4", size=SIZE)
    assert main(["live", "--camera", str(clip), *CAMERA]) == 1  # it is where pictures go if nothing is said
    assert "modprobe v4l2loopback" in capsys.readouterr().err


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(UnsupportedOutput, match="pyvirtualcam") as refused:
        send(["camera"], pictures())
    assert "streammatte[live]" in str(refused.value.hint)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a screen is always there")
def test_no_display_is_told(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":7654")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UnsupportedOutput, match="window"):
        send(["window"], pictures())


@pytest.mark.skipif(not shutil.which("Xvfb"), reason="needs Xvfb")
def test_a_window_that_stops_holds_nothing_up(tmp_path, children):
    path = tmp_path / "out.mkv"
    with screen() as display:
        child = children.start("with_a_stopped_window", str(path), env={"DISPLAY": display})
        assert child.wait() == 0, child.err.read_text()
    assert len(decoded(path)) == COUNT


@contextmanager
def screen() -> Iterator[str]:
    """A virtual one; its name."""
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "320x240x24"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            yield f":{server.stdout.readline().strip()}"
        finally:
            server.terminate()


@pytest.mark.skipif(not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool")
def test_keys_in_a_window_change_what_they_say_and_draw_on_nothing_else(tmp_path, children):
    with screen() as display:
        path, out = tmp_path / "out.mkv", tmp_path / "said"
        child = children.start("with_keys", str(path), out=out, env={"DISPLAY": display})
        env = {**os.environ, "DISPLAY": display}
        find = ["xdotool", "search", "--onlyvisible", "--name", f"^{NAME}$"]
        end = time.monotonic() + 60
        while subprocess.run(find, env=env, stdout=subprocess.DEVNULL).returncode:
            assert time.monotonic() < end and not child.err.read_text()
            time.sleep(0.2)
        subprocess.run([*find, "windowfocus"], env=env, check=True, stdout=subprocess.DEVNULL)
        for key in ("Escape", "r", "b", "m", "f", "q"):
            time.sleep(0.2)
            subprocess.run(["xdotool", "key", key], env=env, check=True)
        assert child.wait() == 0, child.err.read_text()
    assert out.read_text() == "1 True True True\n"
    frames = decoded(path)
    assert len(frames) > 5
    for index, frame in enumerate(frames):  # neither the raw frame, which is white, nor the line of keys
        written = frame.to_ndarray(format="rgb24").astype(int)
        assert np.abs(written - clips.picture(index % 10, SIZE)).max() < 12
