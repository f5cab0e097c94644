"""Name each latent after the factor that it follows most, by I(z_d; v_k) / H(v_k)."""

import numpy as np

from disvae.pictures.factor_shares import factor_shares
from disvae.pictures.figure_data import FigureData


def names(view: FigureData) -> list[tuple[str, float] | None]:
    """Return factor and share of each of D latents, as in figure mutual_information; None if it follows none."""
    if view.encoding.factors.shape[1] == 0:
        return [None] * view.codes.shape[1]
    shares = factor_shares(view)
    above = np.where(shares.follows, shares.known - shares.chance, 0)
    return [
        (view.encoding.factor_names[k], float(shares.known[d, k])) if shares.follows[d, k] else None
        for d, k in enumerate(above.argmax(1))
    ]
