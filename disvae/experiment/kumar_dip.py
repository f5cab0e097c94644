"""Kumar et al. 2018: the covariances between latents, which DIP-VAE penalises."""

import numpy as np

from disvae.experiment.recipe import Recipe, run_codes
from disvae.runs.folder import Run


class KumarDIP(Recipe):
    """A recipe that measures the covariances of the posterior means."""

    def measure(self, run: Run) -> dict[str, float]:
        """Return the sum of squared covariances between different latents' means."""
        C = np.cov(run_codes(run)[0], rowvar=False)
        return {"off_diagonal": float((C**2).sum() - (np.diag(C) ** 2).sum())}
