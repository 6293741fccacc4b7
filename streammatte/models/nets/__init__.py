"""The networks alone: tensors in, tensors out. They know nothing of video, frames or where weights come from."""
