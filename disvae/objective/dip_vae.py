"""E_q[-log p(x|z)] + KL + lambda_od sum_{i != j} C_ij^2 + lambda_d sum_i (C_ii - v_i)^2: Kumar et al. 2018.

C is Cov_x[mu(x)] (type I) or Cov_x[mu(x)] + E_x[Sigma(x)], the covariance of q(z) (type II). v is the prior's variance,
1 in the paper.
"""

from typing import Literal

from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from disvae.estimators import elbo_terms
from disvae.objective import Objective
from disvae.vae import Draw


def covariance(qz_x: Distribution, kind: Literal["I", "II"]) -> Tensor:
    """Return the unbiased estimate of C (D, D) from the batch."""
    centred = qz_x.mean - qz_x.mean.mean(0)
    of_means = centred.T @ centred / (len(centred) - 1)  # Tensor.cov waits for the device: is B - 1 positive?
    if kind == "I":
        return of_means
    if isinstance(qz_x, MultivariateNormal):
        return of_means + qz_x.covariance_matrix.mean(0)
    return of_means + qz_x.variance.mean(0).diag()


class DIPVAE(Objective):
    """The DIP-VAE, which pulls the covariance of q(z) to that of a prior without correlations.

    Dependence that is not a correlation goes unseen. The squares of a minibatch's covariances are too high on average
    by their variance, of order 1 / B.
    """

    least_batch = 2

    def __init__(self, kind: Literal["I", "II"], lambda_od: float, lambda_d: float) -> None:
        super().__init__()
        if kind not in ("I", "II"):
            raise ValueError(f"kind must be I or II, got {kind}")
        for name, weight in (("lambda_od", lambda_od), ("lambda_d", lambda_d)):
            if not weight >= 0:
                raise ValueError(f"{name} must be non-negative, got {weight}")
        self.kind: Literal["I", "II"] = kind
        self.lambda_od = lambda_od
        self.lambda_d = lambda_d

    def check(self, draw: Draw) -> None:
        """Raise ValueError unless prior and posterior have finite variances."""
        for name, dist in (("prior", draw.pz), ("posterior", draw.qz_x)):
            try:
                variance = dist.variance
            except NotImplementedError as error:
                raise ValueError(
                    f"{name} must have a variance for objective=dip_vae, and this one has none: type {name}=gaussian"
                ) from error
            if not variance.isfinite().all():
                raise ValueError(
                    f"{name} must have a finite variance for objective=dip_vae: type {name}.df=3 or more, "
                    f"or {name}=gaussian"
                )

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the loss and the ELBO terms in nats per image, and this minibatch's two sums of squares (not nats)."""
        terms = elbo_terms(draw)
        C = covariance(draw.qz_x, self.kind)
        diagonal = C.diagonal()
        off_diagonal = (C - diagonal.diag()).square().sum()
        deviation = (diagonal - draw.pz.variance).square().sum()
        loss = -terms["elbo"] + self.lambda_od * off_diagonal + self.lambda_d * deviation
        return {
            "loss": loss,
            **terms,
            "dip_off_diagonal_minibatch": off_diagonal,
            "dip_diagonal_minibatch": deviation,
        }
