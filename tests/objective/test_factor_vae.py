"""The density-ratio total correlation, and that neither network learns from the other's loss."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from disvae.objective.factor_vae import FactorVAE, shuffle_latents


def factor_vae(gamma: float = 10.0) -> FactorVAE:
    torch.manual_seed(0)
    return FactorVAE(z_dim=3, gamma=gamma, width=16, layers=2, discriminator_lr=1e-4)


class Perfect(nn.Module):
    """The log-ratio of the best classifier of N(0, V) from its marginals."""

    def __init__(self, V: Tensor) -> None:
        super().__init__()
        zeros = torch.zeros(len(V))
        self.joint = MultivariateNormal(zeros, V)
        self.product = MultivariateNormal(zeros, V.diag().diag())

    def ratio_and_fit_terms(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.joint.log_prob(a) - self.product.log_prob(a), torch.zeros(()), torch.ones(())


def test_perfect_classifier_gives_the_gaussian_total_correlation(draw):
    torch.manual_seed(0)
    V = torch.tensor([[1.0, 0.7, 0.0], [0.7, 1.0, 0.2], [0.0, 0.2, 2.0]])
    objective = factor_vae()
    objective.ratio = Perfect(V)
    z = MultivariateNormal(torch.zeros(3), V).sample((200_000,))
    exact = 0.5 * (V.diag().log().sum() - V.logdet())
    terms = objective(replace(draw(), z=z))
    torch.testing.assert_close(terms["tc_density_ratio"], exact, atol=0.01, rtol=0)
    assert exact > 0.3


def test_loss_is_the_negative_elbo_plus_gamma_tc_plus_the_classifiers(draw):
    terms = factor_vae(gamma=10)(draw())
    expected = -terms["elbo"] + 10 * terms["tc_density_ratio"] + terms["discriminator_loss"]
    torch.testing.assert_close(terms["loss"], expected)


def test_classifier_loss_never_reaches_the_vae_and_tc_never_the_classifier(vae, draw, gradients):
    objective = factor_vae()
    assert (gradients(objective, "tc_density_ratio")["encoder.weight"] != 0).any()
    assert all(p.grad is None for p in objective.parameters())
    terms = objective(draw())
    assert all(
        g is None for g in torch.autograd.grad(terms["discriminator_loss"], list(vae.parameters()), allow_unused=True)
    )


def test_joint_step_gives_each_network_the_gradient_it_would_have_alone(draw, gradients):
    objective = factor_vae(gamma=10)
    joint = gradients(objective)
    joint_classifier = [p.grad.clone() for p in objective.parameters()]
    of_elbo, of_tc = gradients(objective, "elbo"), gradients(objective, "tc_density_ratio")
    alone = {name: -of_elbo[name] + 10 * of_tc[name] for name in joint}
    torch.testing.assert_close(joint, alone, atol=1e-5, rtol=1e-4)
    objective.zero_grad()
    gradients(objective, "discriminator_loss")
    for a, p in zip(joint_classifier, objective.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)


def test_shuffling_permutes_each_latent_on_its_own_over_the_batch():
    torch.manual_seed(0)
    z = torch.arange(300.0)[:, None] + torch.tensor([0.0, 1000.0])
    shuffled = shuffle_latents(z)
    assert torch.equal(shuffled.sort(0).values, z)  # the marginals stay
    assert (shuffled[:, 0] + 1000 != shuffled[:, 1]).float().mean() > 0.9  # the pairs do not


def test_classifier_trains_in_a_group_of_its_own():
    (group,) = factor_vae().parameter_groups()
    assert (group["lr"], group["betas"]) == (1e-4, (0.5, 0.9))
    assert len(group["params"]) == 6


def test_missing_second_batch_is_an_error(draw):
    with pytest.raises(ValueError, match="z_extra must hold"):
        factor_vae()(draw(z_extra=torch.zeros(0, 3)))


@pytest.mark.parametrize("setting", ["gamma", "discriminator_lr", "layers"])
def test_settings_are_checked_at_the_door(setting):
    with pytest.raises(ValueError, match=setting):
        FactorVAE(**{"z_dim": 2, "gamma": 1, "width": 4, "layers": 1, "discriminator_lr": 1.0} | {setting: -1})
