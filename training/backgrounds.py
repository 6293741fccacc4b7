"""Backgrounds: views into panoramas, and drawn rooms, shelves, streets and foliage.

Pictures are (H, W, 3) float32 RGB in [0, 1], gamma-encoded. They depend only on the generator, so a seed reproduces
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.errors import DecodeFailed
from streammatte.train.camera import noise
from streammatte.train.picture import Picture, as_picture, clip, resize

VIEW_SIZE = 320
"""Side of a stored view in pixels: a 1024 × 512 panorama has no more detail at these angles."""


def read_panorama(path: Path) -> Picture:
    """An equirectangular panorama as linear RGB, (H, 2H, 3), any range.

    Raises:
        DecodeFailed: OpenCV cannot read the file.
    """
    bgr = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if bgr is None:
        raise DecodeFailed(f"cannot read the panorama {path}", hint="expected a Radiance .hdr file")
    return np.ascontiguousarray(bgr[..., 2::-1], dtype=np.float32)


def perspective_view(panorama: Picture, yaw: float, pitch: float, fov: float, size: int) -> Picture:
    """A pinhole camera's view into a panorama (gnomonic projection).

    Args:
        panorama: (H, 2H, 3), equirectangular.
        yaw, pitch: Viewing direction in radians; positive pitch looks up.
        fov: Angle from edge to edge, in radians, below π.
        size: Side of the square view in pixels.

    Returns:
        (size, size, 3), in the panorama's own units.
    """
    height, width = panorama.shape[:2]
    span = np.linspace(-1, 1, size, dtype=np.float32) * np.tan(fov / 2)
    x, up = np.meshgrid(span, -span)
    y = up * np.cos(pitch) + np.sin(pitch)
    z = np.cos(pitch) - up * np.sin(pitch)
    longitude = np.arctan2(x, z) + yaw
    latitude = np.arctan2(y, np.hypot(x, z))
    # OpenCV's BORDER_WRAP makes the seam at ±180° invisible.
    map_x = ((longitude / (2 * np.pi) + 0.5) * width - 0.5).astype(np.float32)
    map_y = np.clip((0.5 - latitude / np.pi) * height - 0.5, 0, height - 1).astype(np.float32)
    return as_picture(cv2.remap(panorama, map_x % width, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))


def tone_map(linear: Picture, exposure: float) -> Picture:
    """Linear light → a gamma-encoded picture with its mean at ``exposure`` and highlights rolled off."""
    scaled = np.clip(linear, 0, None) * (
        exposure / max(float(np.mean(np.minimum(linear, 4 * np.median(linear)))), 1e-4)
    )
    # Reinhard et al. 2002, "Photographic Tone Reproduction", eq. 4, with white at 2.
    rolled = scaled * (1 + scaled / 4) / (1 + scaled)
    return as_picture(clip(rolled) ** np.float32(1 / 2.2))


def panorama_views(paths: Sequence[Path], count: int, seed: int) -> NDArray[np.uint8]:
    """``count`` views, spread evenly over the panoramas, (count, VIEW_SIZE, VIEW_SIZE, 3) uint8 RGB.

    Made once and kept in memory, as a projection costs more than the rest of a background.
    """
    rng = np.random.default_rng([seed, 1])
    views = np.empty((count, VIEW_SIZE, VIEW_SIZE, 3), np.uint8)
    for first, path in enumerate(paths):
        panorama = read_panorama(path)
        for index in range(first, count, len(paths)):
            yaw, pitch = rng.uniform(-np.pi, np.pi), np.radians(rng.normal(-2, 9))
            view = perspective_view(panorama, yaw, pitch, np.radians(rng.uniform(55, 105)), VIEW_SIZE)
            views[index] = np.round(tone_map(view, float(np.exp(rng.uniform(np.log(0.12), np.log(0.8))))) * 255)
    return views


def color(rng: np.random.Generator) -> Picture:
    """One colour, (3,): mostly muted, sometimes vivid."""
    saturation = rng.beta(1.0, 2.0)
    value = rng.beta(1.3, 1.5)
    tint = rng.uniform(0, 1, 3)
    return as_picture(value * (1 - saturation * tint))


def fractal(rng: np.random.Generator, size: int, cells: int, octaves: int, roughness: float = 0.55) -> Picture:
    """Sum of ``noise`` at doubling frequencies, (size, size, 1), standard deviation near 1."""
    total, weight = np.zeros((size, size, 1), np.float32), 0.0
    for octave in range(octaves):
        gain = roughness**octave
        total += np.float32(gain) * noise(rng, size, min(cells << octave, size))
        weight += gain * gain
    return total / np.float32(np.sqrt(weight))


def _gradient(rng: np.random.Generator, size: int) -> Picture:
    cells = int(rng.integers(2, 5))
    corners = np.stack([color(rng) for _ in range(cells * cells)]).reshape(cells, cells, 3)
    if rng.random() < 0.6:  # a plain wall: one colour, unevenly lit
        corners = color(rng) * rng.uniform(0.5, 1.3, (cells, cells, 1)).astype(np.float32)
    return resize(corners, size, size, cv2.INTER_CUBIC)


def _rectangle(picture: Picture, rng: np.random.Generator, x: float, y: float, w: float, h: float) -> None:
    """A framed, filled rectangle, such as a window or poster; coordinates relative to the picture's side."""
    size = picture.shape[0]
    corner = (int(x * size), int(y * size))
    opposite = (int((x + w) * size), int((y + h) * size))
    cv2.rectangle(picture, corner, opposite, color(rng).tolist(), -1)
    if rng.random() < 0.7:
        cv2.rectangle(picture, corner, opposite, color(rng).tolist(), int(rng.integers(1, max(2, size // 50))))


def _room(rng: np.random.Generator, size: int) -> Picture:
    picture = _gradient(rng, size)
    floor = int(size * rng.uniform(0.6, 1.0))
    wall = color(rng)
    picture[:] = 0.3 * picture + 0.7 * wall
    corner = int(size * rng.uniform(-0.3, 1.3))
    if 0 < corner < size:
        picture[:, corner:] *= np.float32(rng.uniform(0.6, 0.95))
    for _ in range(int(rng.integers(1, 7))):
        w, h = rng.uniform(0.06, 0.4), rng.uniform(0.08, 0.5)
        _rectangle(picture, rng, rng.uniform(-0.1, 0.95), rng.uniform(-0.1, 0.7), w, h)
    picture[floor:] = color(rng) * np.linspace(0.7, 1.1, size - floor, dtype=np.float32)[:, None, None]
    for _ in range(int(rng.integers(0, 5))):  # furniture
        w, h = rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.4)
        _rectangle(picture, rng, rng.uniform(-0.1, 0.9), floor / size - h + rng.uniform(0, 0.15), w, h)
    return picture


def _clutter(rng: np.random.Generator, size: int) -> Picture:
    return scatter(rng, _gradient(rng, size), int(rng.integers(10, 70)))


def scatter(rng: np.random.Generator, picture: Picture, count: int) -> Picture:
    """Scatter ``count`` sharp shapes over a picture, in place; none could pass for a subject."""
    size = picture.shape[0]
    for _ in range(count):
        x, y = (int(v) for v in rng.integers(-size // 10, size + size // 10, 2))
        extent = size * float(np.exp(rng.uniform(np.log(0.01), np.log(0.16))))
        axes = (int(extent * rng.uniform(0.4, 1)) + 1, int(extent * rng.uniform(0.4, 1.6)) + 1)
        paint, kind = color(rng).tolist(), rng.integers(0, 4)
        if kind == 0:
            cv2.ellipse(picture, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, paint, -1, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(picture, (x, y), (x + axes[0], y + axes[1]), paint, -1)
        elif kind == 2:
            corners = rng.normal(0, extent * 0.7, (int(rng.integers(3, 7)), 2)) + np.array([x, y])
            cv2.fillPoly(picture, [corners.astype(np.int32)], paint, cv2.LINE_AA)
        else:
            end = (int(x + rng.normal(0, size * 0.4)), int(y + rng.normal(0, size * 0.4)))
            cv2.line(picture, (x, y), end, paint, int(rng.integers(1, max(2, size // 40))), cv2.LINE_AA)
    return picture


def _shelf(rng: np.random.Generator, size: int) -> Picture:
    picture = np.broadcast_to(color(rng) * np.float32(0.6), (size, size, 3)).copy()
    pitch = int(size * rng.uniform(0.12, 0.35))
    board = color(rng)
    for bottom in range(int(rng.uniform(0, pitch)), size + pitch, pitch):
        x = int(-rng.uniform(0, 0.05) * size)
        while x < size:
            width = max(2, int(pitch * rng.uniform(0.06, 0.3)))
            if rng.random() < 0.88:
                top = bottom - int(pitch * rng.uniform(0.5, 0.9))
                spine = color(rng)
                cv2.rectangle(picture, (x, top), (x + width - 1, bottom), spine.tolist(), -1)
                cv2.line(picture, (x, top), (x, bottom), (spine * 0.5).tolist(), 1)
            x += width
        cv2.rectangle(picture, (0, bottom), (size, bottom + max(2, pitch // 12)), board.tolist(), -1)
    return picture


def _street(rng: np.random.Generator, size: int) -> Picture:
    picture = _gradient(rng, size)
    ground = int(size * rng.uniform(0.6, 0.95))
    x = int(-rng.uniform(0, 0.2) * size)
    while x < size:
        width = int(size * rng.uniform(0.12, 0.5))
        top = int(size * rng.uniform(-0.3, 0.5))
        wall, pane = color(rng), color(rng)
        cv2.rectangle(picture, (x, top), (x + width, ground), wall.tolist(), -1)
        step_x, step_y = (max(5, int(size * v)) for v in rng.uniform(0.025, 0.12, 2))
        for wy in range(top + 3, ground - step_y // 2, step_y):
            for wx in range(x + 3, x + width - step_x // 2, step_x):
                shade = (pane * rng.uniform(0.6, 1.3)).tolist()
                cv2.rectangle(picture, (wx, wy), (wx + step_x * 6 // 10, wy + step_y * 6 // 10), shade, -1)
        x += width
    picture[ground:] = color(rng)
    return scatter(rng, picture, int(rng.integers(0, 12)))


def _foliage(rng: np.random.Generator, size: int) -> Picture:
    base = np.array([0.25, 0.35, 0.12], np.float32) * rng.uniform(0.5, 1.6, 3).astype(np.float32)
    light = fractal(rng, size, int(rng.integers(3, 12)), 5, rng.uniform(0.6, 0.9))
    picture = clip(base * np.exp(light * np.float32(rng.uniform(0.3, 0.8))))
    gaps = fractal(rng, size, int(rng.integers(3, 10)), 4, 0.7) > rng.uniform(0.6, 2.5)
    picture = np.where(gaps, np.clip(color(rng) + 0.4, 0, 1), picture).astype(np.float32)
    for _ in range(int(rng.integers(0, 7))):  # trunks and twigs
        x = rng.uniform(0, size)
        ends = (int(x), -5), (int(x + rng.normal(0, size * 0.2)), size + 5)
        cv2.line(picture, *ends, (base * rng.uniform(0.2, 0.8)).tolist(), int(rng.integers(1, max(2, size // 12))))
    return picture


def texture(rng: np.random.Generator, size: int) -> Picture:
    """Stripes, checks, bricks or stone, (size, size, 3), for walls and clothes."""
    ramp = np.arange(size, dtype=np.float32) / size
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    across = ramp[None, :] * np.cos(angle) + ramp[:, None] * np.sin(angle)
    along = ramp[:, None] * np.cos(angle) - ramp[None, :] * np.sin(angle)
    period = float(np.exp(rng.uniform(np.log(0.02), np.log(0.25))))
    first, second, kind = color(rng), color(rng), rng.integers(0, 4)
    if kind == 0:
        choose = (across / period) % 1 < rng.uniform(0.2, 0.8)
    elif kind == 1:
        choose = ((across // period) + (along // period)) % 2 < 1
    elif kind == 2:
        row = along // period
        choose = ((along / period) % 1 < 0.1) | (((across / period / 2 + (row % 2) / 2) % 1) < 0.05)
    else:
        choose = fractal(rng, size, max(2, int(1 / period)), 4)[..., 0] > rng.normal(0, 0.5)
    return as_picture(np.where(choose[..., None], first, second))


def _lights(rng: np.random.Generator, size: int) -> Picture:
    picture = _gradient(rng, size) * np.float32(0.35)
    for _ in range(int(rng.integers(8, 60))):
        x, y = (int(v) for v in rng.integers(0, size, 2))
        glow = np.clip(color(rng) + rng.uniform(0, 0.6), 0, 1).tolist()
        cv2.circle(picture, (x, y), int(size * rng.uniform(0.004, 0.05)) + 1, glow, -1, cv2.LINE_AA)
    return picture


KINDS: tuple[tuple[Callable[[np.random.Generator, int], Picture], float], ...] = (
    (_gradient, 0.12),
    (_room, 0.22),
    (_clutter, 0.18),
    (_shelf, 0.12),
    (_street, 0.12),
    (_foliage, 0.1),
    (texture, 0.09),
    (_lights, 0.05),
)
"""Kinds of drawn backgrounds and their shares."""


def drawn(rng: np.random.Generator, size: int) -> Picture:
    """A drawn background of a random kind, unevenly lit, (size, size, 3) in [0, 1]."""
    kinds, odds = zip(*KINDS, strict=True)
    picture = kinds[int(rng.choice(len(kinds), p=odds))](rng, size)
    if rng.random() < 0.6:
        picture = picture * np.exp(noise(rng, size, int(rng.integers(1, 4))) * np.float32(rng.uniform(0, 0.4)))
    if rng.random() < 0.4:
        picture = picture * (1 + fractal(rng, size, size // 6, 3, 0.9) * np.float32(rng.uniform(0, 0.07)))
    return clip(picture)


def _view(rng: np.random.Generator, views: NDArray[np.uint8], size: int, aspect: float) -> Picture:
    """A crop of one of the views, squashed to a square."""
    view = views[int(rng.integers(len(views)))]
    longer = view.shape[0] * rng.uniform(0.45, 1)
    w, h = (int(longer * min(1, aspect)), int(longer * min(1, 1 / aspect)))
    x, y = int(rng.integers(0, view.shape[1] - w + 1)), int(rng.integers(0, view.shape[0] - h + 1))
    return resize(as_picture(view[y : y + h, x : x + w]) / np.float32(255), size, size)


def background(
    rng: np.random.Generator, views: NDArray[np.uint8], size: int, aspect: float, drawn_share: float = 0.35
) -> Picture:
    """A background for a frame of the given aspect ratio, squashed to a square like the network's input.

    Args:
        rng: The only source of randomness.
        views: From ``panorama_views``; if empty, all backgrounds are drawn.
        size: Side in pixels.
        aspect: Width over height of the frame before it is squashed.
        drawn_share: Share of backgrounds drawn although there are views.

    Returns:
        (size, size, 3) float32 in [0, 1].
    """
    if len(views) and rng.random() >= drawn_share:
        picture = _view(rng, views, size, aspect)
        if rng.random() < 0.2:  # two places side by side, as a dozen panoramas must do for many
            other = _view(rng, views, size, aspect)
            ramp = np.arange(size, dtype=np.float32)
            slant = ramp[None, :] + np.float32(rng.normal(0, 0.1)) * ramp[:, None]
            beyond = np.clip(slant - np.float32(size * rng.uniform(0.1, 0.9)), 0, 1)[..., None]
            picture = picture + beyond * (other - picture)
        if rng.random() < 0.3:  # other colours
            share = np.float32(rng.uniform(0.2, 1))
            picture = picture + share * (picture[..., rng.permutation(3)] - picture)
        # A 1k panorama is soft: without grain, sharpness alone would reveal the subject.
        if rng.random() < 0.3:
            grain = fractal(rng, size, size // 5, 3, 0.9)
            picture *= 1 + grain * np.float32(rng.uniform(0, 0.08))
        if rng.random() < 0.3:
            scatter(rng, picture, int(rng.integers(1, 15)))
    else:
        picture = drawn(rng, size)
    if rng.random() < 0.5:
        picture = np.ascontiguousarray(picture[:, ::-1])
    return clip(picture)
