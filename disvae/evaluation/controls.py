"""Negative controls: codes no disentangling model made. A score that they reach says nothing about disentangling.

A random rotation of a model's own codes keeps all they say and loses their axes; principal and independent components
of the pixels are what a linear map gets without learning.
"""

import logging
import warnings

import numpy as np
import torch

from disvae.dataset import Images

log = logging.getLogger(__name__)

FIT_ROWS = 5000
"""Images the components are fitted to, drawn by seed; all are projected."""

BLOCK_BYTES = 2**27
"""Pixels unpacked to float32 at a time."""


def rotation(codes: np.ndarray, seed: int) -> np.ndarray:
    """Codes (N, D) under a random rotation or reflection, uniform over all orthogonal matrices (Haar)."""
    Q, R = np.linalg.qr(np.random.default_rng(seed).standard_normal((codes.shape[1],) * 2))
    Q = Q * np.sign(np.diag(R))  # without it QR prefers some directions
    rotated: np.ndarray = (codes @ Q).astype(codes.dtype)
    return rotated


def pixels(images: Images, rows: np.ndarray, z_dim: int, seed: int) -> dict[str, np.ndarray]:
    """Components (N, z_dim) float32 of the pixels of the images in `rows`: `pca`, and `ica` of unit variance.

    Fewer than `z_dim` where the images vary in fewer directions. FastICA often stops before it has converged, on
    sprites too, whose components are not all independent: that is logged and they are taken as they are.

    Raises:
        ValueError: images that are all the same.
    """
    from sklearn.decomposition import PCA, FastICA
    from sklearn.exceptions import ConvergenceWarning

    fit_rows = np.sort(np.random.default_rng(seed).permutation(rows)[:FIT_ROWS])
    x = _take(images, fit_rows)
    if len(x) < 2 or not np.ptp(x, axis=0).any():
        raise ValueError("images must differ to have components, got all the same")
    pca = PCA(min(z_dim, *x.shape), random_state=seed).fit(x)
    varied = int((pca.explained_variance_ > 1e-6 * pca.explained_variance_[0]).sum())
    W = pca.components_[:varied].T  # (pixels, z_dim)
    step = max(1, BLOCK_BYTES // (4 * x.shape[1]))
    blocks = (rows[start : start + step] for start in range(0, len(rows), step))
    codes = np.concatenate([(_take(images, block) - pca.mean_) @ W for block in blocks])
    # the pixels' ICA is that of their leading principal components; float32 misleads its whitening
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
    """Pixels (n, C H W) float32."""
    x: np.ndarray = images.take(torch.from_numpy(rows)).flatten(1).cpu().numpy()
    return x
