"""What scripts call gives what the command gives, and is safe to stop, to repeat and to throw away."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from PIL import Image

import streammatte as sm
from streammatte.cli.main import main
from streammatte.models.birefnet import BiRefNetModel
from streammatte.models.device import cores_for

pytestmark = pytest.mark.media

CLIP = SAMPLES / "talking.mp4"
FRAMES = 4
SIZE = ["--model", "birefnet-nano", "--size", "192x192", "--device", "cpu", "--quiet"]
PART = ["--in", "0", "--out", str(FRAMES - 1)]


@pytest.fixture(scope="module")
def model() -> BiRefNetModel:
    return sm.load_model("birefnet-nano", device="cpu", size=(192, 192), offline=True)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    with sm.open_video(CLIP) as video:
        rgb = next(iter(video)).rgb
    Image.fromarray(rgb.permute(1, 2, 0).numpy()).save(path, quality=95)
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command's cut-outs of the first frames of the clip."""
    folder = tmp_path_factory.mktemp("command")
    assert main([str(CLIP), "-o", str(folder / "cut.####.png"), *SIZE, *PART]) == 0
    return folder


def rgba(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.mode == "RGBA"
        return np.asarray(picture).astype(int)


def largest_difference(a: object, b: object) -> int:
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b).astype(int)).max())


def test_every_name_is_there_and_listed() -> None:
    assert set(sm.__all__) <= set(dir(sm)) and sm.__all__ == sorted(sm.__all__)
    for name in sm.__all__:
        assert getattr(sm, name) is not None
    assert {"mad", "mse", "grad", "conn", "dtssd", "messddt"} <= set(dir(sm.metrics))
    assert callable(sm.models.load_birefnet) and callable(sm.stages.TemporalSmoother)
    assert issubclass(sm.errors.SourceNotFound, sm.InputError) and issubclass(sm.WriteFailed, sm.StreammatteError)
    assert "birefnet-lite" in sm.available_models() and "sdmatte" not in sm.available_models()
    with pytest.raises(AttributeError):
        _ = sm.no_such_name  # type: ignore[attr-defined]


# The command's own mattes


def test_remove_gives_what_the_command_writes(photo: Path, model: BiRefNetModel, tmp_path: Path) -> None:
    assert main([str(photo), "-o", str(tmp_path / "cut.png"), *SIZE]) == 0
    expected = rgba(tmp_path / "cut.png")
    assert (expected[..., 3] > 250).any() and (expected[..., 3] < 5).any()
    with Image.open(photo) as picture:
        array = np.asarray(picture)
        from_array, from_pillow = sm.remove(array, model), sm.remove(picture, model)
    from_file = sm.remove(photo, model)
    assert from_array.dtype == np.uint8 and from_pillow.mode == from_file.mode == "RGBA"
    for result in (from_array, from_pillow, from_file):
        assert largest_difference(result, expected) <= 1
    deep = sm.remove(array.astype(np.uint16) * 257, model)
    assert deep.dtype == np.uint16 and np.abs(deep / 257 - expected).mean() < 0.5


def test_remove_takes_pictures_of_every_kind(photo: Path, model: BiRefNetModel) -> None:
    with Image.open(photo) as picture:
        upright = picture.resize((96, 64))
    flipped = upright.transpose(Image.Transpose.ROTATE_180)
    flipped.getexif()[0x0112] = 3
    assert largest_difference(sm.remove(flipped, model), sm.remove(upright, model)) == 0
    array = np.asarray(upright)
    for view in (array[::-1, ::-1][::-1, ::-1], np.asfortranarray(array), array.copy()):
        assert largest_difference(sm.remove(view, model), sm.remove(array, model)) == 0
    for mode in ("L", "P", "RGBA", "CMYK", "1"):
        assert sm.remove(upright.convert(mode), model).size == upright.size


