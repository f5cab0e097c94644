"""Packed runs against the same runs alone."""

import copy

import pytest
import torch
from torch import nn

from disvae.build import build
from disvae.config import resolved
from disvae.dataset.batches import Batch
from disvae.training.module import NORM, VAEModule, step_seed
from disvae.training.packed.vmap_step import Pack, refusal, structure
from disvae.training.schedule_inputs import ScheduleInputs, TracedStep
from tests.training.device import META, NoWaitForCopies, OnDevice, Recordable, stand_in_for_a_gpu
from tests.training.on_points import POINTS, N, module_of

B = 17
PAIR = {"schedule.beta.value": (1.0, 3.0, 0.5), "schedule.alpha.value": (4.0, 1.0, 2.0)}


def settings(config, **changes):
    """The configuration with changes, keys joined by dots; those it has no place for are left out."""
    changed = copy.deepcopy(config)
    for key, value in changes.items():
        *path, last = key.split(".")
        node = changed
        for name in path:
            node = node.get(name, {})
        if last in node:
            node[last] = value
    return changed


def members(config, x_shape=POINTS, **of_each):
    """One member for each seed; keys of `of_each` hold a value for each."""
    count = len(next(iter(of_each.values()), range(3)))
    return [
        module_of(settings(config, **{key: values[k] for key, values in of_each.items()}), 10 + k, x_shape)
        for k in range(count)
    ]


def images(modules, x_shape, step, b=B):
    torch.manual_seed(1000 + step)
    extra = b * modules[0].objective.extra_batches
    return torch.rand(len(modules), b, *x_shape), torch.rand(len(modules), extra, *x_shape)


def weights(modules, step):
    return torch.cat([ScheduleInputs(module.objective).at([step]) for module in modules])


def alone(module, optimizer, x, x_extra, step, clip=None):
    """A plain step of one run."""
    torch.manual_seed(step_seed(module.seed, step))
    optimizer.zero_grad()
    terms = module.compute_terms(Batch(x, x_extra), step)
    terms["loss"].backward()
    norm = nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
    if clip is not None:
        nn.utils.clip_grad_norm_(module.parameters(), clip)
    optimizer.step()
    return {**{name: term.detach() for name, term in terms.items()}, NORM: norm}


