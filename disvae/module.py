"""The LightningModule: images to a Draw, a Draw to the objective's terms. It knows no objective by name."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from disvae.aggregate import Aggregate
from disvae.data import Batch
from disvae.objective import Objective
from disvae.vae import VAE


class Diverged(RuntimeError):
    """A loss or gradient is not finite; the weights are still those before the step."""


def step_seed(seed: int, step: int) -> int:
    """The noise of a step is a function of (seed, step): a resumed run draws what the uninterrupted one would have."""
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 1) % 2**63


def scalars(terms: dict[str, Tensor]) -> dict[str, float]:
    """Terms as numbers to log: a vector (D,) becomes `name/00`, `name/01` ..."""
    named: dict[str, float] = {}
    for name, term in terms.items():
        if term.dim() == 0:
            named[name] = term.item()
        else:
            named |= {f"{name}/{i:02d}": value for i, value in enumerate(term.tolist())}
    return named


class VAEModule(pl.LightningModule):
    """A VAE and its objective. `N` is the number of training images; `evaluation` holds the last scores by tag,
    `evaluated_at` their step."""

    def __init__(
        self,
        vae: VAE,
        objective: Objective,
        *,
        optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
        N: int,
        seed: int,
        eval_samples: int,
    ) -> None:
        super().__init__()
        self.vae = vae
        self.objective = objective
        self.make_optimizer = optimizer
        self.N = N
        self.seed = seed
        self.eval_samples = eval_samples
        self.evaluation: dict[str, float] = {}
        self.evaluated_at: int | None = None
        self._terms: dict[str, Tensor] = {}
        self._blocks: list[tuple[int, dict[str, Tensor]]] = []
        self._encodings: list[Tensor] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimiser: the VAE's group and those of the objective's own parameters."""
        return self.make_optimizer([{"params": list(self.vae.parameters())}, *self.objective.parameter_groups()])

    @torch.no_grad()
    def check(self, x: Tensor) -> None:
        """Raises ValueError when prior, posterior, likelihood, objective and data cannot go together."""
        training = self.training
        self.eval()  # so that a look changes no running statistics
        self.vae.likelihood.check(x)
        draw = self.vae(x, step=0, N=self.N)
        self.objective.check(draw)
        self.train(training)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the step's noise."""
        torch.manual_seed(step_seed(self.seed, self.global_step))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The objective's terms; `loss` is minimised."""
        draw = self.vae(batch["x"], step=self.global_step, N=self.N, x_extra=batch["x_extra"])
        terms: dict[str, Tensor] = self.objective(draw)
        self._terms = {name: term.detach() for name, term in terms.items()}
        return terms

    @property
    def last_terms(self) -> dict[str, float]:
        """The terms of the last training step, also after a checkpoint of it was read."""
        return scalars(self._terms)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the last terms: a run killed between its last step and its scores still reports them."""
        checkpoint["terms"] = {name: term.cpu() for name, term in self._terms.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the last terms back."""
        self._terms = checkpoint["terms"]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Stop before a step that would spoil the weights.

        Raises:
            Diverged: naming the step and the terms that are not finite.
        """
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if torch.isfinite(norm + self._terms["loss"]):
            return
        values = scalars(self._terms) | {"gradient norm": norm.item()}
        bad = {name: value for name, value in values.items() if not abs(value) < float("inf")}
        said = ", ".join(f"{name} = {value}" for name, value in list(bad.items())[:5])
        raise Diverged(f"step {self.global_step}: {said}")

    def on_validation_start(self) -> None:
        """Scores use the same noise at every validation."""
        self._blocks.clear()
        self._encodings.clear()
        torch.manual_seed(step_seed(self.seed, -1))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Terms and encodings of one block of images."""
        h = self.vae.model.encoder(batch["x"])
        draw = self.vae(batch["x"], step=self.global_step, N=self.N, x_extra=batch["x_extra"], h=h)
        self._blocks.append((len(batch["x"]), self.objective(draw)))
        self._encodings.append(h.float())  # autocast's bfloat16 is for the networks

    @property
    def encodings(self) -> Tensor:
        """The encoder's outputs (N, ...) of the last validation."""
        return torch.cat(self._encodings)

    def on_validation_epoch_end(self) -> None:
        """Means of the terms over all images, and overlap and structure from their aggregate posterior."""
        total = sum(size for size, _ in self._blocks)
        terms = {
            name: torch.stack([n / total * block[name] for n, block in self._blocks]).sum(0)
            for name in self._blocks[0][1]
        }
        aggregate = Aggregate(self.vae.posterior, self.encodings)
        self.evaluated_at = self.global_step
        self.evaluation = scalars(terms) | aggregate.terms(self.vae.prior(), samples=self.eval_samples, seed=self.seed)

    on_test_start = on_validation_start
    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end
