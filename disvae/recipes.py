"""List the recipes, which test published results, with their cost and last verdicts, or judge one again.

    python -m disvae.recipes
    python -m disvae.recipes burgess_capacity
    python -m disvae.recipes locatello_protocol out=outputs

Train the runs of a recipe with python -m disvae.train -m experiment=NAME. A recipe that is named here is judged by the
runs that this command trained in the folder `out`; a recipe without runs is computed. The exit status is 2 for a wrong
argument.
"""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from disvae.config import ConfigError, option_files
from disvae.system.command import command, option
from disvae.system.overrides import as_override


def recipes(arguments: Sequence[str]) -> None:
    """List all recipes, or judge those in the arguments.

    Raises:
        ConfigError: an argument names no recipe, or no run of it was trained.
    """
    folder, names = option(arguments, "out")
    out = Path(folder or "outputs").expanduser()
    there = known_recipes()
    for name in names:
        if name not in there:
            raise ConfigError(f"{name} is no recipe; there are {', '.join(there)}")
    if names:
        for name in names:
            judge_again(name, out)
    else:
        list_all(there, out)


def known_recipes() -> dict[str, dict[str, Any]]:
    """Return the callback of each experiment that is a recipe, by the name of the experiment."""
    import yaml

    recipes = {}
    for name, path in option_files("experiment").items():
        node = yaml.safe_load(path.read_text(encoding="utf-8"))
        recipe = node.get("hydra", {}).get("callbacks", {}).get("recipe")
        if recipe:
            first = next(line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @"))
            recipes[name] = {**recipe, "about": first.removeprefix("# ")}
    return recipes


def list_all(there: dict[str, dict[str, Any]], out: Path) -> None:
    """Print a line for each recipe: name, subject, cost, and its last verdicts in the folder."""
    from disvae.runs.terminal import console

    screen = console()
    for name, recipe in there.items():
        screen.print(f"{name:<24} {recipe['about']}", highlight=False, soft_wrap=True)
        screen.print(f"{'':<24} {recipe['cost']}; {verdicts(out, name)}", highlight=False, soft_wrap=True)
    screen.print("\npython -m disvae.train -m experiment=NAME trains and judges one", highlight=False)


def verdicts(out: Path, name: str) -> str:
    """Return the stored verdicts of a recipe and their date in words."""
    from disvae.experiment.recipe import stored

    findings = stored(out, name)
    if not findings:
        return f"never judged in {out}"
    with_changes = f", with {' '.join(findings['changed'])}" if findings["changed"] else ""
    counts = Counter(of["verdict"] for of in findings["claims"].values())
    return f"{', '.join(f'{n} {verdict}' for verdict, n in counts.items())} ({findings['time'][:10]}){with_changes}"


def judge_again(name: str, out: Path) -> None:
    """Judge a recipe by the runs that were trained for it; print the table and write the findings.

    Raises:
        ConfigError: no run of it was trained in the folder.
    """
    from hydra import compose
    from omegaconf import OmegaConf

    from disvae.experiment.recipe import stored
    from disvae.runs.folder import Run
    from disvae.system.compose import composing
    from disvae.system.instantiate import make

    with composing():
        node = compose("config", overrides=[f"experiment={name}"], return_hydra_config=True).hydra.callbacks.recipe
    tree: Any = OmegaConf.to_container(node, resolve=True)
    claims = tree.pop("claims")
    recipe = make(tree, "experiment", claims=claims)
    runs = stored(out, name).get("runs", [])
    if not runs and not all(claim.exact for claim in recipe.claims.values()):
        where = shlex.quote(f"out={as_override(str(out))}")
        raise ConfigError(f"{name} has no runs in {out}: type python -m disvae.train -m experiment={name} {where}")
    recipe.runs = {out / path: Run(out / path) for path in runs}
    recipe.conclude(name, out, stored(out, name).get("changed", []))


def main() -> None:
    """Run the command line of recipes."""
    command(lambda: __doc__ or "", recipes)


if __name__ == "__main__":
    main()
