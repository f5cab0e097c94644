"""The LightningModules: images to a Draw, a Draw to the objective's terms. They know no objective by name.

One batch of Lightning's loop is a chunk of several optimiser steps: its Python is paid once a chunk, and the terms of
all its steps leave the device together.
"""

import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from disvae.data.batches import Data
from disvae.objective import Objective
from disvae.statistics.aggregate_posterior import Aggregate
from disvae.training.cuda_graph import WARM_UP, Captured, Rehearsal, can_record
from disvae.training.schedule_inputs import AnyStep, Weights
from disvae.vae import VAE

log = logging.getLogger(__name__)

NORM = "gradient norm"
"""Comes with the terms of a step; before clipping."""


OF_DEVICE = ("fused", "capturable")
"""Settings of an optimiser that are the device's, not the run's."""


class Diverged(RuntimeError):
    """A loss or gradient is not finite."""


def step_seed(seed: int, step: int) -> int:
    """The noise of a step is a function of (seed, step): a resumed run draws what the uninterrupted one would have."""
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 1) % 2**63


def names_of(terms: dict[str, Tensor], axes: int = 0) -> list[str]:
    """Tags of the numbers in `terms`: a vector (D,) becomes `name/00`, `name/01` ...; `axes` come before these."""
    names = []
    for name, term in terms.items():
        shape = term.shape[axes:]
        names += [f"{name}/{i:02d}" for i in range(shape[0])] if shape else [name]
    return names


def scalars(terms: dict[str, Tensor]) -> dict[str, float]:
    """Terms as numbers to log."""
    values = torch.cat([term.detach().reshape(-1) for term in terms.values()]).tolist()
    return dict(zip(names_of(terms), values, strict=True))


@dataclass(frozen=True)
class Terms:
    """The terms of consecutive steps: row i of `values` (n, T) is of step `first` + i, a column for each of `names`."""

    first: int
    names: list[str]
    values: Tensor

    def of(self, step: int) -> dict[str, float]:
        """Those of one step, as numbers to log."""
        named = dict(zip(self.names, self.values[step - self.first].tolist(), strict=True))
        return {name: value for name, value in named.items() if name != NORM}

    @property
    def end(self) -> int:
        """The first step whose loss or gradient is not finite, or the one after the last."""
        watched = [self.names.index("loss"), self.names.index(NORM)]
        return self.first + int(self.values[:, watched].isfinite().all(1).cumprod(0).sum())

    def check(self) -> None:
        """Raises Diverged at the first step whose loss or gradient is not finite, naming what is not."""
        i = self.end - self.first
        if i == len(self.values):
            return
        named = dict(zip(self.names, self.values[i].tolist(), strict=True))
        bad = {name: value for name, value in named.items() if not abs(value) < float("inf")}
        said = ", ".join(f"{name} = {value}" for name, value in list(bad.items())[:5])
        raise Diverged(f"step {self.first + i}: {said}")