@pytest.fixture
def double_precision():
    """Adam makes a full step of a gradient that is nothing but rounding: in single precision, paths part at once."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(usual)


def optimizers(modules):
    return [module.configure_optimizers() for module in modules]


def train(modules, pack, steps, x_shape=POINTS, clip=None, b=B):
    """The terms of the last step: packed, and of `modules` alone."""
    own = optimizers(modules)
    for step in steps:
        x, x_extra = images(modules, x_shape, step, b)
        packed = pack.step(Batch(x, x_extra), step, weights(modules, step))
        single = [alone(m, o, x[k], x_extra[k], step, clip) for k, (m, o) in enumerate(zip(modules, own, strict=True))]
    return packed, {name: torch.stack([terms[name] for terms in single]) for name in single[0]}


def agree(packed, single, rtol=1e-6, atol=1e-6):
    """Tolerances are those of scheduled weights, which a pack holds in single precision."""
    assert packed.keys() == single.keys()
    for name, term in single.items():
        torch.testing.assert_close(packed[name], term, rtol=rtol, atol=atol, msg=lambda said, n=name: f"{n}: {said}")


DIFFERENT = {
    "objective.beta.value": (1.0, 4.0, 0.5),
    "objective.alpha.value": (4.0, 1.0, 2.0),
    "objective.capacity.value": (4.0, 1.0, 2.0),
    "objective.gamma": (1, 20, 5.5),
    "objective.mi_weight": (1, 0.5, 2),
    "objective.lambda_od": (1, 20, 3.5),
}
D = "objective=decomposition alpha=5"
SMALL = ("objective", "objective.divergence")

COMBINATIONS = [
    *(f"objective={name}" for name in ("vae", "beta_vae", "capacity", "beta_tc", "factor_vae", "dip_vae")),
    "objective=beta_tc objective.estimator=mss",
    "objective=dip_vae objective.kind=I",
    "objective=infogan objective.noise=2 prior=uniform posterior=joint prior.categories=[2] z_dim=4",
    *(f"{D} prior={name}" for name in ("ard", "vamp", "anisotropic", "student_t", "mixture", "sparse", "laplace")),
    "objective=wae_mmd posterior=deterministic divergence=mmd",
    f"{D} prior=student_t prior.learn_df=true",
    f"{D} prior=mixture prior.learn=true",
    f"{D} prior=anisotropic prior.variances=equal prior.learn=true",
    *(
        f"{D} divergence=kl_exclusive posterior={name}"
        for name in ("isotropic", "full_gaussian", "laplace", "student_t")
    ),
    f"{D} posterior=student_t posterior.learn_df=true",
    *(f"{D} prior=mixture divergence={name}" for name in ("kl_inclusive", "kl_exclusive", "mmd", "jsd")),
    f"{D} prior=sparse divergence=mmd divergence.scope=per_dimension",
    f"{D} prior=mixture objective.released_mixture_kl=true",
    *(f"objective=dip_vae posterior={name}" for name in ("isotropic", "full_gaussian", "laplace", "student_t")),
    *(f"objective=dip_vae prior={name}" for name in ("student_t", "mixture", "sparse")),
    *(f"objective=factor_vae posterior={name}" for name in ("full_gaussian", "student_t")),
    *(f"likelihood={name}" for name in ("bernoulli", "gaussian", "laplace")),
    "likelihood=gaussian likelihood.learn=shared",
    "likelihood=laplace likelihood.learn=per_pixel",
    *(f"optimizer={name}" for name in ("adam", "amsgrad", "adagrad")),
]


@pytest.mark.parametrize("overrides", COMBINATIONS)
def test_packed_runs_take_the_steps_they_take_alone(double_precision, configured, overrides):
    config = configured(overrides)
    packed, single = members(config, **DIFFERENT), members(config, **DIFFERENT)
    agree(*train(single, Pack(packed, optimizers(packed)), [0]))
    for a, b in zip(packed, single, strict=True):
        torch.testing.assert_close(a.state_dict(), b.state_dict(), rtol=1e-6, atol=1e-6)
    packed, single = members(config, **DIFFERENT), members(config, **DIFFERENT)
    agree(*train(single, Pack(packed, optimizers(packed)), range(4)))


@pytest.mark.parametrize(
    ("overrides", "x_shape"),
    [
        ("dataset=sprites model=conv objective=beta_tc", (1, 64, 64)),
        ("dataset=fashion_mnist model=dcgan objective=factor_vae", (1, 32, 32)),
    ],
)
def test_networks_of_images_take_the_steps_they_take_alone_running_statistics_included(
    double_precision, configured, overrides, x_shape
):
    config = configured(overrides)
    packed, single = members(config, x_shape, **DIFFERENT), members(config, x_shape, **DIFFERENT)
    agree(*train(single, Pack(packed, optimizers(packed)), range(3), x_shape, b=4))
    for a, b in zip(packed, single, strict=True):
        buffers = dict(b.named_buffers())
        for name, buffer in a.named_buffers():
            torch.testing.assert_close(buffer, buffers[name], rtol=1e-9, atol=1e-9, msg=name)
    if "dcgan" in overrides:
        assert any(name.endswith("running_var") and not buffer.eq(1).all() for name, buffer in buffers.items())


def test_a_small_network_on_a_cpu_takes_them_to_the_bit(configured):
    a, b = torch.randn(2, 3, 400, 100).unbind()
    if not torch.equal(a.mT @ b, torch.stack([x.T @ y for x, y in zip(a, b, strict=True)])):
        pytest.skip("this machine's library multiplies a stack of matrices in another way than one")
    config = configured("dataset=clusters")
    singles, modules = members(config, seed=[0, 1, 2]), members(config, seed=[0, 1, 2])
    own, pack = optimizers(singles), Pack(modules, optimizers(modules))
    for step in range(20):
        x, x_extra = images(modules, POINTS, step, b=400)
        pack.step(Batch(x, x_extra), step, weights(modules, step))
        for k, (module, optimizer) in enumerate(zip(singles, own, strict=True)):
            alone(module, optimizer, x[k], x_extra[k], step)
    for one, other in zip(singles, modules, strict=True):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name


def test_each_member_is_clipped_by_its_own_norm(double_precision, configured):
    config = configured("objective=beta_vae")
    packed, single = members(config, **DIFFERENT), members(config, **DIFFERENT)
    clip = 3.0
    terms, alone_terms = train(single, Pack(packed, optimizers(packed), gradient_clip_val=clip), [0], clip=clip)
    agree(terms, alone_terms)
    assert (terms[NORM] > clip).any()
    x, x_extra = images(packed, POINTS, 0)
    pack = Pack(packed, optimizers(packed), gradient_clip_val=0.01)
    pack.seed(1)
    pack.gradients(Batch(x, x_extra), weights(packed, 1))
    norms = torch.stack([p.grad.flatten(1).norm(dim=1) for p in pack.parameters.values() if p.grad is not None]).norm(
        dim=0
    )
    torch.testing.assert_close(norms, torch.full((3,), 0.01), rtol=1e-3, atol=0)


def test_weights_follow_each_members_own_schedule(double_precision, configured):
    config = configured("objective=beta_vae schedule@schedule.beta=linear steps=10")
    of_each = {"objective.beta.value": (1.0, 2.0, 4.0), "objective.beta.start": (0.0, 0.5, 1.0)}
    packed, single = members(config, **of_each), members(config, **of_each)
    terms, of_single = train(single, Pack(packed, optimizers(packed)), [0, 1, 2])
    agree(terms, of_single)
    assert len(set(terms["beta"].tolist())) == 3


def test_a_members_state_dict_is_current_and_its_scores_are_its_own(configured):
    modules = members(configured("objective=beta_vae"))
    before = copy.deepcopy([module.state_dict() for module in modules])
    pack = Pack(modules, optimizers(modules))
    for module, old in zip(modules, before, strict=True):
        torch.testing.assert_close(module.state_dict(), old, rtol=0, atol=0)
    pack.step(Batch(*images(modules, POINTS, 0)), 0, weights(modules, 0))
    for k, (module, old) in enumerate(zip(modules, before, strict=True)):
        state = module.state_dict()
        for name, parameter in pack.parameters.items():
            assert torch.equal(state[name], parameter[k])
            assert not torch.equal(state[name], old[name])


@pytest.mark.parametrize("optimizer", ["adam", "amsgrad", "adagrad"])
def test_runs_go_from_alone_to_packed_and_back(double_precision, configured, optimizer):
    config = configured(f"objective=beta_vae optimizer={optimizer}")
    modules, through = members(config, **DIFFERENT), members(config, **DIFFERENT)
    own = optimizers(modules)
    for step in range(2):
        x, x_extra = images(modules, POINTS, step)
        for k in range(3):
            alone(modules[k], own[k], x[k], x_extra[k], step)
    for a, b in zip(modules, through, strict=True):
        b.load_state_dict(a.state_dict())
    resumed = optimizers(through)
    for a, b in zip(own, resumed, strict=True):
        b.load_state_dict(copy.deepcopy(a.state_dict()))
    pack = Pack(through, resumed)
    for k in range(3):
        torch.testing.assert_close(pack.optimizer_state(k), own[k].state_dict(), rtol=0, atol=0)
    for step in range(2, 4):
        x, x_extra = images(modules, POINTS, step)
        pack.step(Batch(x, x_extra), step, weights(through, step))
        for k in range(3):
            alone(modules[k], own[k], x[k], x_extra[k], step)
    afresh = members(config, **DIFFERENT)
    x, x_extra = images(modules, POINTS, 4)
    for k, module in enumerate(afresh):
        module.load_state_dict(through[k].state_dict())
        last = module.configure_optimizers()
        last.load_state_dict(pack.optimizer_state(k))
        a = alone(module, last, x[k], x_extra[k], 4)
        b = alone(modules[k], own[k], x[k], x_extra[k], 4)
        agree(a, b)
        for old, new in zip(own[k].state_dict()["state"].values(), last.state_dict()["state"].values(), strict=True):
            assert old["step"] == new["step"] == 5


def test_a_member_that_diverges_leaves_the_others_as_they_are_to_the_bit(configured):
    config = configured("objective=factor_vae")
    good, bad = members(config, **DIFFERENT), members(config, **DIFFERENT)
    packs = [Pack(modules, optimizers(modules), gradient_clip_val=5.0) for modules in (good, bad)]
    with torch.no_grad():
        next(bad[1].vae.parameters()).fill_(torch.inf)
    for step in range(3):
        x, x_extra = images(good, POINTS, step)
        of_good, of_bad = (pack.step(Batch(x, x_extra), step, weights(good, step)) for pack in packs)
    assert not of_bad["loss"][1].isfinite()
    for name in of_good:
        assert torch.equal(of_good[name][[0, 2]], of_bad[name][[0, 2]])
    for k in (0, 2):
        torch.testing.assert_close(good[k].state_dict(), bad[k].state_dict(), rtol=0, atol=0)
        torch.testing.assert_close(packs[0].optimizer_state(k), packs[1].optimizer_state(k), rtol=0, atol=0)


def test_a_member_left_behind_between_gradients_and_update_keeps_its_weights_and_the_others_go_on(configured):
    config = configured("objective=beta_vae")
    modules, single = members(config, **DIFFERENT), members(config, **DIFFERENT)
    pack = Pack(modules, optimizers(modules), gradient_clip_val=3.0)
    train(single, pack, [0], clip=3.0)
    x, x_extra = images(modules, POINTS, 1)
    pack.seed(1)
    pack.gradients(Batch(x, x_extra), weights(modules, 1))
    before = copy.deepcopy(modules[1].state_dict())
    states = [pack.optimizer_state(k) for k in range(3)]
    rest = pack.without([1])
    assert rest.members == [modules[0], modules[2]]
    for new, old in enumerate((0, 2)):
        torch.testing.assert_close(rest.optimizer_state(new), states[old], rtol=0, atol=0)
        for name, parameter in rest.parameters.items():
            assert torch.equal(parameter[new], pack.parameters[name][old])
            assert torch.equal(parameter.grad[new], pack.parameters[name].grad[old])
    rest.update()
    for step in (2, 3):
        x, x_extra = images(modules, POINTS, step)
        rest.step(Batch(x[[0, 2]], x_extra[[0, 2]]), step, weights(rest.members, step))
    torch.testing.assert_close(modules[1].state_dict(), before, rtol=0, atol=0)
    whole = members(config, **DIFFERENT)
    train(single, Pack(whole, optimizers(whole), gradient_clip_val=3.0), range(4), clip=3.0)
    for k in (0, 2):
        torch.testing.assert_close(modules[k].state_dict(), whole[k].state_dict(), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="keep a member"):
        rest.without([0, 1])


STRUCTURE = {
    "seed=3": True,
    "objective.mi_weight=0.5": True,
    "objective.mi_weight=2": True,
    "beta=7": True,
    "schedule@schedule.beta=linear": True,
    "objective.estimator=mss": False,
    "beta=0": False,  # always zero: a term may be left out
    "model.encoder_hidden=[50]": False,
    "model.encoder_activation=tanh": False,
    "posterior.link=softplus": False,
    "prior=laplace": False,
    "optimizer.lr=0.01": False,
    "optimizer=adam": False,
    "likelihood=laplace": False,
    "objective=beta_vae": False,
}


@pytest.mark.parametrize("change", STRUCTURE)
def test_structure_is_all_but_seeds_schedules_and_weights(configured, change):
    base = "objective=beta_tc beta=4"
    one, other = (module_of(configured(overrides)) for overrides in (base, f"{base} {change}"))
    same = structure(one, one.configure_optimizers()) == structure(other, other.configure_optimizers())
    assert same == STRUCTURE[change]


def test_runs_of_other_lengths_of_training_set_or_at_other_steps_are_refused(configured):
    config = configured("objective=beta_vae")
    modules = members(config)
    modules[1].N = N + 1
    with pytest.raises(ValueError, match="alike"):
        Pack(modules, optimizers(modules))
    modules = members(config)
    own = optimizers(modules)
    x, x_extra = images(modules, POINTS, 0)
    alone(modules[0], own[0], x[0], x_extra[0], 0)
    with pytest.raises(ValueError, match="equally many steps"):
        Pack(modules, own)


def test_autocast_is_refused(configured):
    modules = members(configured("objective=beta_vae"))
    pack = Pack(modules, optimizers(modules))
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(NotImplementedError, match="32-true"):
        pack.step(Batch(*images(modules, POINTS, 0)), 0, weights(modules, 0))


@pytest.mark.parametrize("overrides", COMBINATIONS)
def test_a_step_neither_waits_for_the_device_nor_copies_from_the_host(configured, overrides):
    modules = members(configured(overrides), **DIFFERENT)
    x, x_extra = images(modules, POINTS, 0)
    now = weights(modules, 0)
    pack = Pack(modules, optimizers(modules), gradient_clip_val=1.0)
    alone_member = module_of(configured(overrides))
    ScheduleInputs(alone_member.objective).feed(now[0])
    with Recordable():
        pack.gradients(Batch(x, x_extra), now)
        alone_member.compute_terms(Batch(x[0], x_extra[0]), TracedStep())["loss"].backward()


@pytest.mark.parametrize("overrides", COMBINATIONS)
def test_a_step_makes_all_its_tensors_on_the_device(configured, overrides):
    module = module_of(configured(overrides)).to(META)
    x, x_extra = (tensor[0].to(META) for tensor in images([module], POINTS, 0))
    ScheduleInputs(module.objective).feed(weights([module], 0)[0].to(META))
    with OnDevice():
        loss = module.compute_terms(Batch(x, x_extra), TracedStep())["loss"]
        if "learn_df" not in overrides:  # the gradient of a gamma draw is not known to the meta device
            loss.backward()


@pytest.mark.slow
def test_a_packed_step_of_every_two_options_neither_waits_for_the_device_nor_mixes_devices(combinations, monkeypatch):
    stand_in_for_a_gpu(monkeypatch)
    copies = NoWaitForCopies()
    copies.watching = True
    failed = {}
    for names, module in combinations.items():
        modules = [copy.deepcopy(module).to(META) for _ in range(2)]
        for k, one in enumerate(modules):
            one.seed = k
            for name in ("gamma", "mi_weight", "lambda_od"):
                if hasattr(one.objective, name):
                    setattr(one.objective, name, k + 1.0)
        now = weights(modules, 3).to(META)
        pack = Pack(modules, optimizers(modules), gradient_clip_val=1.0)
        x, x_extra = (tensor.to(META) for tensor in images(modules, POINTS, 0))
        pack.seed(3)
        try:
            with copies:
                terms = pack.gradients(Batch(x, x_extra), now)
            pack.update()
        except (AssertionError, NotImplementedError, RuntimeError) as error:
            failed[names] = str(error).partition("\n")[0]
            continue
        assert terms["loss"].shape == terms[NORM].shape == (2,)
    assert not failed


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    ["objective=beta_vae", "objective=beta_tc", f"{D} prior=mixture", "objective=factor_vae"],
)
def test_hundreds_of_steps_are_the_same_but_for_rounding(double_precision, configured, overrides):
    """For 300 steps a difference in the last digit stays there; in 1,000 it grows up to ten million times."""
    config = configured(overrides)
    powers = {
        "objective.beta.value": (1.0, 4.0, 0.5),
        "objective.alpha.value": (4.0, 1.0, 2.0),
        "objective.gamma": (1, 16, 4),
    }
    packed, single = members(config, **powers), members(config, **powers)
    pack, own = Pack(packed, optimizers(packed)), optimizers(single)
    for step in range(300):
        x, x_extra = images(packed, POINTS, step % 20, b=64)
        of_pack = pack.step(Batch(x, x_extra), step, weights(packed, step))
        of_single = [alone(m, own[k], x[k], x_extra[k], step) for k, m in enumerate(single)]
    of_each = {name: torch.stack([terms[name] for terms in of_single]) for name in of_pack}
    agree(of_pack, of_each, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "own",
    [
        ("dc_ign", "objective.groups=4"),
        ("ada_gvae", "objective.k=random"),
        ("ml_vae",),
        ("iwae", "objective.samples=3"),
    ],
)
def test_an_objective_with_its_own_draw_packs_with_its_own_batches(composed, own):
    small = ("dataset.scales=2", "dataset.orientations=4", "dataset.positions=4", "model=mlp", "z_dim=6")
    narrow = ("model.encoder_hidden=[8]", "model.decoder_hidden=[8]", "batch_size=16")
    config = resolved(composed(f"objective={own[0]}", *own[1:], *small, *narrow))
    data = [build({**config, "seed": seed}) for seed in (0, 1)]
    modules = [VAEModule.of({**config, "seed": k}, b.vae, b.objective, (1, 64, 64), 96) for k, b in enumerate(data)]
    batches = [
        b.data.take({name: value[0] for name, value in b.data.batches.of_steps(5, 1).items()}, torch.device("cpu"))
        for b in data
    ]
    assert refusal(modules, batches[0]) is None
    stacked = Batch(**{name: torch.stack([b.tensors()[name] for b in batches]) for name in batches[0].tensors()})
    single = []
    for module, batch in zip(modules, batches, strict=True):
        torch.manual_seed(step_seed(module.seed, 5))
        terms = module.compute_terms(batch, 5)
        terms["loss"].backward()
        single.append((terms["loss"].detach(), nn.utils.get_total_norm([p.grad for p in module.parameters()])))
    pack = Pack(modules, optimizers(modules))
    pack.seed(5)
    packed = pack.gradients(stacked, weights(modules, 5))
    torch.testing.assert_close(packed["loss"], torch.stack([loss for loss, _ in single]))
    torch.testing.assert_close(packed[NORM], torch.stack([norm for _, norm in single]), rtol=1e-4, atol=1e-4)
    with Recordable():
        modules[0].compute_terms(batches[0], TracedStep())["loss"].backward()
