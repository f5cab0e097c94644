"""The LightningModule: images to a Draw, a Draw to the objective's terms. It knows no objective by name."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from disvae.build import make_vae
from disvae.dataset.batches import Batch
from disvae.objective import Objective
from disvae.runs.checkpoint import load
from disvae.runs.tags import logged
from disvae.statistics.aggregate_posterior import terms_of_codes
from disvae.system.instantiate import make
from disvae.vae import VAE

NORM = "gradient norm"
"""Name of the gradient's norm before clipping, which is watched with the terms of a step and not logged."""

SUMS = ("loss", "elbo", NORM)
"""Numbers of a step that are not finite as soon as one term is not; a term is named before them."""

OF_DEVICE = ("fused", "capturable")
"""Settings of an optimiser's group that belong to the device, not to the run."""


class Diverged(RuntimeError):
    """A loss or gradient is not finite."""


def step_seed(seed: int, step: int) -> int:
    """Return the seed of a step's noise, a function of (seed, step), so that a resumed run draws the same."""
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 1) % 2**63


def seed_noise(seed: int, device: torch.device) -> None:
    """Seed the default generators of the CPU and of `device`, and no others.

    torch.manual_seed asks every GPU and, as long as none is in use, formats and keeps a stack of frames for later.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def names_of(terms: Mapping[str, Tensor], axes: int = 0) -> list[str]:
    """Return a name for each number in `terms`: a vector (D,) becomes `name/00`, `name/01` ... after `axes` axes."""
    names = []
    for name, term in terms.items():
        shape = term.shape[axes:]
        names += [f"{name}/{i:02d}" for i in range(shape[0])] if shape else [name]
    return names


def training_terms(vae: VAE, objective: Objective, batch: Batch, *, step: Any, N: int) -> dict[str, Tensor]:
    """Return the objective's terms of a training batch, whose codes are shown to a prior that follows them."""
    draw = objective.draw(vae, batch, step=step, N=N)
    terms: dict[str, Tensor] = objective(draw)
    if vae.prior.from_codes:
        vae.prior.observe(draw.z.detach())
    return terms


