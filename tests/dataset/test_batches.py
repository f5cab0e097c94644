import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from disvae.dataset.batches import Batches, Blocks, split


@given(st.integers(20, 500), st.floats(0, 0.5), st.floats(0, 0.4), st.integers(0, 2**32 - 1))
def test_splits_are_disjoint_and_cover_every_row(n, validation, held_out, seed):
    parts = split(n, validation=validation, held_out=held_out, official=None, seed=seed)
    assert sorted(torch.cat(parts).tolist()) == list(range(n))


def test_split_is_a_function_of_the_seed():
    first, again, other = (
        split(1000, validation=0.1, held_out=0.1, official=None, seed=seed)[1].tolist() for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_a_share_of_few_images_leaves_two_for_validation_or_none():
    sizes = [[len(part) for part in split(n, validation=0.05, held_out=0.05, official=None, seed=0)] for n in (8, 24)]
    assert sizes == [[8, 0, 0], [21, 2, 1]]


def test_official_held_out_rows_stay_held_out():
    official = np.arange(80, 100)
    train, valid, test = split(100, validation=0.25, held_out=None, official=official, seed=0)
    assert test.tolist() == official.tolist()
    assert len(valid) == 20
    assert not set(train.tolist()) & set(official.tolist())


@pytest.mark.parametrize("n", [7, 64, 100])
def test_every_row_comes_once_an_epoch(n):
    rows = torch.arange(n) * 3
    seen = Batches(rows, batch_size=5, extra=0, seed=1).of_steps(0, 2 * n)["index"].flatten()
    for epoch in seen.split(n):
        assert sorted(epoch.tolist()) == rows.tolist()


@pytest.mark.parametrize("first", [1, 13, 20, 39])
@pytest.mark.parametrize("n", [1, 7, 20])
def test_the_batches_of_a_step_do_not_depend_on_those_before_or_beside_it(first, n):
    rows = torch.arange(101)
    whole = Batches(rows, batch_size=16, extra=1, seed=5).of_steps(0, 60)
    part = Batches(rows, batch_size=16, extra=1, seed=5).of_steps(first, n)
    for name in ("index", "extra"):
        assert torch.equal(part[name], whole[name][first : first + n])


def test_extra_batch_is_drawn_independently():
    batch = Batches(torch.arange(1000), batch_size=100, extra=1, seed=0).of_steps(0, 1)
    assert batch["index"].tolist() != batch["extra"].tolist()


def test_blocks_cover_the_rows_in_order():
    blocks = list(Blocks(torch.arange(23), size=10, extra=1))
    assert torch.cat([block["index"] for block in blocks]).tolist() == list(range(23))
    assert [len(block["index"]) for block in blocks] == [12, 11]  # none so small that an estimator has nothing to do
    assert all((block["index"] != block["extra"]).all() for block in blocks)
