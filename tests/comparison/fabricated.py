"""Run folders with chosen numbers, and rows without folders, for the tests of comparisons."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from disvae.comparison.row import Row
from disvae.runs.folder import Run, digest

CONTROL = {"value": 0.02, "se": None, "low": None, "high": None}


def row(beta: float = 1.0, seed: int = 0, *, dataset: str = "sprites", state: str = "finished", **more: Any) -> Row:
    """A run of beta and seed; `mig` and `reconstruction` are its values."""
    metrics = {}
    if "mig" in more:
        metrics["metric/mig/histogram"] = more.pop("mig")
    if "reconstruction" in more:
        metrics["val/reconstruction"] = more.pop("reconstruction")
    metrics |= more.pop("metrics", {})
    settings = {"beta": float(beta), "seed": float(seed), "objective": "beta_vae", "dataset": dataset}
    name = f"{dataset}-beta={beta},seed={seed}"
    return Row(name, Path(name), state, settings=settings | more.pop("settings", {}), metrics=metrics, **more)


def fabricate(
    out: Path,
    config: Mapping[str, Any],
    beta: float,
    seed: int,
    *,
    mig: float | None = None,
    state: str = "finished",
    **status: Any,
) -> Run:
    """A run folder below out/clusters as training leaves it, but for checkpoints and events."""
    tree = copy.deepcopy(dict(config))
    tree["seed"] = seed
    tree["objective"]["beta"]["value"] = beta
    run = Run(out / "clusters" / f"beta={beta},seed={seed}-{digest(tree)}")
    run.path.mkdir(parents=True)
    run.create(tree, {})
    run.mark(state, 20, **status)
    metrics = {"val/elbo": -10.0 - beta, "val/reconstruction": 9.0 + seed, "val/kl": beta}
    if mig is not None:
        metrics |= {"metric/mig/histogram": mig, "metric/mig/histogram_se": 0.01, "metric/mig/histogram/shape": mig / 2}
        own = {"value": mig, "se": 0.01, "low": mig - 0.025, "high": mig + 0.025}
        entry = {
            "scores": {"histogram": {"model": own, "pca": CONTROL}},
            "chance": {"histogram": 0.001},
            "failed": {},
            "settings": {},
            "protocol": {"checkpoint": "0"},
        }
        run.save_scores({"metric": {"mig": entry}})
    if state == "finished":
        run.save_metrics(metrics)
    return run


def add_udr(run: Run, value: float, among: list[Run]) -> None:
    """What evaluation leaves of a UDR among these runs."""
    tag, protocol = "spearman", {"runs": [str(other.path) for other in among], "checkpoint": "0"}
    own = {"value": value, "se": None, "low": None, "high": None}
    entry = {"scores": {tag: {"model": own}}, "chance": {}, "failed": {}, "settings": {}, "protocol": protocol}
    run.save_scores(run.scores() | {"metric-runs": {"udr": entry}})
    run.save_metrics(run.metrics() | {f"metric-runs/udr/{tag}": value})


def record(out: Path, jobs: list[dict[str, Any]]) -> Path:
    """A sweep's record in out/sweeps."""
    path = out / "sweeps" / "beta=1,4-01234567.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"command": "disvae-train -m beta=1,4", "started": "today", "jobs": jobs}))
    return path
