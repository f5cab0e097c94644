"""I(x;z), TC and D(q(z), p(z)) estimated with q(z) = (1/M) sum_m q(z|x_m) over all M encoded images.

Samples z_i ~ q(z|x_i) of S seeded rows are scored under the whole mixture, so no minibatch biases the estimates. They
describe the empirical distribution of these M images, for which I(x;z) <= log M.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution
from tqdm import tqdm

from disvae.estimators import factorised, marginals, mmd
from disvae.vae import VAE

LEAST_LOG_DENSITY = -80.0
"""A log density this far below another adds nothing; exp of less is subnormal, five times as slow on a CPU."""


class Aggregate:
    """The aggregate posterior q(z) of M images; `posterior` maps a block of rows of `h` (M, ...) to q(z|x)."""

    def __init__(self, posterior: Callable[[Tensor], Distribution], h: Tensor) -> None:
        if len(h) < 2:
            raise ValueError(f"h must hold at least 2 encodings, got {len(h)}")
        self.posterior = posterior
        self.h = h

    @torch.no_grad()
    def log_density(self, z: Tensor) -> Tensor:
        """Return log q(z) (S,) of codes (S, D)."""
        return self._log_densities(z, with_marginals=False)[0]

    @torch.no_grad()
    def log_densities(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return log q(z) (S,) and log q(z_j) (S, D) of codes (S, D); None for the latter if no marginals are known."""
        return self._log_densities(z, with_marginals=marginals(self.posterior(self.h[:1])) is not None)

    def _log_densities(self, z: Tensor, with_marginals: bool) -> tuple[Tensor, Tensor | None]:
        joint = z.new_full((len(z),), -math.inf)
        each = torch.full_like(z, -math.inf) if with_marginals else None
        h_rows = min(len(self.h), 2048)
        # A block that stays in a CPU's cache is twice as fast; on a GPU a block with its temporaries takes 256 MB.
        z_rows = max(1, (2**18 if z.device.type == "cpu" else 2**24) // (h_rows * z.shape[1]))
        with bar("q(z)", len(self.h)) as progress:
            for h in self.h.split(h_rows):
                q = self.posterior(h)
                for start in range(0, len(z), z_rows):
                    rows = slice(start, start + z_rows)
                    log_q, log_q_d = _pairs(q, z[rows, None], with_marginals)
                    joint[rows] = torch.logaddexp(joint[rows], log_q.logsumexp(1))
                    if each is not None and log_q_d is not None:
                        each[rows] = torch.logaddexp(each[rows], log_q_d.logsumexp(1))
                progress.update(len(h))
        log_M = math.log(len(self.h))
        return joint - log_M, None if each is None else each - log_M

    @torch.no_grad()
    def terms(self, pz: Distribution, samples: int = 1000, seed: int = 0) -> dict[str, float]:
        """Return terms in nats from min(samples, M) images and as many codes of the prior, with standard errors `_se`.

        The global random state is kept.
        """
        S = min(samples, len(self.h))
        if S < 2:
            raise ValueError(f"samples must be at least 2, got {samples}")
        with torch.random.fork_rng([self.h.device] if self.h.device.type == "cuda" else []):
            torch.manual_seed(seed)
            rows = torch.randperm(len(self.h))[:S].to(self.h.device)
            qz_x = self.posterior(self.h[rows])
            z = qz_x.sample()
            z_prior = pz.sample((S,))
        log_qz, log_qz_d = self.log_densities(z)
        log_pz = pz.log_prob(z)
        estimates = {
            "overlap/mutual_information": qz_x.log_prob(z) - log_qz,
            "structure/kl_qz_pz": log_qz - log_pz,
            "structure/kl_pz_qz": pz.log_prob(z_prior) - self.log_density(z_prior),
        }
        if log_qz_d is not None:
            estimates["structure/total_correlation"] = log_qz - log_qz_d.sum(1)
            if factorised(pz) is not None:
                estimates["structure/dimension_wise_kl"] = log_qz_d.sum(1) - log_pz
        terms = {name: value.mean().item() for name, value in estimates.items()}
        terms |= {f"{name}_se": value.std().item() / math.sqrt(S) for name, value in estimates.items()}
        terms["overlap/mutual_information_limit"] = math.log(len(self.h))
        terms["structure/mmd"] = mmd(z_prior, z, "imq", "joint").item()
        terms |= self.moments()
        return terms

    @torch.no_grad()
    def moments(self) -> dict[str, float]:
        """Return the mean entropy of q(z|x) and the number of active latents."""
        # One block at a time: full covariances of all images would not fit.
        entropy = torch.cat([self.posterior(h).entropy() for h in self.h.split(4096)])
        return {"overlap/entropy": entropy.mean().item(), **self.active_units()}

    @torch.no_grad()
    def active_units(self, scale: Tensor | float = 1.0) -> dict[str, float]:
        """Return the number of active latents (variance of the mean > 0.01, Burda et al. 2016), if there is a mean.

        Means are measured in units of `scale` () or (D,).
        """
        means = torch.cat([self.posterior(h).mean for h in self.h.split(4096)]) / scale
        if not means.isfinite().all():  # a Student-t with one degree of freedom has no mean
            return {}
        return {"active_units": float((means.var(0) > 1e-2).sum())}


def terms_of_codes(vae: VAE, h: Tensor, *, samples: int, seed: int) -> dict[str, float]:
    """Return the terms of the aggregate posterior of encodings `h` (M, ...); without an ELBO only `active_units`."""
    aggregate = Aggregate(vae.posterior, h)
    pz = vae.prior()
    terms = {} if vae.without_elbo else aggregate.terms(pz, samples=samples, seed=seed)
    if vae.prior.from_codes:  # the width of a code is arbitrary
        return terms | aggregate.active_units(pz.stddev)
    return terms or aggregate.active_units()


def bar(description: str, total: int) -> "tqdm[None]":
    """Return a progress bar for a terminal that appears after two seconds and is removed when done."""
    return tqdm(total=total, desc=description, unit_scale=True, delay=2, disable=None, leave=False)


@torch.no_grad()
def marginal_sums(
    posterior: Callable[[Tensor], Distribution], h: Tensor, z: Tensor, own: Tensor, progress: "tqdm[None]"
) -> Tensor:
    """Return sum_m q(z_sj|x_m) / exp(own_sj) (S, D) over the rows of `h` (M, ...), latent by latent, in float64.

    `own` (S, D) is log q(z_sj|x) for the image that z_sj was drawn from. If that image is among the rows, the sum is at
    least 1 and needs no log-sum-exp, which takes three times as long on a CPU.
    """
    sums = torch.zeros_like(z, dtype=torch.float64)
    # Blocks with their temporaries fit the cache of a CPU core; on a GPU a block is 256 MB.
    h_rows, densities = (1024, 2**17) if z.device.type == "cpu" else (16384, 2**26)
    z_rows = max(1, densities // (min(h_rows, len(h)) * z.shape[1]))
    for h_block in h.split(h_rows):
        q_d = marginals(posterior(h_block))
        if q_d is None:
            raise ValueError("posterior must have known marginals: type posterior=gaussian")
        for start in range(0, len(z), z_rows):
            rows = slice(start, start + z_rows)
            log_ratio = q_d.log_prob(z[rows, None]).sub_(own[rows, None])  # (S, M, D)
            sums[rows] += log_ratio.clamp_(min=LEAST_LOG_DENSITY).exp_().sum(1)
        progress.update(len(z) * len(h_block))
    return sums


def _pairs(q: Distribution, z: Tensor, with_marginals: bool) -> tuple[Tensor, Tensor | None]:
    """Return log q(z_i|x_m) (S, M) and, if asked for, its marginals log q(z_ij|x_m) (S, M, D) for `z` (S, 1, D)."""
    q_d = marginals(q) if with_marginals else None
    log_q_d = None if q_d is None else q_d.log_prob(z)
    joint: Tensor = log_q_d.sum(2) if log_q_d is not None and factorised(q) is not None else q.log_prob(z)
    return joint, log_q_d
