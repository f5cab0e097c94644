import pytest
import torch
from torch.distributions import Beta, Laplace, Normal
from torch.func import vmap
from torch.nn.functional import dropout, gumbel_softmax

from disvae.distribution.student_t import StudentT
from disvae.training.packed.noise import MembersNoise

SEEDS = (5, 0, 2**62 + 7)
P = torch.linspace(0.1, 0.9, len(SEEDS) * 40 * 3).view(len(SEEDS), 40, 3)


def together(function, *tensors):
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]

    def of_one(member, *own):
        with MembersNoise(generators, member):
            return function(*own)

    return vmap(of_one, randomness="error")(torch.arange(len(SEEDS)), *tensors)


def apart(function, *tensors):
    drawn = []
    for k, seed in enumerate(SEEDS):
        torch.manual_seed(seed)
        drawn.append(function(*(tensor[k] for tensor in tensors)))
    return torch.stack(drawn)


DRAWS = {
    "normal of two tensors": lambda p: torch.normal(p, p),
    "normal of a tensor and a number": lambda p: torch.normal(p, 2.0),
    "normal of tensors of no member": lambda p: torch.normal(torch.zeros(17), torch.ones(17)),
    "normal of a size": lambda p: torch.normal(0.0, 1.0, (7,)),
    "rand": lambda p: torch.rand(4, 5),
    "rand of a size": lambda p: torch.rand(torch.Size([4, 5]), dtype=torch.float64),
    "randn": lambda p: torch.randn((33,)),
    "rand_like": torch.rand_like,
    "randn_like, transposed": lambda p: torch.randn_like(p.T),
    "randn_like as doubles": lambda p: torch.randn_like(p, dtype=torch.float64),
    "randint": lambda p: torch.randint(3, 9, (6,)),
    "randperm": lambda p: torch.randperm(9),
    "multinomial": lambda p: torch.multinomial(p, 5, True),
    "multinomial as a method": lambda p: p.multinomial(5, replacement=True),
    "bernoulli": torch.bernoulli,
    "bernoulli as a method": lambda p: p.bernoulli(),
    "poisson": torch.poisson,
    "binomial": lambda p: torch.binomial(torch.full_like(p, 6), p),
    "gamma": torch._standard_gamma,
    "normal_": lambda p: torch.empty(33).normal_(1, 2),
    "uniform_": lambda p: p.new(3, 4).uniform_(-1, 1),
    "uniform_ of a member's tensor": lambda p: p.new_empty(3, 4).uniform_(-1, 1),
    "exponential_": lambda p: torch.ones(5).exponential_(2.0),
    "bernoulli_": lambda p: torch.empty(20).bernoulli_(0.3),
    "log_normal_": lambda p: torch.empty(20).log_normal_(),
    "cauchy_": lambda p: torch.empty(20).cauchy_(),
    "geometric_": lambda p: torch.empty(20).geometric_(0.3),
    "one after another": lambda p: torch.cat([torch.rand(3), torch.randn(20), torch.empty(5).normal_(), torch.rand(3)]),
    "rsample of a Normal": lambda p: Normal(p, p, validate_args=False).rsample((2,)),
    "sample of a Normal": lambda p: Normal(p, p, validate_args=False).sample(),
    "rsample of a Laplace": lambda p: Laplace(p, p, validate_args=False).rsample(),
    "rsample of a Student-t": lambda p: StudentT(p, p, p, validate_args=False).rsample((2,)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_each_member_draws_what_it_draws_alone(name):
    assert torch.equal(together(DRAWS[name], P), apart(DRAWS[name], P))


def test_the_default_generator_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    together(lambda p: torch.rand(3) + torch.randn_like(p), P)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_members_tensor_is_filled_in_place():
    def fill(p):
        own = p.clone()
        own.normal_()
        return own

    assert torch.equal(together(fill, P), apart(fill, P))


def test_a_tensor_that_cannot_hold_the_members_draws_is_of_no_use():
    def ignore_what_is_returned(p):
        one = torch.zeros(5)
        one.normal_()
        return one

    assert together(ignore_what_is_returned, P).isnan().all()


def test_draws_are_differentiable_in_their_parameters():
    concentration = P.clone().requires_grad_()
    together(torch._standard_gamma, concentration).square().sum().backward()
    packed, concentration.grad = concentration.grad, None
    apart(torch._standard_gamma, concentration).square().sum().backward()
    assert torch.equal(packed, concentration.grad)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (dropout, "dropout"),
        (gumbel_softmax, "gumbel_softmax"),
        (lambda p: torch.randint_like(p, 3), "randint_like"),
        (lambda p: torch.empty(3).random_(5), "random_"),
        (lambda p: torch.rand(3, generator=torch.Generator()), "rand must draw without generator="),
    ],
)
def test_a_random_function_it_does_not_know_is_named(function, name):
    with pytest.raises(NotImplementedError, match=name):
        together(function, P)


def test_a_distribution_of_another_kind_is_refused_and_never_wrong():
    with pytest.raises(RuntimeError):
        together(lambda p: Beta(p, p, validate_args=False).rsample(), P)


def test_other_errors_are_as_they_were():
    with pytest.raises(RuntimeError, match="size"):
        together(lambda p: p @ p, P)
