"""Where a new run starts other than at random weights: at the end of a shorter run, or at another run's weights."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from disvae.config import ConfigError, trained_weights
from disvae.runs.checkpoint import load, save
from disvae.runs.folder import Run
from disvae.runs.tensorboard import copy_curves


def _with_steps(node: Any, steps: int, changed: int) -> Any:
    """Return a configuration with another number of steps, also where a part refers to it."""
    if not isinstance(node, Mapping):
        return node
    return {
        key: changed if key == "steps" and value == steps else _with_steps(value, steps, changed)
        for key, value in node.items()
    }


def _numbers_of_steps(folder: Path, most: int) -> Iterator[int]:
    """Yield the numbers of steps, below `most`, of the finished runs in `folder`."""
    for path in folder.iterdir():
        try:
            status = Run(path).status()
        except ConfigError:
            continue  # a damaged run is none to go on from
        if status["state"] == "finished" and isinstance(status["step"], int) and status["step"] < most:
            yield status["step"]


def shorter(run: Run, config: Mapping[str, Any]) -> tuple[Run | None, str]:
    """Return the longest finished run beside a new one that it continues, or else the reason why a similar one is not.

    The result must equal an uninterrupted run to the bit. So the runs differ in `steps` alone, nothing else depends on
    it, and the best checkpoint is one that the longer run has as well.
    """
    steps = config["steps"]
    for fewer in sorted(set(_numbers_of_steps(run.path.parent, steps)), reverse=True):
        alike = ({**config, "steps": fewer}, _with_steps(config, steps, fewer))
        same, scaled = (Run.find(run.path.parents[1], run.path.parent.name, "", each) for each in alike)
        found = same if same.path.exists() else scaled
        if not found.path.exists():
            continue
        if found != same or config.get("scheduler"):
            return None, f"{'the scheduler' if found == same else 'a schedule'} depends on steps"
        try:
            last, best = load(found.last), load(found.best)
        except ConfigError as error:
            return None, str(error)
        if last["global_step"] != fewer or last["best_elbo"] != best["best_elbo"]:
            return None, f"its last validation was not at a multiple of eval_every={config['eval_every']}"
        return found, ""
    return None, ""


def continue_from(former: Run, run: Run, config: Mapping[str, Any]) -> dict[str, Any]:
    """Write the checkpoints of a `former`, shorter run, and its curves, to the folder of `run`; return the last one."""
    content: dict[str, Any] = {}
    if "tensorboard" in config["logger"]:
        copy_curves(former.path, run.path, former.status()["step"])
    for source, target in ((former.best, run.best), (former.last, run.last)):  # last.ckpt says that all is there
        content = load(source)
        content["hyper_parameters"] = {**content.get("hyper_parameters", {}), "config": dict(config)}
        save(content, target)
    return content


def load_weights(networks: nn.Module, source: Mapping[str, Any]) -> None:
    """Load the weights of another run's VAE into `networks`, a VAE.

    The networks take over everything; prior, posterior and likelihood take over what they learn, not their settings.

    Raises:
        ConfigError: the checkpoint has changed since it was named, or a weight is missing or has another shape.
    """
    path = Path(source["run"])
    if trained_weights(str(path)) != source:
        raise ConfigError(f"init_from={path}: its weights have changed; repeat the command to use the new ones")
    weights = {key.removeprefix("vae."): value for key, value in load(Run(path).last)["state_dict"].items()}
    learnt = {name for name, _ in networks.named_parameters()}
    wanted = {key: value for key, value in networks.state_dict().items() if key in learnt or key.startswith("model.")}
    there = {key for key in weights if key in wanted or key.startswith("model.")}
    for key in sorted(wanted.keys() | there):
        shapes = [str(tuple(each[key].shape)) if key in each else "missing" for each in (weights, wanted)]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f"init_from={path} has other networks: {key} is {shapes[0]} there and {shapes[1]} here; "
                "type the model, z_dim, posterior and kind of images of that run"
            )
    networks.load_state_dict({key: weights[key] for key in wanted}, strict=False)