class Steps(pl.LightningModule):
    """Training in chunks of steps, of one run or of several `members` at once.

    `step` counts the steps done, `training_s` the seconds they took. `stopping` is asked after each step whether the
    chunk is to end there. With `graph` the steps are replayed as a CUDA graph on a device that has them; where a step
    cannot be recorded it is run as it is, which changes nothing but speed.
    """

    members: "Sequence[VAEModule]"

    def __init__(self, graph: bool) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.graph = graph
        self.names: list[str] = []  # of what `gradients` returns
        self.step = 0
        self.training_s = 0.0
        self.stopping: Callable[[], bool] = lambda: False
        self._rehearsal: Rehearsal | None = None
        self._captured: Captured | None = None

    @abstractmethod
    def inputs(self, first: int, n: int) -> dict[str, Tensor]:
        """What `gradients` reads, of n steps from `first` on: `index`, `extra` and `weights`, each (n, ...)."""

    @abstractmethod
    def generators(self) -> list[torch.Generator]:
        """What noise is drawn from, beside torch's own generator."""

    @abstractmethod
    def seed_noise(self, step: int) -> None:
        """From here on, draw what this step is to draw."""

    @abstractmethod
    def gradients(self, index: Tensor, extra: Tensor, weights: Tensor, step: int | AnyStep) -> Tensor:
        """Forward and backward: the terms and the gradient's norm (T,), or those of K members (K, T)."""

    @abstractmethod
    def update(self) -> None:
        """The optimiser's step."""

    @abstractmethod
    def keep(self, first: int, values: Tensor) -> None:
        """Give the members their terms (n, T), or (n, K, T), of the steps from `first` on.

        Raises:
            Diverged: no member can go on.
        """

    @abstractmethod
    def checkpoint_of(self, member: "VAEModule") -> dict[str, Any]:
        """All that a member goes on from, as it stands."""

    def training_step(self, chunk: dict[str, int], batch_idx: int) -> None:
        """Make the steps of a chunk."""
        started = time.perf_counter()
        first, rows = self.step, []
        inputs = {name: value.to(self.device) for name, value in self.inputs(first, chunk["n"]).items()}
        for i in range(chunk["n"]):
            self.seed_noise(self.step)
            rows.append(self._one({name: value[i] for name, value in inputs.items()}))
            self.step += 1
            if self.stopping() or (self.device.type == "cpu" and self._diverged(rows[-1]).all()):
                break  # a member alone does not end the chunk: the others have all its steps to make
        values = torch.stack(rows).cpu()
        self.training_s += time.perf_counter() - started
        self.keep(first, values)

    def _diverged(self, row: Tensor) -> Tensor:
        return ~row[..., [self.names.index("loss"), self.names.index(NORM)]].isfinite().all(-1)

    def _one(self, inputs: dict[str, Tensor]) -> Tensor:
        if not (self.graph and can_record(self.device)):
            return self._eager(inputs)
        if self._rehearsal is None:
            self._rehearsal = Rehearsal(self.device)
        if self._rehearsal.steps < WARM_UP:
            return self._rehearsal(lambda: self._eager(inputs))
        if self._captured is None:
            self._capture(inputs, self._rehearsal)
        return self._eager(inputs) if self._captured is None else self._captured(inputs)

    def _eager(self, inputs: dict[str, Tensor]) -> Tensor:
        terms = self.gradients(**inputs, step=self.step)
        self.update()
        return terms

    def _capture(self, inputs: dict[str, Tensor], rehearsal: Rehearsal) -> None:
        def body(inputs: dict[str, Tensor]) -> Tensor:
            terms = self.gradients(**inputs, step=AnyStep())
            self.update()
            return terms

        try:
            if rehearsal.waits:
                raise RuntimeError(f"{rehearsal.waits[0]} waits for the device")
            self._captured = Captured(body, inputs, self.generators(), rehearsal.stream)
            log.info("Steps are replayed as a CUDA graph (trainer.graph=false runs them one kernel at a time)")
        except (RuntimeError, TypeError) as error:
            self.graph = False
            cause = error.__context__ or error  # a recording's own error follows the one that broke it off
            reason = str(cause).partition("\n")[0]
            log.info("Steps run one kernel at a time: they cannot be recorded as a CUDA graph (%s)", reason)
            self.seed_noise(self.step)  # the attempt may have drawn on the CPU

    def recapture(self) -> None:
        """Record the step anew; to be called when what it is made of has changed."""
        self._captured, self._rehearsal = None, None

    def on_train_start(self) -> None:
        """A graph of earlier training holds tensors that Lightning has moved since."""
        self.recapture()

    def on_train_end(self) -> None:
        """Give the graph's memory back; Lightning moves its tensors next."""
        self.recapture()

    def validation_step(self, batch: int, batch_idx: int) -> None:
        """Score each member on its validation sample."""
        for member in self.members:
            member.evaluate(member.data.validation_rows)

    def test_step(self, batch: int, batch_idx: int) -> None:
        """Score each member on its held-out sample."""
        for member in self.members:
            member.evaluate(member.data.held_out_rows)