def scalars(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """Return all terms as named numbers, with one copy from the device."""
    values = torch.cat([term.detach().reshape(-1) for term in terms.values()]).tolist()
    return dict(zip(names_of(terms), values, strict=True))


def check_finite(names: list[str], rows: Tensor, first: int) -> None:
    """Check the terms `rows` (n, T) of the steps from `first` on.

    Raises:
        Diverged: naming the first step whose loss or gradient is not finite, and what is not.
    """
    watched = [names.index("loss"), names.index(NORM)]
    good = rows[:, watched].isfinite().all(1)
    if good.all():
        return
    i = int(good.int().argmin())
    named = dict(zip(names, rows[i].tolist(), strict=True))
    bad = [name for name, value in named.items() if not abs(value) < float("inf")]
    causes = [name for name in bad if name not in SUMS]
    said = ", ".join(f"{name} = {named[name]}" for name in [*causes, *(n for n in bad if n in SUMS)][:5])
    finite = "" if causes else f"; every term is finite, loss = {named['loss']:.3g}"
    raise Diverged(f"step {first + i}: {said}{finite}")


def check_weights(module: nn.Module, step: int) -> None:
    """Check the weights after `step` steps, which may be infinite although the loss and gradient before were not.

    Raises:
        Diverged: naming a weight that is not finite.
    """
    names, parameters = zip(*module.named_parameters(), strict=True)
    finite = torch.stack([parameter.detach().isfinite().all() for parameter in parameters]).tolist()
    if not all(finite):
        raise Diverged(f"step {step - 1}: the weight {names[finite.index(False)]} is not finite")


class Evaluation:
    """Means of the objective's terms over a sample of images, and overlap and structure from its aggregate posterior.

    Every evaluation of a run draws the same noise.
    """

    def __init__(self, module: "VAEModule", step: int, images: int) -> None:
        self.module = module
        self.step = step
        self.images = images
        self.totals: dict[str, list[Tensor]] = {}
        self.encodings: list[Tensor] = []
        seed_noise(step_seed(module.seed, -1), module.device)

    def add(self, batch: Batch) -> None:
        """Add a block of images, weighted by its size."""
        module = self.module
        h = module.vae.outputs(batch.x)
        draw = module.objective.draw(module.vae, replace(batch, h=h), step=self.step, N=module.N)
        for name, term in module.objective(draw).items():
            self.totals.setdefault(name, []).append(len(batch.x) * term)
        self.encodings.append(h.float())  # autocast's bfloat16 is for the networks

    def close(self) -> None:
        """Give the module its `evaluation`, `evaluated_at` and `encodings`."""
        module = self.module
        module.encodings = torch.cat(self.encodings)
        # Divided last, so that the mean of a constant weight such as beta is the weight itself.
        terms = {name: torch.stack(parts).sum(0) / self.images for name, parts in self.totals.items()}
        module.evaluated_at = self.step
        module.evaluation = scalars(terms) | terms_of_codes(
            module.vae, module.encodings, samples=module.eval_samples, seed=module.seed
        )


class VAEModule(pl.LightningModule):
    """A VAE and its objective, trained by one optimiser step per batch.

    Args:
        vae: the networks and distributions.
        objective: what is minimised, and the terms to log.
        optimizer: makes the optimiser from parameter groups.
        N: number of training images.
        seed: of the noise of each step.
        eval_samples: codes drawn from the aggregate posterior at each validation.
        log_every: steps between points of the terms in training.
        gradient_clip_val: the norm that gradients are cut to, if any.
        scheduler: makes a learning-rate scheduler, in Lightning's form, from the optimiser.
        hparams: what `load_from_checkpoint` needs: the resolved `config`, `x_shape` and `N`.

    `last_terms` are the terms of the last step that was fetched from the device, `evaluation` those of the last
    validation or test, `evaluated_at` its step and `encodings` (n, ...) the encoder's outputs for its images.
    """

    encodings: Tensor

    def __init__(
        self,
        vae: VAE,
        objective: Objective,
        *,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer],
        N: int,
        seed: int,
        eval_samples: int,
        log_every: int = 50,
        gradient_clip_val: float | None = None,
        scheduler: Callable[[Optimizer], dict[str, Any]] | None = None,
        hparams: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(dict(hparams or {}), logger=False)
        self.vae = vae
        self.objective = objective
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.N = N
        self.seed = seed
        self.eval_samples = eval_samples
        self.log_every = log_every
        self.gradient_clip_val = gradient_clip_val
        self.names: list[str] = []  # of the numbers in a row
        self.rows: list[Tensor] = []  # terms (T,) of the steps since the last fetch, on the device
        self.last_terms: dict[str, float] = {}
        self.evaluation: dict[str, float] = {}
        self.evaluated_at: int | None = None
        self.best_elbo = float("-inf")

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, **_: Any) -> "VAEModule":  # type: ignore[override]
        """Return the module of a run's last.ckpt or best.ckpt, on the CPU and in evaluation mode.

        Raises:
            ConfigError: the file is damaged, or holds no configuration since an earlier version wrote it.
        """
        checkpoint = load(Path(checkpoint_path))
        config, x_shape, N = (checkpoint["hyper_parameters"][name] for name in ("config", "x_shape", "N"))
        module = cls.of(config, make_vae(config, x_shape), make(config["objective"], "objective"), x_shape, N)
        module.load_state_dict(checkpoint["state_dict"])
        return module.eval()

    @classmethod
    def of(
        cls, config: Mapping[str, Any], vae: VAE, objective: Objective, x_shape: tuple[int, ...], N: int
    ) -> "VAEModule":
        """Return the module that a resolved configuration asks for, for N training images of `x_shape` (C, H, W)."""
        scheduler = config.get("scheduler")
        lengths = {"steps": config["steps"], "eval_every": config["eval_every"]}
        return cls(
            vae,
            objective,
            optimizer=lambda groups: make(config["optimizer"], "optimizer", params=groups),
            scheduler=scheduler and (lambda optimizer: make(scheduler, "scheduler", optimizer=optimizer, **lengths)),
            N=N,
            seed=config["seed"],
            eval_samples=config["eval_samples"],
            log_every=config["log_every"],
            gradient_clip_val=config["trainer"]["gradient_clip_val"],
            hparams={"config": dict(config), "x_shape": tuple(x_shape), "N": N},
        )

    def new_optimizer(self) -> Optimizer:
        """Return one optimiser with the objective's groups of the VAE's and its own parameters."""
        return self.make_optimizer(self.objective.groups(self.vae))

    def configure_optimizers(self) -> Any:
        """Return the optimiser, with its learning-rate scheduler if there is one."""
        optimizer = self.new_optimizer()
        optimizer.register_load_state_dict_pre_hook(_keep_device_settings)
        return optimizer if self.make_scheduler is None else {
            "optimizer": optimizer, "lr_scheduler": self.make_scheduler(optimizer)
        }  # fmt: skip

    def compute_terms(self, batch: Batch, step: Any) -> dict[str, Tensor]:
        """Return the objective's terms of a training batch, one of which is the `loss`."""
        return training_terms(self.vae, self.objective, batch, step=step, N=self.N)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch; the noise is a function of (seed, step)."""
        seed_noise(step_seed(self.seed, self.global_step), self.device)
        self.terms = self.compute_terms(batch, self.global_step)
        return self.terms["loss"]

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: Any = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Measure the gradient's norm and clip it, if asked for; keep it with the terms of the step."""
        norm = clip_gradients(self.parameters(), self.gradient_clip_val)
        self.rows.append(self.row_of({**self.terms, NORM: norm}))

    def row_of(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Return the terms of one step as a row (T,) on the device, to be fetched when they are due."""
        self.names = self.names or names_of(terms)
        return torch.cat([term.detach().reshape(-1).float() for term in terms.values()])

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Fetch the terms when they are due: every `log_every` steps; on a CPU, where it costs nothing, every step."""
        due = self.global_step % self.log_every == 0
        if due or self.device.type == "cpu":
            self.fetch_terms()
        if due:
            values = {f"train/{name}": value for name, value in self.last_terms.items()}
            self.log_values(values, on_step=True, on_epoch=False)

    def log_values(self, values: Mapping[str, float], **when: Any) -> None:
        """Log values under the tags of `logged`, and for callbacks under their own names, too."""
        tags = logged(values)
        self.log_dict({**tags, "step": float(self.global_step)}, **when)
        self.log_dict({name: value for name, value in values.items() if name not in tags}, logger=False, **when)

    def fetch_terms(self) -> None:
        """Copy the terms of the steps since the last call from the device into `last_terms`.

        Raises:
            Diverged: naming the first step whose loss or gradient is not finite.
        """
        if not self.rows:
            return
        rows, self.rows = torch.stack(self.rows).cpu(), []
        check_finite(self.names, rows, self.global_step - len(rows))
        self.keep_terms(self.names, rows[-1])

    def check(self) -> None:
        """Fetch the terms of the steps so far and check the weights.

        Raises:
            Diverged: a loss, a gradient or a weight is not finite.
        """
        self.fetch_terms()
        check_weights(self, self.global_step)

    def keep_terms(self, names: list[str], row: Tensor) -> None:
        """Keep the terms of a step, a row (T,) on the CPU, as numbers."""
        named = dict(zip(names, row.tolist(), strict=True))
        self.last_terms = {name: value for name, value in named.items() if name != NORM}

    def _begin_evaluation(self, blocks: Any) -> None:
        self._evaluation = Evaluation(self, self.global_step, len(blocks.rows))

    def on_validation_epoch_start(self) -> None:
        """Begin an evaluation on the validation sample."""
        self.check()
        self._begin_evaluation(self.trainer.val_dataloaders)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a block of images to the evaluation."""
        self._evaluation.add(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the evaluation as `val/*`."""
        self._evaluation.close()
        values = {f"val/{name}": value for name, value in self.evaluation.items()}
        self.log_values(values)

    def on_test_epoch_start(self) -> None:
        """Begin an evaluation on the held-out sample."""
        self._begin_evaluation(self.trainer.test_dataloaders)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a block of images to the evaluation."""
        self._evaluation.add(batch)

    def on_test_epoch_end(self) -> None:
        """End the evaluation, which is not logged: it comes once, among the final results."""
        self._evaluation.close()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the terms of the last step and the best ELBO so far."""
        checkpoint |= {"terms": self.last_terms, "best_elbo": self.best_elbo}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the terms and the best ELBO."""
        self.last_terms, self.best_elbo = checkpoint["terms"], checkpoint["best_elbo"]


def clip_gradients(parameters: Any, most: float | None) -> Tensor:
    """Return the norm () of all gradients, cut to `most` afterwards unless it is None."""
    with_gradient = [p for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in with_gradient])
    if most is not None:
        nn.utils.clip_grads_with_norm_(with_gradient, most, norm)
    return norm


def _keep_device_settings(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Keep this device's settings, for the checkpoint may come from a device that counts its steps elsewhere."""
    groups = [
        {**saved, **{key: own[key] for key in OF_DEVICE if key in own}}
        for saved, own in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    return {**state, "param_groups": groups}
