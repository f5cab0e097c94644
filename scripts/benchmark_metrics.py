#!/usr/bin/env python
"""Time the fast supervised metrics and plain loops on 10,000 points of 10 latents, in one process on one thread.

    .venv/bin/python scripts/benchmark_metrics.py [--json PATH] [--repeats 5]

Both compute the same scores of the same codes: five factors with the sizes of dSprites, codes of signal and noise in
equal parts. The plain loops (tests/metric/plain.py) run once; for this package the median of `repeats` runs counts.
Times are CPU seconds of the process, which other programs hardly change.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy reads them

import numpy as np  # noqa: E402

ROOT = Path(__file__).parents[1]
SIZES = (3, 6, 40, 32, 32)
VOTES = (10_000, 5_000)


def loops() -> ModuleType:
    """Return the module tests/metric/plain.py."""
    spec = importlib.util.spec_from_file_location("plain", ROOT / "tests/metric/plain.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def example(N: int = 10_000, D: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Return codes (N, D) and factors (N, 5): distinct rows of the grid, each factor with noise in its own latent."""
    rng = np.random.default_rng(0)
    rows = rng.choice(np.prod(SIZES), N, replace=False)
    factors = np.stack(np.unravel_index(rows, SIZES), axis=1)
    codes = rng.normal(size=(N, D))
    codes[:, : len(SIZES)] += (factors - factors.mean(axis=0)) / factors.std(axis=0)
    return codes, factors


def seconds(call: Callable[[], object]) -> float:
    """Return the CPU seconds of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    """Print the table of times and, with --json, write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the times to")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each metric of this package; the median counts")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from disvae.metric.factor_vae import FactorVAE
    from disvae.metric.higgins import Higgins
    from disvae.metric.mig import MIG
    from disvae.metric.sap import SAP
    from disvae.runs.atomic import write_atomically

    codes, factors = example()
    plain = loops()
    votes, held_out_votes = VOTES
    higgins = Higgins(pairs=64, votes=votes, held_out_votes=held_out_votes)
    factor_vae = FactorVAE(rows=64, votes=votes, held_out_votes=held_out_votes, prune=0.05)
    rng = np.random.default_rng(0)
    cases = {
        "mig": (MIG(bins=20), lambda: [plain.mig(codes, factors, 20, quantile) for quantile in (False, True)]),
        "higgins": (higgins, lambda: plain.higgins(codes, factors, 64, VOTES, rng)),
        "factor_vae": (factor_vae, lambda: plain.factor_vae(codes, factors, 64, VOTES, 0.05, rng)),
        "sap": (SAP(C=0.01), lambda: plain.sap(codes, factors, 0.01, rng)),
    }
    table = {}
    for name, (metric, loop) in cases.items():
        metric(codes[:1000], factors[:1000])  # imports and first calls are not timed
        ours = statistics.median(
            seconds(lambda metric=metric: metric(codes, factors)) for _ in range(arguments.repeats)
        )
        table[name] = {"seconds": ours, "loop_seconds": seconds(loop)}
    table["together"] = {key: sum(row[key] for row in table.values()) for key in ("seconds", "loop_seconds")}
    print(f"{'':12}{'disvae':>10}{'loops':>10}{'ratio':>8}")
    for name, row in table.items():
        row["ratio"] = row["loop_seconds"] / row["seconds"]
        print(f"{name:12}{row['seconds']:>8.3f} s{row['loop_seconds']:>8.2f} s{row['ratio']:>8.1f}")
    if arguments.json:
        about = {
            "points": len(codes),
            "latents": codes.shape[1],
            "machine": platform.machine(),
            "numpy": np.__version__,
        }
        write_atomically(arguments.json, json.dumps(about | {"metrics": table}, indent=2) + "\n")


if __name__ == "__main__":
    main()
