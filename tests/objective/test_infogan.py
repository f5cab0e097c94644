"""InfoGAN: no leak between its two sides, its information and ceiling, and what a run of it can and cannot do."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, OneHotCategorical
from torch.distributions import Uniform as Flat

import disvae
from disvae.api.encoded import encoded
from disvae.config import ConfigError
from disvae.dataset.batches import Batch
from disvae.distribution.joint import Joint
from disvae.likelihood.bernoulli import Bernoulli
from disvae.model.spectral import Spectral
from disvae.objective.infogan import Game, InfoGAN
from disvae.posterior.joint import JointPosterior
from disvae.prior.uniform import Uniform
from disvae.runs.checkpoint import load
from disvae.runs.curves import curves
from disvae.training.job import Job
from disvae.vae import VAE

CATEGORIES = [3]

RUN = (
    "objective=infogan", "objective.noise=4", "prior=uniform", "prior.categories=[3]", "posterior=joint", "z_dim=5",
    "dataset=sprites", "dataset.scales=2", "dataset.orientations=4", "dataset.positions=4", "split.validation=0.3",
    "model=mlp", "model.encoder_hidden=[16]", "model.decoder_hidden=[16]", "batch_size=16", "steps=8", "eval_every=4",
    "final=[active_units,log_likelihood,aggregate_posterior,mig_analytic]", "metric=[]", "figure=[]",
    "final_figures=[]", "score.repeats=2", "score.controls=[]", "report=false",
)  # fmt: skip


def infogan(weight: float = 1.0) -> InfoGAN:
    return InfoGAN(weight=weight, noise=4, discriminator_lr=2e-4)


@pytest.fixture
def networks() -> VAE:
    """Two continuous codes after one of three categories, four numbers of noise, images of 16x16."""
    torch.manual_seed(0)
    prior = Uniform(5, categories=CATEGORIES)
    posterior = JointPosterior(5, categories=CATEGORIES, unit=True)
    model = Spectral((1, 16, 16), 5 + 4, posterior.size + 1, 1)
    return VAE(model, prior, posterior, Bernoulli(), encoder_outputs=1, noise=4, without_elbo=InfoGAN.without_elbo)


def game(networks: VAE) -> Game:
    torch.manual_seed(1)
    x = torch.rand(16, 1, 16, 16)
    return infogan().draw(networks, Batch(x, x[:0]), step=0, N=100)


def reached(loss: Tensor, networks: VAE) -> set[str]:
    """The sides whose weights a loss has a gradient in."""
    named = dict(networks.named_parameters())
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True, retain_graph=True)
    found = {n for n, g in zip(named, gradients, strict=True) if g is not None and (g != 0).any()}
    return {name.split(".")[1] for name in found}


def said(networks: VAE, **changed: Tensor) -> dict[str, Tensor]:
    """Terms of a game in which some fields are replaced."""
    return infogan()(replace(game(networks), **changed))


def test_discriminator_never_teaches_the_generator_nor_the_generator_the_discriminator(networks):
    terms = said(networks)
    assert reached(terms["discriminator_loss"], networks) == {"encoder"}
    assert reached(terms["generator_loss"], networks) == {"decoder"}


def test_information_is_in_the_losses_of_both_sides_and_each_learns_its_own(networks):
    of_game = game(networks)
    objective = infogan()
    assert reached(objective.information(of_game, of_game.qz_generated).sum(), networks) == {"encoder"}
    assert reached(objective.information(of_game, of_game.qz_judged).sum(), networks) == {"decoder"}


def test_both_sides_get_the_gradient_that_they_would_have_alone(networks):
    of_game, objective = game(networks), infogan(weight=2.0)
    terms = objective(of_game)
    encoder, decoder = list(networks.model.encoder.parameters()), list(networks.model.decoder.parameters())
    joint = torch.autograd.grad(terms["loss"], encoder + decoder, retain_graph=True)
    q, g = (objective.information(of_game, each).sum() for each in (of_game.qz_generated, of_game.qz_judged))
    alone = [
        *torch.autograd.grad(terms["discriminator_loss"] - 2 * q, encoder, retain_graph=True),
        *torch.autograd.grad(terms["generator_loss"] - 2 * g, decoder),
    ]
    torch.testing.assert_close(list(joint), alone)


def perfect(draw: Game, *, unit: bool) -> Game:
    """A game in which Q knows every code: logits far apart, means equal to the codes."""
    hot, rest = draw.z[:, :3], draw.z[:, 3:]
    scale = 1.0 if unit else 1e-3
    q = Joint([OneHotCategorical(logits=100 * hot), Independent(Normal(rest, scale * torch.ones_like(rest)), 1)])
    return replace(draw, qz_generated=q, qz_judged=q, unit=unit)


def test_perfect_codes_reach_a_sixth_of_a_nat_each_and_log_k_for_a_category(networks):
    torch.manual_seed(0)
    draw = game(networks)
    terms = infogan()(perfect(replace(draw, z=networks.prior().sample((200_000,))), unit=True))
    expected = torch.tensor([math.log(3), 1 / 6, 1 / 6])
    torch.testing.assert_close(terms["information_per_code"], expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(terms["information_ceiling"], expected.sum())


def test_learnt_variances_have_no_ceiling_and_a_bound_from_the_true_entropy(networks):
    terms = infogan()(perfect(game(networks), unit=False))
    assert "information_ceiling" not in terms
    assert terms["information_per_code"][1] == pytest.approx(math.log(2) - 0.5 * math.log(2 * math.pi) + math.log(1e3))


def test_a_q_that_knows_nothing_has_no_information(networks):
    draw = game(networks)
    blind = Joint(
        [part.expand((16,)) for part in (OneHotCategorical(torch.ones(3)), Independent(Flat(-torch.ones(2), 1.0), 1))]
    )
    terms = infogan()(replace(draw, qz_generated=blind, unit=False))
    torch.testing.assert_close(terms["information"], torch.zeros(()), atol=1e-6, rtol=0)


def test_a_discriminator_that_is_right_has_accuracy_one(networks):
    terms = said(networks, real=torch.ones(16), generated=-torch.ones(16))
    assert terms["accuracy_on_real"] == terms["accuracy_on_generated"] == terms["discriminator_accuracy"] == 1
    assert said(networks, real=torch.ones(16), generated=torch.ones(16))["discriminator_accuracy"] == 0.5


def test_each_side_has_a_learning_rate_and_all_weights_are_in_one_group(networks):
    generator, discriminator = infogan().groups(networks)
    assert discriminator["lr"] == 2e-4
    assert "lr" not in generator
    assert {id(p) for p in discriminator["params"]} == {id(p) for p in networks.model.encoder.parameters()}
    assert len(generator["params"]) + len(discriminator["params"]) == len(list(networks.parameters()))


def test_posterior_of_other_codes_is_refused_with_what_to_type(networks):
    draw = game(networks)
    with pytest.raises(ValueError, match="type prior=uniform posterior=joint"):
        infogan().check(replace(draw, qz_generated=Independent(Normal(draw.z, 1.0), 1)))


def test_a_learnt_prior_is_refused_and_one_of_other_densities_has_no_ceiling(networks):
    draw = game(networks)
    with pytest.raises(ValueError, match="prior must be fixed"):
        infogan().check(replace(draw, learnt=True))
    pz = MixtureSameFamily(Categorical(torch.ones(2)), Independent(Normal(torch.zeros(2, 5), 1.0), 1))
    q = Independent(Normal(torch.zeros(16, 5), 1.0), 1)
    terms = infogan()(replace(draw, pz=pz, qz_generated=q, qz_judged=q))
    assert "information_ceiling" not in terms
    torch.testing.assert_close(terms["information"], torch.zeros(()), atol=1e-6, rtol=0)


@pytest.mark.parametrize("setting", ["weight", "noise", "discriminator_lr"])
def test_settings_are_checked_at_the_door(setting):
    with pytest.raises(ValueError, match=setting):
        InfoGAN(**{"weight": 1.0, "noise": 4, "discriminator_lr": 1.0} | {setting: -1})


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> disvae.TrainedRun:
    """A run of eight steps on drawn pictures, with a category, two continuous codes and noise."""
    return disvae.train(*RUN, f"out={tmp_path_factory.mktemp('infogan')}", brief=True)


def test_a_run_logs_its_information_and_no_elbo(run):
    metrics = run.metrics()
    assert run.finished()
    assert {"val/information", "held_out/information", "val/accuracy_on_real", "val/active_units"} <= metrics.keys()
    assert metrics["val/information_ceiling"] == pytest.approx(math.log(3) + 2 / 6)
    assert not {tag for tag in metrics if tag.endswith(("elbo", "/kl", "reconstruction")) or "/overlap/" in tag}
    assert "structure/" not in " ".join(metrics)
    assert load(run.best)["best_elbo"] == pytest.approx(max(curves(run.path)["val/information"].values), abs=1e-6)
    assert Job(run, run.config()).result() == metrics["val/information"]  # optimize=val/elbo is the default


@pytest.mark.parametrize("watch", ["callbacks=[early_stopping]", "scheduler=plateau"])
def test_what_watches_the_elbo_is_told_to_watch_the_information(watch, tmp_path):
    with pytest.raises(ConfigError, match=r"has no ELBO; type \S+\.monitor=val/information"):
        disvae.train(*RUN, watch, f"out={tmp_path}")


def test_codes_are_scored_and_what_needs_an_elbo_says_why(run):
    found = run.scores()["metric"]
    assert 0 <= found["active_units"]["scores"]["count"]["model"]["value"] <= 5
    for name in ("log_likelihood", "aggregate_posterior", "mig_analytic"):
        assert "trained without an ELBO" in found[name]["failed"]["model"]
    for name in ("aggregate_posterior", "marginals", "kl_per_dimension"):
        with pytest.raises(ConfigError, match="trained without an ELBO"):
            run.figure(name)


def test_prior_samples_draw_the_noise_and_codes_alone_do_not(run):
    vae = disvae.load(run).vae
    z = torch.zeros(4, 5)
    assert torch.equal(*vae.decode(z).mean[:2].split(1))
    first, second = vae.decode(z, vae.draw_noise(z)).mean[:2]
    assert not torch.equal(first, second)
    assert run.figure("prior_samples").size[0] > 100
    assert run.figure("traversal").size[0] > 100


def test_encoded_images_have_codes_and_neither_likelihood_nor_kl(run):
    trained = disvae.load(run)
    arrays = encoded(trained, trained.dataset().images)
    assert arrays.keys() == {"codes", "samples", "parameters/mean"}
    assert arrays["codes"].shape == (384, 5)
    assert arrays["codes"][:, :3].sum(1) == pytest.approx(1.0)
