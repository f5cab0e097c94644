"""The VampPrior is the mean of the posteriors of its pseudo-inputs, through the encoder that is trained."""

import copy

import pytest
import torch

import disvae
from disvae.config import ConfigError
from disvae.prior.vamp import Vamp
from disvae.runs.checkpoint import load
from disvae.training.packed.vmap_step import _settings

RUN = ("prior=vamp", "prior.components=5", "dataset=clusters", "model.encoder_hidden=[4]", "model.decoder_hidden=[4]",
       "batch_size=32", "steps=4", "eval_every=2", "eval_images=50", "eval_samples=20", "metric=[]", "figure=[]",
       "final=[]", "final_figures=[]", "report=false")  # fmt: skip


@pytest.fixture
def vae(small_vae):
    vae = small_vae("prior=vamp", "prior.components=3")
    vae.prior.initialise(torch.rand(7, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
    return vae


def test_its_density_is_the_mean_of_the_pseudo_inputs_posteriors(vae):
    z = torch.randn(5, 4)
    each = torch.stack([vae.encode(u[None]).log_prob(z) for u in vae.prior.pseudo_inputs])
    torch.testing.assert_close(vae.prior().log_prob(z), each.logsumexp(0) - torch.tensor(3.0).log())


def test_with_one_pseudo_input_that_is_the_image_the_kl_is_zero(small_vae):
    vae = small_vae("prior=vamp", "prior.components=1")
    x = torch.rand(1, 1, 16, 16)
    vae.prior.initialise(x)
    q = vae.encode(x)
    z = q.sample()
    torch.testing.assert_close(q.log_prob(z), vae.prior().log_prob(z))


def test_pseudo_inputs_and_encoder_learn_from_the_prior_and_weights_are_held_once(vae):
    vae.prior().log_prob(torch.zeros(4)).backward()
    assert vae.prior.pseudo_inputs.grad.abs().sum() > 0
    assert all(p.grad is not None for p in vae.model.encoder.parameters())
    held = [name for name, _ in vae.named_parameters()]
    assert [name for name in held if name.startswith("prior.")] == ["prior.pseudo_inputs"]


def test_a_copy_encodes_with_its_own_weights(vae):
    other = copy.deepcopy(vae)
    with torch.no_grad():
        for parameter in other.model.encoder.parameters():
            parameter.zero_()
    z = torch.zeros(4)
    assert not torch.equal(vae.prior().log_prob(z), other.prior().log_prob(z))
    assert _settings(vae.prior, fed=False) == _settings(other.prior, fed=False)  # so that runs of both can be packed


def test_wrong_numbers_of_components_are_refused(vae):
    with pytest.raises(ValueError, match="components must be positive, got 0"):
        Vamp(2, components=0)
    with pytest.raises(ValueError, match="components must be at most 2, the number of images, got 3"):
        vae.prior.initialise(torch.rand(2, 1, 16, 16))


def test_a_run_is_trained_and_read_back(tmp_path):
    run = disvae.train(*RUN, f"out={tmp_path}")
    assert run.finished()
    read = disvae.load(run).vae.prior
    assert torch.equal(read.pseudo_inputs, load(run.last)["state_dict"]["vae.prior.pseudo_inputs"])
    assert run.figure("aggregate_posterior").size[0] > 100
    with pytest.raises(ConfigError, match="prior must factorise"):
        disvae.train(*RUN, "objective=beta_tc", f"out={tmp_path}")
