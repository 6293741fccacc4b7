"""Which checkpoints exist: their names, where they are published, under which licence, and what each is good at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NANO_SIZE = (320, 320)  # of the bundled checkpoint: a step above the 288 that it was trained at, where it sees best

_MIT = "MIT"
# SDMatte's authors publish code and weights as MIT. The weights began as Stable Diffusion 2's, whose licence allows
# commercial use, forbids some uses, and asks that what is derived from it forbids them, too.
_MIT_FROM_SD2 = "MIT, OpenRAIL++-M"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One file of weights that can be asked for by name.

    Attributes:
        name: What ``--model`` or ``--sdmatte`` takes.
        repo: ``owner/name`` on the Hugging Face hub; ``None`` for the one inside this package.
        revision: A commit where the file is pinned, else a branch.
        file: Its name in that repository, or beside this module.
        bytes: Its exact size; ``None`` where it is not known.
        sha256: Of its content, in lower-case hex; ``None`` where it is not known, and then the hub's own is taken.
        size: (height, width) in pixels that the network was trained at and frames are resized to.
        licence: Of the weights, as their publisher states it.
        commercial: Whether that licence allows commercial use.
        good_at: One line for the list of models.
        network: ``birefnet`` mattes whole frames (``--model``); ``sdmatte`` what can be seen through, of a frame that
            another has matted (``--sdmatte``).
    """

    name: str
    repo: str | None
    revision: str
    file: str
    bytes: int | None
    sha256: str | None
    size: tuple[int, int]
    licence: str
    commercial: bool
    good_at: str
    network: Literal["birefnet", "sdmatte"] = "birefnet"


