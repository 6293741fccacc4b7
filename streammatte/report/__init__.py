"""What a run without a truth can tell of its own matte: scores, the frames to look at, and a page of them."""
