"""Losses and the training loop: exact, seeded, resumable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from streammatte.errors import InputError
from streammatte.models.nets.birefnet import BiRefNet, BiRefNetConfig, load_birefnet
from streammatte.models.nets.swin import SwinConfig
from streammatte.train.loop import Maker, Schedule, Trainer, train
from streammatte.train.losses import bce, laplacian, matting_loss, soft_iou

pytestmark = pytest.mark.unit
TINY = BiRefNetConfig(SwinConfig(8, (1, 1, 1, 1), (1, 1, 1, 1), 4), inter=8, aspp=8, kernels=(1, 3))


def maker(index: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on noise, by its number."""
    rng = np.random.default_rng(index)
    y, x = np.mgrid[:size, :size] / size
    alpha = np.clip((0.3 - np.hypot(x - rng.uniform(0.3, 0.7), y - 0.5)) * size / 3 + 0.5, 0, 1)
    rgb = 200 * alpha[..., None] + rng.uniform(0, 55, (size, size, 3))
    return rgb.astype(np.uint8), alpha.astype(np.float32)


def test_losses_are_zero_at_the_target_and_finite_elsewhere() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 32, 32)
    alpha = logits.sigmoid()
    assert bce(logits, alpha).item() == pytest.approx(0, abs=1e-6)
    assert soft_iou(alpha, alpha).item() == 0
    assert laplacian(alpha, alpha).item() == 0
    assert laplacian(torch.ones_like(alpha), torch.zeros_like(alpha)).item() == 0, "it only sees detail"
    for target in (torch.zeros(2, 1, 32, 32), torch.ones(2, 1, 32, 32), torch.rand(2, 1, 32, 32)):
        outputs = [torch.randn(2, 1, n, n, requires_grad=True) for n in (2, 4, 8, 32)]
        outputs[-1].data[0] *= 200  # confident and wrong
        loss = matting_loss(outputs, target)
        loss.backward()
        assert loss.item() > 0
        assert all(output.grad is not None and output.grad.isfinite().all() for output in outputs)


def one_batch(maker: Maker) -> tuple[torch.Tensor, torch.Tensor]:
    made = [maker(index, 64) for index in range(4)]
    images = torch.stack([torch.from_numpy(rgb).permute(2, 0, 1).float() / 255 - 0.5 for rgb, _ in made])
    return images, torch.stack([torch.from_numpy(alpha)[None] for _, alpha in made])


def test_steps_on_one_batch_lower_its_loss() -> None:
    torch.manual_seed(0)
    trainer = Trainer(BiRefNet(TINY), Schedule(steps=100, rate=2e-3, warm_up=0))
    images, alphas = one_batch(maker)
    losses = [trainer.update(images, alphas) for _ in range(6)]
    assert losses[-1] < losses[0]
    assert trainer.step == 6


def test_the_schedule_warms_up_and_anneals() -> None:
    schedule = Schedule(steps=1000, rate=1.0, warm_up=100)
    assert schedule.rate_at(0, 0) == pytest.approx(0.01)
    assert schedule.rate_at(99, 0) == pytest.approx(1)
    assert schedule.rate_at(1000, 1) == pytest.approx(0.01)
    assert schedule.progress(250, 1e9) == 0.25
    assert Schedule(minutes=2).progress(250, 60) == 0.5
    sizes = [Schedule(sizes=((128, 0.7), (192, 0.3))).size_at(progress) for progress in (0, 0.69, 0.7, 1)]
    assert sizes == [128, 128, 192, 192]


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    def trainer() -> Trainer:
        torch.manual_seed(0)
        return Trainer(BiRefNet(TINY), Schedule(steps=4, batch=2, sizes=((32, 0.5), (64, 0.5)), warm_up=2))

    unbroken = trainer()
    train(unbroken, maker, workers=0)
    assert unbroken.step == 4

    broken = trainer()
    state = tmp_path / "state.pt"

    train(broken, maker, workers=0, stopping=lambda: broken.step == 1)
    assert broken.step == 1
    broken.save(state)
    resumed = trainer()
    resumed.resume(state)
    train(resumed, maker, workers=0)
    assert resumed.step == 4
    for name, value in unbroken.net.state_dict().items():
        assert torch.equal(value, resumed.net.state_dict()[name]), name
        assert torch.equal(unbroken.average[name], resumed.average[name]), name


def test_resuming_from_nothing_or_something_else_is_refused(tmp_path: Path) -> None:
    trainer = Trainer(BiRefNet(TINY), Schedule())
    with pytest.raises(InputError):
        trainer.resume(tmp_path / "none.pt")
    torch.save({"net": {}}, tmp_path / "other.pt")
    with pytest.raises(InputError):
        trainer.resume(tmp_path / "other.pt")


def test_the_export_holds_the_averaged_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trainer = Trainer(BiRefNet(TINY), Schedule(steps=10, warm_up=0))
    trainer.update(*one_batch(maker))
    path = tmp_path / "nano.safetensors"
    trainer.export(path)
    tensors = load_file(path)
    net = BiRefNet(TINY)
    net.load_state_dict(tensors)  # strict: the names are the network's own
    for name, value in trainer.averaged().state_dict().items():
        assert torch.equal(tensors[name], value.half() if value.is_floating_point() else value), name
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["config"])["backbone"]["embed_dim"] == 8
    large = next(name for name in trainer.average if name.endswith("running_var"))
    trainer.average[large].fill_(70_000)  # fp16 ends at 65504
    trainer.export(path)
    assert (load_birefnet(path).state_dict()[large] == 70_000).all()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name], "no temporary file is left"
