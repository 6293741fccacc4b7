"""Fine-tuning on a user's own pairs, which ``streammatte train`` runs.

The top-level ``training/`` makes the bundled model with the same loop and losses.
"""
