"""Fabricated runs, for tests of what is made of them."""

from itertools import product
from pathlib import Path

from disvae.comparison.row import Row

MIG = "metric/mig/histogram"
SAP = "metric/sap/linear"


def runs(folder=None, seeds=3, dataset="sprites", **axes):
    """A finished run for each combination of `axes` and seed; its values are functions of them, told below."""
    axes = axes or {"beta": (1.0, 2.0, 4.0)}
    found = []
    for values in product(*axes.values()):
        settings = dict(zip(axes, values, strict=True))
        for seed in range(seeds):
            name = ",".join(f"{key}={value}" for key, value in {**settings, "seed": seed}.items())
            number = sum(value for value in values if not isinstance(value, str))
            path = None if folder is None else folder / dataset / name
            found.append(
                Row(
                    name,
                    path,
                    "finished",
                    100,
                    settings={"dataset": dataset, **settings, "seed": seed},
                    metrics={
                        MIG: 0.1 * number + 0.01 * seed,
                        SAP: 0.5 - 0.01 * number,
                        "val/elbo": -(100 + number + 20 / (1 + number)),
                        "val/reconstruction": 100 + number,
                        "val/kl": 20 / (1 + number),
                        "val/overlap/mutual_information": 8 - number / 10,
                        "val/structure/kl_qz_pz": 1 + seed,
                        "val/structure/total_correlation": 0.5 + seed,
                    },
                    controls={MIG: {"pca": 0.05, "chance": 0.001}},
                )
            )
    return found


def write(row, content, name):
    """A file in a run's folder."""
    assert row.path is not None
    row.path.mkdir(parents=True, exist_ok=True)
    (row.path / name).parent.mkdir(exist_ok=True)
    (row.path / name).write_text(content, encoding="utf-8")
    return Path(row.path / name)
