import torch

from disvae.build import make_vae
from disvae.config import resolved
from disvae.vae import VAE


def small(composed) -> VAE:
    return make_vae(resolved(composed("dataset=clusters")), (1, 1, 2))


def test_a_draw_has_one_sample_per_image_and_distributions_of_matching_shapes(composed):
    x = torch.randn(5, 1, 1, 2)
    draw = small(composed)(x, step=3, N=100)
    assert draw.z.shape == (5, 2)
    assert (draw.qz_x.batch_shape, draw.qz_x.event_shape) == ((5,), (2,))
    assert (draw.pz.batch_shape, draw.pz.event_shape) == ((), (2,))
    assert (draw.px_z.batch_shape, draw.px_z.event_shape) == ((5,), (1, 1, 2))
    assert (draw.step, draw.N, draw.z_extra.shape) == (3, 100, (0, 2))


def test_extra_images_give_codes_without_a_gradient(composed):
    draw = small(composed)(torch.randn(5, 1, 1, 2), step=0, N=10, x_extra=torch.randn(7, 1, 1, 2))
    assert draw.z_extra.shape == (7, 2)
    assert not draw.z_extra.requires_grad
    assert draw.z.requires_grad


def test_an_encoding_at_hand_is_not_computed_again(composed):
    vae = small(composed)
    x = torch.randn(5, 1, 1, 2)
    h = vae.model.encoder(x)
    vae.model.encoder.forward = None
    assert torch.equal(vae(x, step=0, N=10, h=h).qz_x.mean, vae.posterior(h).mean)
