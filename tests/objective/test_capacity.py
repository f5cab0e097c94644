"""The KL is held at C from both sides."""

import pytest
import torch

from disvae.objective.capacity import Capacity
from disvae.schedule.constant import Constant


def test_the_gap_is_that_of_the_batch_mean_not_a_mean_of_gaps(draw):
    passed = draw()
    kl = Capacity(Constant(value=0), gamma=1)(passed)["kl"]
    terms = Capacity(Constant(value=kl.item()), gamma=1000)(passed)
    assert terms["capacity_gap"].item() == pytest.approx(0, abs=1e-6)  # though single images are above and below
    torch.testing.assert_close(terms["loss"], terms["reconstruction"], atol=1e-3, rtol=0)


@pytest.mark.parametrize(("offset", "sign"), [(-0.5, 1), (0.5, -1)])
def test_the_kl_is_pulled_to_c_from_both_sides(draw, gradients, offset, sign):
    kl = Capacity(Constant(value=0), gamma=1)(draw())["kl"].item()
    objective = Capacity(Constant(value=kl + offset), gamma=3)
    of_reconstruction, of_kl = gradients(objective, "reconstruction"), gradients(objective, "kl")
    expected = {name: of_reconstruction[name] + sign * 3 * of_kl[name] for name in of_kl}
    torch.testing.assert_close(gradients(objective), expected, atol=1e-6, rtol=1e-5)


def test_negative_gamma_is_refused():
    with pytest.raises(ValueError, match="gamma must be non-negative"):
        Capacity(Constant(value=1), gamma=-1)
