"""Locatello et al. 2019: what the study's metrics give for codes whose quality is known."""

import numpy as np

from disvae.experiment.recipe import Recipe
from disvae.metric import Metric
from disvae.metric.factor_vae import FactorVAE
from disvae.metric.higgins import Higgins
from disvae.metric.mig import MIG
from disvae.metric.modularity import Modularity

SIZES = {"shape": 3, "scale": 6, "orientation": 40, "posX": 32, "posY": 32}
CODES = 10_000
ROTATIONS = 10


class LocatelloProtocol(Recipe):
    """A recipe that needs no training: it scores perfect, rotated, incomplete and random codes."""

    def exact(self) -> dict[str, float]:
        """Return the scores by metric and code; those of rotations are means over ROTATIONS of them."""
        rng = np.random.default_rng(0)
        names, sizes = list(SIZES), np.array(list(SIZES.values()))
        factors = rng.integers(0, sizes, (CODES, len(sizes)))
        values = (factors + 0.5) / sizes - 0.5
        perfect = values / values.std(0)
        dead = 0.001 * rng.standard_normal((CODES, 5))
        rotations = [perfect @ np.linalg.qr(rng.standard_normal((5, 5)))[0] for _ in range(ROTATIONS)]
        lacking = {
            "no_orientation": np.where(np.arange(5) == 2, dead, perfect),
            "position": np.where(np.arange(5) < 3, dead, perfect),
        }
        metrics: dict[str, tuple[Metric, str]] = {
            "mig": (MIG(bins=20), "histogram"),
            "factor_vae": (FactorVAE(rows=64, votes=10_000, held_out_votes=5_000, prune=0.05), "held_out"),
            "higgins": (Higgins(pairs=64, votes=10_000, held_out_votes=5_000), "standardised"),
            "modularity": (Modularity(bins=20), "all_latents"),
        }
        codes = {"perfect": [perfect], "random": [rng.standard_normal((CODES, 10))], "rotated": rotations}
        codes |= {name: [code] for name, code in lacking.items()}
        wanted = {name for claim in self.claims.values() for name in [claim.of] if isinstance(name, str)}
        return {
            f"{label}_{kind}": float(np.mean([metric(z, factors, names=names)[name] for z in found]))
            for label, (metric, name) in metrics.items()
            for kind, found in codes.items()
            if f"{label}_{kind}" in wanted
        }
