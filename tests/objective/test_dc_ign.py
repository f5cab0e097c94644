"""DC-IGN's oracles: which latents the decoder reads in a group, and the gradient of every other latent."""

from types import SimpleNamespace

import pytest
import torch

from disvae.dataset.batches import Batch
from disvae.objective.dc_ign import DCIGN
from disvae.objective.vae import ELBO

SPRITES = ("shape", "scale", "orientation", "posX", "posY")
B, G, D = 12, 3, 3
INVARIANCE = 0.5
VARIES = torch.tensor([1, 0, 1])


def trained_on(names=("shape", "posX"), z_dim=D, owners=None, **settings):
    objective = DCIGN(z_dim, owners, **{"groups": G, "invariance": INVARIANCE} | settings)
    objective.prepare(SimpleNamespace(factor_names=names))
    return objective


@pytest.fixture
def batch():
    x = torch.rand(B, 1, 2, 4, generator=torch.Generator().manual_seed(1)).round()
    return Batch(x, x[:0], group=torch.arange(G).repeat_interleave(B // G), varies=VARIES)


def seeded_draw(objective, vae, batch):
    torch.manual_seed(2)
    return objective.draw(vae, batch, step=0, N=100)


def test_the_gradient_of_a_clamped_mean_is_its_distance_from_the_mean_of_its_group(vae, batch):
    objective = trained_on()  # posX owns latent 0, shape the latents 1 and 2
    means = []
    encode = vae.encode

    def kept(x):
        qz_x = encode(x)
        qz_x.base_dist.loc.retain_grad()
        means.append(qz_x.base_dist.loc)
        return qz_x

    vae.encode = kept
    draw = seeded_draw(objective, vae, batch)
    objective(draw)["loss"].backward()
    (mu,) = means
    owned = torch.tensor([[True, False, False], [False, True, True]])[VARIES].repeat_interleave(B // G, 0)
    assert torch.equal(draw.owned, owned)
    m = mu.detach().view(G, -1, D).mean(1).repeat_interleave(B // G, 0)
    torch.testing.assert_close(mu.grad[~owned], (INVARIANCE * (mu.detach() - m) / B)[~owned])
    assert (mu.grad[owned] != 0).all()


def test_a_group_of_equal_images_has_no_invariance(vae, batch):
    equal = Batch(batch.x[:G].repeat_interleave(B // G, 0), batch.x_extra, batch.group, batch.varies)
    objective = trained_on()
    assert objective(seeded_draw(objective, vae, batch))["invariance"] > 0.01
    torch.testing.assert_close(
        objective(seeded_draw(objective, vae, equal))["invariance"], torch.tensor(0.0), atol=1e-12, rtol=0
    )


def test_the_decoders_inputs_of_a_group_differ_in_the_owners_latents_alone(vae, batch):
    z = seeded_draw(trained_on(), vae, batch).z.view(G, -1, D)
    differs = (z != z[:, :1]).any(1)
    assert differs.tolist() == [[False, True, True], [True, False, False], [False, True, True]]


def test_without_invariance_and_with_every_latent_owned_it_is_the_vae_to_the_bit(vae, batch):
    objective = trained_on(invariance=0.0)
    objective.owner = torch.ones_like(objective.owner)
    gradients = []
    for each in (objective, ELBO()):
        vae.zero_grad()
        loss = each(seeded_draw(each, vae, batch))["loss"]
        loss.backward()
        gradients.append([loss.detach(), *vae.gradients().values()])
    assert all(torch.equal(ours, plain) for ours, plain in zip(*gradients, strict=True))


def test_plain_images_have_the_terms_of_the_vae(vae, batch):
    plain = Batch(batch.x, batch.x_extra)
    objective = trained_on()
    ours, vaes = (each(seeded_draw(each, vae, plain)) for each in (objective, ELBO()))
    assert ours.keys() == vaes.keys()
    assert all(torch.equal(ours[name], vaes[name]) for name in vaes)


def test_each_ordered_factor_owns_a_latent_unless_owners_are_given():
    assert trained_on(SPRITES, 7).latent_names(SPRITES) == [
        "scale", "orientation", "posX", "posY", "shape", "shape", "shape"
    ]  # fmt: skip
    of_two = trained_on(SPRITES, 7, {"posX": 1, "posY": 2})
    assert of_two.latent_names(SPRITES) == ["posX", "posY", "posY", *4 * ["shape, scale, orientation"]]
    assert of_two.sampler.slots == ((3,), (4,), (0, 1, 2))
    assert trained_on(("hue", "angle"), 4).latent_names(("hue", "angle")) == ["hue", "angle", "angle", "angle"]


@pytest.mark.parametrize(
    ("names", "z_dim", "owners", "message"),
    [
        (SPRITES, 4, None, "shape own the others: z_dim must be 5 or more, got 4: type z_dim=5"),
        (("a", "b"), 3, {"a": 1, "b": 1}, "z_dim must be 2, got 3: type z_dim=2"),
        (SPRITES, 10, {"hue": 1}, "names hue, but the factors are shape, scale"),
        (SPRITES, 10, {"posX": 0}, "must give each factor 1 latent or more"),
    ],
)
def test_owners_that_do_not_fit_say_what_to_type(names, z_dim, owners, message):
    with pytest.raises(ValueError, match=message):
        trained_on(names, z_dim, owners)
