"""Modules that train on points in a plane."""

import torch

from disvae.build import make_vae
from disvae.system.instantiate import make
from disvae.training.module import VAEModule

N = 200
POINTS = (1, 1, 2)


def module_of(config, seed=0, x_shape=POINTS):
    """A module in training mode, with a prior that has seen images where it wants to."""
    torch.manual_seed(seed)
    vae = make_vae(config, x_shape)
    vae.prior.initialise(torch.rand(100, *x_shape))
    return VAEModule.of({**config, "seed": seed}, vae, make(config["objective"], "objective"), x_shape, N).train()
