"""How good a matte is: metrics against ground truth, and what a run without it can measure; reports."""
