"""Distributions of torch, changed for CUDA graphs and vmap."""
