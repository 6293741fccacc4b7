"""The bundled model's converted backbone, photographs and places."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from streammatte.models.nets.birefnet import IMAGENET_MEAN, IMAGENET_STD
from streammatte.models.nets.efficientnet import EfficientNetConfig, EfficientNetLite
from training import photographs
from training.backbone import DEVIATION, EPSILON, MEAN, converted
from training.backgrounds import VIEW_SIZE
from training.photographs import AsTheyAre, dark_cloth, shrunk
from training.places import emptied, hung
from training.scores import head_and_shoulders

pytestmark = pytest.mark.unit
CONFIG = EfficientNetConfig((8, 8, 8, 8, 8, 8), (1, 1, 1, 1, 1, 2))


def published() -> dict[str, torch.Tensor]:
    """Weights as the packages hold them, drawn at random."""
    made = torch.Generator().manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}

    def conv(name: str, norm: str, *shape: int) -> None:
        tensors[f"{name}.weight"] = torch.randn(*shape, generator=made) * 0.2
        for part in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{norm}.{part}"] = torch.rand(shape[0], generator=made) + 0.5
        tensors[f"{norm}.num_batches_tracked"] = torch.tensor(1)

    conv("_conv_stem", "_bn0", 32, 3, 3, 3)
    width = 32
    for number in range(7):
        block = f"_blocks.{number}"
        wide = width if number == 0 else 6 * width
        if number:
            conv(f"{block}._expand_conv", f"{block}._bn0", wide, width, 1, 1)
        kernel = (3, 3, 5, 3, 5, 5, 5)[number]
        conv(f"{block}._depthwise_conv", f"{block}._bn1", wide, 1, kernel, kernel)
        conv(f"{block}._project_conv", f"{block}._bn2", 8, wide, 1, 1)
        width = 8
    return tensors


def test_the_converted_backbone_computes_what_the_published_weights_say() -> None:
    """Away from the border, where padding with the published normalisation's zero differs from ours."""
    tensors = published()
    net = EfficientNetLite(CONFIG).eval()
    net.load_state_dict(converted(tensors, CONFIG))
    rgb = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        statistics = (tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"])
        affine = (tensors[f"{name}.weight"], tensors[f"{name}.bias"])
        return nn.functional.batch_norm(x, *statistics, *affine, eps=EPSILON)

    with torch.inference_mode():
        stem = nn.functional.conv2d((rgb - MEAN) / DEVIATION, tensors["_conv_stem.weight"], stride=2, padding=1)
        stem = nn.functional.relu6(norm("_bn0", stem))
        x = nn.functional.conv2d(stem, tensors["_blocks.0._depthwise_conv.weight"], padding=1, groups=32)
        x = nn.functional.relu6(norm("_blocks.0._bn1", x))
        expected = norm("_blocks.0._bn2", nn.functional.conv2d(x, tensors["_blocks.0._project_conv.weight"]))
        features = net((rgb - mean) / std)
    torch.testing.assert_close(features[0][..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-4, rtol=1e-4)
    assert [tuple(each.shape[-2:]) for each in features] == [(32, 32), (16, 16), (8, 8), (4, 4), (2, 2)]


def marked(height: int = 240, width: int = 160) -> np.ndarray:
    """A grey picture with a white figure, and its mask: what is white has to be what the mask holds."""
    rgba = np.full((height, width, 4), 60, np.uint8)
    rgba[..., 3] = 0
    for plane in range(4):
        canvas = np.ascontiguousarray(rgba[..., plane])
        cv2.ellipse(canvas, (width // 2, height // 2), (width // 5, height // 3), 0, 0, 360, 255, -1)
        rgba[..., plane] = canvas
    return rgba


def test_a_photograph_and_its_mask_stay_together_in_every_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = AsTheyAre([marked()], seed=0)
    graded = pictures(7, 64)
    with monkeypatch.context() as patch:  # without a grade, noise and other clothes, colours tell the mask
        patch.setattr(photographs, "dark_cloth", lambda rng, rgba: rgba)
        patch.setattr(photographs, "expose", lambda rng, rgb, alpha: (np.rint(rgb * 255).astype(np.uint8), alpha))
        for index in range(40):
            rgb, alpha = pictures(index, 64)
            assert rgb.shape == (64, 64, 3) and alpha.dtype == np.float32
            assert np.abs(rgb - (60 + 195 * alpha[..., None])).max() <= 1.5
            assert 0.02 < alpha.mean() < 0.98
    again = AsTheyAre([marked()], seed=0)
    assert np.array_equal(graded[0], again(7, 64)[0])


def test_dark_clothes_leave_the_head_and_the_mask() -> None:
    rgba = marked()
    figure = rgba[..., 3] > 0
    top, height = 40, 160
    places = set()
    for seed in range(8):
        dark = dark_cloth(np.random.default_rng(seed), rgba)
        assert np.array_equal(dark[..., 3], rgba[..., 3])
        head, body = (figure.copy() for _ in range(2))
        head[top + round(0.12 * height) :] = False
        body[: top + round(0.25 * height)] = False
        inside = cv2.erode(figure.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        light = float(dark[0, 0, 0]) / 60
        assert np.abs(dark[..., :3][head & inside] - 255 * light).max() <= 2, "what the light leaves"
        assert dark[..., :3][body & inside].max() < 150
        places.add(light < 1)
    assert places == {False, True}, "there is less light at times"
    assert np.array_equal(dark_cloth(np.random.default_rng(0), np.zeros((9, 9, 4), np.uint8)), np.zeros((9, 9, 4)))


def test_shrinking_mixes_no_colour_of_what_is_clear() -> None:
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[:, :20] = (200, 100, 50, 255)
    small = shrunk(rgba, 13)
    assert (small[small[..., 3] > 30][:, :3] == (200, 100, 50)).all()


def test_places_without_the_person() -> None:
    rng = np.random.default_rng(0)
    place = emptied(marked(400, 300), rng)
    assert place.shape == (VIEW_SIZE, VIEW_SIZE, 3)
    assert place.max() < 90, "nothing white is left of the figure"
    wall = np.zeros((VIEW_SIZE, VIEW_SIZE, 3), np.uint8)
    room = hung(wall, [np.full_like(wall, 255)], rng)
    assert (room == 255).any() and (room == 0).any() and not wall.any()


@pytest.mark.parametrize("top", [0, 100, 300])
def test_head_and_shoulders_have_room_above_the_head(top: int) -> None:
    rgba = np.zeros((400, 160, 4), np.uint8)
    rgba[top:, 60:100, 3] = 255
    frame = head_and_shoulders(rgba)
    assert frame is not None and frame.shape == (90, 160, 4)
    above = int(np.flatnonzero(frame[..., 3].any(1))[0])
    assert above == (0 if top == 0 else 13)
