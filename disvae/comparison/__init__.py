"""Comparing runs: what each came to, means over seeds, tables, figures and a report."""
