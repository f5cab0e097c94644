"""Evaluation of a run: its encodings, and its scores with confidence intervals and baselines."""
