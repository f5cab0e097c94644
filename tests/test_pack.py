"""Packed runs against the same runs alone."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from disvae.build import make, make_vae
from disvae.config import resolved
from disvae.module import NORM, VAEModule, step_seed
from disvae.pack import Pack, structure

N = 200
B = 17
POINTS = (1, 1, 2)
PAIR = {"schedule.beta.value": (1.0, 3.0, 0.5), "schedule.alpha.value": (4.0, 1.0, 2.0)}


def settings(config, **changes):
    """The configuration with changes, keys joined by dots; those it has no place for are left out."""
    changed = copy.deepcopy(config)
    for key, value in changes.items():
        *path, last = key.split(".")
        node = changed
        for name in path:
            node = node.get(name, {})
        if last in node:
            node[last] = value
    return changed


def member(config, seed, x_shape=POINTS):
    torch.manual_seed(seed)
    vae = make_vae(config, x_shape)
    vae.prior.initialise(torch.rand(100, *x_shape))
    module = VAEModule(
        vae,
        make(config["objective"], "objective"),
        optimizer=lambda groups: make(config["optimizer"], "optimizer", params=groups),
        data=SimpleNamespace(train_rows=range(N)),
        seed=seed,
        eval_samples=10,
    )
    return module.train()


def members(config, x_shape=POINTS, **of_each):
    """One member for each seed; keys of `of_each` hold a value for each."""
    count = len(next(iter(of_each.values()), range(3)))
    return [
        member(settings(config, **{key: values[k] for key, values in of_each.items()}), 10 + k, x_shape)
        for k in range(count)
    ]


def images(modules, x_shape, step, b=B):
    torch.manual_seed(1000 + step)
    extra = b * modules[0].objective.extra_batches
    return torch.rand(len(modules), b, *x_shape), torch.rand(len(modules), extra, *x_shape)


def weights(modules, step):
    return torch.stack([module.weights.at([step])[0] for module in modules])


def alone(module, optimizer, x, x_extra, step, clip=None):
    """A plain step of one run."""
    torch.manual_seed(step_seed(module.seed, step))
    module.weights.feed(module.weights.at([step])[0])
    optimizer.zero_grad()
    terms = module.objective(module.vae(x, step=step, N=module.N, x_extra=x_extra))
    terms["loss"].backward()
    norm = nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
    if clip is not None:
        nn.utils.clip_grad_norm_(module.parameters(), clip)
    optimizer.step()
    return {**{name: term.detach() for name, term in terms.items()}, NORM: norm}


def optimizers(modules):
    return [module.configure_optimizers() for module in modules]


def train(modules, pack, steps, x_shape=POINTS, clip=None, b=B):
    """The terms of the last step: packed, and of `modules` alone."""
    own = optimizers(modules)
    for step in steps:
        x, x_extra = images(modules, x_shape, step, b)
        packed = pack.step(x, x_extra, step, weights(modules, step))
        single = [alone(m, o, x[k], x_extra[k], step, clip) for k, (m, o) in enumerate(zip(modules, own, strict=True))]
    return packed, {name: torch.stack([terms[name] for terms in single]) for name in single[0]}


def agree(packed, single, rtol=1e-4, atol=1e-5):
    assert packed.keys() == single.keys()
    for name, term in single.items():
        torch.testing.assert_close(packed[name], term, rtol=rtol, atol=atol, msg=lambda said, n=name: f"{n}: {said}")


DIFFERENT = {
    "objective.beta.value": (1.0, 4.0, 0.5),
    "objective.alpha.value": (4.0, 1.0, 2.0),
    "objective.capacity.value": (4.0, 1.0, 2.0),
    "objective.gamma": (1, 20, 5.5),
    "objective.mi_weight": (1, 0.5, 2),
    "objective.lambda_od": (1, 20, 3.5),
}
D = "objective=decomposition alpha=5"
SMALL = ("objective", "objective.divergence")

COMBINATIONS = [
    *(f"objective={name}" for name in ("vae", "beta_vae", "capacity", "beta_tc", "factor_vae", "dip_vae")),
    "objective=beta_tc objective.estimator=mss",
    "objective=dip_vae objective.kind=I",
    *(f"{D} prior={name}" for name in ("gaussian", "anisotropic", "student_t", "mixture", "sparse", "laplace")),
    f"{D} prior=student_t prior.learn_df=true",
    f"{D} prior=mixture prior.learn=true",
    f"{D} prior=anisotropic prior.variances=equal prior.learn=true",
    *(f"{D} divergence=kl_exclusive posterior={name}" for name in ("isotropic", "full_gaussian", "laplace", "student_t")),
    f"{D} posterior=student_t posterior.learn_df=true",
    *(f"{D} prior=mixture divergence={name}" for name in ("kl_inclusive", "kl_exclusive", "mmd", "jsd")),
    f"{D} prior=sparse divergence=mmd divergence.scope=per_dimension",
    f"{D} prior=mixture objective.released_mixture_kl=true",
    *(f"objective=dip_vae posterior={name}" for name in ("isotropic", "full_gaussian", "laplace", "student_t")),
    *(f"objective=dip_vae prior={name}" for name in ("student_t", "mixture", "sparse")),
    *(f"objective=factor_vae posterior={name}" for name in ("full_gaussian", "student_t")),
    *(f"likelihood={name}" for name in ("bernoulli", "gaussian", "laplace")),
    "likelihood=gaussian likelihood.learn=shared",
    "likelihood=laplace likelihood.learn=per_pixel",
    *(f"optimizer={name}" for name in ("adam", "amsgrad", "adagrad")),
]


@pytest.fixture(scope="session")
def configured(composed):
    """A resolved configuration; classifiers are small."""

    def make_config(overrides):
        config = resolved(composed(*([] if "dataset=" in overrides else ["dataset=clusters"]), *overrides.split()))
        for node in (config["objective"], config["objective"].get("divergence", {})):
            if "width" in node:
                node.update(width=20, layers=2)
        return config

    return make_config


@pytest.mark.parametrize("overrides", COMBINATIONS)
def test_packed_runs_take_the_steps_they_take_alone(configured, overrides):
    config = configured(overrides)
    packed, single = members(config, **DIFFERENT), members(config, **DIFFERENT)
    pack = Pack(packed, optimizers(packed))
    first = train(single, pack, [0])
    agree(*first, rtol=1e-5, atol=1e-6)
    for a, b in zip(packed, single, strict=True):
        torch.testing.assert_close(a.state_dict(), b.state_dict(), rtol=1e-4, atol=1e-5)
    packed, single = members(config, **DIFFERENT), members(config, **DIFFERENT)
    agree(*train(single, Pack(packed, optimizers(packed)), range(4)))
