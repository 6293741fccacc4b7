"""A sheet to look at before a run: frames with their prompts and tracked masks, beside the cut-outs made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from streammatte.frame import Cutout
from streammatte.media.write.composing import opacity
from streammatte.quality.moments import CloseUp, Pictures, on_screen, over_checkerboard, thumbnail
from streammatte.quality.page import page, picture, row, section, small
from streammatte.subject.contracts import Prompt, Tracked

WIDTH = 960  # pixels of a picture, at most: two fill a screen
GAP, LINE = 8, 30  # pixels between pictures, and of a line of text
TINT = (255, 60, 200)  # of the tracked mask: rare in footage
YES, NO = (60, 230, 90), (240, 60, 60)  # prompts on a subject, and beside it
BACK, TEXT = (32, 32, 32), (235, 235, 235)


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One subject in one frame.

    Attributes:
        subject: Its name; empty if it has none.
        index: The frame's.
        seconds: When it is shown.
        confidence: The tracker's; ``None`` if nobody was named.
        pictures: By caption.
    """

    subject: str
    index: int
    seconds: float
    confidence: float | None
    pictures: Pictures

    @property
    def label(self) -> str:
        who = f"{self.subject}, " if self.subject else ""
        sure = "" if self.confidence is None else f", confidence {self.confidence:.2f}"
        return f"{who}frame {self.index} at {self.seconds:.2f} s{sure}"


def shown(
    cutout: Cutout, seconds: float, subject: str = "", prompts: Sequence[Prompt] = (), tracked: Tracked | None = None
) -> Shown:
    """The pictures of one cut-out whose matte has the frame's size.

    Args:
        prompts: The subject's at this frame.
        tracked: Where it was tracked to.
    """
    frame, alpha = cutout.frame, opacity(cutout)
    height, width = frame.size
    seen = np.ascontiguousarray(thumbnail(frame, WIDTH, 2 * WIDTH))
    colors = on_screen(frame, frame.as_float() if cutout.foreground is None else cutout.foreground) * alpha[..., None]
    shrunk = small(alpha, WIDTH)
    part = CloseUp.around(shrunk * (1 - shrunk), alpha.shape)
    pictures = {
        "frame": part.framed(marked(seen, (height, width), prompts, tracked), alpha.shape),
        # Premultiplied before it is shrunk: otherwise colours from outside the matte would bleed into the edge.
        "over a checkerboard": over_checkerboard(small(colors, WIDTH), shrunk),
        part.named("where the edge is soft"): over_checkerboard(part.of(colors), part.of(alpha)),
    }
    confidence = None if tracked is None else tracked.confidence
    return Shown(subject, frame.index, seconds, confidence, pictures)


def marked(
    seen: NDArray[np.uint8], frame_size: tuple[int, int], prompts: Sequence[Prompt], tracked: Tracked | None
) -> NDArray[np.uint8]:
    """A picture, (h, w, 3), with the tracked mask tinted and outlined, and prompts drawn.

    Boxes are green, points are dots: green on the subject, red beside it. A painted mask is outlined in the same
    colours, where it is white and where it is black.
    """
    height, width = seen.shape[:2]
    drawn = seen.copy()
    if tracked is not None:
        mask = cv2.resize(tracked.mask, (width, height), interpolation=cv2.INTER_LINEAR)
        weight = 0.35 * mask[..., None]
        drawn = np.asarray(np.rint((1 - weight) * drawn + weight * np.array(TINT)), np.uint8)
        _outline(drawn, mask > 0.5, TINT, 1)
    thick = max(2, round(width / 320))
    across, down = width / frame_size[1], height / frame_size[0]
    for prompt in prompts:
        if prompt.mask is not None:
            paint = cv2.resize(prompt.mask, (width, height), interpolation=cv2.INTER_NEAREST)
            _outline(drawn, paint > 0.5, YES, thick)
            _outline(drawn, paint <= 0.5, NO, thick)  # NaN is neither
            continue
        ends = [round(each * (across, down)[place % 2]) for place, each in enumerate(prompt.at)]
        if prompt.kind == "box":
            cv2.rectangle(drawn, (ends[0], ends[1]), (ends[2] - 1, ends[3] - 1), YES, thick)
        else:
            cv2.circle(drawn, (ends[0], ends[1]), 3 * thick, (255, 255, 255), -1, cv2.LINE_AA)
            cv2.circle(drawn, (ends[0], ends[1]), 2 * thick, YES if prompt.kind == "point" else NO, -1, cv2.LINE_AA)
    return drawn


def sheet(rows: Sequence[Shown]) -> bytes:
    """All of it in one PNG file: a line of pictures for each, below its label."""
    font = ImageFont.load_default(18)
    lines = [list(each.pictures.items()) for each in rows]
    wide = max(sum(shot.shape[1] + GAP for _, shot in line) for line in lines) + GAP
    high = sum(max(shot.shape[0] for _, shot in line) + 2 * LINE + GAP for line in lines) + GAP
    canvas = Image.new("RGB", (wide, high), BACK)
    pen, y = ImageDraw.Draw(canvas), GAP
    for each, line in zip(rows, lines, strict=True):
        pen.text((GAP, y), each.label, TEXT, font)
        x = GAP
        for caption, shot in line:
            pen.text((x, y + LINE), caption, TEXT, font)
            canvas.paste(Image.fromarray(shot), (x, y + 2 * LINE))
            x += shot.shape[1] + GAP
        y += max(shot.shape[0] for _, shot in line) + 2 * LINE + GAP
    return bytes(cv2.imencode(".png", np.asarray(canvas)[..., ::-1])[1])


def strip(title: str, rows: Sequence[Shown]) -> str:
    """The same as an HTML document."""
    return page(
        title,
        *(section(each.label, row(*(picture(shot, name) for name, shot in each.pictures.items()))) for each in rows),
    )


def _outline(drawn: NDArray[np.uint8], area: NDArray[np.bool_], color: tuple[int, int, int], thick: int) -> None:
    outlines, _ = cv2.findContours(area.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, color, thick, cv2.LINE_AA)
