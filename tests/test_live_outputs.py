"""Live pictures arrive where they are sent, in order and at their times; what cannot be is refused, and nothing hangs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import clips
import numpy as np
import pytest

from streammatte.cli import main
from streammatte.errors import OutputError, StreammatteError, UnsupportedOutput, WriteFailed
from streammatte.frame import ColorSpec, Frame, StreamInfo
from streammatte.live.contracts import Shown
from streammatte.live.controls import Controls
from streammatte.live.outputs import Outputs, check_outputs
from streammatte.live.window import NAME

SIZE = (96, 72)
INFO = StreamInfo(*SIZE, Fraction(1, 1000), Fraction(25), None, ColorSpec())
TIMES = [10.0, 10.04, 10.08, 10.2, 10.24, 10.3, 10.5, 10.54, 10.58, 10.62]
COUNT = len(TIMES)
CAMERA = ["--model", "birefnet-nano", "--offline"]


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
import clips
print("ready", flush=True)
with av.open(sys.argv[1], options=dict(word.split("=") for word in sys.argv[4:]), timeout=20) as stream:
    for count, frame in enumerate(stream.decode(video=0), 1):
        print(float(frame.pts * frame.time_base), clips.index_of(frame.to_ndarray(format="rgb24")), flush=True)
        if count == int(sys.argv[2]):
            break
"""


def reader(address: str, count: int, *options: str) -> subprocess.Popen[str]:
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", _READ, address, str(count), here, *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def received(process: subprocess.Popen[str]) -> list[tuple[float, int]]:
    out, _ = process.communicate(timeout=30)
    return [(float(line.split()[0]), int(line.split()[1])) for line in out.splitlines()]


@pytest.mark.parametrize("name", ["out.mp4", "out.webm", "out.mkv", "out.mov"])
def test_a_file_has_every_picture_at_its_time(tmp_path, name):
    outputs = send([str(tmp_path / name)], pictures())
    frames = decoded(tmp_path / name)
    assert outputs.dropped == 0 and outputs.failures == []
    assert [clips.index_of(frame.to_ndarray(format="rgb24")) for frame in frames] == list(range(COUNT))
    assert np.allclose(seconds(frames), np.array(TIMES) - TIMES[0], atol=0.0011)
    assert os.listdir(tmp_path) == [name]


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
    port = free_port(socket.SOCK_DGRAM)
    receiving = reader(f"udp://127.0.0.1:{port}?timeout=20000000", COUNT - 1)
    time.sleep(0.3)
    send([f"udp://127.0.0.1:{port}"], pictures(), pause=0.02)
    found = received(receiving)
    assert [which for _, which in found] == list(range(COUNT - 1))
    times = np.array([at for at, _ in found])
    assert np.allclose(times - times[0], np.array(TIMES[:-1]) - TIMES[0], atol=0.001)


def test_rtsp_arrives_at_a_server():
    port = free_port()
    receiving = reader(f"rtsp://127.0.0.1:{port}/live", COUNT - 1, "rtsp_flags=listen")
    patience = time.monotonic() + 10
    while True:
        try:
            send([f"rtsp://127.0.0.1:{port}/live?tcp"], pictures(), pause=0.05)
            break
        except WriteFailed:
            assert time.monotonic() < patience
            time.sleep(0.1)
    which = [index for _, index in received(receiving)]
    assert len(which) > 3 and which == sorted(which)


def test_standard_output_is_read_as_it_is(tmp_path):
    clip = clips.write_clip(tmp_path / "clip.mp4", size=SIZE)
    command = [sys.executable, "-m", "streammatte", "live", "--camera", str(clip), "--bg", "transparent", "--to", "-"]
    run = subprocess.run([*command, *CAMERA[:2]], stdout=subprocess.PIPE, timeout=60)
    assert run.returncode == 0
    (tmp_path / "out.nut").write_bytes(run.stdout)
    frames = decoded(tmp_path / "out.nut")
    assert frames and frames[0].format.name == "rgba" and (frames[0].width, frames[0].height) == SIZE
    assert (np.diff([0.0, *seconds(frames)][1:]) > 0).all()


