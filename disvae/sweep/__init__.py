"""Sweeps: the jobs of a multirun, the processes that run them, and how each one ended."""
