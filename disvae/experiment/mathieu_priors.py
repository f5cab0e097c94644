"""Mathieu et al. 2019, Fig. 2: do the variances of q(z) follow those of the prior, latent by latent?"""

import numpy as np

from disvae.experiment.claims import rank_correlation
from disvae.experiment.recipe import Recipe, run_codes
from disvae.runs.folder import Run
from disvae.statistics.latents import ACTIVE


class MathieuPriors(Recipe):
    """A recipe that ranks the variances of the active latents beside those of the anisotropic prior."""

    def measure(self, run: Run) -> dict[str, float]:
        """Return the rank correlation of Var q(z_d) with the prior's variances; those of the images' components else.

        The components are in descending order, so their ranks are those of the latents' numbers.
        """
        codes = run_codes(run)[0]
        variances = codes.var(0)
        active = variances > ACTIVE
        if active.sum() < 3:
            return {}
        follows = rank_correlation(variances[active], -np.arange(codes.shape[1], dtype=float)[active])
        return {} if follows is None else {"follows": follows}
