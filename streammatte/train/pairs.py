"""A user's own pairs: pictures and their alphas from a folder, checked before hours are spent on them.

A folder holds pairs in one of two ways::

    PAIRS/images/x.jpg  PAIRS/alphas/x.png    a picture and its alpha share a stem; `masks` will do for `alphas`
    PAIRS/x.png                               cut-outs: straight RGBA, put over pictures of another folder
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.errors import DecodeFailed, InputError, SourceNotFound
from streammatte.train.camera import expose
from streammatte.train.picture import Picture, as_picture

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
ALPHA_FOLDERS = ("alphas", "masks")

KEPT_BYTES = 1 << 30
"""Of decoded pairs kept in memory; those beyond are read again each time."""
SPARE = 1.6
"""How much larger than the network's input a pair is kept: what a crop of the smallest size still fills."""
SMALLEST_CROP = 0.6

Decoded = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Where a picture and its alpha are.

    Attributes:
        picture: RGB; or straight RGBA if ``alpha`` is ``None``.
        alpha: Its alpha: one channel, or the alpha channel of a picture of that shape.
    """

    picture: Path
    alpha: Path | None = None


def find_pairs(folder: Path) -> list[Pair]:
    """All pairs of a folder, sorted by name.

    Raises:
        SourceNotFound: No such folder, or no pictures in it.
        InputError: A picture without an alpha or an alpha without a picture; the first ones are named.
    """
    # os.path: where the folder may not be looked into, Path.is_dir raises, and list_pictures says it better.
    pictures, alphas = (
        next((folder / name for name in names if os.path.isdir(folder / name)), None)  # noqa: PTH112
        for names in (("images",), ALPHA_FOLDERS)
    )
    if pictures is None and alphas is None:
        return [Pair(path) for path in list_pictures(folder).values()]
    if pictures is None:
        raise SourceNotFound(f"{alphas} is there, and {folder / 'images'} is not", hint=_LAYOUT)
    if alphas is None:
        raise SourceNotFound(f"{pictures} is there, and {folder / 'alphas'} is not", hint=_LAYOUT)
    ours, theirs = list_pictures(pictures), list_pictures(alphas)
    for some, others, lacking in ((ours, theirs, f"no alpha in {alphas}"), (theirs, ours, f"no picture in {pictures}")):
        alone = [path.name for stem, path in some.items() if stem not in others]
        if alone:
            rest = f" (and {len(alone) - 3} more)" if len(alone) > 3 else ""
            raise InputError(
                f"{lacking} for {', '.join(alone[:3])}{rest}",
                hint="a picture and its alpha have one name: images/x.jpg, alphas/x.png",
            )
    return [Pair(path, theirs[stem]) for stem, path in ours.items()]


_LAYOUT = "pairs are images/x.jpg with alphas/x.png, or cut-outs as straight RGBA x.png with --backgrounds DIR"


def list_pictures(folder: Path) -> dict[str, Path]:
    """The pictures in a folder by stem, sorted; hidden files and files of other kinds are none.

    Raises:
        SourceNotFound: No such folder, or no pictures in it.
        InputError: Two have one stem.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as exc:
        raise SourceNotFound(f"{folder} cannot be read: {exc.strerror}", hint="a folder is expected") from exc
    found: dict[str, Path] = {}
    for path in paths:
        if path.suffix.lower() in PICTURES and not path.name.startswith("."):
            if path.stem in found:
                raise InputError(f"{folder} has both {found[path.stem].name} and {path.name}", hint="rename one")
            found[path.stem] = path
    if not found:
        raise SourceNotFound(f"there are no pictures in {folder}", hint=_LAYOUT)
    return found


