"""Ada-GVAE and ML-VAE: which latents a pair shares, and what their common posterior is."""

import pytest
import torch
from torch.distributions import Independent, Normal

from disvae.dataset.batches import Batch
from disvae.objective.ada_gvae import AdaGVAE, arithmetic, share
from disvae.objective.beta_vae import BetaVAE
from disvae.objective.ml_vae import MLVAE, by_precision
from disvae.schedule.constant import Constant

PAIR = Normal(torch.tensor([[0.0, 0.1, 3.0], [0.0, -0.1, -3.0]]), torch.tensor([[1.0, 1.0, 1.0], [3.0, 1.0, 1.0]]))
"""The KL of the latents is 0.65, 0.02 and 18: latents 0 and 1 are below the middle."""


@pytest.fixture
def batch():
    x = torch.rand(8, 1, 2, 4, generator=torch.Generator().manual_seed(1)).round()
    return Batch(x, x[:0], group=torch.arange(4).repeat_interleave(2), varies=torch.zeros(4, 5, dtype=torch.bool))


def test_latents_with_a_small_kl_share_the_average_and_the_others_keep_their_own():
    shared = share(PAIR, arithmetic).base_dist
    torch.testing.assert_close(shared.loc, torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, -3.0]]))
    torch.testing.assert_close(shared.variance, torch.tensor([[5.0, 1.0, 1.0]] * 2))


def test_the_product_weighs_means_by_precision_and_takes_the_harmonic_mean_of_variances():
    loc, variance = torch.tensor([[[1.0], [5.0]]]), torch.tensor([[[1.0], [3.0]]])
    common_loc, common_variance = by_precision(loc, variance)
    torch.testing.assert_close(common_loc, torch.tensor([[[2.0]]]))  # (1 / 1 + 5 / 3) / (1 + 1 / 3)
    torch.testing.assert_close(common_variance, torch.tensor([[[1.5]]]))
    ones = Normal(loc[:, 0], variance[:, 0].sqrt()).log_prob(torch.linspace(-9, 9, 7))
    others = Normal(loc[:, 1], variance[:, 1].sqrt()).log_prob(torch.linspace(-9, 9, 7))
    product = (
        ones + others - Normal(common_loc[:, 0], (common_variance[:, 0] / 2).sqrt()).log_prob(torch.linspace(-9, 9, 7))
    )
    torch.testing.assert_close(product, product[:, :1].expand(1, 7), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("average", [arithmetic, by_precision])
def test_equal_posteriors_are_their_own_average(average):
    same = Normal(PAIR.loc[:1].repeat(2, 1), PAIR.scale[1:].repeat(2, 1))
    shared = share(same, average).base_dist
    torch.testing.assert_close(shared.loc, same.loc)
    torch.testing.assert_close(shared.scale, same.scale)


@pytest.mark.parametrize("kind", [AdaGVAE, MLVAE])
def test_a_pair_of_one_image_twice_has_the_loss_of_the_beta_vae(vae, batch, kind):
    twice = Batch(batch.x[::2].repeat_interleave(2, 0), batch.x_extra, batch.group, batch.varies)
    losses = []
    for objective in (kind(Constant(value=3.0), 1), BetaVAE(Constant(value=3.0))):
        torch.manual_seed(2)
        losses.append(objective(objective.draw(vae, twice, step=0, N=100))["loss"])
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("kind", [AdaGVAE, MLVAE])
def test_both_images_of_a_pair_decode_shared_latents_of_one_posterior(vae, batch, kind):
    objective = kind(Constant(value=1.0), "random")
    loc = objective.draw(vae, batch, step=0, N=100).qz_x.mean.view(4, 2, -1)
    own = vae.encode(batch.x).mean.view(4, 2, -1)
    shared = loc[:, 0] == loc[:, 1]
    assert shared.any(1).all()
    assert not shared.all(1).any()
    assert torch.equal(loc[~shared[:, None].expand_as(loc)], own[~shared[:, None].expand_as(own)])
    single = objective.draw(vae, Batch(batch.x, batch.x_extra), step=0, N=100)
    assert torch.equal(single.qz_x.mean.view(4, 2, -1), own)


def test_a_posterior_without_averages_says_what_to_type(draw):
    wide = Independent(torch.distributions.Laplace(torch.zeros(32, 3), torch.ones(32, 3)), 1)
    passed = draw()
    object.__setattr__(passed, "qz_x", wide)
    for kind, name in ((AdaGVAE, "ada_gvae"), (MLVAE, "ml_vae")):
        with pytest.raises(ValueError, match=f"objective={name}: type posterior=gaussian"):
            kind(Constant(value=1.0), 1).check(passed)
