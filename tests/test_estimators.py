"""KL, minibatch weights, prior samples, MMD and the density ratio against closed forms, quadrature and plain loops."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
    kl_divergence,
)
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy

from disvae.estimators import (
    SCALES,
    DensityRatio,
    batch_log_density,
    elbo_terms,
    factorised,
    kl,
    kl_per_dimension,
    log_weights,
    marginals,
    minibatch_log_densities,
    mmd,
    rsample,
)
from disvae.statistics.aggregate_posterior import Aggregate
from disvae.vae import Draw


def normal(loc: Tensor, scale: Tensor | float) -> Distribution:
    return Independent(Normal(loc, scale), 1)


def pinwheel() -> Distribution:
    means = torch.tensor([[0.0, -1.0], [0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])
    return MixtureSameFamily(Categorical(torch.ones(4)), normal(means, 0.03**0.5 * torch.ones(4, 2)))


def sparse(D: int) -> Distribution:
    scales = torch.tensor([0.05, 1.0]).expand(D, 2)
    weights = Categorical(torch.tensor([0.8, 0.2]).expand(D, 2))
    return Independent(MixtureSameFamily(weights, Normal(torch.zeros(D, 2), scales)), 1)


# -- KL


def test_kl_of_two_gaussians_is_the_textbook_formula():
    torch.manual_seed(0)
    m, s, t = torch.randn(5, 3), torch.rand(5, 3) + 0.1, torch.rand(3) + 0.5
    q, p = normal(m, s), normal(torch.zeros(3), t)
    per_latent = (t / s).log() + (s**2 + m**2) / (2 * t**2) - 0.5
    torch.testing.assert_close(kl(q, p, q.sample()), per_latent.sum(1))
    torch.testing.assert_close(kl_per_dimension(q, p, q.sample()), per_latent.mean(0))


@pytest.mark.parametrize(("df", "expected"), [(3.0, 0.991869), (9.0, 0.914160), (30.0, 0.886099)])
def test_sampled_kl_to_student_t_agrees_with_quadrature(df, expected):
    torch.manual_seed(0)
    q = normal(torch.full((200_000, 1), 0.5), 0.3)
    p = Independent(StudentT(torch.tensor([df])), 1)
    assert kl(q, p, q.sample()).mean().item() == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize(("m", "s", "expected"), [(0.5, 0.3, 2.161045), (0.0, 0.05, 0.191245), (0.0, 1.0, 1.241539)])
def test_sampled_kl_to_the_sparse_prior_agrees_with_quadrature(m, s, expected):
    torch.manual_seed(0)
    q = normal(torch.full((400_000, 1), m), s)
    assert kl(q, sparse(1), q.sample()).mean().item() == pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize(("m", "s"), [((0.0, -1.0), (0.03**0.5, 0.03**0.5)), ((0.9, 0.1), (0.1, 0.2))])
def test_kl_to_a_mixture_agrees_with_quadrature_and_counts_log_p_once(m, s):
    torch.manual_seed(0)
    p = pinwheel()
    q = normal(torch.tensor(m), torch.tensor(s))
    axis = torch.linspace(-3, 3, 1201)
    grid = torch.cartesian_prod(axis, axis)
    log_q = q.log_prob(grid)
    exact = (log_q.exp() * (log_q - p.log_prob(grid))).sum() * (axis[1] - axis[0]) ** 2
    assert exact.item() == pytest.approx(1.38616 if m[0] == 0 else 1.9579, abs=2e-4)
    batch = q.expand((200_000,))
    estimate = kl(batch, p, batch.sample())
    assert estimate.shape == (200_000,)
    assert estimate.mean().item() == pytest.approx(exact.item(), abs=1e-2)


def correlated(B: int, D: int) -> MultivariateNormal:
    L = torch.randn(B, D, D).tril(-1) * 0.5 + torch.diag_embed(torch.rand(B, D) + 0.3)
    return MultivariateNormal(torch.randn(B, D), scale_tril=L)


def test_full_covariance_kl_to_a_factorised_gaussian_is_closed_form():
    torch.manual_seed(0)
    q, t = correlated(4, 3), torch.tensor([0.5, 1.0, 2.0])
    expected = kl_divergence(q, MultivariateNormal(torch.zeros(3), torch.diag(t**2)))
    torch.testing.assert_close(kl(q, normal(torch.zeros(3), t), q.sample()), expected)


def test_full_covariance_kl_to_a_laplace_prior_is_closed_form():
    torch.manual_seed(0)
    q, p = correlated(1, 3), Independent(Laplace(torch.zeros(3), torch.ones(3)), 1)
    closed = kl(q, p, q.sample())
    torch.testing.assert_close(closed, kl(q, p, q.sample()))  # does not depend on the sample
    z = q.sample((200_000,))
    log_ratio = q.log_prob(z) - p.log_prob(z)
    assert closed.item() == pytest.approx(log_ratio.mean().item(), abs=4 * log_ratio.std().item() / 200_000**0.5)


@pytest.mark.parametrize("p", [normal(torch.zeros(2), torch.ones(2)), sparse(2)], ids=["gaussian", "sparse"])
def test_kl_per_dimension_sums_to_the_kl(p):
    torch.manual_seed(0)
    q = normal(torch.randn(7, 2), torch.rand(7, 2) + 0.1)
    z = q.sample()
    torch.testing.assert_close(kl_per_dimension(q, p, z).sum(), kl(q, p, z).mean())
    torch.testing.assert_close(kl(q, sparse(2), z), q.log_prob(z) - sparse(2).log_prob(z))


def test_kl_per_dimension_is_absent_where_latents_are_not_independent():
    q, gaussian = normal(torch.zeros(3, 2), torch.ones(3, 2)), normal(torch.zeros(2), torch.ones(2))
    assert kl_per_dimension(q, pinwheel(), q.sample()) is None
    assert kl_per_dimension(correlated(3, 2), gaussian, q.sample()) is None


def test_marginals_of_a_full_covariance_are_not_its_factors():
    q = MultivariateNormal(torch.tensor([1.0, 2.0]), torch.tensor([[4.0, 1.5], [1.5, 1.0]]))
    assert factorised(q) is None
    torch.testing.assert_close(marginals(q).mean, torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(marginals(q).stddev, torch.tensor([2.0, 1.0]))
    assert marginals(pinwheel()) is None


def test_elbo_terms_sum_over_pixels_and_latents():
    q, p = normal(torch.zeros(5, 3), torch.ones(5, 3)), normal(torch.zeros(3), torch.ones(3))
    x = torch.ones(5, 1, 4, 4)
    px_z = Independent(Bernoulli(logits=torch.zeros_like(x)), 3)
    terms = elbo_terms(Draw(x, q.sample(), q, p, px_z, step=0, N=5, z_extra=torch.zeros(0, 3)))
    assert terms["reconstruction"].item() == pytest.approx(16 * math.log(2))
    assert terms["kl"].item() == 0
    assert terms["elbo"].item() == pytest.approx(-16 * math.log(2))
    shifted = normal(torch.tensor([[1.0, 0.0, 2.0]]).expand(5, 3), torch.ones(5, 3))
    terms = elbo_terms(Draw(x, q.sample(), shifted, p, px_z, step=0, N=5, z_extra=torch.zeros(0, 3)))
    torch.testing.assert_close(terms["kl_per_dimension"], torch.tensor([0.5, 0.0, 2.0]))
    assert terms["kl"].item() == pytest.approx(2.5)


# -- minibatch weights


@given(B=st.integers(2, 40), more=st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_stratified_weights_sum_to_one_and_give_a_sample_its_own_posterior_one_nth(B, more):
    N = B + more
    W = log_weights("mss", B, N).double().exp()
    torch.testing.assert_close(W.sum(1), torch.ones(B).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(W.diagonal(), torch.full((B,), 1 / N).double())
    next_to_it = W[torch.arange(B), (torch.arange(B) + 1) % B]
    torch.testing.assert_close(next_to_it, torch.full((B,), (N - B + 1) / (N * (B - 1))).double())


def test_stratified_weights_are_unbiased_for_q_of_z():
    # every ordered batch of 3 out of 5 images, so the expectation is exact
    torch.manual_seed(0)
    N, B = 5, 3
    density = torch.rand(N).double()  # q(z|x_n) at one code z drawn from image 0
    W = log_weights("mss", B, N).double().exp()
    mean = {}
    for row in range(B):
        batches = [b for b in itertools.permutations(range(N), B) if b[row] == 0]
        mean[row] = sum((W[row] * density[list(b)]).sum() for b in batches).item() / len(batches)
    assert mean == pytest.approx(dict.fromkeys(range(B), density.mean().item()), abs=1e-7)


def test_minibatch_weighted_sampling_is_too_low_by_what_its_docstring_says():
    N, B, D = 1000, 16, 3
    z = torch.randn(B, D)
    same = normal(torch.zeros(B, D), torch.ones(B, D))  # all posteriors overlap: log N too low
    log_qz, log_qz_d = minibatch_log_densities(same, z, N, "mws")
    torch.testing.assert_close(log_qz - same.log_prob(z), torch.full((B,), -math.log(N)), atol=1e-4, rtol=0)
    torch.testing.assert_close(log_qz_d, factorised(same).log_prob(z) - math.log(N), atol=1e-4, rtol=0)
    apart = normal(100 * torch.arange(B)[:, None].expand(B, D).float(), torch.ones(B, D))  # none do: log B too low
    log_qz, _ = minibatch_log_densities(apart, apart.mean, N, "mws")
    true = apart.log_prob(apart.mean) - math.log(N)
    torch.testing.assert_close(log_qz - true, torch.full((B,), -math.log(B)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("estimator", ["mws", "mss"])
def test_minibatch_densities_agree_with_plain_loops(estimator):
    torch.manual_seed(0)
    B, D, N = 6, 3, 50
    q = normal(torch.randn(B, D), torch.rand(B, D) + 0.2)
    z = q.sample()
    M = B - 1

    def weight(i: int, j: int) -> float:
        if estimator == "mws":
            return 1 / (N * B)
        return 1 / N if i == j else (N - M) / (N * M) if j == (i + 1) % B else 1 / M

    density = Normal(q.mean.double(), q.stddev.double()).log_prob(z.double()[:, None]).exp().numpy()  # (B, B, D)
    log_qz, log_qz_d = minibatch_log_densities(q, z, N, estimator)
    for i in range(B):
        joint = sum(weight(i, j) * np.prod(density[i, j]) for j in range(B))
        assert log_qz[i].item() == pytest.approx(math.log(joint), abs=1e-4)
        for d in range(D):
            marginal = sum(weight(i, j) * density[i, j, d] for j in range(B))
            assert log_qz_d[i, d].item() == pytest.approx(math.log(marginal), abs=1e-4)


@pytest.mark.parametrize(("B", "N"), [(1, 10), (11, 10)])
def test_stratified_weights_refuse_batches_they_cannot_weigh(B, N):
    with pytest.raises(ValueError, match="batch_size must be in"):
        log_weights("mss", B, N)
    assert log_weights("mws", B, N).shape == (B, B)


def test_unknown_estimator_is_refused():
    with pytest.raises(ValueError, match="estimator must be mws or mss"):
        log_weights("both", 4, 10)


def parts(log_qz_x: Tensor, log_qz: Tensor, log_qz_d: Tensor, log_pz: Tensor) -> dict[str, float]:
    return {
        "mi": (log_qz_x - log_qz).mean().item(),
        "tc": (log_qz - log_qz_d.sum(1)).mean().item(),
        "dwkl": (log_qz_d.sum(1) - log_pz).mean().item(),
    }


def test_fixed_stratified_sampling_is_right_where_the_weighted_one_is_ninety_nats_off():
    torch.manual_seed(0)
    N, D, B = 20_000, 10, 256
    loc = torch.randn(N, D)
    p = normal(torch.zeros(D), torch.ones(D))
    aggregate = Aggregate(lambda h: Independent(Normal(h, 0.15, validate_args=False), 1), loc)
    estimates = {}
    for name in ("truth", "mws", "mss"):
        means = []
        for _ in range(1 if name == "truth" else 4):
            q = normal(loc[torch.randperm(N)[:B]], 0.15)
            z = q.sample()
            densities = aggregate.log_densities(z) if name == "truth" else minibatch_log_densities(q, z, N, name)
            means.append(parts(q.log_prob(z), *densities, p.log_prob(z)))
        estimates[name] = {k: np.mean([m[k] for m in means]) for k in means[0]}
    truth, mws, mss = estimates["truth"], estimates["mws"], estimates["mss"]
    assert truth["mi"] == pytest.approx(9.90, abs=0.02)
    assert truth["tc"] == pytest.approx(9.21, abs=0.4)
    assert mss["mi"] == pytest.approx(truth["mi"], abs=0.05)
    assert mss["tc"] == pytest.approx(truth["tc"], abs=1.0)
    assert mws["mi"] - truth["mi"] == pytest.approx(math.log(B), abs=0.1)  # disjoint in the joint ...
    assert mws["tc"] - truth["tc"] == pytest.approx(D * math.log(N) - math.log(B), abs=1.0)  # ... overlapping in each


def test_fixed_stratified_sampling_finds_the_terms_of_a_linear_gaussian_model():
    torch.manual_seed(0)
    D, N, B = 4, 20_000, 2048
    A = torch.tensor([[1.0, 0.3, 0.0, 0.2], [0.5, 1.0, 0.0, 0.0], [0.0, 0.0, 0.8, 0.4], [0.0, 0.2, 0.0, 1.2]])
    s = 0.6
    V = A @ A.T + s**2 * torch.eye(D)
    expected = {
        "mi": 0.5 * (V.logdet().item() - D * math.log(s**2)),
        "tc": 0.5 * (V.diag().log().sum() - V.logdet()).item(),
        "dwkl": 0.5 * (V.diag() - 1 - V.diag().log()).sum().item(),
    }
    p = normal(torch.zeros(D), torch.ones(D))
    runs = []
    for _ in range(3):
        q = normal(torch.randn(B, D) @ A.T, s)
        z = q.sample()
        runs.append(parts(q.log_prob(z), *minibatch_log_densities(q, z, N, "mss"), p.log_prob(z)))
    mean = {name: np.mean([run[name] for run in runs]) for name in expected}
    assert mean == pytest.approx(expected, abs=0.2)
    assert min(expected.values()) > 0.2  # a term of zero would be found by anything


def test_batch_density_of_one_image_is_its_posterior():
    q, z = normal(torch.zeros(1, 2), torch.ones(1, 2)), torch.randn(5, 2)
    torch.testing.assert_close(batch_log_density(q, z), q.log_prob(z))


# -- prior samples


def test_mixture_samples_pass_gradients_to_the_components_that_were_drawn():
    torch.manual_seed(0)
    means, scales = torch.randn(3, 2, requires_grad=True), torch.ones(3, 2, requires_grad=True)
    weights = torch.tensor([0.5, 0.3, 0.2])
    z = rsample(MixtureSameFamily(Categorical(weights), normal(means, scales)), 20_000)
    assert z.shape == (20_000, 2)
    z.sum().backward()
    torch.testing.assert_close(means.grad / 20_000, weights[:, None].expand(3, 2), atol=0.02, rtol=0)
    torch.testing.assert_close(z.mean(0), weights @ means, atol=0.05, rtol=0)
    assert (scales.grad != 0).all()


def test_sparse_prior_samples_pass_gradients_and_keep_the_moments():
    torch.manual_seed(0)
    scale = torch.tensor([[0.05, 1.0], [0.05, 2.0]], requires_grad=True)
    mixture = MixtureSameFamily(Categorical(torch.tensor([0.8, 0.2]).expand(2, 2)), Normal(torch.zeros(2, 2), scale))
    p = Independent(mixture, 1)
    z = rsample(p, 100_000)
    torch.testing.assert_close(z.var(0), p.variance, rtol=0.03, atol=0)
    z.square().mean(0).sum().backward()  # d E[z^2] / d s_k = 2 w_k s_k
    torch.testing.assert_close(scale.grad, 2 * torch.tensor([0.8, 0.2]) * scale.detach(), rtol=0.05, atol=0)


def test_learnt_mixture_weights_are_refused_not_silently_left_without_gradient():
    logits = torch.zeros(2, requires_grad=True)
    p = MixtureSameFamily(Categorical(logits=logits), normal(torch.zeros(2, 3), torch.ones(2, 3)))
    with pytest.raises(ValueError, match="mixture weights must be fixed"):
        rsample(p, 4)


@given(n=st.integers(1, 20), D=st.integers(1, 6), K=st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_prior_samples_have_one_row_each(n, D, K):
    for p in (
        normal(torch.zeros(D), torch.ones(D)),
        Independent(StudentT(torch.full((D,), 3.0)), 1),
        MixtureSameFamily(Categorical(torch.ones(K)), normal(torch.zeros(K, D), torch.ones(K, D))),
        sparse(D),
    ):
        assert rsample(p, n).shape == (n, D)


# -- MMD


def loop_mmd(x: np.ndarray, y: np.ndarray, kernel: str, scope: str) -> float:
    if scope == "per_dimension":
        return sum(loop_mmd(x[:, [d]], y[:, [d]], kernel, "joint") for d in range(x.shape[1]))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        d2, D = ((a - b) ** 2).sum(), len(a)
        return sum(2 * s * D / (2 * s * D + d2) if kernel == "imq" else math.exp(-d2 / (2 * s * D)) for s in SCALES)

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


@pytest.mark.parametrize("block", [2**18, 20])
@pytest.mark.parametrize("scope", ["joint", "per_dimension"])
@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_agrees_with_plain_loops(monkeypatch, kernel, scope, block):
    monkeypatch.setattr("disvae.estimators._block", lambda x: block)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(7, 3)) * 2 + 1
    value = mmd(torch.from_numpy(x), torch.from_numpy(y), kernel, scope).item()
    assert value == pytest.approx(loop_mmd(x, y, kernel, scope), abs=1e-10)


def test_per_dimension_mmd_does_not_depend_on_the_size_of_its_blocks():
    torch.manual_seed(0)
    x, y = torch.randn(300, 7), torch.randn(300, 7) + 0.3  # 300^2 codes: two latents a block
    one_by_one = sum(mmd(x[:, [d]], y[:, [d]], "imq", "per_dimension") for d in range(7))
    torch.testing.assert_close(mmd(x, y, "imq", "per_dimension"), one_by_one)


@pytest.mark.parametrize("delta", [0.0, 1.0])
def test_rbf_mmd_of_gaussians_is_the_closed_form(delta):
    # E exp(-|a - b|^2 / C) for a - b ~ N(m, 2 I) in D dimensions is (1 + 4/C)^(-D/2) exp(-|m|^2 / (C + 4))
    torch.manual_seed(0)
    D, n = 2, 3000
    x, y = torch.randn(n, D), torch.randn(n, D) + delta
    exact = 0.0
    for s in SCALES:
        C = 2 * s * D
        exact += 2 * (1 + 4 / C) ** (-D / 2) * (1 - math.exp(-D * delta**2 / (C + 4)))
    assert mmd(x, y, "rbf", "joint").item() == pytest.approx(exact, abs=0.02)


def test_mmd_of_equal_distributions_is_zero_on_average_and_at_times_negative():
    torch.manual_seed(0)
    values = torch.stack([mmd(torch.randn(50, 3), torch.randn(50, 3), "imq", "per_dimension") for _ in range(200)])
    assert abs(values.mean().item()) < 4 * values.std().item() / 200**0.5
    assert (values < 0).any()


def test_only_the_joint_mmd_sees_dependence_between_latents():
    torch.manual_seed(0)
    x, z = torch.randn(2000, 2), torch.randn(2000)
    y = torch.stack([z, z], dim=1)  # standard normal marginals
    assert abs(mmd(x, y, "imq", "per_dimension").item()) < 0.02
    assert mmd(x, y, "imq", "joint").item() > 0.2


def test_mmd_refuses_a_single_code():
    with pytest.raises(ValueError, match="batch_size must be at least 2"):
        mmd(torch.zeros(1, 2), torch.zeros(5, 2), "imq", "joint")


# -- density ratio


def test_no_gradient_passes_between_codes_and_classifier():
    torch.manual_seed(0)
    ratio, z = DensityRatio(3, width=16, layers=2), torch.randn(8, 3, requires_grad=True)
    ratio(z).sum().backward()
    assert (z.grad != 0).any()
    assert all(p.grad is None for p in ratio.parameters())
    z.grad = None
    ratio.fit_terms(z, z * 2)[0].backward()
    assert z.grad is None
    assert all((p.grad != 0).any() for p in ratio.parameters())


def test_one_pass_has_the_gradients_of_two_networks_with_frozen_parts():
    torch.manual_seed(0)
    ratio = DensityRatio(3, width=16, layers=3).double()
    a, b = (torch.randn(8, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    log_ratio, loss, accuracy = ratio.ratio_and_fit_terms(a, b)
    (5 * log_ratio.square().mean() + loss).backward()
    frozen = {name: p.detach() for name, p in ratio.net.named_parameters()}
    logits = functional_call(ratio.net, frozen, (a,))
    (of_a,) = torch.autograd.grad(5 * (logits[:, 0] - logits[:, 1]).square().mean(), a)
    logits = ratio.net(torch.cat([a, b]).detach())
    labels = torch.arange(2).repeat_interleave(8)
    of_weights = torch.autograd.grad(cross_entropy(logits, labels), list(ratio.parameters()))
    torch.testing.assert_close([a.grad, *(p.grad for p in ratio.parameters())], [of_a, *of_weights])
    assert b.grad is None
    torch.testing.assert_close(accuracy, (logits.argmax(1) == labels).double().mean().float())


def test_the_density_ratio_of_stacked_classifiers_is_that_of_each():
    torch.manual_seed(0)
    ratios, z = [DensityRatio(3, width=8, layers=2) for _ in range(2)], torch.randn(2, 4, 3)
    stacked = {name: torch.stack([dict(r.named_parameters())[name].detach() for r in ratios]).requires_grad_()
               for name, _ in ratios[0].named_parameters()}  # fmt: skip

    class Fit(nn.Module):
        def __init__(self):
            super().__init__()
            self.ratio = ratios[0]

        def forward(self, z):
            log_ratio, loss, _ = self.ratio.ratio_and_fit_terms(z, -z)
            return log_ratio.detach().sum() + loss

    fit = Fit()
    vmap(lambda own, z: functional_call(fit, {f"ratio.{name}": p for name, p in own.items()}, (z,)))(
        stacked, z
    ).sum().backward()
    for k, ratio in enumerate(ratios):
        ratio.fit_terms(z[k], -z[k])[0].backward()
        for name, p in ratio.named_parameters():
            torch.testing.assert_close(stacked[name].grad[k], p.grad)


def test_classifier_at_chance_has_a_loss_of_log_two():
    ratio = DensityRatio(3, width=4, layers=1)
    for p in ratio.parameters():
        nn.init.zeros_(p)
    loss, _ = ratio.fit_terms(torch.randn(8, 3), torch.randn(8, 3))
    assert loss.item() == pytest.approx(math.log(2))
    assert (ratio(torch.randn(8, 3)) == 0).all()


def test_trained_classifier_finds_the_log_ratio_of_two_gaussians():
    torch.manual_seed(0)
    ratio = DensityRatio(1, width=32, layers=2)
    optimiser = torch.optim.Adam(ratio.parameters(), lr=3e-3)
    for _ in range(400):
        optimiser.zero_grad()
        ratio.fit_terms(torch.randn(256, 1) + 1, torch.randn(256, 1))[0].backward()
        optimiser.step()
    z = torch.linspace(-0.5, 1.5, 9)[:, None]
    torch.testing.assert_close(ratio(z), z[:, 0] - 0.5, atol=0.3, rtol=0)  # log N(z; 1, 1) - log N(z; 0, 1)
