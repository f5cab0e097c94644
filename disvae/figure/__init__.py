"""Figure: a function that returns a matplotlib Figure and writes nothing."""
