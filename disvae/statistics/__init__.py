"""Numbers from arrays: information, densities, the aggregate posterior, linear probes."""
