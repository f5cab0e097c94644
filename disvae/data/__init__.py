"""Data files: the cache, downloads, array files, factors of variation, drawn polygons."""