def test_remove_of_a_list(photo: Path, model: BiRefNetModel, capsys: pytest.CaptureFixture[str]) -> None:
    with Image.open(photo) as picture:
        picture.load()
    array = np.asarray(picture)
    several = sm.remove([photo, array, picture], model)
    assert [type(each) for each in several] == [Image.Image, np.ndarray, Image.Image]
    assert largest_difference(several[0], several[1]) == 0 and sm.remove([], model) == []
    with pytest.raises(sm.SourceNotFound, match=r"missing\.jpg"):
        sm.remove([photo, photo.with_name("missing.jpg")], model)
    assert capsys.readouterr() == ("", "")


def test_matte_video_is_the_command(written: Path, model: BiRefNetModel, tmp_path: Path) -> None:
    by_model = sm.matte_video(CLIP, tmp_path / "a.####.png", model=model, mark_in=0, mark_out=FRAMES - 1)
    assert by_model.frames == FRAMES
    by_name = sm.matte_video(
        CLIP, [tmp_path / "b.####.png"], model="birefnet-nano", size=(192, 192), device="cpu", mark_out=FRAMES - 1
    )
    assert by_name.frames == FRAMES
    expected = sorted(written.iterdir())
    assert len(expected) == FRAMES
    for letter in "ab":
        for ours, theirs in zip(sorted(tmp_path.glob(f"{letter}.*.png")), expected, strict=True):
            assert largest_difference(rgba(ours), rgba(theirs)) <= 1


def test_the_loop_of_the_readme(written: Path, model: BiRefNetModel, tmp_path: Path) -> None:
    """The command's mattes and colours, by the library's own reader, stages and writer."""
    with (
        sm.open_video(CLIP, mark_out=FRAMES - 1) as video,
        sm.open_writer(tmp_path / "cut.####.png", like=video) as out,
    ):
        assert len(video) == FRAMES
        alphas = []
        for cutout in sm.matte(video, model):
            assert cutout.alpha.shape == (video.info.height, video.info.width) and cutout.alpha.dtype == torch.float32
            assert cutout.foreground is not None
            alphas.append(cutout.alpha.numpy())
            out.write(cutout)
    expected = sorted(written.iterdir())
    for alpha, ours, theirs in zip(alphas, sorted(tmp_path.iterdir()), expected, strict=True):
        assert np.abs(alpha * 255 - rgba(theirs)[..., 3]).max() <= 1
        assert largest_difference(rgba(ours), rgba(theirs)) <= 1


def test_matte_takes_any_frames_and_any_callable() -> None:
    frames = [sm.Frame(rgb=torch.full((3, 24, 32), 100, dtype=torch.uint8), pts=i, index=i) for i in range(3)]

    def halves(group: Sequence[sm.Frame]) -> list[torch.Tensor]:
        return [torch.full((6, 8), 0.5) for _ in group]

    cutouts = list(sm.matte(iter(frames), halves, []))
    assert [cutout.frame.index for cutout in cutouts] == [0, 1, 2]
    assert all(cutout.alpha.shape == (24, 32) and (cutout.alpha - 0.5).abs().max() < 1e-4 for cutout in cutouts)
    assert len(list(sm.matte(frames, halves, batch=2, smooth="off", decontaminate="off"))) == 3


def test_sound_goes_along(model: BiRefNetModel, tmp_path: Path) -> None:
    import av

    with sm.open_video(CLIP, mark_out=2) as video:
        for audio in (True, False):
            path = tmp_path / f"{audio}.mov"
            with sm.open_writer(path, like=video, audio=audio) as out:
                for frame in video:
                    out.write(sm.Cutout(frame, torch.ones(frame.rgb.shape[1:])))
            with av.open(str(CLIP)) as source, av.open(str(path)) as file:
                assert len(file.streams.audio) == (len(source.streams.audio) if audio else 0)


# Errors


