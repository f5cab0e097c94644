import io

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image
from torch.distributions import Normal

from disvae.build import make_vae
from disvae.config import resolved
from disvae.figure.traversal_animation import FRAMES, traversal_animation
from disvae.pictures.figure_data import NotDrawable
from disvae.pictures.files import rendered
from disvae.pictures.style import DATA, MODEL

PRIORS = ("gaussian", "laplace", "student_t", "sparse", "mixture")


def a_vae(composed, scales, *overrides, C=1):
    """Latents whose means follow an image's first pixel, 0 to 1, by `scales`; the image's brightness is that of z1."""
    D = len(scales)
    torch.manual_seed(0)
    small = ("model=mlp", "model.encoder_hidden=[8]", "model.decoder_hidden=[8]", f"z_dim={D}")
    vae = make_vae(resolved(composed(*small, *overrides)), (C, 16, 16)).eval()

    def encoder(x):
        values = 2 * x.flatten(1)[:, :1] - 1
        return torch.cat([values * torch.tensor(scales), torch.full((len(x), D), -3.0)], 1)

    vae.model.encoder.forward = encoder
    vae.model.decoder.forward = lambda z: z[:, 1].view(-1, 1, 1, 1).expand(-1, C, 16, 16)
    return vae


def some(n, C=1):
    """Images whose first pixels go from 0 to 1."""
    x = torch.rand(n, C, 16, 16)
    x[:, 0, 0, 0] = torch.linspace(0, 1, n)
    return x


def cells(frame):
    """By name of the latent: its brightness and where its dot and its own code are."""
    return {
        axes.get_title().split()[0]: (
            float(np.mean(axes.images[0].get_array())),
            *(float(line.get_xdata()[0]) for line in axes.lines[::-1]),
        )
        for axes in frame.axes
        if axes.images
    }


def test_each_active_latent_has_a_cell_and_goes_there_and_back(composed, view_of_images):
    vae = a_vae(composed, [1.0, 3.0, 0.0])
    seen = [cells(frame) for frame in traversal_animation(vae, view_of_images(vae, some(41)), image=40)]
    assert len(seen) == FRAMES
    assert all(list(each) == ["z1", "z0"] for each in seen)  # by KL; z2 is not active
    assert seen[1:] == seen[:0:-1]
    brightness = [each["z1"][0] for each in seen[: FRAMES // 2 + 1]]
    assert brightness == sorted(brightness)
    assert brightness[0] == pytest.approx(torch.tensor(-2.0).sigmoid().item(), abs=1e-4)
    assert brightness[-1] == pytest.approx(torch.tensor(2.0).sigmoid().item(), abs=1e-4)
    still = {round(each["z0"][0], 5) for each in seen}
    assert still == {round(torch.tensor(3.0).sigmoid().item(), 5)}  # z1 as in the image
    dots = [each["z0"][1] for each in seen[: FRAMES // 2 + 1]]
    assert dots == sorted(dots)
    owns = {each["z0"][2] for each in seen}
    assert len(owns) == 1
    assert dots[0] < owns.pop() < dots[-1]


@pytest.mark.parametrize("prior", PRIORS)
def test_the_dot_is_at_the_quantile_of_every_prior(composed, view_of_images, prior):
    vae = a_vae(composed, [0.0, 3.0], f"prior={prior}")
    codes = vae.prior().sample((100_000,))[:, 1]
    for frame in traversal_animation(vae, view_of_images(vae, some(41))):
        (axes,) = (axes for axes in frame.axes if axes.images)
        brightness, dot, _ = cells(frame)["z1"]
        low, high = axes.get_xticks()[[0, -1]]
        score = 4 * (dot - low) / (high - low) - 2
        below = (codes.sigmoid() <= brightness + 1e-6).float().mean().item()
        assert below == pytest.approx(Normal(0.0, 1.0).cdf(torch.tensor(score)).item(), abs=0.02)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2 %", "50 %", "98 %"]


def test_only_so_many_latents_are_shown(composed, view_of_images):
    vae = a_vae(composed, [float(d) for d in range(1, 16)])
    view = view_of_images(vae, some(40))
    assert len(cells(next(traversal_animation(vae, view)))) == 8
    assert list(cells(next(traversal_animation(vae, view, most=2)))) == ["z14", "z13"]


def test_without_an_active_latent_there_is_nothing_to_move(composed, view_of_images):
    vae = a_vae(composed, [0.0, 0.0])
    # when it is called, not when it is played
    with pytest.raises(NotDrawable, match="at least one latent must be active"):
        traversal_animation(vae, view_of_images(vae, some(40)))


def test_as_a_file_it_is_small_and_its_marks_have_their_own_colours(composed, view_of_images):
    vae = a_vae(composed, [float(d) for d in range(1, 16)], C=3)
    texture = torch.rand(3, 16, 16)
    vae.model.decoder.forward = lambda z: z.sum(1).view(-1, 1, 1, 1) * texture  # all pixels of all cells change
    content, suffix = rendered(traversal_animation(vae, view_of_images(vae, some(40, C=3))))
    assert suffix == ".gif"
    assert len(content) < 400_000
    with Image.open(io.BytesIO(content)) as image:
        assert 500 <= image.width <= 900
        assert image.n_frames == FRAMES
        for k in (0, 5, 12):
            image.seek(k)
            colours = {colour for _, colour in image.convert("RGB").getcolors()}
            assert colours >= {tuple(round(255 * part) for part in to_rgb(colour)) for colour in (DATA, MODEL, "white")}
