"""How the embedded checkpoint was made: pictures composed with exact alpha, losses, and the training loop.

::

    cut-outs ──┐
    figures ───┼─▶ compose ─▶ losses ─▶ loop ─▶ birefnet-nano.safetensors
    backgrounds┘                        └─▶ evaluate: held-out figures, a contact sheet of real pictures

``python -m streammatte.training --help`` is the way in. ``finetune`` is what ``streammatte train`` runs: the same
losses and loop from any checkpoint, with a user's own ``pairs`` in the place of ``compose``.
"""
