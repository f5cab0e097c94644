"""UDR against its formula by loops, scipy and scikit-learn, and its limits."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import Lasso
from torch.distributions import Independent, Normal

from disvae.encoding import Encoding
from disvae.metric.udr import UDR, lasso, strength
from disvae.prior.gaussian import Gaussian
from disvae.prior.mixture import Mixture
from disvae.prior.student_t import StudentT


def encoding(codes: np.ndarray, **parts: object) -> Encoding:
    return Encoding(codes=codes.astype("f4"), factors=np.empty((len(codes), 0), int), factor_names=(), **parts)


def udr(images: int = 10_000, least_kl: float = 0.01, penalty: float = 0.1) -> UDR:
    return UDR(images=images, least_kl=least_kl, penalty=penalty)


GRID = np.array(list(itertools.product(range(5), range(6), range(7))), float)  # latents exactly uncorrelated


def test_the_same_latents_in_another_order_sign_and_scale_score_the_most():
    runs = [encoding(z) for z in (GRID, -GRID[:, [2, 0, 1]], GRID * [1e3, -1, 0.5])]
    for scores in udr()(runs):
        assert scores == pytest.approx({"spearman": 1, "lasso": 0.9, "informative": 3}, abs=1e-4)


def test_unrelated_codes_score_next_to_nothing():
    runs = [encoding(np.random.default_rng(i).standard_normal((5000, 6))) for i in range(4)]
    for scores in udr()(runs):
        assert scores["spearman"] < 0.02
        assert scores["lasso"] == 0


def test_a_rotated_run_scores_less_than_those_that_agree():
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    z = np.random.default_rng(1).standard_normal((3000, 3))
    scores = udr()([encoding(z), encoding(-z), encoding(z[:, ::-1]), encoding(z @ turn)])
    for name in ("spearman", "lasso"):
        assert min(s[name] for s in scores[:3]) > 0.85
        assert scores[3][name] < 0.8


def mixed(seed: int, D: int) -> np.ndarray:
    shared = np.random.default_rng(0).standard_normal((400, 4))
    rng = np.random.default_rng(seed)
    return np.exp(shared @ rng.standard_normal((4, D)) * 0.7) + 0.3 * rng.standard_normal((400, D))


def plain_strength(R: np.ndarray) -> float:
    of_b = [max(R[:, b]) ** 2 / sum(R[:, b]) if sum(R[:, b]) else 0 for b in range(R.shape[1])]
    of_a = [max(R[a]) ** 2 / sum(R[a]) if sum(R[a]) else 0 for a in range(R.shape[0])]
    return (sum(of_a) + sum(of_b)) / (len(of_a) + len(of_b))


def test_scores_agree_with_loops_over_scipy_and_scikit_learn():
    codes = [mixed(1, 3).astype("f4"), mixed(2, 5).astype("f4"), mixed(3, 2).astype("f4"), mixed(4, 3).astype("f4")]
    scores = udr()([encoding(z) for z in codes])
    for j, predicted in enumerate(codes):
        y = (predicted - predicted.mean(0, dtype=float)) / predicted.std(0, dtype=float)
        spearman, weights = [], []
        for i, predictor in enumerate(codes):
            if i == j:
                continue
            R = [[abs(spearmanr(a, b).statistic) for b in predicted.T] for a in predictor.T]
            spearman.append(plain_strength(np.array(R)))
            x = (predictor - predictor.mean(0, dtype=float)) / predictor.std(0, dtype=float)
            weights.append(plain_strength(np.abs(Lasso(alpha=0.1, tol=1e-8).fit(x, y).coef_.T)))
        assert scores[j]["spearman"] == pytest.approx(np.median(spearman), abs=1e-6)
        assert scores[j]["lasso"] == pytest.approx(np.median(weights), abs=1e-4)


def test_lasso_weights_are_those_of_scikit_learn_also_of_collinear_predictors():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 4)) @ rng.standard_normal((4, 4))
    x = (x - x.mean(0)) / x.std(0)
    y = x @ rng.standard_normal((4, 2)) + rng.standard_normal((300, 2))
    y = (y - y.mean(0)) / y.std(0)
    W = lasso(x.T @ x / 300, x.T @ y / 300, 0.1)
    np.testing.assert_allclose(W, Lasso(alpha=0.1, tol=1e-10, max_iter=100_000).fit(x, y).coef_.T, atol=1e-4)
    twice = np.concatenate([x, x], axis=1)
    W = lasso(twice.T @ twice / 300, twice.T @ y / 300, 0.1)
    loss = ((y - twice @ W) ** 2).sum(0) / 600 + 0.1 * np.abs(W).sum(0)
    best = Lasso(alpha=0.1, tol=1e-10, max_iter=100_000).fit(x, y)
    np.testing.assert_allclose(
        loss, ((y - best.predict(x)) ** 2).sum(0) / 600 + 0.1 * np.abs(best.coef_).sum(1), rtol=1e-4
    )


def test_strength_of_a_hand_worked_matrix():
    R = np.array([[0.8, 0.2, 0.0], [0.0, 0.6, 0.0]])
    columns = 0.8 + 0.36 / 0.8 + 0
    rows = 0.64 / 1.0 + 0.36 / 0.6
    assert strength(R) == pytest.approx((columns + rows) / 5)
    assert strength(np.zeros((0, 3))) == 0


@pytest.mark.parametrize("prior", [Gaussian(3), StudentT(3, df=5, scale=1, learn_df=False)], ids=["closed", "sampled"])
def test_latents_that_say_nothing_by_their_kl_are_left_out(prior):
    torch.manual_seed(0)
    mean = torch.tensor(GRID[:, :2] - GRID[:, :2].mean(0)).float()
    noise = torch.ones(len(mean))
    mean = torch.cat([mean, 1e-3 * torch.randn(len(mean), 1)], dim=1)

    def posterior(h):
        scale = torch.stack([0.1 * noise[: len(h)], 0.1 * noise[: len(h)], noise[: len(h)]], dim=1)
        return Independent(Normal(h, scale), 1)

    parts = {"h": mean, "posterior": posterior, "prior": prior()}
    runs = [encoding(mean.numpy(), **parts), encoding(mean.numpy()[:, ::-1].copy(), **parts | {"h": mean})]
    limit = 0.01 if isinstance(prior, Gaussian) else 0.2  # KL(N(0, 1) || t_5) is 0.02
    assert udr(least_kl=limit)(runs)[0]["informative"] == 2
    assert udr(least_kl=0.0)(runs[:1] * 2)[0]["informative"] == 3
    assert udr(least_kl=limit)(runs[:1] * 2)[0]["spearman"] == pytest.approx(1)


def test_without_a_posterior_all_latents_that_vary_count():
    codes = np.insert(GRID * [1, 1, 1e-3], 1, 5.0, axis=1)
    assert [s["informative"] for s in udr()([encoding(codes), encoding(GRID[:, :2])])] == [3, 2]


def test_under_a_mixture_the_signal_to_noise_ratio_decides():
    codes = GRID * [1, 1, 0.05]  # standard deviations 1.4, 1.7, 0.1
    prior = Mixture(3, components=2, separation=1.0, means=None, scale=0.2, learn=False)()
    h = torch.tensor(codes).float()
    for noise, informative in ((0.1, 3), (0.6, 3), (0.9, 2), (20, 0)):  # 0.5 log(1 + 0.01/0.81) is 0.006
        model = encoding(codes, h=h, prior=prior, posterior=lambda h, s=noise: Independent(Normal(h, s), 1))
        assert [s["informative"] for s in udr()([model, encoding(codes)])] == [informative, 3]


def test_collapsed_runs_score_zero():
    scores = udr()([encoding(np.full((200, 3), 0.1)), encoding(np.random.default_rng(0).standard_normal((200, 3)))])
    assert scores[0] == {"spearman": 0, "lasso": 0, "informative": 0}
    assert scores[1] == {"spearman": 0, "lasso": 0, "informative": 3}


def test_images_bounds_the_rows_by_seed():
    runs = [encoding(np.random.default_rng(i).standard_normal((1000, 3))) for i in range(3)]
    assert udr(images=100)(runs, seed=1) == udr(images=100)(runs, seed=1)
    assert udr(images=100)(runs, seed=1) != udr(images=100)(runs, seed=2)


def test_runs_that_cannot_be_compared_are_refused():
    z = np.random.default_rng(0).standard_normal((100, 2))
    with pytest.raises(ValueError, match="at least two runs are needed, got 1"):
        udr()([encoding(z)])
    with pytest.raises(ValueError, match="got 100 and 99 of them"):
        udr()([encoding(z), encoding(z[1:])])
    with pytest.raises(ValueError, match="got different ones in run 1 and run 0"):
        udr()([encoding(z, rows=np.arange(100)), encoding(z, rows=np.arange(1, 101))])
    with pytest.raises(ValueError, match="penalty must be"):
        udr(penalty=1.0)
    with pytest.raises(ValueError, match="least_kl must be"):
        udr(least_kl=-1)
    with pytest.raises(ValueError, match="images must be"):
        udr(images=1)
