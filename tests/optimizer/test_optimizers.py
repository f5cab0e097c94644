"""Optimisers: known first steps, groups with their own settings, and the fused update equal to the plain one."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from disvae.optimizer.adagrad import adagrad
from disvae.optimizer.adam import adam

ADAM = {"betas": [0.9, 0.999], "eps": 1e-8, "amsgrad": False}


def parameter(*gradient: float) -> nn.Parameter:
    """A parameter at 0 with a gradient."""
    values = nn.Parameter(torch.zeros(len(gradient)))
    values.grad = torch.tensor(gradient)
    return values


def test_adams_first_step_is_lr_against_the_sign_whatever_the_size():
    values = parameter(3.0, -0.01, 1000.0)
    adam([values], lr=0.1, **ADAM).step()
    assert values.tolist() == pytest.approx([-0.1, 0.1, -0.1], rel=1e-4)


def test_a_group_keeps_its_own_rate_and_memory():
    vae, discriminator = parameter(1.0), parameter(1.0)
    optimizer = adam([{"params": [vae]}, {"params": [discriminator], "lr": 0.5, "betas": (0.5, 0.9)}], lr=0.1, **ADAM)
    assert [tuple(group["betas"]) for group in optimizer.param_groups] == [(0.9, 0.999), (0.5, 0.9)]
    optimizer.step()
    assert vae.item() == pytest.approx(-0.1, rel=1e-4)
    assert discriminator.item() == pytest.approx(-0.5, rel=1e-4)


def test_parameters_may_come_from_generators():
    network = nn.Linear(2, 3)
    assert len(adam(network.parameters(), lr=0.1, **ADAM).param_groups[0]["params"]) == 2
    assert len(adam([{"params": network.parameters()}], lr=0.1, **ADAM).param_groups[0]["params"]) == 2


@pytest.mark.parametrize("amsgrad", [False, True])
def test_the_fused_update_is_that_of_plain_adam(amsgrad):
    values, reference = nn.Parameter(torch.ones(20)), nn.Parameter(torch.ones(20))
    ours = adam([values], lr=0.01, betas=[0.8, 0.95], eps=1e-6, amsgrad=amsgrad)
    plain = torch.optim.Adam([reference], lr=0.01, betas=(0.8, 0.95), eps=1e-6, amsgrad=amsgrad, foreach=False)
    assert ours.param_groups[0]["fused"]
    generator = torch.Generator().manual_seed(0)
    for step in range(50):
        gradient = torch.randn(20, generator=generator) / (1 + step)
        values.grad, reference.grad = gradient.clone(), gradient.clone()
        ours.step()
        plain.step()
    assert torch.allclose(values, reference, atol=1e-6)


def test_amsgrad_remembers_a_large_gradient_that_adam_forgets():
    moved = []
    for amsgrad in (False, True):
        values = parameter(100.0)
        optimizer = adam([values], lr=0.1, betas=[0.0, 0.5], eps=1e-8, amsgrad=amsgrad)
        optimizer.step()
        for _ in range(40):
            values.grad = torch.tensor([1.0])
            optimizer.step()
        moved.append(-values.item())
    assert moved[1] < moved[0] / 2


def test_devices_without_a_fused_kernel_get_the_plain_one():
    assert not adam([nn.Parameter(torch.zeros(2, device="meta"))], lr=0.1, **ADAM).param_groups[0]["fused"]


def test_adagrads_steps_shrink_as_one_over_the_root_of_their_number():
    values = parameter(2.0)
    optimizer = adagrad([values], lr=0.1, eps=1e-10)
    places = [0.0]
    for _ in range(4):
        optimizer.step()  # the same gradient again
        places.append(values.item())
    steps = [a - b for a, b in pairwise(places)]
    assert steps == pytest.approx([0.1 / n**0.5 for n in (1, 2, 3, 4)], rel=1e-5)


def test_adagrad_refuses_a_group_with_adams_settings():
    with pytest.raises(ValueError, match="discriminator needs Adam's betas: type optimizer=adam"):
        adagrad([{"params": [parameter(1.0)], "betas": (0.5, 0.9)}], lr=0.1, eps=1e-10)


@pytest.mark.parametrize("lr", [0.0, -1.0, float("nan")])
def test_a_rate_that_is_not_positive_is_refused(lr):
    with pytest.raises(ValueError, match="lr and eps must be positive, got"):
        adam([parameter(1.0)], lr=lr, **ADAM)
    with pytest.raises(ValueError, match="lr and eps must be positive, got"):
        adagrad([parameter(1.0)], lr=lr, eps=1e-10)


def test_two_betas_are_wanted():
    with pytest.raises(ValueError, match=r"betas must be two numbers in .*, got \[0.9\]"):
        adam([parameter(1.0)], lr=0.1, betas=[0.9], eps=1e-8, amsgrad=False)
