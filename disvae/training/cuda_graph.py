"""A training step as a CUDA graph: hundreds of kernels launched by one call, no Python between them.

`trainer.graph=false` runs the steps as VAEModule makes them; so does any device that is no GPU.
"""

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from disvae.dataset.batches import Batch, send
from disvae.training.module import NORM, VAEModule, clip_gradients, seed_noise, step_seed
from disvae.training.schedule_inputs import ScheduleInputs, TracedStep

log = logging.getLogger(__name__)

WARM_UP = 3
"""The number of eager steps before recording, in which libraries choose algorithms and optimisers make their state."""

_FAILED: list[torch.cuda.CUDAGraph] = []
"""Recordings that failed, kept because torch's allocator of pinned memory goes on asking for their stream."""


def can_record(device: torch.device) -> bool:
    """Return whether a device can record graphs."""
    return device.type == "cuda"


class WholeStep(pl.LightningModule):
    """A module whose training_step makes the whole optimiser step, so Lightning's own calls around it do nothing."""

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Call training_step, which updates the parameters itself."""
        assert optimizer_closure is not None
        optimizer_closure()

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        """Do nothing: training_step clears the gradients."""

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Do nothing: training_step makes the gradients."""


class StepRecorder:
    """Make steps eagerly at first, then record `body` as a CUDA graph and replay it.

    `body(inputs, step)` makes the whole step and returns its terms. A step that cannot be recorded is made eagerly for
    good, which changes nothing but speed, and a line says why.
    """

    def __init__(self, body: Callable[[dict[str, Tensor], Any], Tensor], wanted: bool) -> None:
        self.body = body
        self.wanted = wanted
        self.rehearsal: Rehearsal | None = None
        self.captured: Captured | None = None

    def __call__(
        self,
        inputs: dict[str, Tensor],
        step: int,
        seed: Callable[[], object],
        generators: Sequence[torch.Generator] = (),
    ) -> Tensor:
        """Return the terms of one step, whose noise `seed` sets."""
        device = next(iter(inputs.values())).device
        seed()
        if not (self.wanted and can_record(device)):
            return self.body(inputs, step)
        if self.rehearsal is None:
            self.rehearsal = Rehearsal(device)
        if self.rehearsal.steps < WARM_UP:
            return self.rehearsal(lambda: self.body(inputs, step))
        if self.captured is None:
            self._record(inputs, self.rehearsal, generators)
            seed()  # the attempt may have drawn
        return self.body(inputs, step) if self.captured is None else self.captured(inputs)

    def _record(self, inputs: dict[str, Tensor], rehearsal: "Rehearsal", generators: Sequence[torch.Generator]) -> None:
        try:
            if rehearsal.waits:
                raise RuntimeError(f"{rehearsal.waits[0]} waits for the device")
            self.captured = Captured(lambda own: self.body(own, TracedStep()), inputs, generators, rehearsal.stream)
            log.info("Steps are replayed as a CUDA graph (trainer.graph=false runs them one kernel at a time)")
        except (RuntimeError, TypeError) as error:
            self.wanted = False
            cause = error.__context__ or error  # a recording's own error follows the one that broke it off
            reason = str(cause).partition("\n")[0]
            log.info("Steps run one kernel at a time: they cannot be recorded as a CUDA graph (%s)", reason)

    def forget(self) -> None:
        """Record anew: what the step is made of has changed."""
        self.captured, self.rehearsal = None, None