def read_pair(pair: Pair) -> Decoded:
    """(H, W, 3) uint8 RGB, turned as its EXIF tag says, and (H, W) uint8 alpha.

    Raises:
        DecodeFailed: One of them is no picture, or an alpha with more than one channel.
        InputError: They differ in size, or the alpha is empty.
    """
    if pair.alpha is None:
        bgra = _eight_bits(_read(pair.picture, cv2.IMREAD_UNCHANGED))
        if bgra.ndim != 3 or bgra.shape[2] != 4:
            raise InputError(f"{pair.picture} has no alpha channel", hint=_LAYOUT)
        rgb, alpha, named = bgra[..., 2::-1], bgra[..., 3], pair.picture
    else:
        rgb, alpha, named = read_rgb(pair.picture), _alpha_of(pair.alpha), pair.alpha
        if rgb.shape[:2] != alpha.shape:
            sizes = [f"{shape[1]}×{shape[0]}" for shape in (rgb.shape, alpha.shape)]
            raise InputError(
                f"{pair.picture} is {sizes[0]}, and its alpha {pair.alpha} is {sizes[1]}",
                hint="both must be of one size, and turned the same way",
            )
    if alpha.max() <= 1:
        marks = bool(alpha.any())
        raise InputError(
            f"the alpha of {named} is empty" if not marks else f"the alpha of {named} has no value above 1 of 255",
            hint="multiply it by 255: alphas go from 0 to 255" if marks else "take the pair out: it shows no subject",
        )
    return np.ascontiguousarray(rgb), np.ascontiguousarray(alpha)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, turned as its EXIF tag says.

    Raises:
        DecodeFailed: It is no picture.
    """
    return np.asarray(_read(path, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)


def _read(path: Path, how: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The file's pixels as OpenCV has them: blue first."""
    try:  # its bytes, rather than its name: OpenCV reports a file it cannot open on standard error, and as no picture
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), how)
    except OSError as exc:
        raise DecodeFailed(f"{path} cannot be read: {exc.strerror}") from exc
    except cv2.error:  # an empty file, or a picture too large for it
        pixels = None
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise DecodeFailed(f"{path} is not a picture of 8 or 16 bits, or is damaged", hint="take it out, or mend it")
    return pixels  # type: ignore[return-value] # narrowed by its dtype


