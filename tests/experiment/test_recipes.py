"""Recipes: every YAML composes into claims about runs that its sweep makes, and findings are stored and listed."""

import itertools
import json
import math
import re

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from disvae.config import ConfigError, check_values, conf_dir, resolved
from disvae.evaluation.codes_file import write
from disvae.experiment.burgess_capacity import shares
from disvae.experiment.claims import Curves, claims, judge
from disvae.experiment.higgins_2d_shapes import Higgins2DShapes
from disvae.experiment.locatello_protocol import LocatelloProtocol
from disvae.experiment.recipe import Recipe, stored
from disvae.recipes import known_recipes, recipes
from disvae.runs.folder import Run
from disvae.runs.settings import flat_settings
from disvae.sweep.axes import expand

RECIPES = sorted(known_recipes())


def composed_recipe(name, *overrides):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("config", overrides=[f"experiment={name}", *overrides], return_hydra_config=True)


def values(params):
    """The values of an axis of a sweep; braces and brackets hold commas."""
    return re.findall(r"\{[^}]*\}|[^,{}]+", expand(f"x={params}").partition("=")[2].strip())


def jobs(name):
    """The settings of the runs of one seed of a recipe."""
    params = composed_recipe(name).hydra.sweeper.params or {}
    axes = [[f"{key}={value.strip()}" for value in values(str(text))] for key, text in params.items() if key != "seed"]
    return [flat_settings(resolved(composed_recipe(name, *overrides))) for overrides in itertools.product(*axes)]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_composes_and_its_claims_are_about_its_runs(name, monkeypatch, tmp_path):
    cfg = composed_recipe(name)
    node = OmegaConf.to_container(cfg.hydra.callbacks.recipe, resolve=True)
    wanted = claims(node["claims"])
    assert node["cost"]
    if all(claim.exact for claim in wanted.values()):
        with pytest.raises(ConfigError, match=r"trains nothing: type python -m disvae.recipes"):
            check_values(cfg)
        return
    check_values(cfg)
    there = jobs(name)
    for label, claim in wanted.items():
        for where in (claim.where, claim.against or {}):
            for key, value in where.items():
                allowed = value if isinstance(value, list) else [value]
                made = {of[key] for of in there if key in of}
                assert set(allowed) <= made, f"{name}, {label}: no run has {key}={value}, they have {made}"
        found = judge({label: claim}, [Curves(of, {}) for of in there], {})
        assert not any(of.mixed for of in found.values())
        if claim.per == "mean" and claim.band is not None:
            assert len(values(str(cfg.hydra.sweeper.params.seed))) >= 2 or "range" in cfg.hydra.sweeper.params.seed


def test_names_with_full_are_the_recipes_with_the_papers_settings():
    for name in RECIPES:
        if name.endswith("_full"):
            assert name.removesuffix("_full") in RECIPES


def test_the_example_in_the_docs_is_a_recipe():
    text = (conf_dir().parent / "docs/reproduction.md").read_text()
    node = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    recipe = node["hydra"]["callbacks"]["recipe"]
    assert claims(recipe["claims"])["overlap"].ends == (-math.inf, 0)
    assert recipe["_target_"] == f"{Recipe.__module__}.{Recipe.__name__}"


class Plain(Recipe):
    """A recipe of fabricated runs."""

    def _values(self, run):
        return Curves({"seed": run}, {"x": float(run)})

    def exact(self):
        return {"y": 2.0}


NODE = {
    "a": {"says": "the mean of x", "of": "x", "band": [0, 9], "source": "table", "published": 2},
    "b": {"says": "the value of y", "of": "y", "band": [3, None], "per": "run", "exact": True, "source": "memory"},
}


