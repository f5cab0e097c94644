"""One run on several devices, by Lightning's DDP: each makes every step on its share of the batch; gradients are means.

This process is rank 0: it holds the run's folder, validates, writes and obeys signals as if it were alone. The others
are helpers, started by it and ended with it, that build the same parts from the configuration and do as they are told:
rank 0 says how many steps come next. Means over images, and so reconstruction and KL, are what one device would have of
the whole batch; minibatch estimators (total correlation, moments) see the images of their own device.
"""

import multiprocessing
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, distributed

from disvae.build import build
from disvae.config import ConfigError, devices
from disvae.data.batches import Chunks
from disvae.runs.checkpoint import load
from disvae.runs.folder import Run
from disvae.system.imports import loading
from disvae.training.module import Diverged, Steps, VAEModule, step_seed
from disvae.training.schedule_inputs import AnyStep

PATIENCE = timedelta(days=1)
"""How long a rank waits for another, which may be validating."""

GRACE = 10.0
"""Seconds for a process to end before it is killed."""


class Rank(ClusterEnvironment):
    """This process among the `ranks` of one machine that meet at `port`."""

    def __init__(self, rank: int, ranks: int, port: int) -> None:
        super().__init__()
        self.rank = rank
        self.ranks = ranks
        self.port = port

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning is to start none."""
        return True

    @property
    def main_address(self) -> str:
        """This machine."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """Where rank 0 listens."""
        return self.port

    @staticmethod
    def detect() -> bool:
        """Only where it is asked for."""
        return False

    def world_size(self) -> int:
        """Number of processes."""
        return self.ranks

    def set_world_size(self, size: int) -> None:
        """Given from the start."""

    def global_rank(self) -> int:
        """This process."""
        return self.rank

    def set_global_rank(self, rank: int) -> None:
        """Given from the start."""

    def local_rank(self) -> int:
        """This process."""
        return self.rank

    def node_rank(self) -> int:
        """One machine."""
        return 0

    def strategy(self) -> DDPStrategy:
        """Lightning's, for this process."""
        return DDPStrategy(
            cluster_environment=self,
            timeout=PATIENCE,
            find_unused_parameters=True,  # an objective need not use all of a model
        )


class Shared(Steps):
    """The steps of one run on its share of every batch. The terms are means over the ranks."""

    def __init__(self, module: VAEModule, rank: Rank) -> None:
        super().__init__(graph=False)
        self.module = module
        self.rank = rank
        self.step = module.step
        self.members = [module] if rank.rank == 0 else []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The run's own."""
        return self.module.configure_optimizers()

    def training_step(self, chunk: dict[str, int], batch_idx: int) -> None:
        """Make the steps of a chunk, all of them: no rank may stop alone."""
        self.stopping = lambda: False
        super().training_step(chunk, batch_idx)

    def inputs(self, first: int, n: int) -> dict[str, Tensor]:
        """This rank's images, and the schedules' values."""
        whole = self.module.inputs(first, n)
        shares = {name: whole[name].chunk(self.rank.ranks, dim=1) for name in ("index", "extra")}
        return whole | {name: share[self.rank.rank] for name, share in shares.items() if whole[name].numel()}

    def generators(self) -> list[torch.Generator]:
        """None."""
        return []

    def seed_noise(self, step: int) -> None:
        """As if alone on rank 0, other noise on the others."""
        seed = step_seed(self.module.seed, step)
        torch.manual_seed(step_seed(seed, self.rank.rank) if self.rank.rank else seed)

    def gradients(self, index: Tensor, extra: Tensor, weights: Tensor, step: int | AnyStep) -> Tensor:
        """Terms, as means over the ranks, and the norm (T,) of the gradient, which is theirs in common."""
        terms = self.module.gradients(index, extra, weights, step)
        self.names = self.module.names
        distributed.all_reduce(terms)
        return terms / self.rank.ranks

    def update(self) -> None:
        """The optimiser's step, the same on every rank."""
        self.module.update()

    def keep(self, first: int, values: Tensor) -> None:
        """Give the run its terms (n, T).

        Raises:
            Diverged: naming the step and the terms that are not finite.
        """
        self.module.step, self.module.training_s = self.step, self.training_s
        self.module.keep(first, values)

    def checkpoint_of(self, member: VAEModule) -> dict[str, Any]:
        """That of the run."""
        return member.checkpoint_of(member)


