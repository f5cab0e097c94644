"""Optimiser: a function (parameter groups, settings) -> torch.optim.Optimizer."""
