"""Likelihoods are normalised log-densities in nats, summed over channels and pixels."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from disvae.likelihood.bernoulli import Bernoulli
from disvae.likelihood.gaussian import Gaussian
from disvae.likelihood.laplace import Laplace

REAL = {"gaussian": (Gaussian, stats.norm), "laplace": (Laplace, stats.laplace)}
each_real = pytest.mark.parametrize("name", REAL)
each_learn = pytest.mark.parametrize("learn", ["none", "shared", "per_pixel"])


def output(*shape: int, seed: int = 0) -> torch.Tensor:
    """Decoder outputs, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 5),
    channels=st.integers(1, 3),
    side=st.integers(1, 5),
    span=st.floats(0, 30),
    name=st.sampled_from(["bernoulli", *REAL]),
    learn=st.sampled_from(["none", "shared", "per_pixel"]),
)
def test_one_finite_density_per_image(batch, channels, side, span, name, learn):
    likelihood = Bernoulli() if name == "bernoulli" else REAL[name][0](scale=0.1, learn=learn)
    generator = torch.Generator().manual_seed(0)
    h = span * (2 * torch.rand(batch, likelihood.size * channels, side, side, generator=generator) - 1)
    h.requires_grad_()
    x = torch.rand(batch, channels, side, side, generator=generator).round()
    px_z = likelihood(h)
    assert px_z.batch_shape == (batch,)
    assert px_z.event_shape == (channels, side, side)
    log_p = px_z.log_prob(x)
    assert log_p.shape == (batch,)
    assert log_p.isfinite().all()
    (gradient,) = torch.autograd.grad(log_p.sum(), h)
    assert gradient.isfinite().all()


def test_bernoulli_probabilities_of_all_binary_images_sum_to_one():
    px_z = Bernoulli()(2 * output(1, 1, 2, 3))
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6))).double().reshape(64, 1, 2, 3)
    assert px_z.log_prob(images).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_bernoulli_is_the_summed_binary_cross_entropy_in_nats():
    h = output(2, 3, 4, 4)
    x = output(2, 3, 4, 4, seed=1).gt(0).double()
    y = 1 / (1 + np.exp(-h.numpy()))
    expected = stats.bernoulli.logpmf(x.numpy(), y).sum((1, 2, 3))
    assert Bernoulli()(h).log_prob(x).tolist() == pytest.approx(expected.tolist())


def test_an_undecided_decoder_pays_log_2_per_pixel():
    loss = -Bernoulli()(torch.zeros(1, 1, 64, 64)).log_prob(torch.rand(1, 1, 64, 64).round())
    assert loss.item() == pytest.approx(4096 * math.log(2), rel=1e-5)


def test_a_certain_and_wrong_logit_costs_its_size_and_stays_finite():
    assert Bernoulli()(torch.full((1, 1, 1, 1), 1e4)).log_prob(torch.zeros(1, 1, 1, 1)).item() == -1e4


@each_real
@each_learn
def test_real_densities_integrate_to_one(name, learn):
    likelihood = REAL[name][0](scale=0.3, learn=learn).double()
    px_z = likelihood(torch.full((1, likelihood.size, 1, 1), 0.4, dtype=torch.float64))

    def density(x: float) -> float:
        return px_z.log_prob(torch.full((1, 1, 1, 1), x, dtype=torch.float64)).exp().item()

    mass = integrate.quad(density, -20, 0.4)[0] + integrate.quad(density, 0.4, 20)[0]
    assert mass == pytest.approx(1, abs=1e-8)


@each_real
@each_learn
def test_real_densities_are_those_of_scipy_summed_over_pixels(name, learn):
    kind, textbook = REAL[name]
    likelihood = kind(scale=0.3, learn=learn).double()
    h, x = output(2, likelihood.size * 3, 4, 4), output(2, 3, 4, 4, seed=1)
    loc = h[:, :3].numpy()
    scale = np.float64(0.3)
    if learn == "per_pixel":  # the second three channels
        scale = 0.3 * np.logaddexp(0, h[:, 3:].numpy()) / math.log(2) + 1e-6
    expected = textbook.logpdf(x.numpy(), loc, scale).sum((1, 2, 3))
    assert likelihood(h).log_prob(x).tolist() == pytest.approx(expected.tolist(), rel=1e-6)


@each_real
def test_only_per_pixel_reads_two_numbers_and_only_shared_is_a_parameter(name):
    kind = REAL[name][0]
    assert {learn: kind(scale=1.0, learn=learn).size for learn in ("none", "shared", "per_pixel")} == {
        "none": 1,
        "shared": 1,
        "per_pixel": 2,
    }
    assert [len(list(kind(scale=1.0, learn=learn).parameters())) for learn in ("none", "shared", "per_pixel")] == [
        0,
        1,
        0,
    ]


@each_real
@each_learn
def test_the_scale_starts_where_it_is_set(name, learn):
    likelihood = REAL[name][0](scale=0.25, learn=learn)
    px_z = likelihood(torch.zeros(1, likelihood.size, 2, 2))
    assert torch.allclose(px_z.base_dist.scale, torch.tensor(0.25), atol=1e-5)


def test_a_scale_of_log_2_gives_the_plain_softplus():
    h = torch.linspace(-5, 5, 8).reshape(2, 2, 1, 2)
    std = Gaussian(scale=math.log(2), learn="per_pixel")(h).stddev
    assert torch.allclose(std, torch.nn.functional.softplus(h[:, 1:]) + 1e-6, rtol=1e-5)


@each_real
def test_the_best_shared_scale_is_the_size_of_the_residuals(name):
    """Root mean square for the Gaussian, mean absolute value for the Laplace: the gradient vanishes there."""
    residual = output(5, 1, 4, 4)
    best = residual.square().mean().sqrt() if name == "gaussian" else residual.abs().mean()
    for factor, sign in ((0.5, 1), (1.0, 0), (2.0, -1)):  # too small a scale grows, too large a one shrinks
        likelihood = REAL[name][0](scale=factor * best.item(), learn="shared").double()
        likelihood(torch.zeros_like(residual)).log_prob(residual).sum().backward()
        gradient = next(likelihood.parameters()).grad
        assert gradient.item() * sign > 1 if sign else abs(gradient.item()) < 1e-4


def test_halving_a_gaussian_scale_weighs_the_squared_error_four_times():
    x = torch.full((1, 1, 2, 2), 0.5)
    costs = [
        (px_z.log_prob(torch.zeros_like(x)) - px_z.log_prob(x)).item()
        for px_z in (Gaussian(scale=scale, learn="none")(torch.zeros_like(x)) for scale in (1.0, 0.5))
    ]
    assert costs == pytest.approx([0.5, 2.0])


@each_real
def test_impossible_options_are_refused(name):
    with pytest.raises(ValueError, match="scale must be positive, got 0"):
        REAL[name][0](scale=0.0, learn="none")
    with pytest.raises(ValueError, match="learn must be none, shared or per_pixel, got no"):
        REAL[name][0](scale=1.0, learn="no")
