"""Callbacks: classes or functions that make one of Lightning's callbacks, which watch or end the training of a run."""
