"""Footage in: files, addresses, pipes, pictures and sequences."""