def test_errors_say_which(photo: Path, model: BiRefNetModel, tmp_path: Path) -> None:
    with pytest.raises(sm.SourceNotFound, match="nowhere"):
        sm.remove(tmp_path / "nowhere.png", model)
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), 3, None):
        with pytest.raises(sm.InputError):
            sm.remove(wrong, model)  # type: ignore[call-overload]
    with pytest.raises(sm.InputError, match=r"talking\.mp4"):
        sm.remove(CLIP, model)
    with pytest.raises(sm.ModelError, match="birefnet-light"):
        sm.load_model("birefnet-light", device="cpu")
    with pytest.raises(sm.ModelError):
        sm.load_model("birefnet-nano", device="cpu", precision="fp8")
    with pytest.raises(sm.DeviceMissing):
        sm.load_model("birefnet-nano", device="cuda:99")
    with pytest.raises(TypeError, match="smoth"):
        sm.matte_video(photo, tmp_path / "out.png", model=model, smoth="high")
    for stages in (None, []):
        with pytest.raises(TypeError, match="smoth"):
            sm.matte([], model, stages, smoth="high")
    for wrong_option in ({"mark_inn": 3}, {"input_alpha": "core"}):
        with pytest.raises(TypeError, match=next(iter(wrong_option))):
            sm.open_video(photo, **wrong_option)
    with pytest.raises(sm.InputError, match="interlaced"):
        sm.open_video(photo, interlaced="perhaps")
    with pytest.raises(TypeError, match="device"):
        sm.matte_video(photo, tmp_path / "out.png", model=model, device="cpu")
    with pytest.raises(sm.InputError, match="smooth"):
        sm.matte_video(photo, tmp_path / "out.png", model=model, smooth="higher")
    (tmp_path / "there.png").write_bytes(b"mine")
    with pytest.raises(sm.WriteFailed, match=r"there\.png"):
        sm.matte_video(photo, tmp_path / "there.png", model=model)
    assert (tmp_path / "there.png").read_bytes() == b"mine"
    with pytest.raises(sm.UnsupportedOutput), sm.open_video(photo) as video:
        sm.open_writer(tmp_path / "out.xyz", like=video)


def test_a_model_or_a_stage_that_breaks_its_contract(model: BiRefNetModel) -> None:
    frames = [sm.Frame(rgb=torch.zeros(3, 8, 8, dtype=torch.uint8), pts=0, index=0)]

    class ReturnsTensors:
        behind = ahead = 0

        def push(self, cutout: sm.Cutout) -> list[torch.Tensor]:
            return [cutout.alpha]

        def flush(self) -> tuple[()]:
            return ()

    with pytest.raises(sm.StreammatteError, match="ReturnsTensors"):
        list(sm.matte(frames, model, [ReturnsTensors()]))  # type: ignore[list-item]
    for wrong in (lambda group: [], lambda group: [torch.full((8, 8), torch.nan)], lambda group: [torch.ones(8)]):
        with pytest.raises(sm.ModelError):
            list(sm.matte(frames, wrong, []))


# Stopping, repeating, throwing away


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("streammatte")]


def test_stopping_early_leaves_nothing_running(model: BiRefNetModel) -> None:
    with sm.open_video(CLIP) as video:
        first = next(iter(video))
        cutout = next(iter(sm.matte(video, model)))
        again = next(iter(sm.matte(video, model)))
    gc.collect()
    assert readers() == []
    assert torch.equal(first.rgb, cutout.frame.rgb) and torch.equal(cutout.alpha, again.alpha)


def test_a_video_can_be_read_twice_and_side_by_side() -> None:
    with sm.open_video(CLIP, mark_out=2) as video:
        assert len(list(video)) == len(list(video)) == len(video) == 3
        for a, b in zip(video, video, strict=True):
            assert a.index == b.index and torch.equal(a.rgb, b.rgb)


def test_what_is_read_after_closing_is_an_error(model: BiRefNetModel) -> None:
    with sm.open_video(CLIP) as video:
        frames, cutouts = iter(video), sm.matte(video, model)
        assert next(frames).index == next(cutouts).frame.index == 0
    for late in (frames, cutouts, iter(video)):
        with pytest.raises(sm.InputError, match=r"talking\.mp4"):  # a few that were read ahead may come first
            list(late)
    assert readers() == []


