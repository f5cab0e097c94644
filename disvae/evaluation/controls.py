"""Baselines (negative controls): codes that no disentangling model made, for comparison with the scores of a model.

A random rotation of the model's codes keeps their information but not their axes. Principal and independent components
of the pixels show what a linear map reaches without training.
"""

import logging
import warnings

import numpy as np
import torch

from disvae.dataset import Images

log = logging.getLogger(__name__)

FIT_ROWS = 5000
"""Number of images, drawn by seed, to which the components are fitted; all images are projected."""

BLOCK_BYTES = 2**27
"""Bytes of pixels that are unpacked to float32 at a time."""


def rotation(codes: np.ndarray, seed: int) -> np.ndarray:
    """Return codes (N, D) multiplied by a random orthogonal matrix (Haar measure)."""
    Q, R = np.linalg.qr(np.random.default_rng(seed).standard_normal((codes.shape[1],) * 2))
    Q = Q * np.sign(np.diag(R))  # without this, QR prefers some directions
    rotated: np.ndarray = (codes @ Q).astype(codes.dtype)
    return rotated


def pixels(images: Images, rows: np.ndarray, z_dim: int, seed: int) -> dict[str, np.ndarray]:
    """Return components (N, z_dim) float32 of the pixels of the images in `rows`: `pca`, and `ica` of unit variance.

    There are fewer than `z_dim` components if the images vary in fewer directions. FastICA often stops before it
    converges, also on sprites; this is logged, and its components are used as they are.

    Raises:
        ValueError: all images are equal.
    """
    from sklearn.decomposition import PCA, FastICA
    from sklearn.exceptions import ConvergenceWarning

    fit_rows = np.sort(np.random.default_rng(seed).permutation(rows)[:FIT_ROWS])
    x = _take(images, fit_rows)
    if len(x) < 2 or not np.ptp(x, axis=0).any():
        raise ValueError("images must differ to have components, but all are equal")
    pca = PCA(min(z_dim, *x.shape), random_state=seed).fit(x)
    varied = int((pca.explained_variance_ > 1e-6 * pca.explained_variance_[0]).sum())
    W = pca.components_[:varied].T  # (pixels, z_dim)
    step = max(1, BLOCK_BYTES // (4 * x.shape[1]))
    blocks = (rows[start : start + step] for start in range(0, len(rows), step))
    codes = np.concatenate([(_take(images, block) - pca.mean_) @ W for block in blocks])
    # ICA of the leading principal components equals that of the pixels; its whitening needs float64
    ica = FastICA(whiten="unit-variance", whiten_solver="svd", tol=1e-3, max_iter=500, random_state=seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ica.fit(((x - pca.mean_) @ W).astype(np.float64))
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            log.info("FastICA of the pixels did not converge in %d iterations: the seed decides its axes", ica.max_iter)
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return {"pca": codes.astype(np.float32), "ica": ica.transform(codes.astype(np.float64)).astype(np.float32)}


def _take(images: Images, rows: np.ndarray) -> np.ndarray:
    """Return the pixels of images as float32 (n, C * H * W)."""
    x: np.ndarray = images.take(torch.from_numpy(rows)).flatten(1).cpu().numpy()
    return x
