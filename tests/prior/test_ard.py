"""The ARD prior follows the codes of training, in the run and in its checkpoint; its KL is the closed form."""

import pytest
import torch
from torch.distributions import Independent, Normal

import disvae
from disvae.config import ConfigError
from disvae.dataset.batches import Batch
from disvae.estimators import elementwise_kl, kl
from disvae.objective.beta_vae import BetaVAE
from disvae.prior.ard import ARD
from disvae.runs.checkpoint import load
from disvae.schedule.constant import Constant
from disvae.statistics.aggregate_posterior import terms_of_codes
from disvae.training.module import Evaluation, VAEModule

RUN = ("prior=ard", "dataset=clusters", "model.encoder_hidden=[4]", "model.decoder_hidden=[4]", "batch_size=32",
       "eval_images=50", "eval_samples=20", "eval_every=4", "checkpoint_every=4", "metric=[]", "figure=[]", "final=[]",
       "final_figures=[]", "report=false")  # fmt: skip


def test_the_variances_are_a_running_second_moment():
    prior = ARD(2, momentum=0.75)
    first, second = torch.tensor([[2.0, 0.0], [0.0, 0.2]]), torch.tensor([[1.0, 1.0]])
    prior.observe(first)
    torch.testing.assert_close(prior().variance, torch.tensor([0.75 + 0.25 * 2.0, 0.75 + 0.25 * 0.02]))
    prior.observe(second)
    torch.testing.assert_close(prior().variance, torch.tensor([0.75 * 1.25 + 0.25, 0.75 * 0.755 + 0.25]))


def test_the_kl_is_the_closed_form_and_does_not_depend_on_the_width_of_a_latent():
    prior, z = ARD(2, momentum=0.0), torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    prior.observe(z * torch.tensor([1.0, 5.0]))
    s2 = prior().variance
    mu, sigma = torch.tensor([[0.3, -2.0]]), torch.tensor([[0.5, 0.4]])
    q = Independent(Normal(mu, sigma), 1)
    expected = 0.5 * (s2 / sigma**2).log() + (sigma**2 + mu**2) / (2 * s2) - 0.5
    torch.testing.assert_close(elementwise_kl(q, prior(), q.sample()), expected)
    before = kl(q, prior(), q.sample())
    prior.observe(z * torch.tensor([3.0, 15.0]))  # the same codes, three times as wide
    wide = Independent(Normal(3 * mu, 3 * sigma), 1)
    torch.testing.assert_close(kl(wide, prior(), wide.sample()), before)


def test_a_latent_that_follows_the_prior_costs_nothing_at_any_width():
    prior = ARD(1, momentum=0.0)
    prior.observe(torch.tensor([[0.02], [-0.02]]))
    q = Independent(Normal(torch.zeros(1, 1), torch.full((1, 1), 0.02)), 1)
    torch.testing.assert_close(kl(q, prior(), q.sample()), torch.zeros(1), atol=1e-6, rtol=0)


def test_a_validation_leaves_it_as_it_is(small_vae):
    vae = small_vae("prior=ard")
    x, seen = torch.rand(8, 1, 16, 16), vae.prior.second_moment.clone()
    objective = BetaVAE(Constant(value=1.0))
    module = VAEModule(vae, objective, optimizer=torch.optim.Adam, N=8, seed=0, eval_samples=4)
    evaluation = Evaluation(module, 0, 8)
    evaluation.add(Batch(x, x[:0]))
    evaluation.close()
    assert torch.equal(vae.prior.second_moment, seen)
    module.compute_terms(Batch(x, x[:0]), 0)
    assert not torch.equal(vae.prior.second_moment, seen)


def test_infogan_refuses_it_since_its_codes_are_the_priors_own(tmp_path):
    overrides = ("objective=infogan", "dataset=clusters", "model=mlp", "prior=ard", "posterior=joint")
    with pytest.raises(ConfigError, match="prior must be fixed for objective=infogan"):
        disvae.train(*overrides, f"out={tmp_path}")


def test_a_run_resumes_to_the_bit(tmp_path):
    whole = load(disvae.train(*RUN, "steps=8", f"out={tmp_path / 'whole'}").last)["state_dict"]
    short = load(disvae.train(*RUN, "steps=4", f"out={tmp_path / 'parts'}").last)["state_dict"]
    longer = disvae.train(*RUN, "steps=8", f"out={tmp_path / 'parts'}")  # goes on from step 4
    continued = load(longer.last)["state_dict"]
    name = "vae.prior.second_moment"
    assert not torch.equal(short[name], torch.ones(2))
    assert not torch.equal(short[name], whole[name])
    assert all(torch.equal(continued[key], value) for key, value in whole.items())


@pytest.mark.parametrize("width", [0.01, 1.0, 50.0])
def test_active_latents_do_not_depend_on_the_width_of_the_codes(small_vae, width):
    vae = small_vae("prior=ard")
    h = torch.zeros(200, 8)
    h[:, :4] = width * torch.randn(200, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 1, 0.05, 0.0])
    vae.prior.second_moment.fill_(width**2)
    assert terms_of_codes(vae, h, samples=20, seed=0)["active_units"] == 2
