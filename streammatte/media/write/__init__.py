"""Cut-outs out: video, pictures, sequences, animations and pipes."""
