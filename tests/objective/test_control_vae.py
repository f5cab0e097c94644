"""The controller's beta by hand, its guard, and what a validation and a checkpoint do with it."""

import math

import pytest
import torch

from disvae.objective.control_vae import ControlVAE
from disvae.schedule.constant import Constant


def controller(target, **settings):
    return ControlVAE(Constant(value=target), **{"kp": 0.01, "ki": 0.001, "least": 0.5, "most": 3.0} | settings)


def test_beta_is_that_of_the_papers_formula(draw):
    passed = draw()
    kl = controller(0)(passed)["kl"].item()
    objective = controller(kl - 0.5)  # the error is -0.5 at each step
    first, second = objective(passed), objective(passed)
    proportional = 0.01 / (1 + math.exp(-0.5))
    assert first["beta"].item() == pytest.approx(0.5 + proportional + 0.0005, abs=1e-6)
    assert second["beta"].item() == pytest.approx(0.5 + proportional + 0.001, abs=1e-6)
    torch.testing.assert_close(second["loss"], second["reconstruction"] + second["beta"] * second["kl"])


def test_beta_passes_no_gradient_of_its_own(draw, gradients):
    kl = controller(0)(draw())["kl"].item()
    of_loss = gradients(controller(kl - 0.5))
    beta = controller(kl - 0.5)(draw())["beta"].item()
    expected = {name: of + beta * gradients(controller(0), "kl")[name]
                for name, of in gradients(controller(0), "reconstruction").items()}  # fmt: skip
    torch.testing.assert_close(of_loss, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("offset", "held"), [(-1e4, 2.5), (1e4, 0.0)])
def test_the_sum_does_not_wind_up_where_beta_cannot_follow(draw, offset, held):
    passed = draw()
    kl = controller(0)(passed)["kl"].item()
    objective = controller(max(kl + offset, 0), ki=1.0)
    objective.target = Constant(value=0) if offset < 0 else objective.target
    for _ in range(30):
        beta = objective(passed)["beta"].item()
    assert objective.integral.item() == held
    assert beta == pytest.approx(0.5 + held, abs=0.01)


def test_a_validation_leaves_the_controller_as_it_is(draw):
    objective = controller(0)
    objective(draw())
    before = objective.integral.clone()
    with torch.no_grad():
        objective.eval()(draw())
    assert before > 0
    assert objective.integral == before
    assert "integral" in objective.state_dict()


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="ki must be non-negative, got -1"):
        controller(1, ki=-1)
    with pytest.raises(ValueError, match=r"most must be above least=0.5, got 0.5"):
        controller(1, most=0.5)
