"""E_q[-log p(x|z)] + mi_weight I(x;z) + beta TC(z) + dwkl_weight sum_j KL(q(z_j) || p(z_j)): Chen et al. 2018.

I(x;z) = E[log q(z|x) - log q(z)], TC = E[log q(z) - sum_j log q(z_j)], and the last sum is E[sum_j log q(z_j) - log
p(z)]. The three add up to the mean of log q(z|x) - log p(z), the sampled KL, whatever the estimates of log q(z) and log
q(z_j) are.
"""

from typing import Literal

import torch
from torch import Tensor

from disvae.estimators import elbo_terms, factorised, log_weights, minibatch_log_densities
from disvae.objective import Objective
from disvae.schedule import Schedule
from disvae.vae import Draw


class BetaTC(Objective):
    """The beta-TCVAE: beta weighs the total correlation alone; a minibatch estimates the parts of the KL.

    The parts are in nats, and their tags name the estimator. mws, Chen's own, is too low by log B to log N in each
    logarithm: its gradient is good for training, but its TC is too high by up to D log N - log B. mss is unbiased for
    q(z) and too low in log q(z). To report a value, read `structure/total_correlation`.
    """

    least_batch = 2

    def __init__(self, beta: Schedule, mi_weight: float, dwkl_weight: float, estimator: Literal["mws", "mss"]) -> None:
        super().__init__()
        if not mi_weight >= 0:
            raise ValueError(f"mi_weight must be non-negative, got {mi_weight}")
        if not dwkl_weight >= 0:
            raise ValueError(f"dwkl_weight must be non-negative, got {dwkl_weight}")
        if estimator not in ("mws", "mss"):
            raise ValueError(f"estimator must be mws or mss, got {estimator}")
        self.beta = beta
        self.mi_weight = mi_weight
        self.dwkl_weight = dwkl_weight
        self.estimator: Literal["mws", "mss"] = estimator

    def check(self, draw: Draw) -> None:
        """Raise ValueError unless prior and posterior factorise over latents and the batch size is allowed."""
        if factorised(draw.qz_x) is None:
            raise ValueError("posterior must factorise over latents for objective=beta_tc: type posterior=gaussian")
        if factorised(draw.pz) is None:
            raise ValueError(
                "prior must factorise over latents for objective=beta_tc, whose dimension-wise KL is undefined "
                "otherwise: type prior=gaussian, or objective=decomposition to keep the prior"
            )
        log_weights(self.estimator, len(draw.z), draw.N)

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the loss, the ELBO terms and the parts of the sampled KL in nats per image, and the current beta."""
        terms = elbo_terms(draw)
        beta = self.beta(draw.step)
        log_qz_x, log_pz = draw.qz_x.log_prob(draw.z), draw.pz.log_prob(draw.z)  # (B,)
        log_qz, log_qz_d = minibatch_log_densities(draw.qz_x, draw.z, draw.N, self.estimator)  # (B,), (B, D)
        mi = (log_qz_x - log_qz).mean()
        tc = (log_qz - log_qz_d.sum(1)).mean()
        dwkl = (log_qz_d.sum(1) - log_pz).mean()
        loss = terms["reconstruction"] + self.mi_weight * mi + beta * tc + self.dwkl_weight * dwkl
        parts = {f"{name}_{self.estimator}": part for name, part in (("mi", mi), ("tc", tc), ("dwkl", dwkl))}
        return {"loss": loss, **terms, **parts, "beta": beta * torch.ones_like(loss)}
