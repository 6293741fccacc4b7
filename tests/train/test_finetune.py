"""``streammatte train`` through the real command, with a network small enough to learn in seconds."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import unless
from safetensors.torch import load_file, save_file

from streammatte.cli.main import main
from streammatte.cli.train_display import TrainDisplay
from streammatte.errors import InputError
from streammatte.models.nets.birefnet import BiRefNet, BiRefNetConfig
from streammatte.models.nets.swin import SwinConfig
from streammatte.train.finetune import keep_statistics, recompute
from streammatte.train.losses import matting_loss
from streammatte.train.pairs import Pair, Pairs, find_pairs, hold_out, read_pair
from streammatte.train.stopping import stoppable

pytestmark = pytest.mark.media
TINY = BiRefNetConfig(SwinConfig(8, (1, 1, 1, 1), (1, 1, 1, 1), 4), inter=8, aspp=8, kernels=(1, 3))
PAIRS = 10


def disc(rng: np.random.Generator, height: int = 72, width: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """An orange disc on grey noise, (H, W, 3) blue first, and its alpha, both uint8."""
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(x - rng.uniform(0.3, 0.7) * width, y - rng.uniform(0.4, 0.6) * height)
    alpha = np.clip((height * rng.uniform(0.25, 0.4) - radius) / 3 + 0.5, 0, 1)[..., None]
    behind = rng.uniform(60, 160) + rng.normal(0, 10, (height, width, 1))
    picture = np.array([30, 120, 230.0]) * alpha + behind * (1 - alpha)
    return np.clip(picture, 0, 255).astype(np.uint8), np.round(alpha[..., 0] * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs, cut-outs, backgrounds, and a tiny untrained checkpoint."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("pairs/images", "pairs/alphas", "cutouts", "backgrounds"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(PAIRS):
        picture, alpha = disc(rng)
        cv2.imwrite(str(folder / f"pairs/images/{index}.jpg"), picture)
        cv2.imwrite(str(folder / f"pairs/alphas/{index}.png"), alpha)
        cv2.imwrite(str(folder / f"cutouts/{index}.png"), np.dstack([picture, alpha]))
    cv2.imwrite(str(folder / "backgrounds/grey.jpg"), np.full((50, 60, 3), 90, np.uint8))
    torch.manual_seed(0)
    save_file(BiRefNet(TINY).state_dict(), folder / "tiny.safetensors")
    return folder


@pytest.fixture
def work(made: Path, tmp_path: Path) -> Path:
    """A copy for a test to spoil."""
    shutil.copytree(made, tmp_path / "work")
    return tmp_path / "work"


def train(made: Path, out: Path, *more: str, pairs: str = "pairs") -> int:
    usual = ["--from", str(made / "tiny.safetensors"), "--size", "64x64", "--batch", "4", "--device", "cpu"]
    return main(["train", str(made / pairs), *unless(more, ["-o", str(out), *usual]), *more])


def test_the_result_is_better_and_used_at_its_size(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.safetensors"
    assert train(made, out, "--steps", "25", "--rate", "5e-3", "--holdout", "0.2", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["trained"], summary["held_out"], summary["steps"]) == (PAIRS - 2, 2, 25)
    assert summary["after"]["mad"] < 0.8 * summary["before"]["mad"]
    assert summary["after"]["iou"] > summary["before"]["iou"]
    assert [path.name for path in tmp_path.iterdir()] == [out.name], "neither a state nor a part is left"
    umask = os.umask(0)
    os.umask(umask)
    assert out.stat().st_mode & 0o777 == 0o666 & ~umask

    picture = str(made / "pairs/images/0.jpg")
    assert main([picture, "-o", str(tmp_path / "cut.png"), "--weights", str(out), "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["size"] == [64, 64], "the checkpoint says what it was trained at"


def test_ctrl_c_saves_and_resuming_ends_with_the_weights_of_an_unbroken_run(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = ["--steps", "4"]
    assert train(made, tmp_path / "unbroken.safetensors", *steps, "--quiet") == 0
    out = tmp_path / "mine.safetensors"
    state = tmp_path / "mine.safetensors.state"

    def interrupting(display: TrainDisplay, what: str, progress: float, loss: float) -> None:
        if what.startswith("step 1 "):
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(TrainDisplay, "stepped", interrupting)
        assert train(made, out, *steps) == 130
    assert signal.getsignal(signal.SIGINT) is before
    said = capsys.readouterr().err
    assert "step 1" in said and "--resume" in said
    assert state.is_file() and not out.exists()

    assert train(made, out, *steps) == 1, "hours of work are not lost to a repeated command"
    assert "--resume" in capsys.readouterr().err
    for more, naming in ((["--seed", "9"], "seed"), (["--from", "birefnet-nano"], "tiny.safetensors")):
        assert train(made, out, *steps, "--resume", *more) == 1
        assert naming in capsys.readouterr().err
    assert train(made, out, *steps, "--resume") == 0
    whole, mine = load_file(tmp_path / "unbroken.safetensors"), load_file(out)
    assert all(torch.equal(value, mine[name]) for name, value in whole.items())
    assert not state.exists()
    assert "9 pairs, 1 held out" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows closes no terminals this way")
@pytest.mark.parametrize("under_nohup", [True, False])
def test_a_closed_terminal_ends_a_run_unless_under_nohup(under_nohup: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if under_nohup else signal.SIG_DFL)
    try:
        with stoppable() as stop:
            stop.listening = True
            signal.raise_signal(signal.SIGHUP)
            assert stop() is not under_nohup
    finally:
        signal.signal(signal.SIGHUP, before)


def test_cut_outs_are_put_over_backgrounds(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.safetensors"
    assert train(made, out, "--steps", "1", pairs="cutouts") == 2
    assert "--backgrounds" in capsys.readouterr().err
    behind = ["--backgrounds", str(made / "backgrounds")]
    assert train(made, out, "--steps", "1", "--holdout", "0", *behind, pairs="cutouts") == 0
    assert "held out" in capsys.readouterr().err
    pairs = Pairs(find_pairs(made / "cutouts"), (64, 64), backgrounds=[made / "backgrounds/grey.jpg"])
    rgb, alpha = pairs.picture(0, np.random.default_rng(0))
    assert (rgb[alpha == 0] == 90).all()
    assert (rgb[alpha == 255].mean(0) > [200, 100, 20]).all(), "RGB, where OpenCV reads BGR"


def no_images(work: Path) -> None:
    shutil.rmtree(work / "pairs/images")


def empty(work: Path) -> None:
    shutil.rmtree(work / "pairs")
    (work / "pairs").mkdir()


def unpaired(work: Path) -> None:
    (work / "pairs/alphas/3.png").unlink()
    cv2.imwrite(str(work / "pairs/images/.hidden.png"), np.zeros((4, 4), np.uint8))  # does not count


def without_picture(work: Path) -> None:
    (work / "pairs/images/4.jpg").unlink()


def twice(work: Path) -> None:
    shutil.copy(work / "pairs/alphas/3.png", work / "pairs/images/3.png")


def of_another_size(work: Path) -> None:
    cv2.imwrite(str(work / "pairs/alphas/3.png"), np.full((72, 90), 255, np.uint8))


def unreadable(work: Path) -> None:
    (work / "pairs/images/3.jpg").write_bytes(b"no picture")


def no_bytes(work: Path) -> None:
    (work / "pairs/images/3.jpg").write_bytes(b"")


def nothing_in_it(work: Path) -> None:
    cv2.imwrite(str(work / "pairs/alphas/3.png"), np.zeros((72, 96), np.uint8))


def ones(work: Path) -> None:
    cv2.imwrite(str(work / "pairs/alphas/3.png"), np.ones((72, 96), np.uint8))


def coloured(work: Path) -> None:
    cv2.imwrite(str(work / "pairs/alphas/3.png"), np.random.default_rng(0).integers(0, 255, (72, 96, 3)))


def flat(work: Path) -> None:
    shutil.copytree(work / "pairs/images", work / "flat")
    shutil.rmtree(work / "pairs")
    (work / "flat").rename(work / "pairs")


def nothing(work: Path) -> None:
    """Leave all as it is."""


@pytest.mark.parametrize(
    ("spoil", "arguments", "naming", "code"),
    [
        (no_images, [], "pairs/images", 1),
        (empty, [], "work/pairs", 1),
        (unpaired, [], "for 3.jpg", 1),
        (without_picture, [], "for 4.png", 1),
        (twice, [], "3.jpg and 3.png", 1),
        (of_another_size, [], "3.png is 90×72", 1),
        (unreadable, [], "3.jpg", 1),
        (no_bytes, [], "3.jpg", 1),
        (nothing_in_it, [], "3.png", 1),
        (ones, [], "255", 1),
        (coloured, [], "3.png", 1),
        (flat, [], "--backgrounds", 2),
        (flat, ["--backgrounds", "{work}/backgrounds"], "0.jpg", 1),
        (nothing, ["--backgrounds", "{work}/backgrounds"], "--backgrounds", 2),
        (shutil.rmtree, [], "work/pairs", 1),
        (nothing, ["--from", "birefnet-lit"], "birefnet-lite", 2),
        (nothing, ["--from", "none.safetensors"], "none.safetensors", 1),
        (nothing, ["--from", "birefnet-lite", "--offline"], "birefnet-lite", 1),
        (nothing, ["--size", "100x64"], "100×64", 2),
        (nothing, ["--device", "cuda:7"], "cuda:7", 1),
        (nothing, ["-o", "{work}/mine.pth"], "mine.safetensors", 2),
        (nothing, ["-o", ""], ".safetensors", 2),
        (nothing, ["-o", "{work}/" + 240 * "x" + ".safetensors"], "bytes", 1),
        (nothing, ["-o", "{work}/nowhere/mine.safetensors"], "nowhere", 1),
        (nothing, ["-o", "{work}/tiny.safetensors"], "tiny.safetensors", 2),
        (nothing, ["-o", "{work}/there.safetensors"], "--overwrite", 1),
        (nothing, ["--resume"], "mine.safetensors.state", 2),
        (nothing, ["--rate", "1e30", "--steps", "5"], "--rate", 1),
    ],
)
def test_what_cannot_be_done_is_refused(
    spoil: object, arguments: list[str], naming: str, code: int, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "there.safetensors").write_text("kept")
    spoil(work if spoil is not shutil.rmtree else work / "pairs")  # type: ignore[operator]
    before = sorted(work.iterdir())
    given = [argument.format(work=work) for argument in arguments]
    assert train(work, work / "mine.safetensors", *unless(given, ["--steps", "1"]), *given) == code
    said = capsys.readouterr().err
    assert naming in said
    assert "error:" in said and "hint:" in said and "Traceback" not in said
    assert sorted(work.iterdir()) == before
    assert (work / "there.safetensors").read_text() == "kept"


@pytest.mark.parametrize(
    "arguments", [["--holdout", "1"], ["--rate", "0"], ["--minutes", "x"], ["--steps", "0"], ["--seed", "-1"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str], made: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as leaving:
        train(made, tmp_path / "mine.safetensors", *arguments)
    assert leaving.value.code == 2


def test_a_network_that_broke_in_its_last_step_is_not_written(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.safetensors"
    assert train(made, out, "--steps", "1", "--rate", "1e30") == 1
    said = capsys.readouterr().err
    assert "--rate" in said and "Traceback" not in said
    assert not out.exists()


def test_too_little_memory_is_said(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(net: BiRefNet, image: torch.Tensor) -> list[torch.Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(BiRefNet, "forward_training", full)
    assert train(made, tmp_path / "mine.safetensors") == 1
    assert "--batch" in capsys.readouterr().err


def test_pictures_are_their_seed_and_number_in_a_frame_of_any_shape(made: Path) -> None:
    found = find_pairs(made / "pairs")
    pairs, again = Pairs(found, (64, 96), seed=3), Pairs(found, (64, 96), seed=3)
    for index in (25, 4):
        (rgb, alpha), (rgb_again, alpha_again) = pairs(index, 96), again(index, 96)
        assert rgb.shape == (64, 96, 3) and rgb.dtype == np.uint8
        assert alpha.shape == (64, 96) and alpha.dtype == np.float32
        assert 0.5 < alpha.max() <= 1 and alpha.min() == 0
        assert np.array_equal(rgb, rgb_again) and np.array_equal(alpha, alpha_again)
    assert not np.array_equal(Pairs(found, (64, 96), seed=4)(4, 96)[0], rgb)


def test_a_picture_and_its_alpha_stay_on_one_another(made: Path) -> None:
    pairs = Pairs(find_pairs(made / "pairs"), (64, 64))
    fit = []
    for index in range(40):
        rgb, alpha = pairs(index, 64)
        warmth = rgb[..., 0].astype(float) - rgb[..., 2]
        fit.append(np.corrcoef(warmth.ravel(), alpha.ravel())[0, 1] if warmth.std() > 5 else 1)
    assert np.mean(fit) > 0.9


def test_alphas_come_in_several_kinds(tmp_path: Path) -> None:
    alpha = np.arange(0, 256, dtype=np.uint8).reshape(16, 16)
    cv2.imwrite(str(tmp_path / "x.jpg"), np.full((16, 16, 3), 90, np.uint8))
    kinds = {
        "grey": alpha,
        "deep": alpha.astype(np.uint16) * 257,
        "three": np.dstack([alpha] * 3),
        "cutout": np.dstack([np.full((16, 16, 3), 7, np.uint8), alpha]),
        "opaque": np.dstack([alpha] * 3 + [np.full((16, 16), 255, np.uint8)]),
    }
    for name, pixels in kinds.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
        assert np.array_equal(read_pair(Pair(tmp_path / "x.jpg", tmp_path / f"{name}.png"))[1], alpha), name


def test_pairs_are_held_out_by_name(tmp_path: Path) -> None:
    pairs = [Pair(tmp_path / f"{index}.png") for index in range(50)]
    trained, held = hold_out(pairs, 0.1, 32)
    assert len(held) == 5 and sorted(trained + held, key=pairs.index) == pairs
    assert len(hold_out(pairs, 0.9, 32)[1]) == 32
    assert hold_out(pairs, 0, 32) == (pairs, [])
    assert hold_out(pairs[:1], 0.5, 32) == (pairs[:1], [])
    assert len(hold_out(pairs[:3], 0.01, 32)[1]) == 1
    latin = [Pair(tmp_path / os.fsdecode(name)) for name in (b"caf\xe9.png", b"caf\xe8.png")]  # from an old archive
    assert len(hold_out(latin, 0.5, 32)[1]) == 1


def test_masks_will_do_for_alphas(work: Path) -> None:
    (work / "pairs/alphas").rename(work / "pairs/masks")
    assert len(find_pairs(work / "pairs")) == PAIRS
    (work / "pairs/masks/0.png").unlink()
    with pytest.raises(InputError, match=r"0\.jpg"):
        find_pairs(work / "pairs")


def test_recomputing_changes_no_gradient() -> None:
    torch.manual_seed(0)
    net = BiRefNet(TINY)
    keep_statistics(net)
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    image, alpha = torch.randn(1, 3, 64, 64), torch.rand(1, 1, 64, 64)

    def gradients() -> list[torch.Tensor]:
        net.zero_grad()
        matting_loss(net.forward_training(image), alpha).backward()
        return [weight.grad.clone() for weight in net.parameters() if weight.grad is not None]

    before = gradients()
    recompute(net)
    after = gradients()
    assert len(before) == len(after) > 100
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
