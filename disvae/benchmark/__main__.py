"""Measure training speed: compared with a plain loop, with matrix products, and with packed runs.

    python -m disvae.benchmark    # a few minutes on 2 cores
    python -m disvae.benchmark parts=[reference] batch_sizes=[64] json=speed.json
    python -m disvae.benchmark parts=[steps] objectives=[beta_tc] models=[conv] precision=tf32 run.z_dim=20

run.NAME=VALUE sets NAME=VALUE of python -m disvae.train for every run, for example run.dataset=dsprites
run.dataset.path=FILE. The command prints a table for each part; json=PATH writes all numbers with the machine and the
versions. Cases that are compared take turns, so ratios are roughly right on a busy machine; times need a quiet one.
Exit status: 2 for a wrong setting.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from disvae.config import ConfigError
from disvae.system.command import command
from disvae.system.help import benchmark_help
from disvae.system.imports import loading


def benchmark(arguments: Sequence[str]) -> None:
    """Measure, print the tables and, with json=PATH, write the numbers.

    Raises:
        ConfigError: naming the setting, its value and what it must be.
    """
    from disvae.benchmark.settings import PARTS, settings

    chosen = settings(arguments)
    with loading():
        import torch

        from disvae.benchmark.parts import Benchmark
        from disvae.benchmark.table import show
        from disvae.runs.atomic import write_atomically
        from disvae.runs.provenance import provenance
        from disvae.runs.terminal import console
        from disvae.system.machine import cores

    has_gpu = torch.cuda.is_available()
    device = torch.device(("cuda" if has_gpu else "cpu") if chosen["device"] == "auto" else chosen["device"])
    if device.type == "cuda" and not has_gpu:
        raise ConfigError("device=cuda needs a GPU that torch can use, but none was found: type device=cpu")
    if device.type == "cpu" and chosen["precision"] == "tf32":
        raise ConfigError("precision=tf32 is for a GPU: type precision=32-true")
    if chosen["threads"] != "auto":
        torch.set_num_threads(chosen["threads"])
    name = "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
    results: dict[str, Any] = provenance(name, torch.get_num_threads())
    results |= {"cores": cores(), "load": os.getloadavg(), "settings": chosen}
    with tempfile.TemporaryDirectory() as folder:
        measured = Benchmark(chosen, device, Path(folder))
        results["flop_per_s"] = measured.flop_per_s
        screen = console()
        screen.print(
            f"{name} · {torch.get_num_threads()} of {cores()} cores · torch {torch.__version__} · "
            f"{measured.flop_per_s / 1e9:,.0f} GFLOP/s in a matrix product ({chosen['precision']}) · "
            f"load {results['load'][0]:.1f}",
            highlight=False,
        )
        for part in chosen["parts"]:
            results[part] = list(getattr(measured, part)())
            show(PARTS[part], results[part], screen)
            if chosen["json"] is not None:  # after each part, since a long benchmark may be stopped
                write_atomically(Path(chosen["json"]), json.dumps(results, indent=1) + "\n")


def main() -> None:
    """Run the benchmark of the command line."""
    command(lambda: benchmark_help(__doc__ or ""), benchmark)


if __name__ == "__main__":
    main()
