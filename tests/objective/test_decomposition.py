"""beta and alpha act apart; the released form of the mixture's KL is the documented one."""

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from disvae.divergence.jsd import JSD
from disvae.divergence.kl_inclusive import KLInclusive
from disvae.divergence.mmd import MMD
from disvae.objective.decomposition import Decomposition
from disvae.schedule.constant import Constant

BETA, ALPHA = Constant(value=2), Constant(value=5)
MIXTURE = MixtureSameFamily(Categorical(torch.ones(4)), Independent(Normal(torch.eye(4)[:, :3], 0.3), 1))


def test_loss_is_the_papers_formula(draw):
    terms = Decomposition(BETA, ALPHA, MMD("imq", "per_dimension"))(draw())
    expected = terms["reconstruction"] + 2 * terms["kl"] + 5 * terms["divergence_minibatch"]
    torch.testing.assert_close(terms["loss"], expected)


def test_released_kl_counts_the_mixture_once_per_latent(draw):
    passed = draw(pz=MIXTURE)
    log_q, log_p = passed.qz_x.log_prob(passed.z), MIXTURE.log_prob(passed.z)
    right = Decomposition(BETA, ALPHA, KLInclusive())(passed)
    released = Decomposition(BETA, Constant(value=0), KLInclusive(), released_mixture_kl=True)(passed)
    torch.testing.assert_close(right["kl"], (log_q - log_p).mean())
    torch.testing.assert_close(released["kl_released"], (log_q - 3 * log_p).mean())
    torch.testing.assert_close(released["loss"], released["reconstruction"] + 2 * released["kl_released"])
    torch.testing.assert_close(released["elbo"], right["elbo"])
    assert "kl_released" not in right


def test_released_kl_is_refused_where_it_changes_nothing(draw):
    objective = Decomposition(BETA, ALPHA, KLInclusive(), released_mixture_kl=True)
    with pytest.raises(ValueError, match="prior=mixture"):
        objective.check(draw())
    objective.check(draw(pz=MIXTURE))


def test_the_divergences_classifier_trains_with_the_objective_and_leaks_nothing(vae, draw, gradients):
    torch.manual_seed(0)
    divergence = JSD(z_dim=3, width=8, layers=2)
    objective = Decomposition(BETA, ALPHA, divergence)
    (group,) = objective.parameter_groups()
    assert len(group["params"]) == len(list(divergence.parameters()))
    joint = gradients(objective)
    assert all((p.grad != 0).any() for p in divergence.parameters())
    parts = [gradients(objective, name) for name in ("reconstruction", "kl", "divergence_minibatch")]
    expected = {name: parts[0][name] + 2 * parts[1][name] + 5 * parts[2][name] for name in joint}
    torch.testing.assert_close(joint, expected, atol=1e-5, rtol=1e-4)


def test_fit_loss_is_part_of_the_loss(draw):
    torch.manual_seed(0)
    objective = Decomposition(BETA, ALPHA, JSD(z_dim=3, width=8, layers=2))
    terms = objective(draw())
    rest = terms["reconstruction"] + 2 * terms["kl"] + 5 * terms["divergence_minibatch"]
    assert 0.5 < (terms["loss"] - rest).item() < 0.9  # about log 2 before any training
