import pytest
import torch
from matplotlib.figure import Figure

from disvae.build import make_vae
from disvae.config import resolved
from disvae.figure.aggregate_posterior import draw_plane


def test_the_plane_shows_the_density_of_q_with_the_first_latent_to_the_right(composed):
    vae = make_vae(resolved(composed("dataset=clusters")), (1, 1, 2)).eval()
    vae.model.encoder.forward = lambda x: torch.tensor([[1.0, 0.0, -3.0, -3.0]]).expand(len(x), 4)
    axes = Figure().add_subplot()
    draw_plane(axes, vae, torch.zeros(3, 1, 1, 2), extent=2.0, points=81)
    (image,) = axes.images
    shown = torch.as_tensor(image.get_array())
    row, column = divmod(int(shown.argmax()), 81)
    assert (row, column) == (40, 60)  # z = (1, 0): the middle row, three quarters to the right
    assert shown.sum() * (4 / 80) ** 2 == pytest.approx(1, abs=1e-2)  # a density: it integrates to one
    assert axes.collections, "the prior's contours"


def test_more_than_two_latents_have_no_plane(composed):
    vae = make_vae(resolved(composed("dataset=clusters", "z_dim=3")), (1, 1, 2))
    with pytest.raises(ValueError, match="z_dim must be 2"):
        draw_plane(Figure().add_subplot(), vae, torch.zeros(3, 1, 1, 2))
