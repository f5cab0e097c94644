"""How fast this machine trains: against a plain loop, against its own matrix products, in packs and in processes.

    python -m disvae.benchmark    # a few minutes on 2 cores
    python -m disvae.benchmark parts=[reference] batch_sizes=[64] json=speed.json
    python -m disvae.benchmark parts=[steps] objectives=[beta_tc] models=[conv] precision=tf32 run.z_dim=20

run.NAME=VALUE is an override of every run that is measured, as python -m disvae.train takes it.
Prints a table for each part; json=PATH writes all numbers with the machine and the versions. What is compared takes
turns, so a busy machine still gives rough ratios; times mean something on a quiet one only. Exit status: 2 for what
cannot be.
"""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from disvae import config as knobs
from disvae.config import PRECISIONS, ConfigError
from disvae.system.command import command
from disvae.system.help import benchmark_help
from disvae.system.imports import loading

CHOICES = {
    "parts": ("reference", "steps", "loop", "pack", "data", "memory"),
    "objectives": tuple(knobs.options("objective")),
    "models": tuple(knobs.options("model")),
    "packed_models": tuple(knobs.options("model")),
}


def settings(arguments: Sequence[str]) -> dict[str, Any]:
    """conf/benchmark.yaml with the command line's overrides.

    Raises:
        ConfigError: naming the setting, its value and what it must be.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    own = [argument for argument in arguments if not argument.startswith("run.")]
    try:
        with initialize_config_dir(str(knobs.conf_dir()), version_base="1.3"):
            tree = OmegaConf.to_container(compose("benchmark", overrides=own), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"{' '.join(own)}: {str(error).splitlines()[0]}; see --help") from error
    assert isinstance(tree, dict)
    chosen = {str(key): value for key, value in tree.items()}
    chosen["overrides"] = [argument.removeprefix("run.") for argument in arguments if argument not in own]
    for key, there in CHOICES.items():
        if not isinstance(chosen[key], list) or not chosen[key] or set(chosen[key]) - set(there):
            raise ConfigError(f"{key} must be a list of {', '.join(there)}, got {chosen[key]}")
    for key in ("batch_sizes", "pack"):
        if not isinstance(chosen[key], list) or not chosen[key] or not all(_whole(value) for value in chosen[key]):
            raise ConfigError(f"{key} must be a list of whole numbers of at least 1, got {chosen[key]}")
    for key in ("rounds", *(["threads"] if chosen["threads"] != "auto" else [])):
        if not _whole(chosen[key]):
            raise ConfigError(f"{key} must be a whole number of at least 1, got {chosen[key]}")
    least = chosen["seconds"]
    if isinstance(least, bool) or not isinstance(least, (int, float)) or not 0 < least < math.inf:
        raise ConfigError(f"seconds must be a positive number, got {least}")
    if chosen["precision"] not in PRECISIONS:
        raise ConfigError(f"precision must be {', '.join(PRECISIONS)}, got {chosen['precision']}")
    if chosen["device"] not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device must be auto, cpu or cuda, got {chosen['device']}")
    for key, kind in (("fashion_mnist", "folder"), ("dsprites", "file")):
        if chosen[key] is not None and not Path(str(chosen[key])).exists():
            raise ConfigError(f"{key} must be a {kind} that is there, got {chosen[key]}")
    target = chosen["json"]
    if target is not None and not Path(str(target)).parent.is_dir():
        raise ConfigError(f"json={target} must be a file in a folder that is there")
    return chosen


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def benchmark(arguments: Sequence[str]) -> None:
    """Measure, print the tables and, with json=PATH, write the numbers.

    Raises:
        ConfigError: naming the setting, its value and what it must be.
    """
    chosen = settings(arguments)
    with loading():
        import torch

        from disvae.benchmark.measure import processor
        from disvae.benchmark.parts import Benchmark
        from disvae.benchmark.table import show
        from disvae.benchmark.workloads import Place
        from disvae.runs.atomic import write_atomically
        from disvae.runs.provenance import provenance
        from disvae.runs.terminal import console
        from disvae.system.machine import cores

    there = torch.cuda.is_available()
    device = torch.device(("cuda" if there else "cpu") if chosen["device"] == "auto" else chosen["device"])
    if device.type == "cuda" and not there:
        raise ConfigError("device=cuda needs a GPU that this torch can use; there is none")
    if device.type == "cpu" and chosen["precision"] == "tf32":
        raise ConfigError("precision=tf32 is for a GPU: type precision=32-true")
    if chosen["threads"] != "auto":
        torch.set_num_threads(chosen["threads"])
    measured = Benchmark(chosen, Place(device, chosen["precision"]))
    name = processor() if device.type == "cpu" else torch.cuda.get_device_name(device)
    results: dict[str, Any] = provenance(name, measured.threads)
    results |= {"processor": processor(), "cores": cores(), "load": os.getloadavg(), "settings": chosen}
    results |= measured.rates
    screen = console()
    screen.print(
        f"{name} · {measured.threads} of {cores()} cores · torch {torch.__version__} · "
        f"{measured.rates['flop_per_s'] / 1e9:,.0f} GFLOP/s in a matrix product ({chosen['precision']}), "
        f"{measured.rates['bytes_per_s'] / 1e9:,.0f} GB/s in a copy · load {results['load'][0]:.1f}",
        highlight=False,
    )
    for part in chosen["parts"]:
        results[part] = list(getattr(measured, part)())
        show(part, results[part], screen)
        if chosen["json"] is not None:  # after each, for a long benchmark may be stopped
            write_atomically(Path(chosen["json"]), json.dumps(results, indent=1) + "\n")


def main() -> None:
    """The command line."""
    command(lambda: benchmark_help(__doc__ or ""), benchmark)


if __name__ == "__main__":
    main()
