"""The three sentences at the end of a run say what its terms and scores show."""

import pytest

from disvae.config import facts, options, resolved
from disvae.runs.verdict import _advice, _balance, _disentanglement, _training, collapsed, compared, suspects

CONFIG = {
    "steps": 1000,
    "z_dim": 10,
    "seed": 0,
    "trainer": {},
    "objective": {
        "_target_": "disvae.objective.beta_vae.BetaVAE",
        "beta": {"_target_": "disvae.schedule.constant.Constant", "value": 4.0},
    },
}
GOOD = {"val/elbo": -107.6, "val/active_units": 4.0}
DEAD = {"val/elbo": -200.0, "val/active_units": 0.0}


def score(value: float, half: float | None = 0.01) -> dict[str, float | None]:
    """A score with its interval, or without one."""
    return {
        "value": value,
        "low": None if half is None else value - half,
        "high": None if half is None else value + half,
    }


def entry(name: str, model: float, pca: float, ica: float) -> dict:
    """The entry of a metric in scores.json."""
    return {"scores": {name: {"model": score(model), "pca": score(pca), "ica": score(ica, None)}}}


def test_a_score_counts_only_if_its_interval_is_above_all_baselines():
    entries = {
        "mig-bins40": entry("histogram", 0.2, 0.1, 0.15),
        "sap": entry("classification", 0.119, 0.1, 0.0),  # the intervals meet
        "factor_vae": entry("held_out", 0.5, 0.1, 0.6),
        "modularity": entry("modularity", 0.9, 0.1, 0.1),  # no headline score
    }
    above, others = compared(entries)
    assert (above, others) == (["mig-bins40/histogram"], ["sap/classification", "factor_vae/held_out"])
    said = _disentanglement(GOOD, above, others)
    assert said.startswith("Partly disentangled: 1 of 3 headline scores exceed all baselines")
    assert said.endswith("mig-bins40/histogram; not by sap/classification, factor_vae/held_out.")


def test_a_metric_counts_once_with_its_usual_settings():
    worse = entry("histogram", 0.1, 0.4, 0.3)
    entries = {"mig-bins40": worse, "mig": entry("histogram", 0.5, 0.4, 0.3), "sap": entry("classification", 0.9, 0, 0)}
    assert compared(entries) == (["mig/histogram", "sap/classification"], [])
    assert compared({"mig-bins40": worse, "mig-bins10": worse}) == ([], ["mig-bins40/histogram"])


def test_without_baselines_nothing_is_claimed():
    assert compared({"mig": {"scores": {"histogram": {"model": score(0.9)}}}}) == ([], [])
    assert "not known" in _disentanglement(GOOD, [], [])


def test_a_collapsed_run_is_called_that_and_is_trained_longer_before_its_beta_is_lowered():
    assert collapsed(DEAD)
    assert not collapsed({"val/elbo": 0.0})  # a posterior without a mean has no active units
    assert "none of the latents is active" in _training(CONFIG, DEAD, (50.0, 50.0), True)
    assert "nothing to disentangle" in _disentanglement(DEAD, ["mig/histogram"], [])
    lower = "beta=1 or schedule@schedule.beta=linear (a warm-up)."
    long = CONFIG | {"steps": 10_000}
    assert _advice(long, DEAD, False, False) == f"Next: try {lower}"
    longer = "Next: try steps={}, because short runs look like this, too"
    assert _advice(CONFIG, DEAD, False, False) == f"{longer.format(5000)}; if that is not enough, {lower}"
    assert _advice(long, DEAD, True, False).startswith(longer.format(20000))
    no_beta = {**CONFIG, "objective": {"_target_": "disvae.objective.vae.VAE"}}
    assert _advice(no_beta, DEAD, False, False) == f"{longer.format(5000)}."
    capacity = {
        **no_beta,
        "steps": 10_000,
        "objective": {"_target_": "disvae.objective.capacity.Capacity", "gamma": 1000.0},
    }
    assert _advice(capacity, DEAD, False, False) == "Next: try objective.gamma=100."


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("beta=8",), ["beta=8 (try beta=2)", "schedule@schedule.beta=constant (try linear, a warm-up)"]),
        (("schedule@schedule.beta=cosine",), ["beta=4 (try beta=1)", "schedule.beta.until=0.33"]),
        (("objective=capacity",), ["objective.gamma=100 (try objective.gamma=10)", "optimizer.lr=0.0005"]),
        (("objective=control_vae",), ["objective.target=25", "optimizer.lr=0.0005"]),
        (("objective=factor_vae",), ["objective.gamma=35 (try objective.gamma=3.5)", "optimizer.lr=0.0005"]),
        (("objective=vae", "likelihood=gaussian"), ["likelihood.scale=1", "optimizer.lr=0.0005"]),
        (("objective=vae",), ["optimizer.lr=0.0005", "batch_size=64"]),
    ],
)
def test_a_collapse_is_blamed_on_the_objectives_own_weight_and_its_warm_up(composed, overrides, expected):
    assert suspects(resolved(composed(*overrides))) == expected


@pytest.mark.parametrize(("gain", "begins"), [(None, "Trained for 1,000 steps"), ((0.3, 90.0), "Trained: ")])
def test_training_is_described_by_the_last_quarter_of_the_steps(gain, begins):
    said = _training(CONFIG, GOOD, gain, False)
    assert said.startswith(begins)
    assert "4 of 10 latents are active" in said
    assert ("0.3 nats more than at three quarters" in said) == (gain is not None)


def test_an_elbo_that_still_rises_asks_for_more_steps():
    assert _training(CONFIG, GOOD, (12.0, 90.0), True).startswith("Not trained to the end")
    assert _advice(CONFIG, GOOD, True, True) == "Next: train longer, steps=2000."
    assert "beta=2,4,8 seed=0,1,2" in _advice(CONFIG, GOOD, False, False)
    assert "beta" not in _advice(CONFIG, GOOD, False, True)


@pytest.mark.parametrize(
    "metric", [name for name in options("metric") if (facts("metric", name) or {}).get("headline")]
)
def test_a_headline_is_a_score_of_its_metric(metric):
    import numpy as np

    from disvae.config import nodes
    from disvae.system.instantiate import make

    node = nodes("metric", {}, [metric])[metric]
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 3, (300, 2))
    small = {"trees": 2} if "trees" in node else {"votes": 200, "held_out_votes": 100} if "votes" in node else {}
    scores = make({**node, **small}, f"metric.{metric}")(factors + rng.normal(size=(300, 2)), factors)
    assert facts("metric", metric)["headline"] in scores


@pytest.mark.parametrize(
    ("real", "generated", "said"),
    [
        (0.99, 0.95, "the discriminator is ahead"),
        (0.3, 0.7, "the generator is ahead"),
        (0.4, 0.8, None),
        (0.9, 0.9, None),
    ],
)
def test_a_discriminator_that_has_won_or_lost_is_said(real, generated, said):
    found = _balance({"val/accuracy_on_real": real, "val/accuracy_on_generated": generated})
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
    assert _balance(GOOD) == []


def test_a_run_without_an_elbo_is_judged_by_its_information_and_the_ceiling():
    found = _training(CONFIG, {"val/information": 0.31, "val/information_ceiling": 1 / 3}, None, False)
    assert found == "Trained for 1,000 steps: the validation information is 0.31 nats of at most 0.3333."