def test_frames_outlive_what_they_came_from(model: BiRefNetModel, tmp_path: Path) -> None:
    with sm.open_video(CLIP, mark_out=2) as video:
        info = video.info
        cutouts = list(sm.matte(video, model))
        kept = [cutout.frame.rgb.clone() for cutout in cutouts]
    del video
    gc.collect()
    assert all(torch.equal(cutout.frame.rgb, rgb) for cutout, rgb in zip(cutouts, kept, strict=True))
    with sm.open_writer(tmp_path / "late.mkv", like=info) as out:
        for cutout in cutouts:
            out.write(cutout)
    assert (tmp_path / "late.mkv").stat().st_size > 0


def test_garbage_may_be_collected_at_any_moment(photo: Path, model: BiRefNetModel, tmp_path: Path) -> None:
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        iterator = iter(sm.open_video(CLIP))  # nobody else holds it
        assert next(iterator).index == 0 and next(iterator).index == 1
        del iterator
        sm.remove(photo, model)
        with sm.open_video(CLIP, mark_out=1) as video:
            assert len(list(sm.matte(video, model))) == 2
    finally:
        gc.set_threshold(*threshold)
    assert readers() == []


def test_an_exception_in_the_loop_leaves_no_output(model: BiRefNetModel, tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="mine"),
        sm.open_video(CLIP) as video,
        sm.open_writer(tmp_path / "out.mov", like=video) as out,
    ):
        for cutout in sm.matte(video, model):
            out.write(cutout)
            raise RuntimeError("mine")
    gc.collect()
    assert list(tmp_path.iterdir()) == [] and readers() == []


# Threads and imports


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_the_user_s_number_of_threads_is_left_alone(three_threads: None, model: BiRefNetModel, photo: Path) -> None:
    used: list[int] = []

    class Spy:
        behind = ahead = 0

        def push(self, cutout: sm.Cutout) -> list[sm.Cutout]:
            used.append(torch.get_num_threads())
            return [cutout]

        def flush(self) -> tuple[()]:
            return ()

    with sm.open_video(CLIP, mark_out=2) as video:
        for _ in sm.matte(video, model, [Spy()]):
            assert torch.get_num_threads() == 3
    assert set(used) == {cores_for()} != {3}
    sm.remove(photo, model)
    assert torch.get_num_threads() == 3
    fresh: list[int] = []
    thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert fresh == [3], "what a new thread of the user's begins with"


def test_a_small_network_leaves_cores_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    cpu = torch.device("cpu")
    assert cores_for(cpu, (1024, 1024)) == 8 > cores_for(cpu, (320, 320)) > 1
    assert cores_for(torch.device("cuda"), (1024, 1024)) < 8, "what is left to the CPU then is small"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert cores_for(cpu, (1024, 1024)) == 2 and cores_for(cpu, (320, 320)) == 1


def test_importing_is_quick_and_a_photograph_needs_few_libraries(photo: Path, tmp_path: Path) -> None:
    code = (
        "import sys, os, streammatte as sm\n"
        "assert 'torch' not in sys.modules and os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'\n"
        "dir(sm); sm.available_models(); sm.StreammatteError\n"
        "assert 'torch' not in sys.modules\n"
        "from streammatte.cli.main import main\n"
        f"assert main([{str(photo)!r}, '-o', {str(tmp_path / 'cut.png')!r}, *{SIZE!r}]) == 0\n"
        "heavy = {'diffusers', 'transformers', 'huggingface_hub', 'torch._dynamo', 'OpenEXR', 'sympy', 'scipy'}\n"
        "print(*(heavy & set(sys.modules)))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_the_default_model_is_loaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    black = np.zeros((24, 32, 3), np.uint8)
    assert sm.remove(black).shape == sm.remove(black).shape == (24, 32, 4)
    notices = [record.getMessage() for record in caplog.records if record.name == "streammatte"]
    assert len(notices) == 1 and "streammatte models" in notices[0]
