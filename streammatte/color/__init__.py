"""All that is known of colour: H.273 codes, transfer curves, ICC profiles, Y'CbCr, what a screen shows."""
