"""Accuracy of a majority vote for the fixed factor k by argmin_d Var_l[z_ld] / Var[z_d]: Kim & Mnih 2018, section 4."""

from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric
from disvae.statistics.votes import SameValue, cast, halves


class FactorVAE(Metric):
    """Does the latent that varies least tell which factor was fixed? A rotated perfect code still scores 0.8.

    `held_out` scores votes from one half of the rows by the majority table of votes from the other half. The paper and
    much code score the votes that made the table: `held_out/train`. Latents of a standard deviation under `prune` have
    no vote. That threshold is absolute, as in common code (the paper prunes by KL), and meant for codes on the scale of
    a unit prior: rescaling latents across it changes `held_out`, but not `held_out/unpruned`.
    """

    def __init__(self, *, rows: int, votes: int, held_out_votes: int, prune: float) -> None:
        for name, value, least in (("rows", rows, 2), ("votes", votes, 100), ("held_out_votes", held_out_votes, 100)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if not prune >= 0:
            raise ValueError(f"prune must be non-negative, got {prune}")
        self.L = rows
        self.votes = votes
        self.held_out_votes = held_out_votes
        self.prune = prune

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return the accuracies, 0 if no latent has a vote, and the number of latents that have one."""
        codes = codes[:, np.ptp(codes, axis=0) > 0]
        std = codes.std(axis=0)
        active = std >= self.prune
        scores = {"held_out": 0.0, "held_out/train": 0.0, "held_out/unpruned": 0.0}
        scores["held_out/active_latents"] = float(active.sum())
        if codes.shape[1] == 0:
            return scores
        rng = np.random.default_rng(seed)
        codes = (codes - codes.mean(axis=0)) / std

        def variances(same: SameValue, n: int) -> np.ndarray:
            drawn = codes.take(same.draw(n, self.L, rng), axis=0)  # (rows, n, D)
            drawn -= drawn.mean(axis=0)
            squares: np.ndarray = np.square(drawn, out=drawn).mean(axis=0)
            return squares

        block = max(1, 2**16 // (self.L * codes.shape[1]))  # half a megabyte: stays in the cache
        sets = zip(halves(len(codes), rng), (self.votes, self.held_out_votes), strict=True)
        train, held_out = (cast(variances, factors, names, rows, votes, block) for rows, votes in sets)
        if active.any():
            scores["held_out/train"], scores["held_out"] = _accuracies(train, held_out, active)
        scores["held_out/unpruned"] = _accuracies(train, held_out, np.full_like(active, True))[1]
        return scores

    def chance(self, codes: np.ndarray, factors: np.ndarray) -> dict[str, float]:
        """Return 1 / K, which is exact because every factor is fixed equally often."""
        return {"held_out": 1 / factors.shape[1]}

    def rows(self, N: int, name: str) -> float:
        """Return the size of the half that held-out votes come from."""
        return N - N // 2


def _accuracies(
    train: tuple[np.ndarray, np.ndarray], held_out: tuple[np.ndarray, np.ndarray], active: np.ndarray
) -> tuple[float, float]:
    """Return the accuracy of the majority table of `train` on itself and on `held_out`."""
    (least, fixed), (least_held_out, fixed_held_out) = ((v[:, active].argmin(axis=1), k) for v, k in (train, held_out))
    table = np.zeros((active.sum(), fixed.max() + 1), np.int64)
    np.add.at(table, (least, fixed), 1)
    factor = table.argmax(axis=1)  # the factor that each latent votes for
    return float((factor[least] == fixed).mean()), float((factor[least_held_out] == fixed_held_out).mean())
