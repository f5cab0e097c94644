"""Burgess et al. 2018: how closely the KL follows the capacity C, and what the latents that carry it say."""

import numpy as np

from disvae.experiment.recipe import Recipe, run_codes
from disvae.runs.curves import curves
from disvae.runs.folder import Run
from disvae.statistics.information import bins, entropy, mutual_information

CARRYING = 0.5
"""KL in nats above which a latent carries information."""

WINDOW = 100
"""Steps over which |KL - C| is averaged."""


class BurgessCapacity(Recipe):
    """A recipe that looks at each latent's KL and at the factors that the widest latents tell."""

    def measure(self, run: Run) -> dict[str, float]:
        """Return the largest gap between KL and C, and the KL and the factors of the latents, ordered by their KL."""
        metrics = run.metrics()
        kl = np.array([value for tag, value in sorted(metrics.items()) if tag.startswith("val/kl_per_dimension/")])
        order = np.argsort(-kl)
        codes, factors, names = run_codes(run)
        position = factors[:, [names.index("posX"), names.index("posY")]]
        third = mutual_information(bins(codes[:, order[2:3]], 20, "equal_width"), factors)[0] / entropy(factors)
        return {
            "largest_gap": largest_gap(run),
            "carrying": float((kl > CARRYING).sum()),
            "share_of_second": float(kl[order[1]] / kl[order[0]]),
            "kl_third": float(kl[order[2]]),
            "position": float(min(shares(codes[:, order[:2]], position))),
            "third_is_scale": float(names[int(third.argmax())] == "scale"),
        }


def largest_gap(run: Run) -> float:
    """Return the largest mean of |KL - C| over WINDOW steps, from the training batches with C > 1."""
    found = curves(run.path)
    gap, capacity = found["train/capacity_gap"], found["train/capacity"]
    blocks = (gap.steps - 1) // WINDOW
    means = [gap.values[blocks == block].mean() for block in np.unique(blocks[capacity.values > 1])]
    return float(max(means))


def shares(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return the share R2 (K,) of each factor (N, K) that a linear function of the codes (N, D) explains."""
    inputs = np.column_stack([codes, np.ones(len(codes))])
    fitted = inputs @ np.linalg.lstsq(inputs, factors, rcond=None)[0]
    of_rest: np.ndarray = ((factors - fitted) ** 2).sum(0) / ((factors - factors.mean(0)) ** 2).sum(0)
    return 1 - of_rest
