"""Options of objective, divergence, prior and posterior, every two that go together, on points in a plane."""

import itertools

import pytest
import torch

from disvae.build import check_together
from disvae.config import options, resolved
from tests.training.on_points import POINTS, N, module_of


@pytest.fixture(scope="session")
def configured(composed):
    """Return a function that resolves the configuration of overrides in one string; classifiers are small."""

    def make_config(overrides):
        config = resolved(composed(*([] if "dataset=" in overrides else ["dataset=clusters"]), *overrides.split()))
        for node in (config["objective"], config["objective"].get("divergence", {})):
            if "width" in node:
                node.update(width=20, layers=2)
        return config

    return make_config


@pytest.fixture(scope="session")
def combinations(configured):
    """Return modules, to be copied, of combinations in which any two options that go together occur, but not all do."""
    objectives = {name: f"objective={name}" for name in options("objective") if name != "decomposition"}
    for name in options("divergence"):
        objectives[f"decomposition {name}"] = f"objective=decomposition alpha=5 divergence={name}"
    objectives["wae_mmd"] += " divergence=mmd"
    objectives = {name: configured(overrides) for name, overrides in objectives.items()}
    priors = {name: configured(f"prior={name}")["prior"] for name in options("prior")}
    posteriors = {name: configured(f"posterior={name}")["posterior"] for name in options("posterior")}
    found, seen = {}, set()
    for names in itertools.product(objectives, priors, posteriors):
        pairs = set(itertools.combinations(enumerate(names), 2))
        if pairs <= seen:
            continue
        config = {**objectives[names[0]], "prior": priors[names[1]], "posterior": posteriors[names[2]]}
        try:
            module = module_of(config)
            check_together(module.vae, module.objective, torch.rand(20, *POINTS), N)
        except ValueError:
            continue
        found[" ".join(names)] = module
        seen |= pairs
    return found
