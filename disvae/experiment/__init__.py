"""Experiment: what the sweep of a paper's figure draws from its run folders when the last job is done."""
