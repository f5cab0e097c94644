"""Comparison of runs: results of each run, means over seeds, tables, figures and a report."""