class VAEModule(Steps):
    """A VAE and its objective: one run. `N` is the number of training images.

    `terms` are those of the last chunk; `evaluation` holds the last scores by tag, `evaluated_at` their step and
    `encodings` the encoder's outputs (n, ...) of the images they were computed on.
    """

    encodings: Tensor

    def __init__(
        self,
        vae: VAE,
        objective: Objective,
        *,
        optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
        data: Data,
        seed: int,
        eval_samples: int,
        gradient_clip_val: float | None = None,
        graph: bool = True,
    ) -> None:
        super().__init__(graph)
        self.vae = vae
        self.objective = objective
        self.make_optimizer = optimizer
        self.data = data
        self.N = len(data.train_rows)
        self.seed = seed
        self.eval_samples = eval_samples
        self.gradient_clip_val = gradient_clip_val
        self.weights = Weights(objective)
        self.members = [self]
        self.terms: Terms | None = None
        self.last_terms: dict[str, float] = {}
        self.evaluation: dict[str, float] = {}
        self.evaluated_at: int | None = None
        self._resumed: dict[str, Any] | None = None

    def new_optimizer(self) -> torch.optim.Optimizer:
        """One optimiser: the VAE's group and those of the objective's own parameters."""
        return self.make_optimizer([{"params": list(self.vae.parameters())}, *self.objective.parameter_groups()])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser that makes the steps, in the state of the checkpoint that the run goes on from."""
        self.optimizer = self.new_optimizer()
        if self._resumed is not None:
            groups = [  # the checkpoint may come from another device, and where counts of steps are held depends on it
                {**saved, **{key: group[key] for key in OF_DEVICE if key in group}}
                for saved, group in zip(self._resumed["param_groups"], self.optimizer.param_groups, strict=True)
            ]
            self.optimizer.load_state_dict({**self._resumed, "param_groups": groups})
            self._resumed = None
        return self.optimizer

    @torch.no_grad()
    def check(self, x: Tensor) -> None:
        """Raises ValueError when prior, posterior, likelihood, objective and data cannot go together."""
        training = self.training
        self.eval()  # so that a look changes no running statistics
        self.vae.likelihood.check(x)
        draw = self.vae(x, step=0, N=self.N)
        self.objective.check(draw)
        self.train(training)

    def checkpoint_of(self, member: "VAEModule") -> dict[str, Any]:
        """That of this run."""
        return self.checkpoint(self.optimizer.state_dict())

    def checkpoint(self, optimizer_state: dict[str, Any]) -> dict[str, Any]:
        """All that the run goes on from; its own optimiser may not be the one that makes the steps."""
        return {
            "global_step": self.step,
            "state_dict": {name: value.to("cpu", copy=True) for name, value in self.state_dict().items()},
            "optimizer_states": [optimizer_state],
            "terms": self.last_terms,
        }

    def resume(self, checkpoint: dict[str, Any]) -> None:
        """Go on from a `checkpoint`; to be called before training."""
        self.load_state_dict(checkpoint["state_dict"])
        self._resumed = checkpoint["optimizer_states"][0]
        self.step = checkpoint["global_step"]
        self.last_terms = checkpoint["terms"]

    def inputs(self, first: int, n: int) -> dict[str, Tensor]:
        """Rows of the images, and the schedules' values."""
        return {**self.data.batches.of_steps(first, n), "weights": self.weights.at(range(first, first + n))}

    def generators(self) -> list[torch.Generator]:
        """None."""
        return []

    def seed_noise(self, step: int) -> None:
        """Seed torch's own generators."""
        torch.manual_seed(step_seed(self.seed, step))

    def gradients(self, index: Tensor, extra: Tensor, weights: Tensor, step: int | AnyStep) -> Tensor:
        """Terms and gradient norm (T,) of images `index` (B,) and `extra` (B',)."""
        self.data.to(self.device)
        self.weights.feed(weights)
        self.optimizer.zero_grad(set_to_none=True)
        images = self.data.images
        draw = self.vae(images.take(index), step=step, N=self.N, x_extra=images.take(extra))
        terms: dict[str, Tensor] = self.objective(draw)
        if self._trainer is None:
            terms["loss"].backward()
        else:
            self.manual_backward(terms["loss"])
        parameters = [p for p in self.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.gradient_clip_val is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.gradient_clip_val, norm)
        terms = {**terms, NORM: norm}
        self.names = self.names or names_of(terms)
        return torch.cat([term.detach().reshape(-1).float() for term in terms.values()])

    def update(self) -> None:
        """The optimiser's step."""
        self.optimizer.step()

    def keep(self, first: int, values: Tensor) -> None:
        """Keep the terms (n, T) of the last chunk.

        Raises:
            Diverged: naming the step and the terms that are not finite.
        """
        self.terms = Terms(first, self.names, values)
        self.terms.check()
        self.last_terms = self.terms.of(first + len(values) - 1)

    @torch.no_grad()
    def evaluate(self, rows: Tensor) -> None:
        """Means of the terms over the images at `rows`, and overlap and structure from their aggregate posterior.

        Every evaluation of a run draws the same noise.
        """
        training = self.training
        self.eval()
        self.data.to(self.device)
        torch.manual_seed(step_seed(self.seed, -1))
        (weights,) = self.weights.at([self.step])
        self.weights.feed(weights.to(self.device))
        encodings: list[Tensor] = []
        totals: dict[str, list[Tensor]] = {}
        for block in self.data.blocks(rows):
            x, x_extra = (self.data.images.take(block[name].to(self.device)) for name in ("index", "extra"))
            h = self.vae.model.encoder(x)
            draw = self.vae(x, step=self.step, N=self.N, x_extra=x_extra, h=h)
            for name, term in self.objective(draw).items():
                totals.setdefault(name, []).append(len(x) / len(rows) * term)
            encodings.append(h.float())  # autocast's bfloat16 is for the networks
        self.encodings = torch.cat(encodings)
        self.train(training)
        aggregate = Aggregate(self.vae.posterior, self.encodings)
        terms = {name: torch.stack(parts).sum(0) for name, parts in totals.items()}
        self.evaluated_at = self.step
        self.evaluation = scalars(terms) | aggregate.terms(self.vae.prior(), samples=self.eval_samples, seed=self.seed)