def test_a_reader_that_leaves_ends_the_run_cleanly(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import test_live_outputs as tests, itertools\n"
        "from dataclasses import replace\n"
        "with tests.Outputs(['-'], tests.INFO, tests.Controls()) as outputs:\n"
        "    for index in itertools.count():\n"
        "        if outputs.ended: break\n"
        "        outputs.show(replace(tests.pictures()[0], at=index / 25))\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert run.stdout is not None
    assert len(run.stdout.read(50_000)) == 50_000
    run.stdout.close()
    assert run.wait(30) == 0 and run.stderr is not None and run.stderr.read() == b""
    run.stderr.close()


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


def test_a_receiver_that_stalls_holds_nothing_up():
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", 0))
        server.listen()
        noise = np.random.default_rng(1).integers(0, 256, (360, 640, 3), dtype=np.uint8)
        info = StreamInfo(640, 360, Fraction(1, 1000), Fraction(25), None, ColorSpec())
        outputs = Outputs([f"tcp://127.0.0.1:{server.getsockname()[1]}"], info, Controls())
        with outputs:
            taken, _ = server.accept()  # and reads nothing
            end = time.monotonic() + 30
            while outputs.dropped < 50 and time.monotonic() < end:
                outputs.show(Shown(noise, 0, time.monotonic()))
                time.sleep(0.01)
            assert outputs.dropped >= 50 and outputs.failures == []
            taken.close()


def test_odd_sizes_are_continued(tmp_path):
    size = (95, 71)
    info = StreamInfo(*size, Fraction(1, 1000), Fraction(25), None, ColorSpec())
    port = free_port(socket.SOCK_DGRAM)
    send([str(tmp_path / "out.mp4"), f"udp://127.0.0.1:{port}"], pictures(size=size), info=info)
    frame = decoded(tmp_path / "out.mp4")[0]
    assert (frame.width, frame.height) == (96, 72)


def test_a_run_that_is_stopped_by_an_error_keeps_its_recording(tmp_path):
    with pytest.raises(ValueError), Outputs([str(tmp_path / "out.mp4")], INFO, Controls()) as outputs:
        for shown in pictures():
            outputs.show(shown)
        raise ValueError("the camera is gone")
    assert len(decoded(tmp_path / "out.mp4")) == COUNT


def test_a_killed_run_leaves_a_hidden_file_that_plays(tmp_path):
    code = (
        "import sys, os, time; sys.path.insert(0, sys.argv[1])\n"
        "import test_live_outputs as tests\n"
        "outputs = tests.Outputs([sys.argv[2]], tests.INFO, tests.Controls()).__enter__()\n"
        "for index in range(400):\n"
        "    outputs.show(tests.Shown(tests.clips.picture(index % 10, tests.SIZE), index, index / 25))\n"
        "    time.sleep(0.002)\n"
        "time.sleep(0.5); os.kill(os.getpid(), 9)\n"
    )
    path = tmp_path / "out.mp4"
    subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(path)], timeout=60)
    assert not path.exists()
    assert len(decoded(tmp_path / ".out.mp4.part" / "plates.mp4")) > 100


def test_a_full_disk_is_told(tmp_path):
    # No file may grow beyond 20 kB: to a writer that is a disk without room.
    code = (
        "import sys, signal, resource; sys.path.insert(0, sys.argv[1])\n"
        "import test_live_outputs as tests, numpy as np\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "noise = np.random.default_rng(1).integers(0, 256, (72, 96, 3), dtype=np.uint8)\n"
        "try: tests.send([sys.argv[2]], [tests.Shown(noise, i, i / 25) for i in range(400)], pause=0.002)\n"
        "except tests.WriteFailed as exc: print(exc, '|', exc.hint)\n"
    )
    arguments = [str(Path(__file__).parent), str(tmp_path / "out.mov")]
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert "out.mov cannot be written" in run.stdout and "make room" in run.stdout, run
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("targets", "options", "says"),
    [
        (["out.avi"], {}, "suffix"),
        (["nowhere/out.mp4"], {}, "no folder"),
        (["there.mp4"], {}, "exists"),
        (["room.mp4"], {"overwrite": True}, "the camera itself"),
        (["gopher://host/x"], {}, "gopher"),
        (["window", "window"], {}, "twice"),
        (["-"], {"json": True}, "--json"),
        (["out.mp4"], {"alpha": True}, "no alpha|none|cannot hold"),
        (["camera"], {"alpha": True}, "transparent"),
        (["camera:/dev/video9"], {"alpha": True}, "transparent"),
        (["udp://127.0.0.1:9"], {"alpha": True}, "transparent"),
    ],
)
def test_what_cannot_be_is_refused_before_the_run(tmp_path, monkeypatch, targets, options, says):
    monkeypatch.chdir(tmp_path)
    for name in ("there.mp4", "room.mp4"):
        Path(name).write_bytes(b"")
    settings = {"alpha": False, "overwrite": False, "json": False, **options}
    with pytest.raises(OutputError, match=says) as refused:
        check_outputs(targets, read=[("room.mp4", "the camera itself")], **settings)
    assert refused.value.hint


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{}", "rtmp://127.0.0.1:{}/live/x", "rtsp://127.0.0.1:{}/live"])
def test_nobody_there_is_told(address):
    with pytest.raises(WriteFailed, match="refused") as refused:
        send([address.format(free_port())], pictures())
    assert "receives" in str(refused.value.hint)


