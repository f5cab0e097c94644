"""The importance-weighted bound on models whose likelihood is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, kl_divergence

from disvae.dataset import Images
from disvae.encoding import Encoding
from disvae.likelihood.gaussian import Gaussian as GaussianLikelihood
from disvae.metric.log_likelihood import LogLikelihood, log_weights
from disvae.posterior.gaussian import Gaussian as GaussianPosterior
from disvae.prior.gaussian import Gaussian
from disvae.vae import VAE

SIGMA = 0.5
W = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.5], [0.0, -0.5]])  # columns orthogonal: p(z|x) is diagonal
SHAPE = (1, 2, 2)


class Linear(nn.Module):
    """x = W z + noise, and an encoder that is exact but for a shift of its means and a factor of its widths."""

    def __init__(self, shift: float, width: float) -> None:
        super().__init__()
        variance = 1 / (1 + W.square().sum(0) / SIGMA**2)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(4, 4))
        self.decoder = nn.Sequential(nn.Linear(2, 4, bias=False), nn.Unflatten(1, SHAPE))
        with torch.no_grad():
            self.decoder[0].weight.copy_(W)
            self.encoder[1].weight.copy_(torch.cat([variance[:, None] * W.T / SIGMA**2, torch.zeros(2, 4)]))
            self.encoder[1].bias.copy_(torch.cat([torch.full((2,), shift), (width**2 * variance).log()]))


def model(shift: float = 0.0, width: float = 1.0, n: int = 60) -> Encoding:
    vae = VAE(
        Linear(shift, width),
        Gaussian(2),
        GaussianPosterior(2, link="exp"),
        GaussianLikelihood(scale=SIGMA, learn="none"),
    )
    torch.manual_seed(0)
    x = torch.randn(n, 2) @ W.T + SIGMA * torch.randn(n, 4)
    images = Images(torch.cat([torch.full((10, *SHAPE), 50.0), x.view(n, *SHAPE)]), SHAPE)
    rows = np.arange(10, 10 + n)  # the first ten are of no concern
    return Encoding(
        codes=np.zeros((n, 2), "f4"), factors=np.empty((n, 0), int), factor_names=(), vae=vae, images=images, rows=rows
    )


def exact(encoding: Encoding) -> torch.Tensor:
    x = encoding.images.take(torch.from_numpy(encoding.rows)).flatten(1)
    return MultivariateNormal(torch.zeros(4), W @ W.T + SIGMA**2 * torch.eye(4)).log_prob(x)


@pytest.mark.parametrize("samples", [1, 3])
def test_the_exact_posterior_gives_the_exact_likelihood_from_any_number_of_samples(samples):
    encoding = model()
    scores = LogLikelihood(images=1000, samples=samples)(encoding)
    log_p = exact(encoding)
    assert scores["iwae"] == pytest.approx(log_p.mean().item(), abs=1e-4)
    assert scores["elbo"] == pytest.approx(log_p.mean().item(), abs=1e-4)
    assert scores["gap"] == pytest.approx(0, abs=1e-4)
    assert scores["effective_samples"] == pytest.approx(samples, abs=1e-3)
    assert scores["iwae_se"] == pytest.approx(log_p.std().item() / math.sqrt(60), rel=1e-4)


def test_one_sample_is_the_elbo():
    scores = LogLikelihood(images=1000, samples=1)(model(shift=0.3, width=1.3))
    assert scores["iwae"] == scores["elbo"]
    assert scores["gap"] == 0
    assert scores["effective_samples"] == pytest.approx(1)


def test_the_elbo_is_the_likelihood_less_the_kl_to_the_true_posterior():
    encoding = model(shift=0.2, width=1.5)
    q, p = (e.vae.encode(e.images.take(torch.from_numpy(e.rows))) for e in (encoding, model()))
    expected = exact(encoding).mean() - kl_divergence(q, p).mean()
    scores = LogLikelihood(images=1000, samples=2000)(encoding)
    assert scores["elbo"] == pytest.approx(expected.item(), abs=0.03)
    assert expected < exact(encoding).mean() - 0.5


def test_the_bound_rises_with_samples_to_the_likelihood():
    encoding = model(shift=0.2, width=1.5)
    bounds = [LogLikelihood(images=1000, samples=K)(encoding)["iwae"] for K in (1, 4, 16, 1000)]
    assert bounds == sorted(bounds)
    log_p = exact(encoding).mean().item()
    assert bounds[0] < log_p - 0.5
    assert bounds[-1] == pytest.approx(log_p, abs=0.03)


def test_blocks_change_nothing_but_the_noise():
    encoding = model(shift=0.05, width=1.05)
    x = encoding.images.take(torch.from_numpy(encoding.rows))
    whole, parts = (log_weights(encoding.vae, x, 501, block) for block in (10**6, 300))
    assert whole.shape == parts.shape == (501, 60)
    # each image keeps to its own samples, or the weights would be those of other images
    torch.testing.assert_close(whole.mean(0), parts.mean(0), atol=0.1, rtol=0)
    assert whole.mean(0).std() > 1


def test_a_seeded_choice_of_the_encoded_images_is_scored():
    encoding = model()
    log_p = exact(encoding).numpy()
    metric = LogLikelihood(images=5, samples=2)
    chosen = np.random.default_rng(4).permutation(60)[:5]
    assert metric(encoding, seed=4)["iwae"] == pytest.approx(log_p[chosen].mean(), abs=1e-4)
    assert metric(encoding, seed=4) == metric(encoding, seed=4)
    assert metric(encoding, seed=4)["iwae"] != pytest.approx(metric(encoding, seed=5)["iwae"], abs=1e-3)


def test_the_model_and_the_random_state_are_left_as_they_were():
    encoding = model(width=1.2)
    norm = nn.BatchNorm1d(4)
    vae = VAE(nn.Module(), encoding.vae.prior, encoding.vae.posterior, encoding.vae.likelihood)
    vae.model.encoder = nn.Sequential(encoding.vae.model.encoder, norm)
    vae.model.decoder = encoding.vae.model.decoder
    vae.train()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    LogLikelihood(images=10, samples=2)(replace(encoding, vae=vae))
    assert torch.equal(before, torch.get_rng_state())
    assert vae.training
    assert norm.num_batches_tracked == 0


def test_every_score_has_a_standard_error_so_that_none_is_asked_for():
    scores = LogLikelihood(images=10, samples=2)(model())
    assert {f"{name}_se" for name in scores if not name.endswith("_se")} <= scores.keys()


@pytest.mark.parametrize(("setting", "value"), [("images", 1), ("samples", 0)])
def test_settings_that_cannot_be_are_refused(setting, value):
    with pytest.raises(ValueError, match=f"{setting} must be .* got {value}"):
        LogLikelihood(**{"images": 10, "samples": 10, setting: value})
