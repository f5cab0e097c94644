"""The number of images that a metric's YAML asks for is enough, and an eighth of it is not."""

import numpy as np
import pytest

from disvae.config import nodes
from disvae.runs.tags import enough_images
from disvae.system.instantiate import make

FACTORS = np.indices((3, 6, 10, 16, 16)).reshape(5, -1).T  # 46,080 sprites


def known_codes() -> np.ndarray:
    """Return each factor with noise in a latent of its own, and three latents of noise."""
    rng = np.random.default_rng(0)
    standard = (FACTORS - FACTORS.mean(0)) / FACTORS.std(0)
    noisy = standard + 0.3 * rng.standard_normal(standard.shape)
    return np.concatenate([noisy, 0.1 * rng.standard_normal((len(noisy), 3))], 1)


@pytest.mark.parametrize(("name", "score"), [("mig", "histogram"), ("irs", "irs")])
def test_the_bias_of_a_score_is_small_from_as_many_images_on(name, score):
    metric, codes = make(nodes("metric", {}, [name])[name], f"metric.{name}"), known_codes()

    def mean(n: int) -> float:
        draws = [np.random.default_rng(seed).permutation(len(codes))[:n] for seed in range(3)]
        return float(np.mean([metric(codes[rows], FACTORS[rows])[score] for rows in draws]))

    whole = metric(codes, FACTORS)[score]
    assert mean(enough_images(name)) == pytest.approx(whole, abs=0.02)
    assert mean(enough_images(name) // 8) != pytest.approx(whole, abs=0.02)