def test_srt_arrives_or_is_told_to_be_missing():
    with pytest.raises(StreammatteError, match="srt"):
        send([f"srt://127.0.0.1:{free_port()}"], pictures())


@pytest.mark.skipif(sys.platform != "linux" or any(Path("/dev").glob("video*")), reason="there may be a device")
def test_no_virtual_camera_says_how_to_make_one(tmp_path, capsys):
    pytest.importorskip("pyvirtualcam", reason="needs streammatte[live]")
    for name in ("camera", "camera:/dev/video77"):
        with pytest.raises(WriteFailed, match="virtual camera") as refused:
            send([name], pictures())
        assert "modprobe v4l2loopback" in str(refused.value.hint)
    clip = clips.write_clip(tmp_path / "clip.mp4", size=SIZE)
    assert main(["live", "--camera", str(clip), *CAMERA[:2]]) == 1  # it is where pictures go if nothing is said
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
    with pytest.raises(UnsupportedOutput, match="no window can be opened|without windows"):
        send(["window"], pictures())


@pytest.mark.skipif(not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool")
def test_keys_in_a_window_change_what_they_say_and_draw_on_nothing_else(tmp_path):
    code = (
        "import sys, time, itertools; sys.path.insert(0, sys.argv[1])\n"
        "import test_live_outputs as tests, torch\n"
        "controls = tests.Controls()\n"
        "raw = tests.Frame(torch.full((3, 72, 96), 255, dtype=torch.uint8), 0, 0)\n"
        "with tests.Outputs(['window', sys.argv[2]], tests.INFO, controls, backgrounds=2) as outputs:\n"
        "    for index in itertools.count():\n"
        "        if outputs.ended: break\n"
        "        outputs.before(raw)\n"
        "        outputs.show(tests.Shown(tests.clips.picture(index % 10, tests.SIZE), index, index / 25))\n"
        "        time.sleep(0.02)\n"
        "print(controls.background, controls.mirror, controls.frozen, controls.quit)\n"
    )
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", "320x240x24"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        with server.stdout:
            screen = {**os.environ, "DISPLAY": f":{server.stdout.readline().strip()}"}
        path = tmp_path / "out.mkv"
        run = subprocess.Popen(
            [sys.executable, "-c", code, str(Path(__file__).parent), str(path)],
            env=screen,
            stdout=subprocess.PIPE,
            text=True,
        )
        found = ["xdotool", "search", "--sync", "--onlyvisible", "--name", f"^{NAME}$", "windowfocus"]
        subprocess.run([*found, "key", "r"], env=screen, check=True, timeout=30, stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        for key in ("b", "m", "f", "q"):
            subprocess.run(["xdotool", "key", key], env=screen, check=True)
            time.sleep(0.1)
        out, _ = run.communicate(timeout=30)
    finally:
        server.terminate()
        server.wait()
    assert out == "1 True True True\n"
    frames = decoded(path)
    assert len(frames) > 5
    for index, frame in enumerate(frames):  # neither the raw frame, which is white, nor the line of keys
        written = frame.to_ndarray(format="rgb24").astype(int)
        assert np.abs(written - clips.picture(index % 10, SIZE)).max() < 12
