"""Entropies and mutual information of codes and factors, in nats.

Plug-in: H = -sum p log p of counts, I(z;v) = H(z) + H(v) - H(z,v) of binned codes. Corrected: Miller 1955. Nearest
neighbours: Ross 2014.
"""

from typing import Literal

import numpy as np
from scipy.special import digamma, xlogy

Binning = Literal["equal_width", "quantile"]


def bins(codes: np.ndarray, n: int, kind: Binning) -> np.ndarray:
    """Return the bin of each code (N, D), in [0, n), latent by latent.

    equal_width: bins between the latent's least and greatest value, as in Locatello et al. 2019; one outlier can empty
    the others. quantile: bins with equally many codes, the same under any increasing map. Equal codes stay together,
    and a latent of at most n values has one bin for each.
    """
    if kind == "equal_width":
        low = codes.min(0)
        width = codes.max(0) - low
        place = n * ((codes - low) / np.where(width > 0, width, 1))
        # A code on an edge belongs above it, even if float32 rounding has put it just below.
        from_low: np.ndarray = np.minimum((place + 1e-6).astype(np.int64), n - 1)
        return from_low
    binned = np.empty(codes.shape, np.int64)
    for d in range(codes.shape[1]):
        values, index, counts = np.unique(codes[:, d], return_inverse=True, return_counts=True)
        if len(values) <= n:
            binned[:, d] = index
        else:
            middle = counts.cumsum() - counts / 2  # rank of the middle of the codes that share a value
            binned[:, d] = (n * middle / len(codes)).astype(np.int64)[index]
    return binned


def entropy(factors: np.ndarray, *, corrected: bool = False) -> np.ndarray:
    """Return the entropy H (K,) of the counts of each column (N, K) of indices from 0, `corrected` if asked for."""
    H = np.array([_entropy(np.bincount(column), len(column)) for column in factors.T])
    return H + factors.max(0) / (2 * len(factors)) if corrected else H


def mutual_information(binned: np.ndarray, factors: np.ndarray, *, corrected: bool = False) -> np.ndarray:
    """Return the plug-in I(z_j;v_k) (D, K) of binned codes (N, D) and factors (N, K), both indices from 0.

    `corrected` adds (m - 1) / 2N to H(z), H(v) and H(z,v), of which m values or pairs occur (Miller 1955). The result
    depends little on N and may be negative.
    """
    N, K = factors.shape
    sizes = factors.max(0) + 1
    start = np.concatenate([[0], sizes.cumsum()])
    value = factors + start[:-1]  # (N, K): column of a count table over the values of all factors
    H_v = entropy(factors)
    information = np.empty((binned.shape[1], K))
    cells = np.empty((binned.shape[1], K))  # pairs of values that occur, less the values of the code
    for d, code in enumerate(binned.T):
        rows = code.max() + 1
        table = np.bincount((code[:, None] * start[-1] + value).ravel(), minlength=rows * start[-1])
        in_column = xlogy(table, table).reshape(rows, start[-1]).sum(0)
        H_zv = np.log(N) - np.add.reduceat(in_column, start[:-1]) / N
        information[d] = _entropy(np.bincount(code), N) + H_v - H_zv
        occurring = (table > 0).reshape(rows, start[-1]).sum(0)
        cells[d] = np.add.reduceat(occurring, start[:-1]) - np.count_nonzero(np.bincount(code))
    information = np.where(information > 1e-12, information, 0)  # less is the rounding of sums that cancel
    return information - (cells - factors.max(0)) / (2 * N) if corrected else information


def _entropy(counts: np.ndarray, N: int) -> float:
    H: float = np.log(N) - xlogy(counts, counts).sum() / N
    return H


def plug_in_bias(n: int, factors: np.ndarray) -> np.ndarray:
    """Return (n - 1)(|v| - 1) / 2N (K,), the mean plug-in information of `n` bins that know nothing (Miller 1955).

    2N times that information is close to chi-squared with (n - 1)(|v| - 1) degrees of freedom unless cells are few.
    """
    bias: np.ndarray = (n - 1) * factors.max(0) / (2 * len(factors))
    return bias


def gaps(information: np.ndarray) -> np.ndarray:
    """Return the best latent's information minus the second's (K,) from (D, K); a single latent's gap is to 0."""
    if len(information) == 1:
        information = np.concatenate([information, 0 * information])
    second, best = np.partition(information, -2, axis=0)[-2:]
    gap: np.ndarray = best - second
    return gap


def neighbour_information(codes: np.ndarray, factors: np.ndarray, k: int) -> np.ndarray:
    """Return I(z_j;v_k) (D, K) of continuous latents (N, D) and factors (N, K) by `k` nearest neighbours, Ross 2014.

    It is psi(N) + <psi(k)> - <psi(N_v)> - <psi(m)>. N_v codes have the same value of the factor, and m other codes lie
    no farther than the k-th nearest of these. Negative estimates become 0. Values that occur once are left out. Where
    codes coincide, k counts all codes of the value that lie no farther (Gao et al. 2017); no noise is added to separate
    them.
    """
    information = np.empty((codes.shape[1], factors.shape[1]))
    for d, latent in enumerate(codes.T):
        order = np.argsort(latent, kind="stable")
        for f, factor in enumerate(factors[order].T):
            information[d, f] = _neighbour_information(latent[order], factor, k)
    return information


def _neighbour_information(x: np.ndarray, v: np.ndarray, k: int) -> float:
    """Return the information of one latent (N,) in increasing order and one factor."""
    counts = np.bincount(v)
    kept = counts[v] > 1
    x, v = x[kept], v[kept]
    N = len(x)
    if N == 0:
        return 0.0
    # 16-bit integers are sorted by radix, several times faster.
    place = np.argsort(v.astype(np.uint16) if len(counts) < 2**16 else v, kind="stable")
    x_v, v = x[place], v[place]  # by value of the factor, then increasing
    first = np.searchsorted(v, v)
    N_v = counts[v]
    k_v = np.minimum(k, N_v - 1)
    here = np.arange(N)
    radius = np.full(N, np.inf)
    for below in range(k + 1):  # the k nearest and this code are k + 1 in a row, `below` of them below it
        low, high = here - below, here - below + k_v
        fits = (low >= first) & (high < first + N_v) & (high >= here)
        low, high = np.where(fits, low, here), np.where(fits, high, here)
        farthest = np.maximum(x_v - x_v[low], x_v[high] - x_v)
        radius = np.where(fits, np.minimum(radius, farthest), radius)
    radius += 4 * np.finfo(np.float64).eps * (np.abs(x_v) + radius)  # x +- radius may round to less than the k-th
    start, end = np.searchsorted(x, x_v - radius, "left"), np.searchsorted(x, x_v + radius, "right")
    key = v * N + place  # increasing: finds the place among the codes of value v for a place among all
    k_v = np.searchsorted(key, v * N + end) - np.searchsorted(key, v * N + start) - 1
    information: float = digamma(N) + (digamma(k_v) - digamma(N_v) - digamma(end - start - 1)).mean()
    return max(information, 0.0)