# A pinned revision, size or hash stands here only where independent public projects that check the same file agree
# on it (public repositories searched in November 2026). Sizes and hashes that only a mirror states were left out,
# since a mirror's BiRefNet was seen to be another file. Where a hash is known, the size that any of them gives for
# those bytes is the file's. A file that disagrees is refused, so a wrong entry costs a download and never a bad matte.
CHECKPOINTS: tuple[Checkpoint, ...] = (
    Checkpoint(
        name="birefnet",
        repo="ZhengPeng7/BiRefNet",
        revision="e2bf8e4460fc8fa32bba5ea4d94b3233d367b0e4",
        file="model.safetensors",
        bytes=444_473_596,
        sha256="9ab37426bf4de0567af6b5d21b16151357149139362e6e8992021b8ce356a154",
        size=(1024, 1024),
        licence=_MIT,
        commercial=True,
        good_at="general use; the default on a GPU",
    ),
    Checkpoint(
        name="birefnet-lite",
        repo="ZhengPeng7/BiRefNet_lite",
        revision="aa62cd87eafb9cc43056d08ef3615a14628b831d",
        file="model.safetensors",
        bytes=177_634_392,
        sha256="4417d89795250e698c3cb0ae8df15743810065f646f48a694fdfa7ca052d0815",
        size=(1024, 1024),
        licence=_MIT,
        commercial=True,
        good_at="a quarter of the work, harder edges",
    ),
    Checkpoint(
        name="birefnet-lite-matting",
        repo="ZhengPeng7/BiRefNet_lite-matting",
        revision="99c33412e3f58e1f33187abdc8c435c645243690",
        file="model.safetensors",
        bytes=88_965_896,
        sha256="ce8bcfc045e336322c0424a5863dcfb7e9ce8fed0a5fd4d1b2b20adf12d97243",
        size=(1024, 1024),
        licence=_MIT,
        commercial=True,
        good_at="hair and soft edges; the default on a CPU",
    ),
    Checkpoint(
        name="birefnet-matting",
        repo="ZhengPeng7/BiRefNet-matting",
        revision="eccde0a8cbdce7ac5fecfeb06340fe7b949e85d9",
        file="model.safetensors",
        bytes=884_878_856,
        sha256="a9875de5b1e6c8eb5fdaa8c727a82927ce442cdc87ba3abee6a77e6fa46c25bb",
        size=(1024, 1024),
        licence=_MIT,
        commercial=True,
        good_at="hair, fur and soft edges",
    ),
    Checkpoint(
        name="birefnet-portrait",
        repo="ZhengPeng7/BiRefNet-portrait",
        revision="b6561965a70070d9143fd9e558f6ca3c481510db",
        file="model.safetensors",
        bytes=884_878_856,
        sha256="4a4eb3a5469b75f0cccaec6772c22fc30e6c12ed429c2c0ba71b43e3d8d97182",
        size=(1024, 1024),
        licence=_MIT,
        commercial=True,
        good_at="people alone",
    ),
    Checkpoint(
        name="birefnet-dis5k",
        repo="ZhengPeng7/BiRefNet-DIS5K",
        revision="main",
        file="model.safetensors",
        bytes=None,
        sha256=None,
        size=(1024, 1024),
        licence=_MIT,
        commercial=True,
        good_at="thin, intricate objects (DIS5K)",
    ),
    Checkpoint(
        name="birefnet-hrsod",
        repo="ZhengPeng7/BiRefNet-HRSOD",
        revision="main",
        file="model.safetensors",
        bytes=None,
        sha256=None,
        size=(1024, 1024),
        licence=_MIT,
        commercial=True,
        good_at="the object that stands out (HRSOD)",
    ),
    Checkpoint(
        name="birefnet-cod",
        repo="ZhengPeng7/BiRefNet-COD",
        revision="main",
        file="model.safetensors",
        bytes=None,
        sha256=None,
        size=(1024, 1024),
        licence=_MIT,
        commercial=True,
        good_at="camouflaged animals (COD)",
    ),
    Checkpoint(
        name="birefnet-hr",
        repo="ZhengPeng7/BiRefNet_HR",
        revision="a7a562f6fd16021180f2f4348f4de003a2d3d1e1",
        file="model.safetensors",
        bytes=444_473_596,
        sha256="9d678bafec0b0019fbb073b7fd02f05ede25dc4b15254f23b2fb0be333200c0d",
        size=(2048, 2048),
        licence=_MIT,
        commercial=True,
        good_at="4K footage, at four times the work",
    ),
    Checkpoint(
        name="birefnet-hr-matting",
        repo="ZhengPeng7/BiRefNet_HR-matting",
        revision="5d6b6f8adcb5b417c871b1d84ceaae9871355b7f",
        file="model.safetensors",
        bytes=444_473_596,
        sha256="a5a4de698739ea5e0e8bbab28e1b293dde95092b87a442d566cbc585c53cef55",
        size=(2048, 2048),
        licence=_MIT,
        commercial=True,
        good_at="hair and soft edges in 4K",
    ),
    Checkpoint(
        name="birefnet-dynamic",
        repo="ZhengPeng7/BiRefNet_dynamic",
        revision="280306042f57b7a33854319da62fd86aaa89ec4c",
        file="model.safetensors",
        bytes=444_473_596,
        sha256="e3d2e4884e51ff30f0cd630edc6b1e41b06b7f23a0a2a5169f7b7cb33a711c2d",
        size=(1024, 1024),  # a middle: it was trained at every size from 256 to 2304
        licence=_MIT,
        commercial=True,
        good_at="any --size, 256 to 2304",
    ),
    Checkpoint(
        name="birefnet-dynamic-matting",
        repo="ZhengPeng7/BiRefNet_dynamic-matting",
        revision="main",
        file="model.safetensors",
        bytes=None,
        sha256=None,
        size=(1024, 1024),  # as of birefnet-dynamic
        licence=_MIT,
        commercial=True,
        good_at="hair and soft edges at any --size",
    ),
    Checkpoint(
        name="birefnet-lite-2k",
        repo="ZhengPeng7/BiRefNet_lite-2K",
        revision="main",
        file="model.safetensors",
        bytes=None,
        sha256=None,
        size=(1440, 2560),
        licence=_MIT,
        commercial=True,
        good_at="2K footage on small machines",
    ),
    Checkpoint(
        name="birefnet-512",
        repo="ZhengPeng7/BiRefNet_512x512",
        revision="main",
        file="model.safetensors",
        bytes=None,
        sha256=None,
        size=(512, 512),
        licence=_MIT,
        commercial=True,
        good_at="a quarter of the pixels",
    ),
    Checkpoint(
        name="lucida",
        repo="egeorcun/lucida",
        revision="main",
        file="model.safetensors",
        bytes=884_878_856,
        sha256=None,
        size=(1024, 1024),  # birefnet-hr's network, trained on at this size
        licence=_MIT,
        commercial=True,
        good_at="hair, glass and glow in products",
    ),
    Checkpoint(
        name="toonout",
        repo="joelseytre/toonout",
        revision="cbf720eca394edcde66b861a8a8c20fbabe9c748",
        file="birefnet_finetuned_toonout.pth",
        bytes=None,
        sha256="8c7f8a0bc24400f4caade76622f75ff22ca1e93e169add9d2b70093e2487fbe5",
        size=(1024, 1024),
        licence=_MIT,
        commercial=True,
        good_at="anime and drawings",
    ),
    Checkpoint(
        name="rmbg-2.0",
        repo="briaai/RMBG-2.0",
        revision="5df4c9c76d8170882c34f6986e848ee07fd0ba43",
        file="model.safetensors",
        bytes=884_878_856,
        sha256="566ed80c3d95f87ada6864d4cbe2290a1c5eb1c7bb0b123e984f60f76b02c3a7",
        size=(1024, 1024),
        licence="CC BY-NC 4.0",
        commercial=False,
        good_at="products; a gated download",
    ),
    # Of SDMatte the authors publish a training's files, 12 GB each, its optimiser's state included. These hold the
    # same weights alone, in less than half. Whoever has the authors' file can pass it as it is.
    Checkpoint(
        name="sdmatte",
        repo="1038lab/SDMatte",
        revision="main",
        file="SDMatte.safetensors",
        bytes=None,
        sha256=None,
        size=(1024, 1024),
        licence=_MIT_FROM_SD2,
        commercial=True,
        good_at="--sdmatte: glass, veils, smoke; 5.2 GB",
        network="sdmatte",
    ),
    Checkpoint(
        name="sdmatte-plus",
        repo="1038lab/SDMatte",
        revision="main",
        file="SDMatte_plus.safetensors",
        bytes=None,
        sha256=None,
        size=(1024, 1024),
        licence=_MIT_FROM_SD2,
        commercial=True,
        good_at="--sdmatte: the same, trained on other pictures",
        network="sdmatte",
    ),
    Checkpoint(
        name="sdmatte-lite",
        repo="LongfeiHuang/LiteSDMatte",
        revision="main",
        file="LiteSDMatte.pth",
        bytes=None,
        sha256=None,
        size=(1024, 1024),
        licence=_MIT_FROM_SD2,
        commercial=True,
        good_at="--sdmatte: a smaller one of these",
        network="sdmatte",
    ),
    Checkpoint(
        name="birefnet-nano",
        repo=None,
        revision="",
        file="birefnet-nano.safetensors",
        bytes=None,
        sha256=None,
        size=NANO_SIZE,
        licence=_MIT,
        commercial=True,
        good_at="people, animals and things, in real time on a CPU",
    ),
)
