"""Sweeps: which jobs there are, who runs them, what became of each."""
