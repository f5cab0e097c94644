"""Mathieu et al. 2019, Fig. 3: beta controls the overlap of the encodings, alpha how well q(z) fits the mixture prior.

When the sweep ends, the figure has a panel for each (beta, alpha) and the table, over the seeds, the number of modes,
KL(p(z) || q(z)) and the mean posterior standard deviation. A panel shows one seed; the counts say how typical it is.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from disvae.config import resolved
from disvae.runs.atomic import replacing
from disvae.runs.folder import Run

if TYPE_CHECKING:  # imported when the sweep is over: the command line must start fast
    from matplotlib.figure import Figure
    from torch import Tensor

    from disvae.vae import VAE

Panel = tuple[float, float]  # beta, alpha


@dataclass(frozen=True)
class Seed:
    """One run of a panel, with its measurements."""

    run: Run
    seed: int
    modes: int  # prior components nearest to more than 5 % of q(z)
    kl_pz_qz: float  # nats
    std: float  # mean posterior standard deviation


def modes(z: "Tensor", centres: "Tensor") -> int:
    """Return how many of the prior's `centres` (K, D) are the nearest one to more than 5 % of the codes `z` (S, D)."""
    import torch

    nearest = torch.cdist(z, centres).argmin(1)
    return int((torch.bincount(nearest, minlength=len(centres)) > 0.05 * len(z)).sum())


def restore(run: Run) -> "tuple[VAE, Tensor]":
    """Return the trained VAE of a run and its training images."""
    from disvae.build import build
    from disvae.evaluation.run_encodings import restored
    from disvae.runs.checkpoint import load

    config = run.config()
    built = build(config)
    vae = restored(config, load(run.last), built.dataset.x_shape)
    return vae.eval(), built.dataset.images.take(built.data.train_rows)


def measure(run: Run) -> Seed:
    """Return the modes, the KL and the posterior width of a finished run, from 10 codes of each training image."""
    import torch

    vae, x = restore(run)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        qz_x = vae.encode(x)
        z = qz_x.sample((10,)).flatten(0, 1)
        centres = vae.prior().component_distribution.mean
    config = run.config()
    return Seed(
        run=run,
        seed=config["seed"],
        modes=modes(z, centres),
        kl_pz_qz=run.metrics()["val/structure/kl_pz_qz"],
        std=qz_x.stddev.mean().item(),
    )


def draw_clusters(panels: dict[Panel, list[Seed]]) -> "Figure":
    """Return the first seed of every panel: a row of betas at alpha 0 and a row of alphas at beta 0."""
    from matplotlib.figure import Figure

    from disvae.figure.aggregate_posterior import draw_plane

    rows = [[p for p in panels if p[1] == 0], [p for p in panels if p[1] > 0]]
    columns = max(map(len, rows))
    figure = Figure(figsize=(2.7 * columns, 6.6), layout="constrained")
    figure.suptitle(
        "q(z) of one seed (colour), p(z) (white contours); below: seeds with four modes, median KL(p‖q) in nats"
    )
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            axes = figure.add_subplot(2, columns, i * columns + j + 1)
            seeds = panels[panel]
            draw_plane(axes, *restore(seeds[0].run))
            four = sum(seed.modes == 4 for seed in seeds)
            axes.set_title(f"β = {panel[0]:g}" if i == 0 else f"α = {panel[1]:g}")
            axes.set_xlabel(f"4 modes: {four}/{len(seeds)} · KL {_median(seeds):.2g}")
            if j == 0:
                axes.set_ylabel("α = 0" if i == 0 else "β = 0", rotation=0, labelpad=18, fontsize="large")
    return figure


def _median(seeds: list[Seed]) -> float:
    values = sorted(seed.kl_pz_qz for seed in seeds)
    return (values[len(values) // 2] + values[(len(values) - 1) // 2]) / 2


def _table(panels: dict[Panel, list[Seed]]) -> Table:
    table = Table("beta", "alpha", "modes per seed", "KL(p || q), nats: mean ± sd", "median", "posterior std")
    for (beta, alpha), seeds in panels.items():
        kls = [seed.kl_pz_qz for seed in seeds]
        mean = sum(kls) / len(kls)
        sd = (sum((kl - mean) ** 2 for kl in kls) / max(1, len(kls) - 1)) ** 0.5
        counts = "".join(str(seed.modes) for seed in seeds)
        std = sum(seed.std for seed in seeds) / len(seeds)
        table.add_row(
            f"{beta:g}", f"{alpha:g}", counts, f"{mean:.3g} ± {sd:.2g}", f"{_median(seeds):.2g}", f"{std:.3g}"
        )
    return table


class MathieuClusters(Callback):
    """A Hydra callback that draws the figure when the last job is done, from all runs of the sweep, old and new."""

    def __init__(self) -> None:
        self.runs: dict[Path, Run] = {}

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Remember the run folder of a completed job."""
        if job_return.status == JobStatus.COMPLETED:
            run = Run.find(Path(config.out), "clusters", "", resolved(config))
            self.runs[run.path] = run

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table and write mathieu_clusters.png."""
        panels: defaultdict[Panel, list[Seed]] = defaultdict(list)
        for run in self.runs.values():
            beta, alpha = (run.config()["objective"][name]["value"] for name in ("beta", "alpha"))
            panels[beta, alpha].append(measure(run))
        if not panels:
            return
        ordered = {
            panel: sorted(panels[panel], key=lambda seed: seed.seed)
            for panel in sorted(panels, key=lambda panel: (panel[1] > 0, panel))
        }
        console = Console()
        console.print(_table(ordered))
        path = Path(config.out) / "mathieu_clusters.png"
        with replacing(path) as temporary:
            draw_clusters(ordered).savefig(temporary, format="png", dpi=110)
        console.print(f"Figure: {path}", highlight=False, soft_wrap=True)
