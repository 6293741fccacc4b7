"""From frames to alphas: a matter by name, ready on its device."""

from streammatte.matting.birefnet import BiRefNetMatter, load_matter
from streammatte.matting.device import cores_left_to
from streammatte.matting.transfer import AsShown, transfer_for, view_of
from streammatte.matting.transparency import SDMatteRefiner, load_refiner

__all__ = [
    "AsShown",
    "BiRefNetMatter",
    "SDMatteRefiner",
    "cores_left_to",
    "load_matter",
    "load_refiner",
    "transfer_for",
    "view_of",
]
