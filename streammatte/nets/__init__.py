"""The networks alone: tensors in, tensors out. They know nothing of video, frames or where weights come from."""

from streammatte.nets.birefnet import BiRefNet, BiRefNetConfig, load_birefnet

__all__ = ["BiRefNet", "BiRefNetConfig", "load_birefnet"]
