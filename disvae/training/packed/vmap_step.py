"""Packed runs: the tensors of runs of one structure are stacked, and vmap makes a step of all members at once.

Members may differ in seed, in schedules and in weights that are floats. Each draws the noise that it would draw alone.
The numbers of one member, even NaN, do not reach the others.
"""

import copy
import traceback
import typing
import warnings
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils.parametrize import is_parametrized
from torch.optim import Optimizer

from disvae.dataset.batches import Batch
from disvae.objective import Objective
from disvae.schedule import Schedule
from disvae.system.signals import stop_if_asked
from disvae.training.module import NORM, VAEModule, step_seed, training_terms
from disvae.training.packed.linear import LinearAsAlone
from disvae.training.packed.noise import MembersNoise
from disvae.training.schedule_inputs import ScheduleInputs, TracedStep
from disvae.vae import VAE

# Gamma.rsample's clamp runs member by member under vmap: K small calls, nothing a user could change.
warnings.filterwarnings("ignore", "There is a performance drop because .* batching rule for aten::clamp_")

_MODES = [str(Path(__file__).with_name(name)) for name in ("noise.py", "linear.py")]
_NOT_OURS = (str(Path(torch.__file__).parent), __file__, *_MODES)
"""Files that a vectorised step passes through, whatever the objective."""

_MODULE = frozenset(vars(nn.Module()))


def structure(module: VAEModule, optimizer: Optimizer) -> Hashable:
    """Return what packed runs must have in common: it is equal if and only if the runs can be stacked.

    Seeds, schedules and those constructor arguments of our own modules that are annotated `float` do not count. Whether
    a schedule is always zero counts, since its term may be left out.
    """
    names = {parameter: name for name, parameter in module.named_parameters()}
    groups = tuple(
        (tuple(names[p] for p in group["params"]), _frozen({k: v for k, v in group.items() if k != "params"}))
        for group in optimizer.param_groups
    )
    parts = (
        *((name, _kind(part), _settings(part, fed=False)) for name, part in module.vae.named_modules()),
        *((name, _kind(part), _settings(part, fed=True)) for name, part in module.objective.named_modules()),
    )
    tensors = tuple(
        (name, tuple(tensor.shape), tensor.dtype, tensor.device, tensor.requires_grad)
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    )
    return module.N, parts, tensors, type(optimizer), groups


def refusal(members: Sequence[VAEModule], batch: Batch) -> str | None:
    """Return why the steps of runs of one structure cannot be vectorised, or None if they can.

    Copies of the runs make a step on a few images. An objective that branches on a weight fails in it, for example. The
    reason names the line that failed, unless it is torch's own.
    """
    copies = [copy.deepcopy(member) for member in members]
    weights = torch.cat([ScheduleInputs(member.objective).at([0]) for member in copies]).to(batch.x.device)
    pack = Pack(copies, [member.new_optimizer() for member in copies])
    pack.seed(0)
    least = len(batch.x) if batch.group is not None else 8  # groups are not cut
    few = {name: value[:least].expand(len(copies), *value[:least].shape) for name, value in batch.tensors().items()}
    try:
        pack.gradients(Batch(**few), weights)
    except Exception as error:  # whatever it is: if it concerns the run, the run fails with it alone, too
        stop_if_asked()
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f", {at.filename}, line {at.lineno}" for at in frames if not at.filename.startswith(_NOT_OURS)]
        said = str(error).partition("\n")[0]
        return f"{type(members[0].objective).__name__} cannot be packed{''.join(lines[-1:])}: {said}"
    return None


