"""The InfoVAE is the decomposition VAE in other weights."""

import pytest
import torch

from disvae.divergence.kl_inclusive import KLInclusive
from disvae.divergence.mmd import MMD
from disvae.objective.decomposition import Decomposition
from disvae.objective.info_vae import InfoVAE
from disvae.schedule.constant import Constant


@pytest.mark.parametrize(("a", "l"), [(0.0, 1.0), (0.3, 2.0), (1.0, 100.0), (-1.0, 2.5)])
@pytest.mark.parametrize("divergence", [KLInclusive(), MMD("imq", "joint")], ids=["kl", "mmd"])
def test_it_is_the_decomposition_with_beta_1_minus_a_and_alpha_a_plus_l_minus_1(draw, a, l, divergence):  # noqa: E741
    torch.manual_seed(5)
    ours = InfoVAE(a, l, divergence)(draw())
    torch.manual_seed(5)
    other = Decomposition(Constant(value=1 - a), Constant(value=a + l - 1), divergence)(draw())
    divergences = [terms.get("divergence_minibatch") for terms in (ours, other)]
    if divergences[1] is None:  # alpha is 0, where the decomposition leaves D out
        assert a + l - 1 == 0
    torch.testing.assert_close(ours["loss"], other["loss"], atol=1e-6, rtol=1e-6)


def test_weights_below_zero_are_refused():
    with pytest.raises(ValueError, match="a must be at most 1"):
        InfoVAE(1.5, 1, KLInclusive())
    with pytest.raises(ValueError, match=r"l must be at least 1 - a = 0.5"):
        InfoVAE(0.5, 0.2, KLInclusive())
