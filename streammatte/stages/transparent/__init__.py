"""Transparent objects: finding them, SDMatte's keyframes, and carrying these to the other frames."""
