"""From a cut-out to the picture that is shown, over a background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import cv2
import numpy as np

from streammatte.frame import Cutout, StreamInfo
from streammatte.live.contracts import Controls, Shown
from streammatte.live.light_wrap import LightMatch, wrap
from streammatte.live.live_backgrounds import TRANSPARENT, Behind, open_behind
from streammatte.live.subject_edge import (
    STEP,
    Floats,
    Picture,
    Small,
    at_places,
    feathered,
    firm,
    own_colors,
    shrunk,
)
from streammatte.media.write.composing import at_depth, opacity, quantised

_CARD = 40  # the grey level of the plain card that replaces the room


def rounds(backgrounds: Sequence[str]) -> tuple[str, ...]:
    """The backgrounds that the key cycles through: those given or, if there is only one, that and a plain card.

    ``blur`` is never added, because it shows the room.
    """
    return tuple(backgrounds) if len(backgrounds) > 1 else (*backgrounds, f"{_CARD},{_CARD},{_CARD}")


class Look:
    """Lays cut-outs over a background.

    Where alpha is 0 the picture is the background, and where it is 1 the frame's own pixels apart from light wrap and
    match; only the pixels between are computed. Everything taken from the frame is multiplied by alpha, so nothing of
    the room reaches a pixel that the alpha gives to the background. The one exception is the frame's mean colour, which
    decides how bright and warm the subject becomes. (The background ``blur`` is the room.)

    Args:
        info: The frames' stream.
        backgrounds: As ``--bg`` names them; ``controls`` choose among them.
        controls: Read for every frame.
        light_wrap: Let the background's light wrap around the subject's edge.
        match: Move the subject's brightness and warmth towards the background's. Both apply to pictures and clips only:
            a colour may be meant for keying, and the light of ``blur`` is on the subject already.
        feather: Pixels by which edges are softened inwards.

    Raises:
        InputError: A background cannot be read.
    """

    def __init__(
        self,
        info: StreamInfo,
        backgrounds: Sequence[str],
        controls: Controls,
        *,
        light_wrap: bool = True,
        match: bool = True,
        feather: float = 0,
    ) -> None:
        self._size = info.height, info.width
        self._controls = controls
        self._wrap, self._feather = light_wrap, feather
        self._match = LightMatch() if match else None
        self._last: Shown | None = None
        self._small_back: tuple[Picture, Floats] | None = None
        self._clear = [spec.strip() == TRANSPARENT for spec in backgrounds]
        self._behinds: list[Behind] = []
        self._index = 0
        try:
            for spec in backgrounds:
                self._behinds.append(open_behind(spec, info))
        except BaseException:
            self.close()
            raise

    @property
    def alpha(self) -> bool:
        """Pictures have four channels: one of the backgrounds is ``transparent``."""
        return any(self._clear)

    @property
    def lights(self) -> bool:
        """The present background lights the subject."""
        return (self._wrap or self._match is not None) and self._behinds[self._index].light

    def __call__(self, cutout: Cutout, at: float) -> Shown:
        """The picture of a frame that was captured ``at``; while frozen, the last picture."""
        if self._controls.frozen and self._last is not None:
            return replace(self._last, at=at, held=True)
        rgb: Picture = at_depth(quantised(cutout.frame.rgb), 8)
        alpha = opacity(cutout)
        if self._controls.mirror:
            rgb, alpha = cast(Picture, cv2.flip(rgb, 1)), cast(Floats, cv2.flip(alpha, 1))
        self._turn()
        picture = self._composed(at, rgb, alpha)
        self._last = Shown(picture, cutout.frame.index, at)
        return self._last

    def empty(self, at: float) -> Picture:
        """The background without the subject; it contains nothing of the room."""
        self._turn()
        if self._clear[self._index]:
            return np.zeros((*self._size, 4), np.uint8)
        behind = self._behinds[self._index]
        if behind.alone:
            rgb = behind.picture(at, np.zeros((*self._size, 3), np.uint8), np.zeros(self._size, np.float32))
        else:
            rgb = np.full((*self._size, 3), _CARD, np.uint8)
        return _with_alpha(rgb, np.full(self._size, 255, np.uint8)) if self.alpha else rgb.copy()

    def close(self) -> None:
        for behind in self._behinds:
            behind.close()

    def _turn(self) -> None:
        """Switch to the background that the controls choose."""
        index = self._controls.background % len(self._behinds)
        if index != self._index and self._match is not None:
            self._match.reset()
        self._index = index

    def _composed(self, at: float, rgb: Picture, mixed_by: Floats) -> Picture:
        behind = self._behinds[self._index]
        alpha = feathered(firm(mixed_by), self._feather)
        back = behind.picture(at, rgb, mixed_by)
        small = Small(shrunk(rgb), shrunk(mixed_by))
        if self.lights and (self._small_back is None or self._small_back[0] is not back):
            self._small_back = back, shrunk(back)  # a still background is shrunk once
        small_back = small.rgb if self._small_back is None else self._small_back[1]
        light = wrap(small, small_back) if behind.light and self._wrap else None

        solid, clear = alpha > 1 - STEP, alpha < STEP
        mixed = ~(solid | clear)
        if light is not None:
            brightest = cv2.resize(np.maximum.reduce(cv2.split(light)), alpha.shape[::-1])
            mixed |= solid & (brightest >= 1)
        places = np.flatnonzero(mixed)
        edge = own_colors(rgb, mixed_by, small, places)
        if behind.light and self._match is not None:
            curves = self._match(at, small, small_back)
            rgb, edge = (cast(Picture, cv2.LUT(part, curves)) if len(part) else part for part in (rgb, edge))

        picture = back.copy()
        cv2.copyTo(rgb, solid.view(np.uint8), picture)
        share = alpha.reshape(-1)[places][:, None]
        colors = edge[:, 0].astype(np.float32)
        if light is not None:
            colors += at_places(light, alpha, places) * (1 - colors / 255)
        if self._clear[self._index]:
            picture.reshape(-1, 3)[places] = np.rint(colors)
        else:
            beneath = picture.reshape(-1, 3)[places] if light is None else back.reshape(-1, 3)[places]
            picture.reshape(-1, 3)[places] = np.rint(share * colors + (1 - share) * beneath)
        if not self.alpha:
            return picture
        if not self._clear[self._index]:
            return _with_alpha(picture, np.full(alpha.shape, 255, np.uint8))
        return _with_alpha(picture, np.rint(alpha * 255).astype(np.uint8))


def _with_alpha(rgb: Picture, alpha: Picture) -> Picture:
    return cast(Picture, np.dstack([rgb, alpha]))
