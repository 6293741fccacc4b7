"""What can be asked of an evaluation."""

from __future__ import annotations

from dataclasses import MISSING, dataclass

from streammatte.options import Writing
from streammatte.options.field import like, option


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """See ``streammatte evaluate --help``."""

    pred: str = option(MISSING, "PRED", help="the cut-out or matte to judge")
    truth: str = option(MISSING, "TRUTH", help="the ground truth")
    source: str | None = option(
        None, "--source CLIP", help="the footage, shown on the page (default: PRED's own colours)"
    )
    foreground: str | None = option(
        None,
        "--foreground CLIP",
        help="the true colours, straight; PRED's are compared with them wherever TRUTH is above 0",
    )
    json: str | None = option(None, "--json FILE", example="scores.json", help="write all figures, each frame's too")
    html: str | None = option(
        None,
        "--html FILE",
        example="scores.html",
        help="write a page: figures over time, the worst frames, where the matte flickers",
    )
    overwrite: bool = like(Writing, "overwrite")
