"""How the embedded checkpoint was made: pictures composed with exact alpha, losses, and the training loop.

::

    cut-outs ──┐
    figures ───┼─▶ compose ─▶ losses ─▶ loop ─▶ birefnet-nano.safetensors
    backgrounds┘                        └─▶ evaluate: held-out figures, a contact sheet of real pictures

``python -m streammatte.training --help`` is the way in.
"""
