"""Samplers on a small grid of factors: groups of images that differ in known factors, as a function of (seed, step)."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from disvae.dataset import Images
from disvae.dataset.batches import Data
from disvae.dataset.samplers import OneFactor, Pairs
from disvae.training.data_module import StepRows

SIZES = (3, 4, 5, 2)
GRID = np.indices(SIZES).reshape(4, -1).T
ROWS = torch.from_numpy(np.sort(np.random.default_rng(0).permutation(len(GRID))[:100]))
DATASET = SimpleNamespace(factors=GRID, factor_sizes=SIZES)


def batch(sampler, step, seed=0, batch_size=24, rows=ROWS):
    return sampler.of_rows(DATASET, rows, batch_size, seed)(step)


def factors_by_group(rows, groups):
    return GRID[rows["index"].numpy()].reshape(groups, -1, len(SIZES))


@pytest.mark.parametrize("sampler", [OneFactor(4), Pairs(1), Pairs("random"), Pairs(3)])
def test_rows_are_training_rows_of_fixed_shapes_and_a_function_of_seed_and_step(sampler):
    shapes = {name: value.shape for name, value in batch(sampler, 0).items()}
    for step in range(20):
        rows = batch(sampler, step)
        assert {name: value.shape for name, value in rows.items()} == shapes
        assert set(rows["index"].tolist()) <= set(ROWS.tolist())
        assert all(torch.equal(value, batch(sampler, step)[name]) for name, value in rows.items())
    assert not torch.equal(batch(sampler, 0)["index"], batch(sampler, 1)["index"])
    assert not torch.equal(batch(sampler, 0)["index"], batch(sampler, 0, seed=1)["index"])


def test_images_of_a_group_differ_in_its_factor_alone_and_take_all_its_values():
    seen = {k: set() for k in range(4)}
    for step in range(200):
        rows = batch(OneFactor(4), step)
        assert rows["group"].tolist() == np.repeat(range(4), 6).tolist()
        for k, images in zip(rows["varies"].tolist(), factors_by_group(rows, 4), strict=True):
            assert (np.delete(images, k, 1) == np.delete(images[:1], k, 1)).all()
            seen[k] |= set(images[:, k].tolist())
    assert {k: len(values) for k, values in seen.items()} == dict(enumerate(SIZES))


def test_the_factors_of_a_slot_vary_together_and_those_of_no_slot_never():
    varied = np.zeros((2, 4), dtype=bool)
    for step in range(50):
        rows = batch(OneFactor(4, slots=((2,), (0, 3))), step)
        for slot, images in zip(rows["varies"].tolist(), factors_by_group(rows, 4), strict=True):
            varied[slot] |= (images != images[0]).any(0)
    assert varied.tolist() == [[False, False, True, False], [True, False, False, True]]


@pytest.mark.parametrize(("k", "counts"), [(1, {1}), (3, {3}), ("random", {1, 2, 3})])
def test_the_images_of_a_pair_share_all_factors_that_are_not_drawn_anew(k, counts):
    seen, changed = set(), np.zeros(4)
    for step in range(100):
        rows = batch(Pairs(k), step)
        anew = rows["varies"].numpy()
        first, second = factors_by_group(rows, 12).swapaxes(0, 1)
        assert not ((first != second) & ~anew).any()
        seen |= set(anew.sum(1).tolist())
        changed += (first != second).sum(0)
    assert seen == counts
    assert (changed > 50).all()


def test_a_pair_without_a_second_training_image_is_the_same_image_twice():
    only = torch.tensor([7])
    assert (batch(Pairs(1), 0, rows=only)["index"] == 7).all()


def test_a_batch_that_cannot_be_divided_says_what_to_type():
    with pytest.raises(ValueError, match=r"objective.groups=5, got 24: type batch_size=25"):
        batch(OneFactor(5), 0)
    with pytest.raises(ValueError, match=r"must be even for pairs, got 25: type batch_size=26"):
        batch(Pairs(1), 0, batch_size=25)
    with pytest.raises(ValueError, match=r"from 1 to the 4 factors of the dataset, got 5: type objective.k=1"):
        batch(Pairs(5), 0)


@pytest.fixture
def data():
    """The data of a run whose objective has a sampler and an extra batch."""
    images = Images(torch.zeros(len(GRID), 1, 1, 2), (1, 1, 2))
    of = SimpleNamespace(images=images, held_out=None, factors=GRID, factor_sizes=SIZES)
    return Data(of, batch_size=24, extra=1, seed=0, validation=0.1, held_out=0.1, eval_images=10, sampler=OneFactor(4))


def test_batches_of_a_sampler_have_groups_and_blocks_of_an_evaluation_have_none(data):
    (rows,) = StepRows(data.batches, 3, 4)
    trained = data.take(rows, torch.device("cpu"))
    assert trained.tensors().keys() == {"x", "x_extra", "group", "varies"}
    assert len(trained.x) == len(trained.x_extra) == 24
    assert data.take(next(iter(data.blocks(data.validation_rows))), torch.device("cpu")).group is None


def test_a_resumed_run_has_the_batches_of_an_uninterrupted_one(data):
    whole = list(StepRows(data.batches, 0, 70))
    resumed = list(StepRows(data.batches, 61, 70))
    for before, after in zip(whole[61:], resumed, strict=True):
        assert before.keys() == after.keys() == {"index", "extra", "group", "varies"}
        assert all(torch.equal(before[name], after[name]) for name in before)