class Told:
    """Chunks of steps as rank 0 has them, for all ranks: `chunks` of rank 0, None elsewhere."""

    def __init__(self, chunks: Iterable[dict[str, int]] | None, trainer: pl.Trainer) -> None:
        self.chunks = chunks
        self.trainer = trainer

    def _say(self, first: int, n: int) -> tuple[int, int]:
        said = torch.tensor([first, n], device=self.trainer.strategy.root_device)
        distributed.broadcast(said, 0)
        first, n = said.tolist()
        return first, n

    def __iter__(self) -> Iterator[dict[str, int]]:
        if self.chunks is None:
            while True:
                first, n = self._say(0, 0)
                if n == 0:
                    return
                yield {"first": first, "n": n}
        for chunk in self.chunks:
            self._say(chunk["first"], chunk["n"])
            yield chunk
        self._say(0, 0)


def first_rank(config: Mapping[str, Any]) -> Rank | None:
    """This process's place in a run of several devices; None for a run of one.

    Raises:
        ConfigError: a number of devices that depends on the machine, a batch that they cannot share evenly, or a
            strategy that is not DDP.
    """
    ranks, batch_size, strategy = devices(config["trainer"]), config["batch_size"], config["trainer"]["strategy"]
    if ranks < 1:
        raise ConfigError(f"trainer.devices must be a number or a list of GPUs, got {config['trainer']['devices']!r}")
    if strategy not in ("auto", "ddp"):
        raise ConfigError(f"trainer.strategy must be auto or ddp, got {strategy!r}")
    if batch_size % ranks:
        raise ConfigError(f"batch_size must be a multiple of trainer.devices={ranks}, got {batch_size}")
    if ranks == 1:
        return None
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return Rank(0, ranks, listener.getsockname()[1])


@contextmanager
def helpers(rank: Rank, run: Run, config: Mapping[str, Any]) -> Iterator[None]:
    """The other ranks, which train along while the body does, from the same checkpoint.

    Raises:
        RuntimeError: one of them died.
    """
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_help, args=(Rank(other, rank.ranks, rank.port), run, dict(config)))
        for other in range(1, rank.ranks)
    ]
    for process in processes:
        process.start()
    ended = threading.Event()
    threading.Thread(target=_watch, args=(processes, ended), daemon=True).start()
    try:
        yield
        wait([process.sentinel for process in processes], timeout=GRACE)
    except Exception as error:
        wait([process.sentinel for process in processes], timeout=2)  # if it is for one of them, that one has ended
        dead = _dead(processes)
        if dead:
            raise RuntimeError(f"{dead}; its own message is above") from error
        raise
    finally:
        ended.set()
        with _ASKING:
            for process in processes:
                process.kill()  # all that is kept is rank 0's
                process.join()
        if distributed.is_initialized():
            distributed.destroy_process_group()


_ASKING = threading.Lock()
"""Only one thread is told how a process ended."""


def _dead(processes: Sequence[BaseProcess]) -> str:
    """Which of them has failed."""
    with _ASKING:
        codes = {rank: process.exitcode for rank, process in enumerate(processes, 1)}
    failed = [f"rank {rank} (exit status {code})" for rank, code in codes.items() if code]
    return f"the process of {', '.join(failed)} of a run on {len(codes) + 1} devices died" if failed else ""


def _watch(processes: Sequence[BaseProcess], ended: threading.Event) -> None:
    """Where rank 0 waits on a GPU for one that is dead, nothing else ends it."""
    while not ended.wait(1.0):
        dead = _dead(processes)
        if dead and not ended.wait(GRACE):
            print(f"disvae: {dead}", file=sys.stderr, flush=True)
            os._exit(1)


def _help(rank: Rank, run: Run, config: dict[str, Any]) -> None:
    """The life of a helper."""
    with loading():
        from disvae.training.loop import set_up, trainer_of

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 is told, and ends this
    threading.Thread(target=_end_with_rank_0, daemon=True).start()
    try:
        set_up()
        module = build(config).module
        if run.last.exists():
            module.resume(load(run.last))
        chunks = Chunks(config["steps"], config["eval_every"], config["checkpoint_every"], module.step)
        trainer = trainer_of(run, config["trainer"], [], chunks, rank)
        trainer.fit(Shared(module, rank), train_dataloaders=Told(None, trainer), val_dataloaders=range(1))
    except Diverged:
        pass  # as on rank 0, which has the same terms and says so
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # at once: the others wait for it
    os._exit(0)


def _end_with_rank_0() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
