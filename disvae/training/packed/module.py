"""Several runs as one LightningModule: their steps are made at once, everything else is done for each as if alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from disvae.dataset.batches import Batch, Data, send
from disvae.dataset.samplers import Rows
from disvae.system.signals import stop_if_asked
from disvae.training.checkpoint_io import AtomicCheckpointIO
from disvae.training.cuda_graph import StepRecorder, WholeStep
from disvae.training.data_module import StepRows
from disvae.training.module import Diverged, Evaluation, VAEModule, check_finite, check_weights, names_of
from disvae.training.packed.vmap_step import Pack
from disvae.training.schedule_inputs import ScheduleInputs


@dataclass(frozen=True)
class MemberBatch:
    """A block of one member's validation sample."""

    k: int
    batch: Batch


class PackedDataModule(pl.LightningDataModule):
    """Batches of K runs on one dataset: in training those of all members, stacked, else of one after another."""

    def __init__(self, data: Sequence[Data], steps: int) -> None:
        super().__init__()
        self.data = list(data)
        self.steps = steps

    def train_dataloader(self) -> "_Stacked":
        """Return the rows of the steps that are left, for each member."""
        assert self.trainer is not None
        first = self.trainer.global_step
        return _Stacked([StepRows(data.batches, first, self.steps) for data in self.data])

    def val_dataloader(self) -> "_InTurn":
        """Return the members' validation samples, block by block."""
        return _InTurn([data.blocks(data.validation_rows) for data in self.data])

    def test_dataloader(self) -> "_InTurn":
        """Return the members' held-out samples, block by block."""
        return _InTurn([data.blocks(data.held_out_rows) for data in self.data])

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Gather the images of (k, rows) or of every member's rows (K, B, C, H, W) on the device."""
        if isinstance(batch, tuple):
            k, rows = batch
            return MemberBatch(k, self.data[0].take(rows, device))
        flat = self.data[0].take({name: rows.flatten(0, 1) for name, rows in batch.items()}, device).tensors()
        K = len(self.data)
        return Batch(**{name: value.unflatten(0, (K, len(value) // K)) for name, value in flat.items()})


class _Stacked:
    def __init__(self, members: Sequence[StepRows]) -> None:
        self.members = members

    def __iter__(self) -> Iterator[Rows]:
        for rows in zip(*self.members, strict=True):
            yield {name: torch.stack([own[name] for own in rows]) for name in rows[0]}


class _InTurn:
    def __init__(self, blocks: Sequence[Any]) -> None:
        self.blocks = blocks

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def __iter__(self) -> Iterator[tuple[int, Rows]]:
        return chain.from_iterable(((k, rows) for rows in own) for k, own in enumerate(self.blocks))


class PackedModule(WholeStep):
    """K runs of equal `structure` on one dataset, all at the same step.

    A member that diverges or fails is left behind: `failed` is called with it, and the others go on without it. `log`
    writes a member's points to its loggers.
    """

    def __init__(
        self,
        members: Sequence[VAEModule],
        checkpoints: Sequence[Mapping[str, Any] | None],
        *,
        failed: Callable[[VAEModule, Exception], None],
        log: Callable[[VAEModule, Mapping[str, float], int], None],
        graph: bool,
    ) -> None:
        super().__init__()
        self.everyone = nn.ModuleList(members)
        self.all = list(members)
        self.live = list(members)
        self.checkpoints = list(checkpoints)
        self.failed = failed
        self.log_for = log
        self.log_every = members[0].log_every
        self.schedules = [ScheduleInputs(member.objective) for member in members]
        self.recorder = StepRecorder(self.make_step, wanted=graph)
        self.names: list[str] = []
        self.rows: list[Tensor] = []  # (K, T) of the steps since the last fetch
        self._evaluation: Evaluation | None = None
        self._chosen: Tensor | None = None  # numbers of the live members on the device, once a member is lost

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return one optimiser over the members' stacked parameters, in the state of their checkpoints."""
        optimizers = []
        for member, checkpoint in zip(self.all, self.checkpoints, strict=True):
            optimizer = member.configure_optimizers()
            if checkpoint is not None:
                optimizer.load_state_dict(checkpoint["optimizer_states"][0])
            optimizers.append(optimizer)
        self.pack = Pack(self.all, optimizers, gradient_clip_val=self.all[0].gradient_clip_val)
        return self.pack.optimizer

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the members as they are, for they hold what their own checkpoints held; only the step is taken over."""
        checkpoint["state_dict"] = self.state_dict()

    def make_step(self, inputs: dict[str, Tensor], step: Any) -> Tensor:
        """Make an optimiser step of every member on their batches, stacked (K, ...); return their terms (K, T)."""
        *of_batch, weights = inputs
        terms = self.pack.gradients(Batch(**{name: inputs[name] for name in of_batch}), inputs[weights])
        self.pack.update()
        self.names = self.names or names_of(terms, axes=1)
        return torch.cat([term.reshape(len(inputs["x"]), -1).float() for term in terms.values()], dim=1)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Make the members' steps and return the sum of their losses."""
        step = self.global_step
        weights = send(torch.cat([schedules.at([step]) for schedules in self.schedules]), batch.x.device)
        tensors = batch.tensors()
        if self._chosen is not None:
            tensors = {name: value[self._chosen] for name, value in tensors.items()}
        inputs = {**tensors, "weights": weights}
        rows = self.recorder(inputs, step, lambda: self.pack.seed(step), self.pack.generators)
        self.rows.append(rows)
        return rows[:, self.names.index("loss")].sum()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Fetch the terms when they are due and log them for each member."""
        due = self.global_step % self.log_every == 0
        if due or self.device.type == "cpu":
            self.fetch_terms()
        if due:
            for member in self.live:
                self.log_for(member, {f"train/{name}": v for name, v in member.last_terms.items()}, self.global_step)

    def fetch_terms(self) -> None:
        """Give the members the terms of the steps since the last call, and leave behind those that diverged.

        Raises:
            Diverged: that of the last member, when none is left.
        """
        if not self.rows:
            return
        rows, self.rows = torch.stack(self.rows).cpu(), []  # (n, K, T)
        lost: dict[int, Exception] = {}
        for k, member in enumerate(self.live):
            try:
                check_finite(self.names, rows[:, k], self.global_step - len(rows))
            except Diverged as error:
                lost[k] = error
            else:
                member.keep_terms(self.names, rows[-1, k])
        self._leave(lost)

    def check(self) -> None:
        """Fetch the terms of the steps so far and check the weights of each member.

        Raises:
            Diverged: that of the last member, when none is left.
        """
        self.fetch_terms()
        lost: dict[int, Exception] = {}
        for k, member in enumerate(self.live):
            try:
                check_weights(member, self.global_step)
            except Diverged as error:
                lost[k] = error
        self._leave(lost)

    def leave(self, member: VAEModule, error: Exception) -> None:
        """Go on without a member, for which `error` was raised.

        Raises:
            Exception: the error, when no member is left.
        """
        if member in self.live:
            self._leave({self.live.index(member): error})

    def _leave(self, lost: Mapping[int, Exception]) -> None:
        for k, error in lost.items():
            self.failed(self.live[k], error)
        if len(lost) == len(self.live):
            raise error
        if not lost:
            return
        self.pack = self.pack.without(lost.keys())
        self.live = list(self.pack.members)
        self.schedules = [ScheduleInputs(member.objective) for member in self.live]
        # A list as an index would be copied to the device at each step, which waits for it.
        device = next(self.live[0].parameters()).device
        self._chosen = torch.tensor([self.all.index(member) for member in self.live], device=device)
        self.recorder.forget()

    def checkpoint_of(self, member: VAEModule) -> dict[str, Any]:
        """Return what a checkpoint of a member alone would hold instead of this module's."""
        content: dict[str, Any] = {
            "state_dict": {name: value.to("cpu", copy=True) for name, value in member.state_dict().items()},
            "optimizer_states": [self.pack.optimizer_state(self.live.index(member))],
            "hyper_parameters": dict(member.hparams),
        }
        member.on_save_checkpoint(content)
        return content

    def on_train_start(self) -> None:
        """Record anew, for a graph of earlier training holds tensors that Lightning has moved since."""
        self.recorder.forget()

    def on_train_end(self) -> None:
        """Give the graph's memory back, for Lightning moves its tensors next."""
        self.recorder.forget()

    def _begin_evaluations(self, blocks: Any) -> None:
        self._blocks, self._evaluated = blocks, -1
        self._evaluation = None

    def on_validation_epoch_start(self) -> None:
        """Begin evaluations on the validation samples, of the members that have not diverged."""
        self.check()
        self._begin_evaluations(self.trainer.val_dataloaders)

    def on_test_epoch_start(self) -> None:
        """Begin evaluations on the held-out samples."""
        self._begin_evaluations(self.trainer.test_dataloaders)

    def validation_step(self, batch: MemberBatch, batch_idx: int) -> None:
        """Add a block to its member's evaluation; the first one of a member ends the evaluation before."""
        member = self.all[batch.k]
        if batch.k != self._evaluated:
            self._end_evaluation()
            self._evaluated = batch.k
            if member in self.live:
                with self._own(member):
                    self._evaluation = Evaluation(member, self.global_step, len(self._blocks.blocks[batch.k].rows))
        if self._evaluation is not None:
            with self._own(member):
                self._evaluation.add(batch.batch)

    test_step = validation_step

    def _end_evaluation(self) -> None:
        if self._evaluation is not None:
            with self._own(self.all[self._evaluated]):
                self._evaluation.close()
        self._evaluation = None

    @contextmanager
    def _own(self, member: VAEModule) -> Iterator[None]:
        """Let an error in the evaluation of a member end this member only."""
        try:
            yield
        except Exception as error:
            stop_if_asked()
            self._evaluation = None
            self.leave(member, error)

    def on_validation_epoch_end(self) -> None:
        """End the last evaluation and log each member's as `val/*`."""
        self._end_evaluation()
        for member in self.live:
            self.log_for(member, {f"val/{name}": v for name, v in member.evaluation.items()}, self.global_step)

    def on_test_epoch_end(self) -> None:
        """End the last evaluation, which is not logged."""
        self._end_evaluation()


class PackedCheckpointIO(AtomicCheckpointIO):
    """Write the checkpoint of a member as if it had been trained alone."""

    def __init__(self, packed: PackedModule) -> None:
        self.packed = packed

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write the checkpoint of the member that `storage_options` holds."""
        super().save_checkpoint(checkpoint | self.packed.checkpoint_of(storage_options), path)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Return a member's checkpoint without its optimiser's state, which configure_optimizers has stacked."""
        return super().load_checkpoint(path, map_location, weights_only) | {"optimizer_states": []}
