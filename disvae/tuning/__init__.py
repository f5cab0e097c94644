"""Tuning: which settings are best, found with runs that grow while they are among the best (successive halving)."""
