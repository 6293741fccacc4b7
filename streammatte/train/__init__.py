"""Pictures with exact alpha, losses, and the training loop; what trains on a user's pairs.

``finetune`` is what ``streammatte train`` runs: the losses and the loop from any checkpoint, on ``pairs``. The
top-level ``training/`` makes the bundled checkpoint with the same loop, on photographs and what ``compose`` makes.
"""
