"""Statistics: numbers from arrays, such as information, densities, the aggregate posterior and linear probes."""