def _eight_bits(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint16:
        return np.round(pixels / 257).astype(np.uint8)
    return np.asarray(pixels, np.uint8)


def _alpha_of(path: Path) -> NDArray[np.uint8]:
    """An alpha's one plane: its only channel, the alpha channel of a cut-out, or any of three that are the same."""
    pixels = _eight_bits(_read(path, cv2.IMREAD_UNCHANGED))
    if pixels.ndim == 3 and pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
        return pixels[..., 3]
    if pixels.ndim == 3:
        if (pixels[..., 0] != pixels[..., 1]).any() or (pixels[..., 0] != pixels[..., 2]).any():
            raise DecodeFailed(f"the alpha {path} is in colour", hint="a grey picture is expected: white is opaque")
        return pixels[..., 0]
    return pixels


class Pairs:
    """Pairs as the training loop takes them: by number, each time another crop, side and look.

    Picture number n comes from ``default_rng([seed, n])`` alone, so that a run that was stopped goes on with the
    pictures that an unbroken one would have seen.

    Args:
        pairs: At least one.
        size: (H, W) of the network's input, to which pictures are squashed.
        backgrounds: Pictures to put cut-outs over; needed if there are any.
        seed: Decides order and augmentation.
        on_read: Told how many are read and how many there are, while all are read and checked.

    Raises:
        DecodeFailed, InputError: A pair cannot be used; it is named.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        size: tuple[int, int],
        *,
        backgrounds: Sequence[Path] = (),
        seed: int = 0,
        on_read: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        if any(pair.alpha is None for pair in pairs) and not backgrounds:
            folder = pairs[0].picture.parent
            raise InputError(f"{folder} has no images and alphas, and cut-outs need --backgrounds DIR", hint=_LAYOUT)
        self.pairs, self.size, self.backgrounds, self.seed = pairs, size, backgrounds, seed
        self._kept: dict[Path, Decoded] = {}
        room, total = KEPT_BYTES, len(pairs) + len(backgrounds)
        for index in range(total):
            path, decoded = self._decode(index)
            room -= sum(plane.nbytes for plane in decoded)
            if room > 0:
                self._kept[path] = decoded
            on_read(index + 1, total)

    def __call__(self, index: int, size: int) -> tuple[NDArray[np.uint8], Picture]:
        """Picture number ``index``: (H, W, 3) uint8 RGB, and its alpha, (H, W) float32 in [0, 1].

        ``size`` is what the loop's schedule says; the pairs' own decides.
        """
        turn, place = divmod(index, len(self.pairs))
        order = np.random.default_rng([self.seed, 1, turn]).permutation(len(self.pairs))  # each once a turn
        rng = np.random.default_rng([self.seed, 2, index])
        rgb, alpha = self.picture(int(order[place]), rng)
        if rng.random() < 0.5:
            rgb, alpha = rgb[:, ::-1], alpha[:, ::-1]
        if rng.random() < 0.7:
            rgb, alpha = _crop(rng, rgb, alpha)
        rgb, alpha = (_squash(plane, *self.size) for plane in (rgb, alpha))
        if rng.random() < 0.5:  # half of them as they are: they are what the network is to become good at
            rgb, alpha = self._expose(rng, rgb, alpha)
        return np.ascontiguousarray(rgb), np.ascontiguousarray(as_picture(alpha) / np.float32(255))

    def picture(self, number: int, rng: np.random.Generator) -> Decoded:
        """Pair ``number`` as it was shot, a cut-out over a background of chance: (H, W, 3) RGB and (H, W), uint8."""
        rgb, alpha = self._get(number)
        if self.pairs[number].alpha is not None:
            return rgb, alpha
        behind, _ = self._get(len(self.pairs) + int(rng.integers(len(self.backgrounds))))
        behind = _cover(rng, behind, alpha.shape[0], alpha.shape[1])
        weight = as_picture(alpha)[..., None] / np.float32(255)
        return np.round(rgb * weight + behind * (1 - weight)).astype(np.uint8), alpha

    def _expose(self, rng: np.random.Generator, rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> Decoded:
        """Another light, lens, sensor or codec."""
        side = max(self.size)  # the composer's pictures are square
        square = as_picture(_squash(rgb, side, side)) / np.float32(255)
        shown, seen = expose(rng, square, as_picture(_squash(alpha, side, side)) / np.float32(255))
        return _squash(shown, *self.size), np.round(_squash(seen, *self.size) * 255).astype(np.uint8)

    def _get(self, index: int) -> Decoded:
        pair = self.pairs[index].picture if index < len(self.pairs) else self.backgrounds[index - len(self.pairs)]
        return self._kept[pair] if pair in self._kept else self._decode(index)[1]

    def _decode(self, index: int) -> tuple[Path, Decoded]:
        """One of the pairs, or, after them, of the backgrounds, made as small as training will do with."""
        if index < len(self.pairs):
            path, decoded = self.pairs[index].picture, read_pair(self.pairs[index])
        else:
            path = self.backgrounds[index - len(self.pairs)]
            decoded = (read_rgb(path), np.zeros((0, 0), np.uint8))
        height, width = decoded[0].shape[:2]
        shrink = SPARE * max(self.size) / min(height, width)
        if shrink < 1:
            to = (max(1, round(height * shrink)), max(1, round(width * shrink)))
            rgb, alpha = decoded
            decoded = (_squash(rgb, *to), _squash(alpha, *to) if alpha.size else alpha)
        return path, decoded


def hold_out(pairs: Sequence[Pair], share: float, most: int) -> tuple[list[Pair], list[Pair]]:
    """Pairs to train on, and pairs to score on: ``share`` of them by their names' hash, one at least, up to ``most``.

    A single pair is never held out.
    """
    count = min(most, len(pairs) - 1, max(1, round(share * len(pairs)))) if share > 0 else 0
    ranked = sorted(pairs, key=lambda pair: (name_hash([pair.picture]), pair.picture.name))
    held = set(ranked[:count])
    return [pair for pair in pairs if pair not in held], [pair for pair in pairs if pair in held]


def name_hash(paths: Sequence[Path]) -> int:
    """32 bits that tell lists of names from one another; names need not be UTF-8."""
    return zlib.crc32(b"\n".join(os.fsencode(path.name) for path in paths))


def _squash(plane: NDArray[np.generic], height: int, width: int) -> NDArray[np.uint8]:
    """To (height, width), averaging where it makes smaller."""
    if plane.shape[:2] == (height, width):
        return plane  # type: ignore[return-value] # the type stays what it was
    smaller = height * width < plane.shape[0] * plane.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(plane), (width, height), interpolation=how)  # type: ignore[return-value]


def _crop(rng: np.random.Generator, rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> Decoded:
    """A part of the picture with most of its subject; the whole picture if chance finds none."""
    height, width = alpha.shape
    whole = float(alpha.sum(dtype=np.float64))
    for _ in range(4):
        part = rng.uniform(SMALLEST_CROP, 1)
        h, w = (max(1, int(side * np.clip(part * rng.uniform(0.9, 1.1), SMALLEST_CROP, 1))) for side in (height, width))
        y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        box = slice(y, y + h), slice(x, x + w)
        if float(alpha[box].sum(dtype=np.float64)) > 0.6 * whole:
            return rgb[box], alpha[box]
    return rgb, alpha


def _cover(rng: np.random.Generator, picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """A part of a picture, of the frame's shape and size, mirrored or not."""
    largest = min(picture.shape[0] / height, picture.shape[1] / width)
    unit = largest * rng.uniform(0.5, 1)
    h, w = max(1, int(height * unit)), max(1, int(width * unit))
    y, x = (int(rng.integers(side - part + 1)) for side, part in zip(picture.shape[:2], (h, w), strict=True))
    part = picture[y : y + h, x : x + w]
    return _squash(part[:, ::-1] if rng.random() < 0.5 else part, height, width)
