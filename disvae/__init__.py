"""disvae: train, score and compare disentangled variational auto-encoders."""

__version__ = "0.1.0"
