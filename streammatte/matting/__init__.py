"""From frames to alphas: a matter by name, ready on its device."""

from streammatte.matting.birefnet import BiRefNetMatter, load_matter
from streammatte.matting.device import cores_left_to

__all__ = ["BiRefNetMatter", "cores_left_to", "load_matter"]
