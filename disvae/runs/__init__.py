"""What a run is on disk: its folder, identity, files, provenance and TensorBoard events."""
