"""The multiplier by hand: its average, its bounded step, its fixed point."""

import math

import pytest
import torch

from disvae.objective.geco import GECO


def geco(target, **settings):
    return GECO(target, **{"rate": 1e-3, "smoothing": 0.9, "largest_step": 0.5} | settings)


def test_the_first_batch_starts_the_average_and_the_next_ones_move_it(draw):
    passed = draw()
    reconstruction = geco(0)(passed)["reconstruction"].item()
    objective = geco(reconstruction - 3)
    objective(passed)
    assert objective.constraint.item() == pytest.approx(3, abs=1e-4)
    objective.target = reconstruction + 7
    objective(passed)
    assert objective.constraint.item() == pytest.approx(0.9 * 3 - 0.1 * 7, abs=1e-4)


def test_the_multiplier_grows_above_the_target_and_the_loss_is_the_lagrangian(draw):
    passed = draw()
    reconstruction = geco(0)(passed)["reconstruction"].item()
    terms = geco(reconstruction - 3)(passed)
    assert terms["multiplier"].item() == pytest.approx(math.exp(0.5 * math.tanh(0.003 / 0.5)), abs=1e-6)
    assert terms["beta"].item() == pytest.approx(1 / terms["multiplier"].item(), rel=1e-6)
    torch.testing.assert_close(terms["loss"], terms["kl"] + terms["multiplier"] * terms["constraint"])
    assert geco(reconstruction + 3)(passed)["multiplier"].item() < 1


def test_a_step_is_bounded_far_from_the_target(draw):
    terms = geco(-1e6, largest_step=0.01)(draw())
    assert terms["multiplier"].item() == pytest.approx(math.exp(0.01), rel=1e-6)


def test_the_gradient_is_that_of_a_beta_vae(draw, gradients):
    passed = draw()
    reconstruction = geco(0)(passed)["reconstruction"].item()
    multiplier = geco(reconstruction - 3)(passed)["multiplier"].item()
    of_kl, of_reconstruction = gradients(geco(0), "kl"), gradients(geco(0), "reconstruction")
    expected = {name: of_kl[name] + multiplier * of_reconstruction[name] for name in of_kl}
    torch.testing.assert_close(gradients(geco(reconstruction - 3)), expected, atol=1e-5, rtol=1e-4)


def test_a_validation_leaves_the_multiplier_as_it_is(draw):
    objective = geco(-5).eval()
    objective(draw())
    assert objective.log_multiplier == 0
    assert objective.state_dict().keys() == {"log_multiplier", "constraint", "seen"}


@pytest.mark.parametrize(("setting", "value"), [("rate", 0), ("smoothing", 1), ("largest_step", 0)])
def test_wrong_settings_are_refused(setting, value):
    with pytest.raises(ValueError, match=f"{setting} must be"):
        geco(1, **{setting: value})
