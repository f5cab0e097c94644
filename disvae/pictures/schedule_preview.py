"""Draw the schedules of a configuration before anything is trained: preview=schedule."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from disvae.config import ConfigError, read_keys
from disvae.pictures.schedule_plot import schedule_plot
from disvae.pictures.style import plain_style
from disvae.runs.atomic import replacing
from disvae.system.instantiate import make


def preview_schedules(cfg: DictConfig, out: Path) -> None:
    """Draw the schedules that the objective reads, and print the path of the picture and some values.

    Raises:
        ConfigError: the objective reads no schedule, or `out` cannot be written.
    """
    read = [name for name in cfg.schedule if f"schedule.{name}" in read_keys(cfg)]
    if not read:
        raise ConfigError(
            "preview=schedule has nothing to draw: this objective reads no schedule; choose another with objective=NAME"
        )
    nodes = OmegaConf.to_container(cfg.schedule, resolve=True)
    assert isinstance(nodes, dict)
    named = {name: make(nodes[name], f"schedule.{name}") for name in map(str, read)}
    path = out / "schedule.png"
    try:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, plain_style():
            schedule_plot(named, cfg.steps).savefig(temporary, format="png", dpi=120)
    except OSError as error:
        raise ConfigError(f"out={out} cannot be written ({error}); choose another with out=PATH") from error
    for name, schedule in named.items():
        marks = [0, cfg.steps // 4, cfg.steps // 2, cfg.steps - 1]
        print(f"{name:<9}" + "  ".join(f"step {step:,}: {schedule(step):.4g}" for step in marks))
    print(f"Schedules drawn in {path}")
