"""Colour: H.273 codes, transfer curves, ICC profiles, Y'CbCr, and how a screen shows it."""
