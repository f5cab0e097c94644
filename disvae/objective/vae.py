"""E_q[-log p(x|z)] + KL(q(z|x) || p(z)): minus the ELBO of Kingma & Welling 2014."""

from torch import Tensor

from disvae.estimators import elbo_terms
from disvae.objective import Objective
from disvae.vae import Draw


class ELBO(Objective):
    """The evidence lower bound, which has no hyperparameter: the baseline of every comparison."""

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the loss, reconstruction, KL and ELBO in nats per image."""
        terms = elbo_terms(draw)
        return {"loss": -terms["elbo"], **terms}


VAE = ELBO  # the name in run folders made before
