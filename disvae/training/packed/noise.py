"""The noise of packed runs: each member draws from a generator of its own what it would draw alone."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch._C._functorch import is_batchedtensor
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_flatten, tree_unflatten

RandomFunction = Callable[..., Tensor]


def _of(homes: Iterable[Any], names: str) -> dict[Any, RandomFunction]:
    functions = [getattr(home, name) for home in homes for name in names.split() if hasattr(home, name)]
    return {function: function for function in functions}


def _in_new(fill: RandomFunction) -> RandomFunction:
    """Return a function that applies `fill` to a new tensor with the layout of the given one."""

    def drawn(like: Tensor, *args: Any, generator: Generator, **kwargs: Any) -> Tensor:
        return fill(torch.empty_like(like), *args, generator=generator, **kwargs)

    return drawn


def _like(fill: RandomFunction) -> RandomFunction:
    """Return a function that applies `fill` to a new tensor made like the given one."""

    def drawn(like: Tensor, *, generator: Generator, **options: Any) -> Tensor:
        return fill(torch.empty_like(like, **options), generator=generator)

    return drawn


_RETURNING = {
    **_of((torch,), "normal rand randn randint randperm poisson binomial _standard_gamma"),
    **_of((torch, Tensor), "multinomial bernoulli"),
    torch.rand_like: _like(Tensor.uniform_),
    torch.randn_like: _like(Tensor.normal_),
}
_FILLING = {
    method: _in_new(method)
    for method in _of((Tensor,), "normal_ uniform_ exponential_ bernoulli_ log_normal_ cauchy_ geometric_")
}


class _Draws(torch.autograd.Function):
    """A random function that is called once for each member, with the member's arguments and generator.

    torch calls `vmap` outside the batched level, where gradients are recorded as anywhere.
    """

    @staticmethod
    def forward(*_: Any) -> Tensor:
        """Raise TypeError, for draws are made under vmap alone."""
        raise TypeError("members draw their noise under torch.func.vmap")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep nothing, for draws have no gradient here."""

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[int | None], *operands: Any) -> tuple[Tensor, int]:
        """Return the draws (K, ...) of K members."""
        draw, generators, spec, _, *leaves = operands
        draws = []
        for k, generator in enumerate(generators):
            own = [x if dim is None else x.select(dim, k) for x, dim in zip(leaves, in_dims[4:], strict=True)]
            args, kwargs = tree_unflatten(own, spec)
            draws.append(draw(*args, generator=generator, **kwargs))
        return torch.stack(draws), 0


class MembersNoise(TorchFunctionMode):
    """A mode for functions under vmap over members: every random function draws once per member, from `generators`.

    A generator seeded with s draws what torch's default one draws after torch.manual_seed(s). `member` is any tensor of
    the function that is batched. A random function that is not known here raises NotImplementedError by its name, if
    vmap was given randomness="error".
    """

    def __init__(self, generators: Sequence[Generator], member: Tensor) -> None:
        super().__init__()
        self.generators = generators
        self.member = member

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _RETURNING:
            return self._draw(func, _RETURNING[func], args, kwargs)
        if func in _FILLING:
            drawn = self._draw(func, _FILLING[func], args, kwargs)
            filled = args[0]
            if is_batchedtensor(filled):
                return filled.copy_(drawn)
            filled.fill_(torch.nan)  # one tensor cannot hold the members' draws: what is returned does
            return drawn
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            if "random operation" in str(error):
                known = ", ".join(sorted(_name(function) for function in (*_RETURNING, *_FILLING)))
                raise NotImplementedError(
                    f"{_name(func)} is random in a way that packed runs cannot follow: type launcher.pack=1, "
                    f"or draw by one of {known}"
                ) from error
            raise

    def _draw(self, func: Any, draw: RandomFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        for name in ("generator", "out"):
            if kwargs.get(name) is not None:
                raise NotImplementedError(f"{_name(func)} must draw without {name}= in packed runs")
        leaves, spec = tree_flatten((args, kwargs))
        draws: Tensor = _Draws.apply(draw, self.generators, spec, self.member, *leaves)  # type: ignore[no-untyped-call]
        return draws


def _name(func: Any) -> str:
    return str(resolve_name(func) or getattr(func, "__name__", func))
