"""The parts of the benchmark. Each returns rows of numbers in seconds, bytes and operations, or why it has none."""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from disvae.benchmark.measure import Runner, per_step, rates, seconds, wait, work
from disvae.benchmark.reference import reference
from disvae.benchmark.worker import Worker
from disvae.benchmark.workloads import (
    Overrides,
    Place,
    built,
    configuration,
    one_after_another,
    packed,
    single,
    steps_of,
)
from disvae.build import make
from disvae.config import ConfigError
from disvae.dataset import Dataset, Images
from disvae.runs.folder import Run
from disvae.system.machine import cores
from disvae.training.callbacks import Checkpoints, Curves, Pace, StopOnSignal
from disvae.training.loop import fit
from disvae.training.module import VAEModule
from disvae.training.run_trainer import Asked

Row = dict[str, Any]

DATASETS = {"mlp": "clusters", "dcgan": "fashion_mnist"}
"""What a network that is no 64x64 one is for."""

REFERENCE_IMAGES = 20_000
"""Of the plain loop; as float32, 0.3 GB."""

SAMPLE = 100_000
"""Images of which each format holds as many."""


class Benchmark:
    """Settings of conf/benchmark.yaml, and the rates of this device."""

    def __init__(self, settings: Mapping[str, Any], place: Place) -> None:
        self.settings = settings
        self.place = place
        self.threads = torch.get_num_threads()
        with place.computing():
            self.rates = rates(place.device)

    def _case(self, model: str, objective: str, batch_size: int) -> Overrides:
        dataset = DATASETS.get(model, "sprites")
        chosen = [f"dataset={dataset}", f"model={model}", f"objective={objective}", f"batch_size={batch_size}"]
        if dataset == "fashion_mnist" and self.settings["fashion_mnist"] is None:
            raise ConfigError("needs fashion_mnist=FOLDER")
        if dataset == "fashion_mnist":
            chosen.append(f"dataset.path={self.settings['fashion_mnist']}")
        if dataset == "clusters":
            chosen.append(f"dataset.points={max(100, batch_size)}")  # so that the largest batch is there
        if objective == "decomposition":
            chosen.append("alpha=1")  # at 0 there is no divergence to compute
        return (*chosen, *self.settings["overrides"])

    def _per_step(self, runners: Mapping[str, Runner]) -> dict[str, float]:
        return per_step(runners, self.place.device, self.settings["seconds"], self.settings["rounds"])

    def reference(self) -> Iterator[Row]:
        """The plain loop and ours, in turns, each in a process of its own: same network, images and batch."""
        for batch_size in self.settings["batch_sizes"]:
            case = self._case("conv", "beta_vae", batch_size)
            config = configuration(case)
            with (
                self._images_of(case) as file,
                Worker(
                    self.threads, reference, file, batch_size, config["z_dim"], config["beta"], self.place.device
                ) as theirs,
                Worker(self.threads, single, case, self.place) as ours,
            ):
                times = self._per_step({"plain": theirs, "disvae": ours})
                cpu = [statistics.median(worker.cpu_s[-self.settings["rounds"] :]) for worker in (theirs, ours)]
                yield {
                    "batch_size": batch_size,
                    "plain_s": times["plain"],
                    "disvae_s": times["disvae"],
                    "ratio": times["plain"] / times["disvae"],
                    "plain_cpu_s": cpu[0],
                    "disvae_cpu_s": cpu[1],
                    "cpu_ratio": cpu[0] / cpu[1],
                    "plain_peak_bytes": theirs.peaks[2],
                    "disvae_peak_bytes": ours.peaks[2],
                }

    @contextmanager
    def _images_of(self, case: Overrides) -> Iterator[Path]:
        """Training images of a run in a file that any program could read."""
        data = built(case, self.place).module.data
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "images.npy"
            np.save(file, data.dataset.images.take(data.train_rows[:REFERENCE_IMAGES]).to(torch.uint8).numpy())
            yield file

    def steps(self) -> Iterator[Row]:
        """A step of each network, objective and batch size, its parts, and its share of what products alone take."""
        for model in self.settings["models"]:
            for objective in self.settings["objectives"]:
                for batch_size in self.settings["batch_sizes"]:
                    row = {"model": model, "objective": objective, "batch_size": batch_size}
                    try:
                        yield row | self._step(self._case(model, objective, batch_size), batch_size)
                    except ConfigError as error:
                        yield row | {"not_measured": str(error)}

    def _step(self, case: Overrides, batch_size: int) -> Row:
        on_gpu = self.place.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        module = built(case, self.place).module
        runners = {"step": steps_of(module, self.place)}
        if on_gpu:
            runners["eager"] = single((*case, "trainer.graph=false"), self.place)
        times = self._per_step(runners)
        peak = torch.cuda.max_memory_allocated() if on_gpu else None
        eager = built(case, self.place).module  # whose step can be taken apart, for no graph holds it
        eager.configure_optimizers()
        with self.place.computing():
            parts = self._parts_of(eager)
            counted = work(lambda: _eagerly(eager))
        floor = counted["flop"] / self.rates["flop_per_s"]
        row = {
            "step_s": times["step"],
            "steps_per_s": 1 / times["step"],
            "images_per_s": batch_size / times["step"],
            **counted,
            "floor_s": floor,
            "share_of_floor": floor / times["step"],
            "parts_s": parts,
        }
        if on_gpu:
            row |= {"path": "graph" if module.graph else "eager", "eager_s": times["eager"], "peak_bytes": peak}
        return row

    def _parts_of(self, module: VAEModule) -> dict[str, float]:
        """Seconds of gathering the images, forward, backward and optimiser, each waited for."""
        module.data.to(self.place.device)
        taken: dict[str, list[float]] = {"data": [], "forward": [], "backward": [], "optimizer": []}
        results: dict[str, Any] = {}
        (weights,) = module.weights.at([0])
        module.weights.feed(weights.to(self.place.device))

        def data() -> None:
            batch = module.data.batches.of_steps(len(taken["data"]), 1)
            results["x"], results["x_extra"] = (
                module.data.images.take(batch[name][0].to(self.place.device)) for name in ("index", "extra")
            )

        def forward() -> None:
            draw = module.vae(results["x"], step=0, N=module.N, x_extra=results["x_extra"])
            results["loss"] = module.objective(draw)["loss"]

        def backward() -> None:
            results["loss"].backward()

        def optimizer() -> None:
            module.update()
            module.optimizer.zero_grad(set_to_none=True)

        made = {"data": data, "forward": forward, "backward": backward, "optimizer": optimizer}
        started = time.perf_counter()
        while len(taken["data"]) < 4 or time.perf_counter() - started < self.settings["seconds"]:
            for name, part in made.items():
                taken[name].append(seconds(part, self.place.device))
        return {name: statistics.median(times[1:]) for name, times in taken.items()}

    def loop(self) -> Iterator[Row]:
        """The default run through Lightning: where its time goes, of which the steps are one part."""
        case = (
            *self._case("conv", "beta_vae", 64),
            "final=[]",
            "metric=[]",
            f"trainer.precision={self.place.precision}",
        )
        case = (*case, f"trainer.accelerator={'gpu' if self.place.device.type == 'cuda' else 'cpu'}")
        with self.place.computing():
            step_s = self._per_step({"step": single(case, self.place)})["step"]
        steps = max(20, min(20_000, int(20 * self.settings["seconds"] / step_s)))
        case = (*case, f"steps={steps}", f"eval_every={steps}", f"checkpoint_every={steps // 2}")
        with tempfile.TemporaryDirectory() as folder, _clocks() as taken:
            fit(Asked(Run(Path(folder) / "run"), configuration(case), brief=True))
        taken["Lightning"] = taken["all"] - sum(
            taken[name] for name in ("steps", "curves", "checkpoints", "validation")
        )
        per_1000 = {name: taken[name] / steps * 1000 for name in ("steps", "curves", "Lightning")}
        per_1000["checkpoints"] = 2 * taken["checkpoints"]  # one was measured; the default is every 500 steps
        per_1000["validation"] = taken["validation"]  # the default is every 1,000 steps
        outside = sum(per_1000[name] for name in ("curves", "checkpoints", "Lightning"))
        yield {
            "steps": steps,
            "bare_step_s": step_s,
            "step_s": taken["steps"] / steps,
            "seconds_per_1000_steps": per_1000,
            "share_outside_steps": outside / (outside + per_1000["steps"]),
            "share_of_validation": per_1000["validation"] / sum(per_1000.values()),
        }

    def pack(self) -> Iterator[Row]:
        """K runs in one step, one after another, and in processes, of which as many at once as there are cores."""
        for model in self.settings["packed_models"]:
            case = self._case(model, "beta_vae", 400 if DATASETS.get(model) == "clusters" else 64)
            for K in self.settings["pack"]:
                with ExitStack() as stack:
                    seeds = list(range(K))
                    one_process = {"packed": packed, "one_after_another": one_after_another}
                    runners: dict[str, Runner] = {
                        name: stack.enter_context(Worker(self.threads, make, case, self.place, seeds))
                        for name, make in one_process.items()
                    }
                    peaks = dict(runners)
                    at_once = min(K, cores())
                    crowd = [
                        stack.enter_context(
                            Worker(
                                max(1, self.threads // at_once), one_after_another, case, self.place, seeds[i::at_once]
                            )
                        )
                        for i in range(at_once)
                    ]
                    runners["processes"] = partial(_together, crowd)
                    times = self._per_step(runners)
                    yield {
                        "model": model,
                        "K": K,
                        "processes_at_once": at_once,
                        **{f"{name}_run_steps_per_s": K / taken for name, taken in times.items()},
                        "packed_peak_bytes": peaks["packed"].peaks[2],  # type: ignore[attr-defined]
                        "processes_peak_bytes": sum(worker.peaks[2] for worker in crowd),
                    }

    def data(self) -> Iterator[Row]:
        """Bytes and times of each format of images: as they are held, and as files."""
        source = built(self._case("conv", "beta_vae", 64), self.place).dataset.images
        rows = torch.arange(min(SAMPLE, len(source)))
        pixels = torch.cat([source.take(part) for part in rows.split(10_000)])
        held = {
            "bit-packed": Images(source.data[: len(rows)].clone(), source.x_shape),
            "uint8": Images((pixels * 255).to(torch.uint8), source.x_shape),
            "float32": Images(pixels, source.x_shape),
        }
        for name, images in held.items():
            images = images.to(self.place.device)
            gather = {
                f"gather_{size}_s": self._per_step({name: partial(_gather, images, min(size, len(rows)))})[name]
                for size in self.settings["batch_sizes"]
            }
            yield {"format": name, "images": len(images), "bytes": images.data.nbytes, **gather}
        for name, overrides in self._files().items():
            with _empty_cache():
                made = seconds(partial(_dataset, overrides), self.place.device)
            _dataset(overrides)  # which is kept from here on
            times = [seconds(partial(_dataset, overrides), self.place.device) for _ in range(self.settings["rounds"])]
            images = _dataset(overrides).images
            yield {
                "format": name,
                "images": len(images),
                "bytes": images.data.nbytes,
                "make_s": made,
                "load_s": statistics.median(times),
            }

    def _files(self) -> dict[str, Overrides]:
        files: dict[str, Overrides] = {"sprites": self._case("conv", "beta_vae", 64)}
        if self.settings["dsprites"] is not None:
            files["dsprites"] = ("dataset=dsprites", f"dataset.path={self.settings['dsprites']}")
        if self.settings["fashion_mnist"] is not None:
            files["fashion_mnist"] = self._case("dcgan", "beta_vae", 64)
        return files

    def memory(self) -> Iterator[Row]:
        """The most bytes a process holds: after its imports, with images and network, and after steps of each size."""
        for batch_size in self.settings["batch_sizes"]:
            with Worker(self.threads, single, self._case("conv", "beta_vae", batch_size), self.place) as worker:
                worker(4)
                imports, ready, steps = worker.peaks
                yield {"batch_size": batch_size, "imports_bytes": imports, "ready_bytes": ready, "steps_bytes": steps}


def _eagerly(module: VAEModule) -> None:
    """One step as it is made without a graph."""
    inputs = {name: value[0].to(module.device) for name, value in module.inputs(module.step, 1).items()}
    module.gradients(**inputs, step=module.step)
    module.update()


def _dataset(overrides: Overrides) -> Dataset:
    dataset: Dataset = make(configuration(overrides)["dataset"], "dataset")
    return dataset


@contextmanager
def _empty_cache() -> Iterator[None]:
    """What is cached is made anew, and forgotten."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, DISVAE_CACHE_DIR=folder):
        yield


def _gather(images: Images, size: int, n: int) -> None:
    device = images.data.device
    for _ in range(n):
        images.take(torch.randint(len(images), (size,), device=device))
    wait(device)


def _together(crowd: list[Worker], n: int) -> None:
    for worker in crowd:
        worker.begin(n)
    for worker in crowd:
        worker.end()


@contextmanager
def _clocks() -> Iterator[dict[str, float]]:
    """Seconds that the parts of Lightning's loop take, and `all` of them from its start to its end."""
    taken = dict.fromkeys(("steps", "curves", "checkpoints", "validation", "all"), 0.0)

    def clocked(name: str, kind: type, method: str, *, begin: bool = True, end: bool = True) -> Any:
        call = getattr(kind, method)

        def timed(*arguments: Any) -> Any:
            taken[name] -= time.perf_counter() if begin else 0
            result = call(*arguments)
            taken[name] += time.perf_counter() if end else 0
            return result

        return patch.object(kind, method, timed)

    with (
        clocked("steps", VAEModule, "training_step"),
        clocked("curves", Curves, "on_train_batch_end"),
        clocked("checkpoints", Checkpoints, "on_train_batch_end"),
        clocked("validation", Pace, "on_validation_start", end=False),
        clocked("validation", Pace, "on_validation_end", begin=False),
        clocked("all", Curves, "on_train_start", end=False),
        clocked("all", StopOnSignal, "on_train_end", begin=False),
    ):
        yield taken
