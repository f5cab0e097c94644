"""Quantiles of the studentised range: how far the largest of several equal means lies above the smallest.

scipy.stats has them, too, but takes a second to import and a fifth of a second for each; here it is hundredths. Tests
compare the two.
"""

import math

import numpy as np
from scipy.special import gammaincinv, ndtr

_X, _WEIGHTS = np.polynomial.legendre.leggauss(100)  # nodes and weights on [-1, 1]
_Z = 8 * _X  # a standard normal beyond 8 does not count
_DENSITY = 8 * _WEIGHTS * np.exp(-_Z * _Z / 2) / math.sqrt(2 * math.pi)


def range_quantile(p: float, among: int, df: float) -> float:
    """Return the quantile of the range of `among` normal means over their standard error, which has `df` degrees.

    P(range < w) of a known error is among times the integral of phi(z) (Phi(z) - Phi(z - w))^(among - 1); this is
    averaged over the error's distribution, at equally likely parts of it.
    """
    errors = np.sqrt(2 / df * gammaincinv(df / 2, (_X + 1) / 2))[:, None]  # chi over the root of df
    low, high = 0.0, 1000.0
    while high - low > 1e-7 * high:
        middle = (low + high) / 2
        below = among * (ndtr(_Z) - ndtr(_Z - middle * errors)) ** (among - 1) @ _DENSITY
        low, high = (low, middle) if _WEIGHTS @ below > 2 * p else (middle, high)
    return high
