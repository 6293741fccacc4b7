"""From frames to alphas: a matter by name, ready on its device."""

from streammatte.matting.birefnet import BiRefNetMatter, load_matter
from streammatte.matting.device import cores_left_to
from streammatte.matting.transfer import AsShown, transfer_for

__all__ = ["AsShown", "BiRefNetMatter", "cores_left_to", "load_matter", "transfer_for"]
