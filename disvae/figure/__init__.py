"""Figure: a function that returns a matplotlib Figure, or draws on given axes, and writes nothing."""
