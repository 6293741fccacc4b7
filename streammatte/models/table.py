"""The known checkpoints: name, place, licence and what each is good at."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from streammatte.errors import ModelError, WeightsMissing, refusing

BUNDLED = "birefnet-nano"
NANO_SIZE = (320, 320)  # one step above the 288 the bundled checkpoint was trained at, where it scores best

# SDMatte's authors publish code and weights as MIT. The weights started as Stable Diffusion 2's, whose licence allows
# commercial use, forbids some uses, and requires derived weights to forbid them too.
_MIT_FROM_SD2 = "MIT, OpenRAIL++-M"

FLAGS = {"birefnet": "model", "sdmatte": "sdmatte", "sam2": "tracker"}
DOES = {
    "birefnet": "mattes whole frames; it neither mattes transparent objects nor follows subjects",
    "sdmatte": "mattes only transparent objects, beside another model",
    "sam2": "follows subjects, and mattes nothing itself",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One file of weights with a name.

    Attributes:
        name: What ``--model`` or ``--sdmatte`` takes.
        repo: ``owner/name`` on the Hugging Face hub; ``None`` for the one inside this package.
        good_at: One line for the list of models.
        revision: A commit where the file is pinned, else a branch.
        file: Its name in that repository, or beside this module.
        bytes: Its exact size, where known.
        sha256: Lower-case hex, where known; otherwise the hub's own is used.
        size: (height, width) in pixels that the network was trained at and frames are resized to.
        licence: Of the weights, as their publisher states it.
        network: ``birefnet`` mattes whole frames (``--model``); ``sdmatte`` mattes transparent objects in frames that
            another network has matted (``--sdmatte``); ``sam2`` follows subjects (``--tracker``).
    """

    name: str
    repo: str | None
    good_at: str
    revision: str = "main"
    file: str = "model.safetensors"
    bytes: int | None = None
    sha256: str | None = None
    size: tuple[int, int] = (1024, 1024)
    licence: str = "MIT"
    network: Literal["birefnet", "sdmatte", "sam2"] = "birefnet"

    @property
    def commercial(self) -> bool:
        """Whether the licence allows commercial use."""
        return "NC" not in self.licence

    @property
    def licence_notice(self) -> str | None:
        """The line to show before a checkpoint is used that is not for commercial use."""
        if self.commercial:
            return None
        return f"{self.name} is licensed {self.licence}: not for commercial use (https://huggingface.co/{self.repo})"


@refusing()
def find(name: str, network: str | None = None) -> Checkpoint:
    """The checkpoint of that name.

    Raises:
        ModelError: It is unknown, and the hint lists close names; or it is not a ``network``.
    """
    name = str(name)
    found = {checkpoint.name: checkpoint for checkpoint in CHECKPOINTS}
    if name not in found:
        close = difflib.get_close_matches(name.lower(), found, n=3, cutoff=0.5)
        meant = f"did you mean {', '.join(close[:-1])}{' or ' * (len(close) > 1)}{close[-1]}? " if close else ""
        raise ModelError(f"unknown model: {name}", hint=f"{meant}`streammatte models` lists all of them")
    checkpoint = found[name]
    if network in (None, checkpoint.network):
        return checkpoint
    hint = f"use --{FLAGS[checkpoint.network]} {name}"
    if network in ("sdmatte", "sam2"):
        fit = ", ".join(each.name for each in CHECKPOINTS if each.network == network)
        hint += f"; --{FLAGS[network]} takes {fit} or a file"
    raise ModelError(f"{name} {DOES[checkpoint.network]}", hint=hint)


def check(name: str, network: str) -> None:
    """Refuse what is neither the name of such a network's checkpoint nor a file or folder that is there.

    Raises:
        ModelError, WeightsMissing: It is not.
    """
    path = Path(name)
    if path.exists() and name not in (each.name for each in CHECKPOINTS):
        return
    if path.suffix in (".safetensors", ".pth") or len(path.parts) > 1:
        example = next(each.name for each in CHECKPOINTS if each.network == network)
        raise WeightsMissing(
            f"no such checkpoint: {name}", hint=f"check the path; `streammatte models` lists names, such as {example}"
        )
    find(name, network)


