"""a_c = E[|z| given class c] (D,), which latents each class uses, of Mathieu et al. 2019, section 5, in two numbers.

hoyer = mean_c (sqrt D - |a_c|_1 / |a_c|_2) / (sqrt D - 1); separation = 1 - mean_{c < c'} cos(a_c, a_c').
"""

import math
from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric


class ClassMagnitude(Metric):
    """How few latents a class uses (`hoyer`) and how much these differ between classes (`separation`), both 0 to 1.

    Codes that are sparse one by one still have a low `hoyer` if images of one class use different latents. As in the
    paper, latents keep their scale, so a latent that hardly moves hardly counts: rescaling one latent changes the
    scores, rescaling all alike does not. A constant latent counts as 0.
    """

    factors = 1
    labels = True

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return means over classes, then over factors, with details by class for one factor, else by factor."""
        magnitude = np.where(np.ptp(codes, axis=0) > 0, np.abs(codes), 0)
        hoyer, separation = [], []
        for labels in factors.T:
            counts = np.bincount(labels)
            a = np.stack([np.bincount(labels, column) for column in magnitude.T], axis=1) / counts[:, None]  # (C, D)
            hoyer.append(_hoyer(a))
            separation.append(_separation(a))
        scores = {"hoyer": float(np.mean([h.mean() for h in hoyer])), "separation": float(np.mean(separation))}
        if len(names) == 1:
            return scores | {f"hoyer/{c}": float(value) for c, value in enumerate(hoyer[0])}
        for name, h, s in zip(names, hoyer, separation, strict=True):
            scores |= {f"hoyer/{name}": float(h.mean()), f"separation/{name}": s}
        return scores


def _hoyer(a: np.ndarray) -> np.ndarray:
    """Return the Hoyer sparsity of each row (C, D); 0 for a row of zeros and for a single latent."""
    D = a.shape[1]
    if D == 1:
        return np.zeros(len(a))
    norm = np.sqrt(np.square(a).sum(1))
    ratio = np.divide(a.sum(1), norm, out=np.full(len(a), math.sqrt(D)), where=norm > 0)
    hoyer: np.ndarray = (math.sqrt(D) - ratio) / (math.sqrt(D) - 1)
    return hoyer


def _separation(a: np.ndarray) -> float:
    norm = np.sqrt(np.square(a).sum(1, keepdims=True))
    unit = np.divide(a, norm, out=np.zeros_like(a), where=norm > 0)
    of_pairs = (1 - unit @ unit.T)[np.triu_indices(len(a), 1)]
    return float(of_pairs.mean().clip(0)) if norm.any() else 0.0
