"""count = #{j: Var_x(E_q(z|x)[z_j]) > threshold}, threshold 0.01; Burda et al. 2016, section 5."""

from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric


class ActiveUnits(Metric):
    """The number of latents whose code varies; neither more nor fewer is better.

    It depends on scale: the threshold is meant for priors of about unit variance, and rescaled codes change the count.
    """

    factors = 0

    def __init__(self, *, threshold: float) -> None:
        if not threshold >= 0:
            raise ValueError(f"threshold must be at least 0, got {threshold}")
        self.threshold = threshold

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return `count`, the number of active latents."""
        return {"count": float((codes.var(0, ddof=1) > self.threshold).sum())}
