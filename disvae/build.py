"""Configuration to objects: the one file where YAML meets Python."""

import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import nn

from disvae.config import ConfigError
from disvae.data.batches import Data
from disvae.dataset import Dataset
from disvae.vae import VAE

if TYPE_CHECKING:
    from disvae.training.module import VAEModule

LOOK = 10_000
"""Training images, drawn by seed, that a prior may be initialised from."""


@dataclass
class Built:
    """Everything a run trains with."""

    dataset: Dataset
    data: Data
    module: "VAEModule"


def _target(path: str, key: str) -> Callable[..., Any]:
    """The class or function a `_target_` names; only this package's own, since building runs what it is told to."""
    module, _, name = path.rpartition(".")
    if not path.startswith("disvae.") or name.startswith("_"):
        raise ConfigError(f"{key}._target_ must be a class or function of disvae, got {path!r}")
    try:
        target = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key}._target_ names nothing that exists: {path!r} ({error})") from error
    if getattr(target, "__module__", "").partition(".")[0] != "disvae":
        raise ConfigError(f"{key}._target_ must be a class or function of disvae, got {path!r}")
    return typing.cast(Callable[..., Any], target)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a YAML value can be an argument annotated `kind`; annotations YAML cannot express fit anything."""
    origin = get_origin(kind)
    if origin is Literal:
        return value in get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in get_args(kind))
    if origin in (list, tuple):
        item = get_args(kind)[0]
        return isinstance(value, list) and all(_fits(element, item) for element in value)
    if kind is type(None):
        return value is None
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind) if kind in (bool, str) else True


def _say(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_say(option) for option in get_args(kind))
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "a name", type(None): "null"}
    return names.get(kind, str(kind))


def _check(node: Mapping[str, Any], key: str) -> None:
    """Names and types of a node's arguments against its target's signature, children first."""
    for name, child in node.items():
        if isinstance(child, Mapping) and "_target_" in child:
            _check(child, f"{key}.{name}")
    target = _target(node["_target_"], key)
    parameters = inspect.signature(target).parameters
    constructor = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    kinds = typing.get_type_hints(constructor)
    for name, value in node.items():
        if name.startswith("_") or isinstance(value, Mapping):
            continue
        if inspect.isclass(kinds.get(name)) and kinds[name].__module__.startswith("disvae."):
            raise ConfigError(f"{key}.{name} is a {kinds[name].__name__.lower()}, not {value!r}: type {name}={value}")
        if name not in parameters:
            raise ConfigError(f"{key} has no setting {name!r}; it has {', '.join(n for n in node if n != '_target_')}")
        if name in kinds and not _fits(value, kinds[name]):
            raise ConfigError(f"{key}.{name} must be {_say(kinds[name])}, got {value!r}")


def make(node: Mapping[str, Any], key: str, **arguments: Any) -> Any:
    """Build the object of a resolved configuration node, `arguments` added as they are.

    Raises:
        ConfigError: a target outside disvae, an unknown setting, a value of the wrong type, or one the object refuses.
    """
    function = prepared(node, key)
    try:
        return function(**arguments)
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise ConfigError(f"{key}: {cause}") from error
    except (ValueError, OSError) as error:
        raise ConfigError(f"{key}: {error}") from error


def prepared(node: Mapping[str, Any], key: str) -> Callable[..., Any]:
    """The function of a resolved configuration node with its settings, to be called with what is left.

    Raises:
        ConfigError: a target outside disvae, an unknown setting, or a value of the wrong type.
    """
    _check(node, key)
    function: Callable[..., Any] = instantiate(dict(node), _convert_="all", _partial_=True)
    return function


def make_vae(config: Mapping[str, Any], x_shape: tuple[int, ...]) -> VAE:
    """The VAE of a resolved configuration for images of `x_shape` (C, H, W)."""
    z_dim = config["z_dim"]
    prior = make(config["prior"], "prior", z_dim=z_dim)
    posterior = make(config["posterior"], "posterior", z_dim=z_dim)
    likelihood = make(config["likelihood"], "likelihood")
    sizes = {"encoder_size": posterior.size, "likelihood_size": likelihood.size}
    model = make(config["model"], "model", x_shape=x_shape, z_dim=z_dim, **sizes)
    return VAE(model, prior, posterior, likelihood)


def build(config: Mapping[str, Any], dataset: Dataset | None = None) -> Built:
    """Dataset, unless it is at hand, batches and the module to train, from a resolved configuration.

    Raises:
        ConfigError: naming the key, its value and what to type, also for parts that cannot go together.
    """
    from disvae.training.module import VAEModule  # and Lightning, which a metric or a VAE can be built without

    if dataset is None:
        dataset = make(config["dataset"], "dataset")
    torch.manual_seed(config["seed"])  # the weights
    vae = make_vae(config, dataset.x_shape)
    objective = make(config["objective"], "objective")
    try:
        data = Data(
            dataset,
            batch_size=config["batch_size"],
            extra=objective.extra_batches,
            seed=config["seed"],
            eval_images=config["eval_images"],
            **config["split"],
        )
        look = Data.sample(data.train_rows, LOOK, config["seed"])
        if vae.prior.from_images:
            vae.prior.initialise(dataset.images.take(look))
        module = VAEModule(
            vae,
            objective,
            optimizer=lambda groups: make(config["optimizer"], "optimizer", params=groups),
            data=data,
            seed=config["seed"],
            eval_samples=config["eval_samples"],
            gradient_clip_val=config["trainer"]["gradient_clip_val"],
            graph=config["trainer"].get("graph", True),
        )
        module.check(dataset.images.take(look[:64]))
    except ValueError as error:
        raise error if isinstance(error, ConfigError) else ConfigError(str(error)) from error
    return Built(dataset, data, module)


def count(network: nn.Module) -> int:
    """Trainable numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
