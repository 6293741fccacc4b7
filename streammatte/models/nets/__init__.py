"""The bare networks: tensors in, tensors out."""
