"""Images come out as they went in, whatever they are kept as."""

import time

import numpy as np
import pytest
import torch

from disvae.dataset import Images

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(1, 64, 64), (1, 5, 7), (3, 4, 4), (1, 1, 1)])
def test_packed_images_unpack_to_their_pixels(shape):
    pixels = RNG.integers(0, 2, (50, *shape), dtype=np.uint8)
    images = Images(torch.from_numpy(np.packbits(pixels.reshape(50, -1), axis=1)), shape)
    index = torch.tensor([3, 49, 0, 3])
    x = images.take(index)
    assert x.dtype == torch.float32
    assert np.array_equal(x.numpy(), pixels[index])


def test_grey_levels_go_to_the_unit_interval():
    levels = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1)
    x = Images(levels, (1, 1, 1)).take(torch.arange(256)).flatten()
    assert torch.equal(x, torch.arange(256).float() / 255)


def test_points_stay_as_they_are():
    points = torch.randn(10, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Images(points, (1, 1, 2)).take(torch.tensor([1, 1, 9])), points[[1, 1, 9]])


@pytest.mark.parametrize("data", [torch.zeros(4, 1, 1, 2), torch.zeros(4, 1, 8, 8, dtype=torch.uint8)])
def test_writing_into_a_batch_leaves_the_images_alone(data):
    images = Images(data, tuple(data.shape[1:]))
    images.take(torch.arange(4)).fill_(1)
    assert images.data.count_nonzero() == 0


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (torch.zeros(4, 3, 8, 8), r"images must be \(N, 1, 8, 8\), got \(4, 3, 8, 8\)"),
        (torch.zeros(4, 9, dtype=torch.uint8), r"images must be \(N, 8\), got \(4, 9\)"),
    ],
)
def test_other_shapes_are_refused(data, said):
    with pytest.raises(ValueError, match=said):
        Images(data, (1, 8, 8))


@pytest.fixture
def one_thread():
    """Two threads on a busy machine wait for each other, which would be what is measured."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_a_batch_of_1024_takes_milliseconds():
    images = Images(torch.zeros(100_000, 512, dtype=torch.uint8), (1, 64, 64))
    index = torch.randint(100_000, (1024,), generator=torch.Generator().manual_seed(0))
    times = []
    for _ in range(20):
        start = time.perf_counter()
        images.take(index)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.01  # 0.8 ms on a core of its own
