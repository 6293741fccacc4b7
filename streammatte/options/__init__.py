"""What can be asked for. Each option is a dataclass field, and its name, default, choices and help are there only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from os import PathLike
from typing import Any, Self

from streammatte.options.field import build, group, options_of
from streammatte.options.groups import (
    Edges,
    Matting,
    Network,
    Reading,
    Reporting,
    Spreading,
    Transparency,
    Whom,
    Writing,
)

__all__ = [
    "Edges",
    "Matting",
    "Network",
    "Options",
    "Reading",
    "Reporting",
    "Spreading",
    "Transparency",
    "Whom",
    "Writing",
]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run; ``streammatte --help-all`` explains each."""

    reading: Reading = group(
        "reading", "INPUT is footage or a photograph. A MARK is a frame number, a time or a timecode of the clip."
    )
    writing: Writing = group(
        "writing",
        "The cut-out is the subject with alpha; the matte is that alpha in grey; the fill is its colours alone.",
        Writing,
    )
    network: Network = group(
        "the network", "A model finds the subject. A larger input sees finer detail and takes longer.", Network
    )
    whom: Whom = group(
        "who is meant",
        'A PROMPT is "[NAME:]KIND PLACE [@MARK]": point 640,200, not-point 9,9, box 100,50,400,700 or mask hand.png. '
        "The subject is followed from that frame, by default the first. all is whatever stands out.",
        Whom,
    )
    matting: Matting = group(
        "the matte",
        "A guide matte is a picture, or a clip or name.####.png in step with the footage: its alpha counts, or else "
        "its brightness. invert:PATH swaps black and white. Repeat an option to join several.",
        Matting,
    )
    edges: Edges = group(
        "edge colours", "Soft edges carry the old background's colour; a green screen also lights the subject.", Edges
    )
    transparency: Transparency = group(
        "glass, veils and smoke",
        "SDMatte, a second model, mattes what is transparent on keyframes; the frames between follow.",
        Transparency,
    )
    reporting: Reporting = group("reporting", "Scores judge a run without ground truth.", Reporting)
    spreading: Spreading = group(
        "several workers",
        "A clip's segments can be computed at once. They are joined without encoding again.",
        Spreading,
    )

    @classmethod
    def of(cls, input: str | PathLike[str], outputs: str | PathLike[str] | Iterable[Any] = (), **given: Any) -> Self:
        """Options by their own names, whatever group they are in: ``Options.of("in.mp4", "out.mov", smooth="high")``.

        Raises:
            InputError: An option cannot have that value.
            TypeError: There is no such option.
        """
        return build(cls, {"input": input, "outputs": outputs, **given})

    def flat(self) -> dict[str, Any]:
        """The value of each option by its name, so that ``Options.of(**options.flat())`` equals this."""
        groups = (getattr(self, field.name) for field in fields(self))
        return {name: getattr(each, name) for each in groups for name in options_of(type(each))}

    def changed(self) -> dict[str, Any]:
        """Those that differ from their defaults, the input apart."""
        usual = options_of(type(self))
        return {name: value for name, value in self.flat().items() if name != "input" and value != usual[name].default}

    def guides(self) -> dict[str, tuple[str, ...]]:
        """The guide mattes by what they are for; several of a kind are their union."""
        core, garbage = self.matting.core_mattes, self.matting.garbage_mattes
        if self.reading.input_alpha == "core":
            core = (*core, self.reading.input)
        if self.reading.input_alpha == "garbage":
            garbage = (*garbage, f"invert:{self.reading.input}")
        named = {
            "core": core,
            "garbage": garbage,
            "holdout": self.matting.holdout_mattes,
            "transparent": self.transparency.transparent_masks,
        }
        return {name: specs for name, specs in named.items() if specs}
