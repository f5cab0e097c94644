"""A run on disk: its folder, identity, files, provenance and TensorBoard events."""
