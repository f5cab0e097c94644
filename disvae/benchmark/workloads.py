"""Runs of this package, made to be timed: from a command line's overrides to what makes steps."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from disvae import config as knobs
from disvae.benchmark.measure import Runner
from disvae.build import Built, build
from disvae.config import ConfigError
from disvae.dataset import Dataset
from disvae.system.memory import keep_freed_memory
from disvae.training.module import Diverged, Steps, VAEModule
from disvae.training.packed.module import Packed
from disvae.training.precision import set_products

Overrides = tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where steps are made, and in which precision (trainer.precision)."""

    device: torch.device
    precision: str

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Products within are of this precision."""
        if self.device.type == "cuda":
            set_products(tf32=self.precision == "tf32")
        mixed = self.precision == "bf16-mixed"
        # Without the cache of rounded weights, as in a run: it would outlive their update, and a graph reads from it.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed, cache_enabled=False):
            yield


def configuration(overrides: Sequence[str]) -> dict[str, Any]:
    """What `python -m disvae.train` with these overrides would train.

    Raises:
        ConfigError: an override that names nothing there is.
    """
    try:
        with initialize_config_dir(str(knobs.conf_dir()), version_base="1.3"):
            cfg = compose("config", overrides=list(overrides))
        knobs.check_values(cfg)
        return knobs.resolved(cfg)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"{' '.join(overrides)}: {str(error).splitlines()[0]}") from error


def built(overrides: Sequence[str], place: Place, dataset: Dataset | None = None) -> Built:
    """A run's parts on the device, before its first step."""
    keep_freed_memory()  # as a run does
    parts = build(configuration(overrides), dataset)
    parts.module.to(place.device).train()
    return parts


def steps_of(module: Steps, place: Place) -> Runner:
    """The steps of one run, or of a pack, without Lightning's loop around them."""
    module.configure_optimizers()

    def run(n: int) -> None:
        with place.computing():
            module.training_step({"first": module.step, "n": n}, 0)

    return run


def _members(overrides: Overrides, place: Place, seeds: Sequence[int]) -> list[VAEModule]:
    dataset = None
    members = []
    for seed in seeds:
        parts = built((*overrides, f"seed={seed}"), place, dataset)
        dataset = parts.dataset
        members.append(parts.module)
    return members


def single(overrides: Overrides, place: Place) -> Runner:
    """One run."""
    return steps_of(built(overrides, place).module, place)


def one_after_another(overrides: Overrides, place: Place, seeds: Sequence[int]) -> Runner:
    """A run of each seed: the steps of one, then those of the next."""
    runs = [steps_of(member, place) for member in _members(overrides, place, seeds)]

    def run(n: int) -> None:
        for steps in runs:
            steps(n)

    return run


def packed(overrides: Overrides, place: Place, seeds: Sequence[int]) -> Runner:
    """A run of each seed, all in one step."""

    def failed(member: VAEModule, error: Diverged) -> None:
        raise error

    return steps_of(Packed(_members(overrides, place, seeds), failed).to(place.device).train(), place)
