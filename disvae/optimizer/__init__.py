"""Optimisers: functions (parameter groups, settings) -> torch.optim.Optimizer."""