class GraphedVAEModule(WholeStep, VAEModule):
    """A VAEModule whose steps are replayed as a CUDA graph on a GPU."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.schedules = ScheduleInputs(self.objective)
        self.recorder = StepRecorder(self.make_step, wanted=True)

    def on_train_start(self) -> None:
        """Record anew, for a graph of earlier training holds tensors that Lightning has moved since."""
        self.recorder.forget()

    def on_train_end(self) -> None:
        """Give the graph's memory back, for Lightning moves its tensors next."""
        self.recorder.forget()

    def configure_optimizers(self) -> Any:
        """Return the optimiser, which training_step calls itself."""
        self.optimizer = super().configure_optimizers()
        return self.optimizer

    def make_step(self, inputs: dict[str, Tensor], step: Any) -> Tensor:
        """Make a whole optimiser step on the tensors of a batch with `weights`; return its terms (T,)."""
        *of_batch, weights = inputs
        self.schedules.feed(inputs[weights])
        self.optimizer.zero_grad(set_to_none=True)
        terms = self.compute_terms(Batch(**{name: inputs[name] for name in of_batch}), step)
        terms["loss"].backward()
        norm = clip_gradients(self.parameters(), self.gradient_clip_val)
        self.optimizer.step()
        return self.row_of({**terms, NORM: norm})

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Make the step of a batch and return its loss."""
        step = self.global_step
        (weights,) = self.schedules.at([step])
        inputs = {**batch.tensors(), "weights": send(weights, batch.x.device)}
        row = self.recorder(inputs, step, lambda: seed_noise(step_seed(self.seed, step), batch.x.device))
        self.rows.append(row)
        return row[self.names.index("loss")]


class Rehearsal:
    """Eager steps on the stream that they will be recorded on, since libraries keep workspaces by stream.

    `waits` lists the places where the last step made Python wait for the device. Such a step cannot be recorded, and an
    attempt would leave torch in a poor state.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.steps = 0
        self.waits: list[str] = []

    def __call__(self, step: Callable[[], Tensor]) -> Tensor:
        """Run `step` on the stream and return its result."""
        with _aside(self.stream), _waits() as self.waits:
            made = step()
        self.steps += 1
        return made


class Captured:
    """A graph of `body`, recorded on `stream` for the shapes of `inputs`, to be replayed with other values.

    Random numbers come from the default generator and from `generators`; to seed one before a replay seeds the replay.
    Recording computes nothing. The next replay overwrites the tensors that `body` returns.

    Raises:
        RuntimeError: the step waits for the device or draws on the CPU, so it cannot be recorded. Eager steps are still
            possible.
    """

    def __init__(
        self,
        body: Callable[[dict[str, Tensor]], Tensor],
        inputs: dict[str, Tensor],
        generators: Sequence[torch.Generator],
        stream: torch.cuda.Stream,
    ) -> None:
        self.inputs = {name: value.clone() for name, value in inputs.items()}
        self.graph = torch.cuda.CUDAGraph()
        for generator in generators:
            self.graph.register_generator_state(generator)
        pool = torch.cuda.graph_pool_handle()
        with _aside(stream):  # torch.cuda.graph leaves its stream current when it fails
            try:
                with torch.cuda.graph(self.graph, pool=pool, stream=stream):
                    self.output = body(self.inputs)
            except BaseException:
                _abandon(self.graph, stream.device_index, pool, generators)
                raise

    def __call__(self, inputs: dict[str, Tensor]) -> Tensor:
        """Replay the graph and return the output of one step, on the device."""
        for name, value in inputs.items():
            self.inputs[name].copy_(value, non_blocking=True)
        self.graph.replay()
        return self.output.clone()


@contextlib.contextmanager
def _aside(stream: torch.cuda.Stream) -> Iterator[None]:
    """Send the body's work to `stream`, in order with the work before and after it."""
    outside = torch.cuda.current_stream(stream.device)
    stream.wait_stream(outside)
    with torch.cuda.stream(stream):
        yield
    outside.wait_stream(stream)


@contextlib.contextmanager
def _waits() -> Iterator[list[str]]:
    """Yield a list, filled at the end with the places in the body that waited for the device."""
    places: list[str] = []
    former = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode(former)
    for warning in caught:
        if "synchronizing CUDA operation" in str(warning.message):
            places.append(f"{warning.filename}:{warning.lineno}")
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _abandon(
    graph: torch.cuda.CUDAGraph, device: int, pool: tuple[int, int], generators: Sequence[torch.Generator]
) -> None:
    """Clean up after a recording that failed; without this, torch's next empty_cache() fails, too."""
    with contextlib.suppress(RuntimeError):  # not recording any more: torch has done it
        torch._C._cuda_endAllocateToPool(device, pool)
        _FAILED.append(graph)
        torch._C._cuda_releasePool(device, pool)
    for generator in (torch.cuda.default_generators[device], *generators):
        generator.graphsafe_set_state(generator.clone_state())  # before torch 2.11 its state would be a recording's
