"""From frames to alphas: a matter by name, ready on its device."""

from streammatte.matting.birefnet import BiRefNetMatter, load_matter

__all__ = ["BiRefNetMatter", "load_matter"]
