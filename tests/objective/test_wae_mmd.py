"""The WAE is the decomposition VAE without a KL, and a point says why it has none."""

import math
from dataclasses import replace

import pytest
import torch

import disvae
from disvae.config import ConfigError
from disvae.divergence.jsd import JSD
from disvae.divergence.kl_inclusive import KLInclusive
from disvae.divergence.mmd import MMD
from disvae.objective.decomposition import Decomposition
from disvae.objective.wae_mmd import WAEMMD
from disvae.posterior.deterministic import Deterministic
from disvae.schedule.constant import Constant

RUN = (
    "objective=wae_mmd", "posterior=deterministic", "divergence=mmd", "dataset=sprites", "dataset.scales=2",
    "dataset.orientations=4", "dataset.positions=4", "split.validation=0.3", "model=mlp", "model.encoder_hidden=[16]",
    "model.decoder_hidden=[16]", "z_dim=3", "batch_size=16", "steps=4", "eval_every=2", "metric=[]", "figure=[]",
    "final=[active_units,log_likelihood,aggregate_posterior,mig_analytic]", "final_figures=[]", "score.repeats=2",
    "score.controls=[]", "report=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return disvae.train(*RUN, f"out={tmp_path_factory.mktemp('wae')}")


@pytest.mark.parametrize("l", [0.0, 3.0, 100.0])
@pytest.mark.parametrize("scope", ["joint", "per_dimension"])
def test_it_is_the_decomposition_with_beta_0_and_alpha_l(draw, l, scope):  # noqa: E741
    torch.manual_seed(5)
    ours = WAEMMD(l, MMD("imq", scope))(draw())
    torch.manual_seed(5)
    other = Decomposition(Constant(value=0), Constant(value=l), MMD("imq", scope))(draw())
    torch.testing.assert_close(ours["loss"], other["loss"], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours["penalised_likelihood"], -other["loss"], atol=1e-6, rtol=1e-6)


def test_a_point_is_its_mean_and_has_no_density():
    h = torch.tensor([[1.0, -2.0], [0.5, 3.0]], requires_grad=True)
    q = Deterministic(2)(h)
    assert (q.batch_shape, q.event_shape) == ((2,), (2,))
    z = q.rsample()
    assert torch.equal(z, h)
    assert q.sample((7,)).shape == (7, 2, 2)
    assert not q.sample().requires_grad
    (gradient,) = torch.autograd.grad(z.sum(), h)
    assert gradient.eq(1).all()
    assert torch.equal(q.mean, h)
    assert q.variance.eq(0).all()
    for undefined in (lambda: q.log_prob(h), q.entropy):
        with pytest.raises(ValueError, match="has no density and no KL: type objective=wae_mmd"):
            undefined()


def test_wrong_settings_are_refused(draw):
    with pytest.raises(ValueError, match="l must be non-negative, got -1"):
        WAEMMD(-1, MMD("imq", "joint"))
    objective, point = WAEMMD(1, KLInclusive()), replace(draw(), qz_x=Deterministic(3)(torch.zeros(32, 3)))
    with pytest.raises(ValueError, match="has no density and no KL: type objective=wae_mmd divergence=mmd"):
        objective.check(point)
    with pytest.raises(ValueError, match="posterior must be deterministic for objective=wae_mmd"):
        objective.check(draw())
    WAEMMD(1, JSD(3, 4, 1)).check(point)


@pytest.mark.parametrize("other", ["objective=beta_vae", "objective=infogan", "objective=decomposition"])
def test_an_objective_that_needs_a_density_refuses_a_point_before_training(tmp_path, other):
    with pytest.raises(ConfigError, match="posterior=deterministic has no density"):
        disvae.train(*RUN[1:2], *RUN[3:], other, f"out={tmp_path}")
    assert not list(tmp_path.rglob("config.yaml"))


def test_a_run_logs_no_elbo_and_what_needs_one_says_why(run):
    metrics = run.metrics()
    assert {"val/penalised_likelihood", "val/reconstruction", "val/active_units"} <= metrics.keys()
    assert not {tag for tag in metrics if tag.endswith(("elbo", "/kl")) or "/overlap/" in tag or "structure/" in tag}
    found = run.scores()["metric"]
    assert 0 <= found["active_units"]["scores"]["count"]["model"]["value"] <= 3
    for name in ("log_likelihood", "aggregate_posterior", "mig_analytic"):
        assert "a point, which has no density" in found[name]["failed"]["model"]
    for name in ("aggregate_posterior", "marginals", "kl_per_dimension"):
        with pytest.raises(ConfigError, match="a point, which has no density"):
            run.figure(name)
    assert run.figure("traversal").size[0] > 100
    assert run.figure("prior_samples").size[0] > 100


def test_the_main_value_of_a_run_is_the_negative_loss(run):
    metrics = run.metrics()
    expected = metrics["val/reconstruction"] + 100 * metrics["val/divergence_minibatch"]
    assert math.isclose(metrics["val/penalised_likelihood"], -expected, rel_tol=1e-5)
