"""Experiments: callbacks that draw a paper's figure from the runs of a sweep when its last job is done."""
