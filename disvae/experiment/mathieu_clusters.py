"""Mathieu et al. 2019, Fig. 3: beta controls the overlap of the encodings, alpha how well q(z) fits the mixture prior.

The picture has a panel for each (beta, alpha). A panel shows one seed; the counts say how typical it is.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from disvae.experiment.recipe import Recipe
from disvae.runs.folder import Run

if TYPE_CHECKING:  # imported when the sweep is over: the command line must start fast
    from matplotlib.figure import Figure
    from torch import Tensor

    from disvae.vae import VAE


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


class MathieuClusters(Recipe):
    """A recipe that counts the modes of q(z) and draws it for each (beta, alpha)."""

    def measure(self, run: Run) -> dict[str, float]:
        """Return the number of modes and the mean posterior width, from 10 codes of each training image."""
        import torch

        vae, x = restore(run)
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(0)
            qz_x = vae.encode(x)
            z = qz_x.sample((10,)).flatten(0, 1)
            centres = vae.prior().component_distribution.mean
        return {"modes": modes(z, centres), "std": qz_x.stddev.mean().item()}

    def draw(self, runs: Sequence[Run]) -> "Figure":
        """Return the first seed of every panel: a row of betas at alpha 0 and a row of alphas at beta 0."""
        from matplotlib.figure import Figure

        from disvae.figure.aggregate_posterior import draw_plane

        panels: defaultdict[tuple[float, float], list[Run]] = defaultdict(list)
        for run in sorted(runs, key=lambda run: run.config()["seed"]):
            beta, alpha = (run.config()["objective"][name]["value"] for name in ("beta", "alpha"))
            panels[beta, alpha].append(run)
        rows = [[p for p in sorted(panels) if p[1] == 0], [p for p in sorted(panels) if p[1] > 0]]
        columns = max(map(len, rows))
        figure = Figure(figsize=(2.7 * columns, 6.6), layout="constrained")
        figure.suptitle(
            "q(z) of one seed (colour), p(z) (white contours); below: seeds with four modes, median KL(p‖q) in nats"
        )
        for i, row in enumerate(rows):
            for j, panel in enumerate(row):
                axes = figure.add_subplot(2, columns, i * columns + j + 1)
                draw_plane(axes, *restore(panels[panel][0]))
                four = sum(self.measure(run)["modes"] == 4 for run in panels[panel])
                kl = median([run.metrics()["val/structure/kl_pz_qz"] for run in panels[panel]])
                axes.set_title(f"β = {panel[0]:g}" if i == 0 else f"α = {panel[1]:g}")
                axes.set_xlabel(f"4 modes: {four}/{len(panels[panel])} · KL {kl:.2g}")
                if j == 0:
                    axes.set_ylabel("α = 0" if i == 0 else "β = 0", rotation=0, labelpad=18, fontsize="large")
        return figure
