"""One run trained: the LightningModule, its loop, callbacks, checkpoints and progress."""
