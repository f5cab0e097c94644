"""The parts of the benchmark; each yields rows of numbers with the unit at the end of the key."""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from disvae.benchmark.measure import Runner, flop, launches, per_step, product_rate
from disvae.benchmark.reference import plain
from disvae.benchmark.settings import configuration
from disvae.benchmark.table import TableRow
from disvae.benchmark.worker import BenchmarkWorker
from disvae.benchmark.workloads import Overrides, bare, training_of, whole
from disvae.config import ConfigError
from disvae.dataset import Images
from disvae.training.trainer import set_products

DATASETS = {"mlp": "clusters", "dcgan": "fashion_mnist"}
"""The default datasets of networks that do not take 64x64 images; run.dataset=NAME changes them."""

SAMPLE = 100_000
"""The number of images in each format. The plain loop gets a fifth of them, 0.3 GB as float32."""


class Benchmark:
    """The measurements of one command, with the settings of conf/benchmark.yaml and runs in `folder`."""

    def __init__(self, settings: Mapping[str, Any], device: torch.device, folder: Path) -> None:
        self.settings = settings
        self.device = device
        self.folder = folder
        if device.type == "cuda":
            set_products(tf32=settings["precision"] == "tf32")
        dtype = torch.bfloat16 if settings["precision"] == "bf16-mixed" else torch.float32
        self.flop_per_s = product_rate(device, dtype)

    def _case(self, model: str, objective: str, batch_size: int | None = None) -> Overrides:
        typed = self.settings["overrides"]
        named = [override for override in typed if override.startswith("dataset=")]
        dataset = (named or [f"dataset={DATASETS.get(model, 'sprites')}"])[-1]
        chosen = [dataset, f"model={model}", f"objective={objective}"]
        chosen.append(f"trainer.precision={self.settings['precision']}")
        chosen.append(f"trainer.accelerator={'gpu' if self.device.type == 'cuda' else 'cpu'}")
        if batch_size:
            chosen.append(f"batch_size={batch_size}")
        if batch_size and dataset == "dataset=clusters":
            chosen.append(f"dataset.points={max(100, batch_size)}")  # enough for the batch
        if objective == "decomposition":
            chosen.append("alpha=1")  # at 0 no divergence is computed
        return (*chosen, *(override for override in typed if override not in named))

    def _per_step(self, **runners: Runner) -> dict[str, float]:
        return per_step(runners, self.settings["seconds"], self.settings["rounds"])

    def reference(self) -> Iterator[TableRow]:
        """Measure a plain loop and this package, each in its own process, with the same network, images and batch."""
        for batch_size in self.settings["batch_sizes"]:
            case = self._case("conv", "beta_vae", batch_size)
            config, file = configuration(case), self.folder / "images.npy"
            data = training_of(self.folder, case).runs[0].built.data
            np.save(file, data.images.take(data.train_rows[: SAMPLE // 5]).to(torch.uint8).numpy())
            usual = (file, batch_size, config["z_dim"], config["beta"], self.device)
            with BenchmarkWorker(plain, *usual) as theirs, BenchmarkWorker(whole, self.folder, case) as ours:
                times = self._per_step(plain=theirs, ours=ours)
                yield {
                    "batch": batch_size,
                    "plain_s": times["plain"],
                    "ours_s": times["ours"],
                    "faster_ratio": times["plain"] / times["ours"],
                    "by_CPU_time_ratio": theirs.cpu_s / ours.cpu_s,
                    "plain_bytes": theirs.peak,
                    "ours_bytes": ours.peak,
                }

    def steps(self) -> Iterator[TableRow]:
        """Measure steps without Lightning of each network, objective and batch size; on a GPU also as a CUDA graph."""
        names = product(*(self.settings[key] for key in ("models", "objectives", "batch_sizes")))
        for model, objective, batch_size in names:
            row: TableRow = {"network": model, "objective": objective, "batch": batch_size}
            case = self._case(model, objective, batch_size)
            try:
                eager = bare(self.folder, (*case, "trainer.graph=false"))
                graph = {"graph": bare(self.folder, case)} if self.device.type == "cuda" else {}
                times = self._per_step(eager=eager, **graph)
                step_s, work = min(times.values()), flop(partial(eager, 1))
                row |= {"steps_per_s": 1 / step_s, "step_flop": work, "floor_share": work / self.flop_per_s / step_s}
                yield row | {f"{name}_s": taken for name, taken in times.items()}
            except ConfigError as error:
                yield row | {"not_measured": str(error)}

    def launches(self) -> Iterator[TableRow]:
        """Count the kernels that a step of each network and objective launches, alone and packed."""
        packs = [] if self.settings["precision"] == "bf16-mixed" else self.settings["pack"]  # bf16 cannot be packed
        for model, objective in product(self.settings["models"], self.settings["objectives"]):
            row: TableRow = {"network": model, "objective": objective}
            case = (*self._case(model, objective, 16), "trainer.graph=false")
            try:
                row["alone"] = launches(bare(self.folder, case))
                for K in packs:
                    row[f"packed_{K}"] = launches(bare(self.folder, *((*case, f"seed={k}") for k in range(K))))
                yield row
            except ConfigError as error:
                yield row | {"not_measured": str(error)}

    def loop(self) -> Iterator[TableRow]:
        """Measure steps with and without Lightning's loop, then the parts of a run."""
        for model in self.settings["models"]:
            case = self._case(model, "beta_vae")
            with BenchmarkWorker(whole, self.folder, case) as loop:
                times = self._per_step(bare=bare(self.folder, case), loop=loop)
            yield {
                "network": model,
                **{f"{name}_s": taken for name, taken in times.items()},
                "outside_share": 1 - times["bare"] / times["loop"],
                **self._parts_of(case, math.ceil(10 * self.settings["seconds"] / times["loop"])),
            }

    def _parts_of(self, case: Overrides, half: int) -> TableRow:
        """Return the seconds per step of a run's parts, from Lightning's profiler.

        On a GPU, `terms` includes the wait for the device. `half` is half the number of steps of the run.
        """
        steps = 2 * max(10, min(10_000, half))
        lengths = (f"steps={steps}", f"eval_every={steps}", f"checkpoint_every={steps // 2}")
        training = training_of(self.folder, (*case, *lengths, "+trainer.profiler=simple"))
        training.train()
        profiler: Any = training.trainer.profiler  # type: ignore[attr-defined]
        module = f"[LightningModule]{type(training.module).__name__}"
        strategy = f"[Strategy]{type(training.trainer.strategy).__name__}"

        def spent(action: str) -> float:  # later calls are from the validation
            return math.fsum(profiler.recorded_durations[action][:steps])

        taken = {
            "batches": spent("[_TrainingEpochLoop].train_dataloader_next") + spent(f"{strategy}.batch_to_device"),
            "forward": spent(f"{strategy}.training_step"),
            "backward": spent(f"{strategy}.backward"),
            "terms": spent(f"{module}.on_train_batch_end"),
            "saves": spent("[Callback]Checkpoints.on_train_batch_start"),
            "evals": training.seconds.validation,
        }
        taken["update"] = spent("run_training_batch") - taken["forward"] - taken["backward"]
        taken["rest"] = spent("run_training_epoch") - math.fsum(taken.values())
        usual = {"saves": 500, "evals": 1000}  # their usual intervals in steps; each was measured once
        return {f"{name}_s": seconds / usual.get(name, steps) for name, seconds in taken.items()}

    def pack(self) -> Iterator[TableRow]:
        """Measure K packed runs and one run alone."""
        if self.settings["precision"] == "bf16-mixed":
            yield {"not_measured": "runs in bf16-mixed cannot be packed: type precision=32-true"}
            return
        for model in self.settings["packed_models"]:
            case = self._case(model, "beta_vae")
            for K in self.settings["pack"]:
                runs = [(*case, f"seed={seed}") for seed in range(K)]
                with (
                    BenchmarkWorker(whole, self.folder, *runs) as packed,
                    BenchmarkWorker(whole, self.folder, case) as alone,
                ):
                    times = self._per_step(packed=packed, alone=alone)
                    yield {
                        "network": model,
                        "K": K,
                        "packed_steps_per_s": K / times["packed"],
                        "alone_steps_per_s": 1 / times["alone"],
                        "faster_ratio": K * times["alone"] / times["packed"],
                        "packed_bytes": packed.peak,
                        "alone_bytes": alone.peak,
                    }

    def data(self) -> Iterator[TableRow]:
        """Measure the memory of each format of images, and the time to gather a batch from it."""
        images = training_of(self.folder, self._case("conv", "beta_vae")).runs[0].built.dataset.images
        n = min(SAMPLE, len(images))
        pixels = torch.cat([images.take(rows) for rows in torch.arange(n).split(10_000)])
        held = {"as it is": images.data[:n], "uint8": (pixels * 255).to(torch.uint8), "float32": pixels}
        for name, data in held.items():
            sample = Images(data, images.x_shape).to(self.device)
            row = {"format": name, "images": n, "held_bytes": data.nbytes}
            for size in self.settings["batch_sizes"]:
                rows = torch.randint(n, (min(size, n),), device=self.device)
                row[f"gather_{size}_s"] = self._per_step(gather=partial(_gather, sample, rows))["gather"]
            yield row


def _gather(images: Images, rows: torch.Tensor, n: int) -> None:
    for _ in range(n):
        images.take(rows)