def available_models() -> list[str]:
    """The names that ``load_model`` takes, besides ``auto``."""
    return [checkpoint.name for checkpoint in CHECKPOINTS if checkpoint.network == "birefnet"]


# A pinned revision, size or hash is listed only where independent public projects that check the same file agree on it
# (public repositories searched in November 2026). Sizes and hashes that only a mirror states were left out: one
# mirror's BiRefNet turned out to be another file. A file that disagrees is refused, so a wrong entry costs a download
# and never a bad matte.
CHECKPOINTS: tuple[Checkpoint, ...] = (
    Checkpoint(
        name="birefnet",
        repo="ZhengPeng7/BiRefNet",
        good_at="general use; the default on a GPU",
        revision="e2bf8e4460fc8fa32bba5ea4d94b3233d367b0e4",
        bytes=444_473_596,
        sha256="9ab37426bf4de0567af6b5d21b16151357149139362e6e8992021b8ce356a154",
    ),
    Checkpoint(
        name="birefnet-lite",
        repo="ZhengPeng7/BiRefNet_lite",
        good_at="a quarter of the work, harder edges",
        revision="aa62cd87eafb9cc43056d08ef3615a14628b831d",
        bytes=177_634_392,
        sha256="4417d89795250e698c3cb0ae8df15743810065f646f48a694fdfa7ca052d0815",
    ),
    Checkpoint(
        name="birefnet-lite-matting",
        repo="ZhengPeng7/BiRefNet_lite-matting",
        good_at="hair and soft edges; the default on a CPU",
        revision="99c33412e3f58e1f33187abdc8c435c645243690",
        bytes=88_965_896,
        sha256="ce8bcfc045e336322c0424a5863dcfb7e9ce8fed0a5fd4d1b2b20adf12d97243",
    ),
    Checkpoint(
        name="birefnet-matting",
        repo="ZhengPeng7/BiRefNet-matting",
        good_at="hair, fur and soft edges",
        revision="eccde0a8cbdce7ac5fecfeb06340fe7b949e85d9",
        bytes=884_878_856,
        sha256="a9875de5b1e6c8eb5fdaa8c727a82927ce442cdc87ba3abee6a77e6fa46c25bb",
    ),
    Checkpoint(
        name="birefnet-portrait",
        repo="ZhengPeng7/BiRefNet-portrait",
        good_at="people alone",
        revision="b6561965a70070d9143fd9e558f6ca3c481510db",
        bytes=884_878_856,
        sha256="4a4eb3a5469b75f0cccaec6772c22fc30e6c12ed429c2c0ba71b43e3d8d97182",
    ),
    Checkpoint(name="birefnet-dis5k", repo="ZhengPeng7/BiRefNet-DIS5K", good_at="thin, intricate objects (DIS5K)"),
    Checkpoint(name="birefnet-hrsod", repo="ZhengPeng7/BiRefNet-HRSOD", good_at="the salient object (HRSOD)"),
    Checkpoint(name="birefnet-cod", repo="ZhengPeng7/BiRefNet-COD", good_at="camouflaged animals (COD)"),
    Checkpoint(
        name="birefnet-hr",
        repo="ZhengPeng7/BiRefNet_HR",
        good_at="4K footage, at four times the work",
        revision="a7a562f6fd16021180f2f4348f4de003a2d3d1e1",
        bytes=444_473_596,
        sha256="9d678bafec0b0019fbb073b7fd02f05ede25dc4b15254f23b2fb0be333200c0d",
        size=(2048, 2048),
    ),
    Checkpoint(
        name="birefnet-hr-matting",
        repo="ZhengPeng7/BiRefNet_HR-matting",
        good_at="hair and soft edges in 4K",
        revision="5d6b6f8adcb5b417c871b1d84ceaae9871355b7f",
        bytes=444_473_596,
        sha256="a5a4de698739ea5e0e8bbab28e1b293dde95092b87a442d566cbc585c53cef55",
        size=(2048, 2048),
    ),
    Checkpoint(
        name="birefnet-dynamic",
        repo="ZhengPeng7/BiRefNet_dynamic",
        good_at="any --size, 256 to 2304",
        revision="280306042f57b7a33854319da62fd86aaa89ec4c",
        bytes=444_473_596,
        sha256="e3d2e4884e51ff30f0cd630edc6b1e41b06b7f23a0a2a5169f7b7cb33a711c2d",
        # 1024²: a middle: it was trained at every size from 256 to 2304
    ),
    Checkpoint(
        name="birefnet-dynamic-matting",
        repo="ZhengPeng7/BiRefNet_dynamic-matting",
        good_at="hair and soft edges at any --size",
    ),
    Checkpoint(
        name="birefnet-lite-2k",
        repo="ZhengPeng7/BiRefNet_lite-2K",
        good_at="2K footage on small machines",
        size=(1440, 2560),
    ),
    Checkpoint(
        name="birefnet-512",
        repo="ZhengPeng7/BiRefNet_512x512",
        good_at="a quarter of the pixels",
        size=(512, 512),
    ),
    Checkpoint(
        name="lucida",
        repo="egeorcun/lucida",
        good_at="hair, glass and glow in products",
        bytes=884_878_856,
        # 1024²: BiRefNet-HR's network, fine-tuned at this size
    ),
    Checkpoint(
        name="toonout",
        repo="joelseytre/toonout",
        good_at="anime and drawings",
        revision="cbf720eca394edcde66b861a8a8c20fbabe9c748",
        file="birefnet_finetuned_toonout.pth",
        sha256="8c7f8a0bc24400f4caade76622f75ff22ca1e93e169add9d2b70093e2487fbe5",
    ),
    Checkpoint(
        name="rmbg-2.0",
        repo="briaai/RMBG-2.0",
        good_at="products; a gated download",
        revision="5df4c9c76d8170882c34f6986e848ee07fd0ba43",
        bytes=884_878_856,
        sha256="566ed80c3d95f87ada6864d4cbe2290a1c5eb1c7bb0b123e984f60f76b02c3a7",
        licence="CC BY-NC 4.0",
    ),
    # SDMatte's authors publish 12 GB training checkpoints, optimiser state included. These hold the weights alone, in
    # less than half of that. The authors' own file works too: pass it with --sdmatte FILE.
    Checkpoint(
        name="sdmatte",
        repo="1038lab/SDMatte",
        good_at="--sdmatte: glass, veils, smoke; 5.2 GB",
        file="SDMatte.safetensors",
        licence=_MIT_FROM_SD2,
        network="sdmatte",
    ),
    Checkpoint(
        name="sdmatte-plus",
        repo="1038lab/SDMatte",
        good_at="--sdmatte: the same, trained on other pictures",
        file="SDMatte_plus.safetensors",
        licence=_MIT_FROM_SD2,
        network="sdmatte",
    ),
    Checkpoint(
        name="sdmatte-lite",
        repo="LongfeiHuang/LiteSDMatte",
        good_at="--sdmatte: smaller and faster",
        file="LiteSDMatte.pth",
        licence=_MIT_FROM_SD2,
        network="sdmatte",
    ),
    # EdgeTAM, which is smaller, needs timm for its image encoder.
    *(
        Checkpoint(
            name=f"sam2-{size}",
            repo=f"facebook/sam2.1-hiera-{size}",
            good_at=f"--tracker: follows a named subject; {good_at}",
            licence="Apache-2.0",
            network="sam2",
        )
        for size, good_at in (("tiny", "for a CPU"), ("small", "slower, surer"), ("large", "for a GPU"))
    ),
    Checkpoint(
        name="birefnet-nano",
        repo=None,
        good_at="people, animals and things, in real time on a CPU",
        file="birefnet-nano.safetensors",
        size=NANO_SIZE,
    ),
)
