"""A user's own pairs of pictures and alphas, all read and checked before training starts.

A folder holds them in one of two layouts::

    PAIRS/images/x.jpg  PAIRS/alphas/x.png    a picture and its alpha share a stem; `masks` works instead of `alphas`
    PAIRS/x.png                               cut-outs: straight RGBA, to be put over pictures from another folder
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
"""Most memory for decoded pairs; the others are read again each time."""
SPARE = 1.6
"""Size at which a pair is kept, relative to the network's input: enough for the smallest crop."""
SMALLEST_CROP = 0.6

Decoded = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a picture and its alpha.

    Attributes:
        picture: RGB, or straight RGBA if ``alpha`` is ``None``.
        alpha: A greyscale picture, or one whose alpha channel counts.
    """

    picture: Path
    alpha: Path | None = None


def find_pairs(folder: Path) -> list[Pair]:
    """All pairs of a folder, sorted by name.

    Raises:
        SourceNotFound: The folder does not exist or has no pictures.
        InputError: A picture lacks its alpha, or an alpha its picture.
    """
    # os.path, as Path.is_dir raises for an unreadable folder, which list_pictures reports better.
    pictures, alphas = (
        next((folder / name for name in names if os.path.isdir(folder / name)), None)  # noqa: PTH112
        for names in (("images",), ALPHA_FOLDERS)
    )
    if pictures is None and alphas is None:
        return [Pair(path) for path in list_pictures(folder).values()]
    if pictures is None:
        raise SourceNotFound(f"{alphas} exists, but {folder / 'images'} does not", hint=_LAYOUT)
    if alphas is None:
        raise SourceNotFound(f"{pictures} exists, but {folder / 'alphas'} does not", hint=_LAYOUT)
    ours, theirs = list_pictures(pictures), list_pictures(alphas)
    for some, others, lacking in ((ours, theirs, f"no alpha in {alphas}"), (theirs, ours, f"no picture in {pictures}")):
        alone = [path.name for stem, path in some.items() if stem not in others]
        if alone:
            rest = f" (and {len(alone) - 3} more)" if len(alone) > 3 else ""
            raise InputError(
                f"{lacking} for {', '.join(alone[:3])}{rest}",
                hint="a picture and its alpha must share a name: images/x.jpg, alphas/x.png",
            )
    return [Pair(path, theirs[stem]) for stem, path in ours.items()]


_LAYOUT = "expected images/x.jpg with alphas/x.png, or straight RGBA cut-outs x.png with --backgrounds DIR"


def list_pictures(folder: Path) -> dict[str, Path]:
    """The pictures in a folder by stem, sorted; hidden files and other kinds are ignored.

    Raises:
        SourceNotFound: The folder does not exist or has no pictures.
        InputError: Two pictures share a stem.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as exc:
        raise SourceNotFound(f"cannot read {folder}: {exc.strerror}", hint="expected a folder") from exc
    found: dict[str, Path] = {}
    for path in paths:
        if path.suffix.lower() in PICTURES and not path.name.startswith("."):
            if path.stem in found:
                raise InputError(f"{folder} has both {found[path.stem].name} and {path.name}", hint="rename one")
            found[path.stem] = path
    if not found:
        raise SourceNotFound(f"no pictures in {folder}", hint=_LAYOUT)
    return found