class _Step(nn.Module):
    """The step of one member, from images to terms, with the member's parameters, buffers and settings."""

    def __init__(self, vae: VAE, objective: Objective, N: int) -> None:
        super().__init__()
        self.vae = vae
        self.objective = objective
        self.N = N

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the terms of a batch, given as its tensors."""
        return training_terms(self.vae, self.objective, Batch(**batch), step=TracedStep(), N=self.N)


def _parts(step: VAEModule | _Step) -> Iterator[tuple[str, nn.Module]]:
    yield from step.vae.named_modules(prefix="vae")
    yield from step.objective.named_modules(prefix="objective")


def _kind(part: nn.Module) -> type[nn.Module]:
    """Return the class of `part`; torch gives each layer with a spectral norm a class of its own, below that."""
    kind = type(part)
    base: type[nn.Module] = kind.__bases__[0] if is_parametrized(part) else kind
    return base


def _settings(part: nn.Module, *, fed: bool) -> Hashable:
    """Return the settings of `part` that are no tensors or modules; schedules that are `fed` count by `is_zero`."""
    floats = _floats(type(part))
    settings: list[tuple[str, Hashable]] = []
    for name, value in sorted(vars(part).items()):
        if fed and isinstance(value, Schedule):
            settings.append((name, value.is_zero))
        elif name in floats:
            settings.append((name, None))
        elif name not in _MODULE:
            settings.append((name, _frozen(value)))
    return tuple(settings)


def _floats(kind: type[nn.Module]) -> set[str]:
    """Return the names of the constructor's floats; none for torch's layers, which need them as numbers."""
    if kind.__module__.partition(".")[0] == "torch":
        return set()
    return {name for name, hint in typing.get_type_hints(kind.__init__).items() if hint is float}


def _frozen(value: Any) -> Hashable:
    """Return a key that is equal for equal settings; a value that cannot be compared equals only itself."""
    if isinstance(value, dict):
        return tuple((name, _frozen(value[name])) for name in sorted(value))
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, Tensor) or not isinstance(value, Hashable):
        return type(value), id(value)
    return type(value), value


class Pack:
    """K packed runs; `step` makes one optimiser step of each.

    The members' parameters and buffers become views of the pack's tensors, so a member's state_dict(), scores and
    figures are always up to date. Its optimiser is not; `optimizer_state` returns what it would hold.

    Args:
        members: runs of equal `structure` that have done equally many steps.
        optimizers: the members' own optimisers, from whose states the pack continues.
        gradient_clip_val: the norm that each member's gradient is clipped to, if any.

    Raises:
        ValueError: the members cannot be stacked.
    """

    def __init__(
        self,
        members: Sequence[VAEModule],
        optimizers: Sequence[Optimizer],
        *,
        gradient_clip_val: float | None = None,
    ) -> None:
        if len({structure(*member) for member in zip(members, optimizers, strict=True)}) != 1:
            raise ValueError("members of a pack must be alike but for seed, schedules and weights")
        self.members = list(members)
        self.optimizers = list(optimizers)
        self.gradient_clip_val = gradient_clip_val
        first = self.members[0]
        self._step = _Step(copy.deepcopy(first.vae), copy.deepcopy(first.objective), first.N).train()
        self._fed = ScheduleInputs(self._step.objective).inputs
        self.parameters = self._stack([dict(m.named_parameters()) for m in self.members])
        self._slices = [
            (own, self.parameters[name], k) for k, m in enumerate(self.members) for name, own in m.named_parameters()
        ]
        self.buffers = self._stack([dict(m.named_buffers()) for m in self.members])
        device = next(iter(self.parameters.values())).device
        self.one_by_one = device.type == "cpu"
        self.optimizer = self._joint_optimizer() if self.one_by_one else self._stacked_optimizer()
        self.generators = [torch.Generator(device) for _ in self.members]
        self._differing, floats = self._floats_that_differ()
        self._floats = torch.tensor(floats, device=device).view(len(floats), len(self.members)).T  # (K, floats)
        self._index = torch.arange(len(self.members), device=device)

    def _stack(self, tensors: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return each name's tensors stacked (K, ...); the given tensors become views of them."""
        stacked = {}
        for name, first in tensors[0].items():
            whole = torch.stack([own[name].detach() for own in tensors])
            for k, own in enumerate(tensors):
                own[name].data = whole[k]
            stacked[name] = whole.requires_grad_(first.requires_grad)
        return stacked

    def _joint_optimizer(self) -> Optimizer:
        """Return an optimiser for the members' own parameters, which shares the states of their optimisers.

        A CPU updates several numbers of a tensor at a time and the last few one by one, which rounds differently. Over
        stacked parameters these would be others than they are for a run alone.
        """
        done = [{float(s["step"]) for s in own.state.values() if "step" in s} for own in self.optimizers]
        if any(steps != done[0] for steps in done):
            raise ValueError("members of a pack must have done equally many steps")
        optimizer = copy.copy(self.optimizers[0])
        alike = zip(*(own.param_groups for own in self.optimizers), strict=True)
        optimizer.param_groups = [{**groups[0], "params": [p for g in groups for p in g["params"]]} for groups in alike]
        optimizer.state = defaultdict(dict)
        for own in self.optimizers:
            for group in own.param_groups:
                optimizer.state |= {parameter: own.state[parameter] for parameter in group["params"]}
        return optimizer

    def _stacked_optimizer(self) -> Optimizer:
        """Return an optimiser for the stacked parameters with the members' groups and states."""
        names = {parameter: name for name, parameter in self.members[0].named_parameters()}
        optimizer = copy.copy(self.optimizers[0])
        optimizer.param_groups = []
        optimizer.state = defaultdict(dict)
        for groups in zip(*(own.param_groups for own in self.optimizers), strict=True):
            stacked = [self.parameters[names[parameter]] for parameter in groups[0]["params"]]
            optimizer.param_groups.append({**groups[0], "params": stacked})
            for parameter, *alone in zip(stacked, *(group["params"] for group in groups), strict=True):
                states = [own.state[p] for own, p in zip(self.optimizers, alone, strict=True) if p in own.state]
                if states:
                    optimizer.state[parameter] = self._stacked_state(states)
        return optimizer

    def _stacked_state(self, states: list[dict[str, Any]]) -> dict[str, Any]:
        if len(states) < len(self.members) or len({float(state["step"]) for state in states}) > 1:
            raise ValueError("members of a pack must have done equally many steps")
        return {
            key: value.clone() if key == "step" else torch.stack([state[key] for state in states])
            for key, value in states[0].items()
        }

    def _floats_that_differ(self) -> tuple[list[tuple[nn.Module, str]], list[list[float]]]:
        """Return the settings in which members differ, as (part, name), and their values."""
        of_members = [dict(_parts(member)) for member in self.members]
        where, values = [], []
        for path, part in _parts(self._step):
            for name in sorted(_floats(type(part)) & vars(part).keys()):
                of_name = [float(getattr(parts[path], name)) for parts in of_members]
                if len(set(of_name)) > 1:
                    where.append((part, name))
                    values.append(of_name)
        return where, values

    def seed(self, step: int) -> None:
        """Seed each member's noise for the optimiser step that follows `step` others."""
        for member, generator in zip(self.members, self.generators, strict=True):
            generator.manual_seed(step_seed(member.seed, step))

    def gradients(self, batch: Batch, weights: Tensor) -> dict[str, Tensor]:
        """Return the terms (K,) or (K, D) of the members' batches, stacked (K, B, C, H, W); make gradients.

        `weights` (K, schedules) come from `ScheduleInputs.at`. The terms include each member's gradient norm before
        clipping. A member whose terms are not finite does not change those of the others.

        Raises:
            NotImplementedError: under autocast, from which vmap leaves out linear and convolutional layers.
        """
        if torch.is_autocast_enabled(batch.x.device.type):
            raise NotImplementedError(
                "packed runs do not do autocast: type trainer.precision=32-true, or launcher.pack=1"
            )
        for parameter in self.parameters.values():
            parameter.grad = None
        tensors = {**self.parameters, **self.buffers}
        own = (tensors, batch.tensors(), weights, self._floats, self._index)
        terms = vmap(self._terms, randomness="error")(*own)
        terms["loss"].sum().backward()
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(g.view(len(g), -1), dim=1) for g in gradients])
        norm = torch.linalg.vector_norm(norms, dim=0)
        if self.gradient_clip_val is not None:
            factor = (self.gradient_clip_val / (norm + 1e-6)).clamp(max=1)  # as nn.utils.clip_grad_norm_ does
            for gradient in gradients:
                gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))
        return {**{name: term.detach() for name, term in terms.items()}, NORM: norm}

    def _terms(
        self, tensors: dict[str, Tensor], batch: dict[str, Tensor], weights: Tensor, floats: Tensor, member: Tensor
    ) -> dict[str, Tensor]:
        """Return the terms of one member; called under vmap."""
        for fed, now in zip(self._fed, weights, strict=True):
            fed.now = now
        for (part, name), value in zip(self._differing, floats, strict=True):
            setattr(part, name, value)
        with MembersNoise(self.generators, member), LinearAsAlone():
            terms: dict[str, Tensor] = functional_call(self._step, tensors, (batch,))
        return terms

    def update(self) -> None:
        """Make the optimiser's step along the gradients."""
        if self.one_by_one:
            for own, whole, k in self._slices:
                own.grad = None if whole.grad is None else whole.grad[k]
        self.optimizer.step()

    def step(self, batch: Batch, step: int, weights: Tensor) -> dict[str, Tensor]:
        """Make the optimiser step that follows `step` others, and return its terms."""
        self.seed(step)
        terms = self.gradients(batch, weights)
        self.update()
        return terms

    def optimizer_state(self, k: int) -> dict[str, Any]:
        """Return the state of member `k`'s own optimiser, for its load_state_dict."""
        if self.one_by_one:
            own = self.optimizers[k].state_dict()
            return {**own, "state": {i: copy.deepcopy(state) for i, state in own["state"].items() if state}}
        stacked = self.optimizer.state_dict()
        states = {
            i: {key: value.clone() if key == "step" else value[k].clone() for key, value in state.items()}
            for i, state in stacked["state"].items()
        }
        return {"state": states, "param_groups": stacked["param_groups"]}

    def without(self, failed: Collection[int]) -> "Pack":
        """Return a pack of the other members, with their gradients; this pack must not be used any more.

        The members in `failed` keep their tensors. The own optimisers of all members are brought up to date.

        Raises:
            ValueError: no member is left.
        """
        left = [k for k in range(len(self.members)) if k not in failed]
        if not left:
            raise ValueError("a pack must keep a member")
        for k, optimizer in enumerate(self.optimizers):
            optimizer.load_state_dict(self.optimizer_state(k))
        pack = Pack(
            [self.members[k] for k in left],
            [self.optimizers[k] for k in left],
            gradient_clip_val=self.gradient_clip_val,
        )
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                pack.parameters[name].grad = parameter.grad[left]
        return pack