def test_findings_are_printed_stored_and_drawn(tmp_path, capsys):
    recipe = Plain(claims=NODE, cost="no time")
    recipe.conclude("plain", tmp_path, ["steps=1"])
    said = capsys.readouterr().out
    assert re.search(r"the value of y .* 2 +≥ 3 +outside", said)
    assert "Not the runs of the recipe itself: steps=1" in said
    content = json.loads((tmp_path / "recipes/plain.json").read_text())
    assert {name: of["verdict"] for name, of in content["claims"].items()} == {
        "a": "not decidable with these seeds",
        "b": "outside",
    }
    assert content["changed"] == ["steps=1"]
    page = (tmp_path / "recipes/plain.html").read_text()
    assert "the value of y" in page
    assert "each value beside its band" in page.lower()
    assert stored(tmp_path, "plain")["claims"].keys() == {"a", "b"}


def test_where_data_lie_and_how_jobs_run_does_not_change_a_recipe(tmp_path):
    typed = ["experiment=plain", "dataset.path=/data", "launcher.processes=1", "dataset.size=8", "steps=1"]
    hydra = {"overrides": {"task": typed}, "runtime": {"choices": {"experiment": "plain"}}}
    Plain(claims=NODE, cost="no time").on_multirun_end(OmegaConf.create({"out": str(tmp_path), "hydra": hydra}))
    assert stored(tmp_path, "plain")["changed"] == ["dataset.size=8", "steps=1"]


def test_the_list_names_every_recipe_with_cost_and_verdicts(tmp_path, capsys):
    Plain(claims=NODE, cost="no time").conclude("burgess_capacity", tmp_path, [])
    capsys.readouterr()
    recipes([f"out={tmp_path}"])
    said = capsys.readouterr().out
    assert all(name in said for name in RECIPES)
    assert re.search(r"30 minutes on 2 cores; 1 not decidable with these seeds, 1 outside \(20\d\d-\d\d-\d\d\)", said)


def test_an_unknown_recipe_and_one_without_runs_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"burges is no recipe; there are burgess_capacity"):
        recipes(["burges"])
    with pytest.raises(
        ConfigError, match=r"burgess_capacity has no runs in .*: type python -m disvae.train -m experiment"
    ):
        recipes(["burgess_capacity", f"out={tmp_path}"])
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/burgess_capacity.json").write_text("{")
    with pytest.raises(ConfigError, match=r"burgess_capacity.json is not readable .*: delete it"):
        recipes([f"out={tmp_path}"])


def test_known_codes_score_what_is_known():
    node = OmegaConf.to_container(composed_recipe("locatello_protocol").hydra.callbacks.recipe.claims, resolve=True)
    few = {name: of for name, of in node.items() if name in ("mig_perfect", "mig_random", "modularity_perfect")}
    exact = LocatelloProtocol(claims=few, cost="").exact()
    assert exact["mig_perfect"] == pytest.approx(0.895, abs=0.01)
    assert exact["mig_random"] < 0.002


def test_a_linear_function_of_two_latents_explains_rotated_positions():
    import numpy as np

    rng = np.random.default_rng(0)
    position = rng.integers(0, 32, (1000, 2))
    rotated = position @ np.array([[0.6, -0.8], [0.8, 0.6]])
    assert shares(rotated, position) == pytest.approx([1, 1])
    assert (shares(rng.standard_normal((1000, 2)), position) < 0.02).all()


def test_codes_of_a_collapsed_run_say_nothing(tmp_path):
    import numpy as np

    rng = np.random.default_rng(0)
    factors = np.column_stack([rng.integers(0, 8, (500, 4)), rng.integers(0, 3, 500)])
    codes = factors[:, :4] - 3.5
    names = np.array(["scale", "orientation", "posX", "posY", "shape"], dtype="S")
    for scale, expected in ((1.0, 1.0), (1e-3, 0.0)):
        write(tmp_path / "encoding.h5", {"codes": scale * codes, "factors": factors, "factor_names": names})
        assert Higgins2DShapes(claims={}, cost="").measure(Run(tmp_path)) == {"higgins64": expected}
