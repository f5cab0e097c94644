"""Negative controls: rotations without a preferred direction, and components of the pixels."""

import logging
import warnings

import numpy as np
import pytest
import torch
from sklearn import decomposition
from sklearn.decomposition import PCA, FastICA

from disvae.dataset import Images
from disvae.evaluation import controls
from disvae.evaluation.controls import pixels, rotation


def points(x: np.ndarray) -> Images:
    return Images(torch.from_numpy(x.astype("f4")).view(len(x), 1, 1, -1), (1, 1, x.shape[1]))


def test_a_rotation_keeps_all_distances_and_loses_the_axes():
    codes = np.random.default_rng(0).standard_normal((50, 6)).astype("f4")
    turned = rotation(codes, 3)
    assert turned.dtype == np.float32
    np.testing.assert_allclose(turned @ turned.T, codes @ codes.T, atol=1e-4)
    assert np.abs(np.corrcoef(codes.T, turned.T)[:6, 6:]).max() < 0.99
    np.testing.assert_array_equal(turned, rotation(codes, 3))
    assert not np.allclose(turned, rotation(codes, 4))


def test_rotations_are_uniform():
    # of a Haar-distributed matrix each entry has mean 0 and variance 1/D, and the trace variance 1
    Q = np.stack([rotation(np.eye(4), seed) for seed in range(2000)])
    np.testing.assert_allclose(Q.mean(0), 0, atol=4 / (4 * 2000) ** 0.5)
    np.testing.assert_allclose(Q.var(0), 0.25, atol=0.03)
    trace = np.trace(Q, axis1=1, axis2=2)
    assert trace.mean() == pytest.approx(0, abs=0.1)
    assert trace.var() == pytest.approx(1, abs=0.12)
    assert (np.linalg.det(Q) > 0).mean() == pytest.approx(0.5, abs=0.05)


def test_pca_is_scikit_learns_and_rows_are_those_asked_for(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 6)) @ rng.standard_normal((6, 6))
    rows = np.r_[200:300, 0:50]
    monkeypatch.setattr(controls, "BLOCK_BYTES", 4 * 6 * 7)  # blocks of seven rows
    codes = pixels(points(x), rows, 3, 0)["pca"]
    expected = PCA(3).fit_transform(x[rows])
    assert codes.shape == (150, 3)
    np.testing.assert_allclose(np.abs(codes), np.abs(expected), atol=1e-3)


def test_ica_finds_independent_sources_that_pca_mixes():
    rng = np.random.default_rng(0)
    sources = rng.uniform(-1, 1, (4000, 3))
    mixing = rng.standard_normal((3, 5))
    codes = pixels(points(sources @ mixing), np.arange(4000), 3, 0)
    alike = {name: np.abs(np.corrcoef(sources.T, z.T)[:3, 3:]).max(1).min() for name, z in codes.items()}
    assert alike["ica"] > 0.98
    assert alike["pca"] < 0.95
    np.testing.assert_allclose(codes["ica"].std(0), 1, atol=1e-2)


def test_components_are_fitted_to_some_rows_and_all_are_projected(monkeypatch):
    monkeypatch.setattr(controls, "FIT_ROWS", 200)
    x = np.random.default_rng(0).standard_normal((1000, 4)) * [4, 3, 2, 1]
    codes = pixels(points(x), np.arange(1000), 2, 0)["pca"]
    assert codes.shape == (1000, 2)
    assert abs(np.corrcoef(codes[:, 0], x[:, 0])[0, 1]) > 0.95
    assert not np.allclose(codes, pixels(points(x), np.arange(1000), 2, 1)["pca"])
    np.testing.assert_array_equal(codes, pixels(points(x), np.arange(1000), 2, 0)["pca"])


def test_no_more_components_than_the_images_vary_in():
    rng = np.random.default_rng(0)
    plane = rng.standard_normal((200, 2))
    codes = pixels(points(plane), np.arange(200), 10, 0)
    assert {z.shape for z in codes.values()} == {(200, 2)}
    flat = np.column_stack([plane, plane @ [1.0, 2.0], np.ones(200)])
    assert pixels(points(flat), np.arange(200), 4, 0)["ica"].shape == (200, 2)
    line = np.column_stack([plane[:, 0], np.ones(200)])
    assert pixels(points(line), np.arange(200), 4, 0)["ica"].shape == (200, 1)


def test_packed_images_are_unpacked():
    rng = np.random.default_rng(0)
    binary = rng.integers(0, 2, (200, 16), dtype=np.uint8)
    packed = Images(torch.from_numpy(np.packbits(binary, axis=1)), (1, 4, 4))
    grey = Images(torch.from_numpy(binary * 255).view(200, 1, 4, 4), (1, 4, 4))
    np.testing.assert_allclose(
        pixels(packed, np.arange(200), 3, 0)["pca"], pixels(grey, np.arange(200), 3, 0)["pca"], atol=1e-5
    )


def test_ica_that_does_not_converge_is_logged_and_no_warning_gets_out(monkeypatch, caplog):
    impatient = {"max_iter": 1, "tol": 1e-9}
    monkeypatch.setattr(decomposition, "FastICA", lambda **settings: FastICA(**settings | impatient))
    x = np.random.default_rng(0).standard_normal((300, 6))
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        codes = pixels(points(x), np.arange(300), 4, 0)
    assert "did not converge in 1 iterations" in caplog.text
    assert np.isfinite(codes["ica"]).all()


def test_images_all_alike_have_no_components():
    with pytest.raises(ValueError, match="must differ"):
        pixels(points(np.ones((200, 3))), np.arange(200), 2, 0)