def read_pair(pair: Pair) -> Decoded:
    """(H, W, 3) uint8 RGB, rotated by its EXIF tag, and (H, W) uint8 alpha.

    Raises:
        DecodeFailed: A file is not a picture, or the alpha has colours.
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
                f"{pair.picture} is {sizes[0]}, but its alpha {pair.alpha} is {sizes[1]}",
                hint="both must have the same size and rotation",
            )
    if alpha.max() <= 1:
        marks = bool(alpha.any())
        raise InputError(
            f"the alpha of {named} is empty" if not marks else f"the alpha of {named} only has values up to 1 of 255",
            hint="multiply it by 255: alphas go from 0 to 255" if marks else "remove the pair: it has no subject",
        )
    return np.ascontiguousarray(rgb), np.ascontiguousarray(alpha)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, rotated by its EXIF tag.

    Raises:
        DecodeFailed: It is not a picture.
    """
    return np.asarray(_read(path, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)


def _read(path: Path, how: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The file's pixels in OpenCV's order, blue first."""
    try:  # not imread, which prints a warning for a file it cannot open and does not say why
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), how)
    except OSError as exc:
        raise DecodeFailed(f"cannot read {path}: {exc.strerror}") from exc
    except cv2.error:  # an empty file, or a picture too large for it
        pixels = None
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise DecodeFailed(f"{path} is damaged or not an 8- or 16-bit picture", hint="remove or repair it")
    return pixels  # type: ignore[return-value] # narrowed by its dtype


def _eight_bits(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint16:
        return np.round(pixels / 257).astype(np.uint8)
    return np.asarray(pixels, np.uint8)


def _alpha_of(path: Path) -> NDArray[np.uint8]:
    """The only channel, the alpha channel of a cut-out, or one of three equal channels."""
    pixels = _eight_bits(_read(path, cv2.IMREAD_UNCHANGED))
    if pixels.ndim == 3 and pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
        return pixels[..., 3]
    if pixels.ndim == 3:
        if (pixels[..., 0] != pixels[..., 1]).any() or (pixels[..., 0] != pixels[..., 2]).any():
            raise DecodeFailed(f"the alpha {path} has colours", hint="expected a greyscale picture: white is opaque")
        return pixels[..., 0]
    return pixels


class Pairs:
    """Pairs by number for the training loop, each time cropped, flipped and graded differently.

    A picture depends only on the seed and its number, so a resumed run sees the same pictures as an unbroken one.

    Args:
        pairs: At least one.
        size: (H, W) of the network's input, to which pictures are squashed.
        backgrounds: Pictures to put cut-outs over; required if there are cut-outs.
        seed: Decides order and augmentation.
        on_read: Called with the number of files read and their total.

    Raises:
        DecodeFailed, InputError: A pair cannot be used.
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
            raise InputError(f"the cut-outs in {folder} need --backgrounds DIR", hint=_LAYOUT, usage=True)
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
        """(H, W, 3) uint8 RGB and (H, W) float32 alpha in [0, 1], at the pairs' own size, whatever ``size`` is."""
        turn, place = divmod(index, len(self.pairs))
        order = np.random.default_rng([self.seed, 1, turn]).permutation(len(self.pairs))  # every pair once a turn
        rng = np.random.default_rng([self.seed, 2, index])
        rgb, alpha = self.picture(int(order[place]), rng)
        if rng.random() < 0.5:
            rgb, alpha = rgb[:, ::-1], alpha[:, ::-1]
        if rng.random() < 0.7:
            rgb, alpha = _crop(rng, rgb, alpha)
        rgb, alpha = (_squash(plane, *self.size) for plane in (rgb, alpha))
        if rng.random() < 0.5:  # the others stay as the network will meet them
            rgb, alpha = self._expose(rng, rgb, alpha)
        return np.ascontiguousarray(rgb), np.ascontiguousarray(as_picture(alpha) / np.float32(255))

    def picture(self, number: int, rng: np.random.Generator) -> Decoded:
        """Pair ``number`` unchanged, a cut-out over a random background: (H, W, 3) RGB and (H, W) alpha, uint8."""
        rgb, alpha = self._get(number)
        if self.pairs[number].alpha is not None:
            return rgb, alpha
        behind, _ = self._get(len(self.pairs) + int(rng.integers(len(self.backgrounds))))
        behind = _cover(rng, behind, alpha.shape[0], alpha.shape[1])
        weight = as_picture(alpha)[..., None] / np.float32(255)
        return np.round(rgb * weight + behind * (1 - weight)).astype(np.uint8), alpha

    def _expose(self, rng: np.random.Generator, rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> Decoded:
        """As another camera would record it."""
        side = max(self.size)  # `expose` takes squares
        square = as_picture(_squash(rgb, side, side)) / np.float32(255)
        shown, seen = expose(rng, square, as_picture(_squash(alpha, side, side)) / np.float32(255))
        return _squash(shown, *self.size), np.round(_squash(seen, *self.size) * 255).astype(np.uint8)

    def _get(self, index: int) -> Decoded:
        pair = self.pairs[index].picture if index < len(self.pairs) else self.backgrounds[index - len(self.pairs)]
        return self._kept[pair] if pair in self._kept else self._decode(index)[1]

    def _decode(self, index: int) -> tuple[Path, Decoded]:
        """A pair or, beyond these, a background, shrunk to the size that training needs."""
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
    """Pairs to train on, and pairs to score on: at least one and at most ``most``, chosen by a hash of their names.

    A single pair is never held out.
    """
    count = min(most, len(pairs) - 1, max(1, round(share * len(pairs)))) if share > 0 else 0
    ranked = sorted(pairs, key=lambda pair: (name_hash([pair.picture]), pair.picture.name))
    held = set(ranked[:count])
    return [pair for pair in pairs if pair not in held], [pair for pair in pairs if pair in held]


def name_hash(paths: Sequence[Path]) -> int:
    """32-bit hash of the names, which need not be UTF-8."""
    return zlib.crc32(b"\n".join(os.fsencode(path.name) for path in paths))


def _squash(plane: NDArray[np.generic], height: int, width: int) -> NDArray[np.uint8]:
    """Resize to (height, width), averaging when shrinking."""
    if plane.shape[:2] == (height, width):
        return plane  # type: ignore[return-value]  # the type stays the same
    smaller = height * width < plane.shape[0] * plane.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(plane), (width, height), interpolation=how)  # type: ignore[return-value]


def _crop(rng: np.random.Generator, rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> Decoded:
    """A random part with most of the subject; the whole picture if none is found in four tries."""
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
    """A random part of a picture, resized to (height, width), possibly mirrored."""
    largest = min(picture.shape[0] / height, picture.shape[1] / width)
    unit = largest * rng.uniform(0.5, 1)
    h, w = max(1, int(height * unit)), max(1, int(width * unit))
    y, x = (int(rng.integers(side - part + 1)) for side, part in zip(picture.shape[:2], (h, w), strict=True))
    part = picture[y : y + h, x : x + w]
    return _squash(part[:, ::-1] if rng.random() < 0.5 else part, height, width)
