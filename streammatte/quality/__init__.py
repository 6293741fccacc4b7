"""Quality of mattes: metrics against ground truth, scores without it, and the report pages."""
