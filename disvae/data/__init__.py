"""Data as files and batches: cache, downloads, array files, drawn sprites, the batch of a step."""
