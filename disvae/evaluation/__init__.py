"""A run's encodings, and its scores with confidence intervals and baselines."""
