"""Estimators shared by objectives, divergences and metrics, in nats, summed over pixels and latents.

reconstruction = E_q[-log p(x|z)] and elbo = -(reconstruction + KL(q(z|x) || p(z))): a lower reconstruction and a higher
elbo are better.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.distributions import Distribution, Independent, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence
from torch.nn.functional import leaky_relu, linear, softplus

from disvae.vae import Draw

SLOPE = 0.2  # of the LeakyReLUs of a density ratio, as Kim & Mnih 2018 have it
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # widths of the MMD kernels, for a prior of unit variance


def factorised(dist: Distribution) -> Distribution | None:
    """Return the per-latent distribution (batch (..., D), event ()) if `dist` factorises over latents, else None."""
    if isinstance(dist, Independent) and dist.reinterpreted_batch_ndims == 1 and not dist.base_dist.event_shape:
        base: Distribution = dist.base_dist
        return base
    return None


def marginals(dist: Distribution) -> Distribution | None:
    """Return the per-latent marginals (batch (..., D), event ()) if they are known, else None.

    The latents of `dist` may depend on each other.
    """
    if isinstance(dist, MultivariateNormal):
        return Normal(dist.loc, dist.variance.sqrt(), validate_args=False)
    return factorised(dist)


def kl(qz_x: Distribution, pz: Distribution, z: Tensor) -> Tensor:
    """Return KL(q(z|x) || p(z)) (B,), in closed form if there is one.

    Otherwise return log q(z|x) - log p(z) at the sample `z` (B, D).
    """
    per_latent = elementwise_kl(qz_x, pz, z)
    if per_latent is not None:
        return per_latent.sum(1)
    closed = _closed_form(qz_x, pz)
    if closed is not None:
        return closed
    q_d, p_d = marginals(qz_x), factorised(pz)
    if q_d is not None and p_d is not None:
        of_marginals = _closed_form(q_d, p_d)
        if of_marginals is not None:  # KL(q || prod p_d) = sum KL(q_d || p_d) + sum H[q_d] - H[q]
            return of_marginals.sum(1) + q_d.entropy().sum(1) - qz_x.entropy()
    log_ratio: Tensor = qz_x.log_prob(z) - pz.log_prob(z)
    return log_ratio


def kl_per_dimension(qz_x: Distribution, pz: Distribution, z: Tensor) -> Tensor | None:
    """Return the batch mean (D,) of each latent's KL, which sum to the KL; None if q or p does not factorise."""
    per_latent = elementwise_kl(qz_x, pz, z)
    return None if per_latent is None else per_latent.mean(0)


def elementwise_kl(qz_x: Distribution, pz: Distribution, z: Tensor) -> Tensor | None:
    """Return the KL (B, D) of each image and latent; None if q or p does not factorise."""
    q_d, p_d = factorised(qz_x), factorised(pz)
    if q_d is None or p_d is None:
        return None
    closed = _closed_form(q_d, p_d)
    return q_d.log_prob(z) - p_d.log_prob(z) if closed is None else closed


def _closed_form(q: Distribution, p: Distribution) -> Tensor | None:
    try:
        return kl_divergence(q, p)
    except NotImplementedError:  # torch has no closed form for this pair
        return None


def elbo_terms(draw: Draw) -> dict[str, Tensor]:
    """Return the terms that every objective logs: reconstruction, kl and elbo, as batch means.

    `kl_per_dimension` (D,) is among them if posterior and prior factorise.
    """
    reconstruction = -draw.px_z.log_prob(draw.x).mean()
    per_dimension = kl_per_dimension(draw.qz_x, draw.pz, draw.z)
    mean_kl = kl(draw.qz_x, draw.pz, draw.z).mean() if per_dimension is None else per_dimension.sum()
    terms = {"reconstruction": reconstruction, "kl": mean_kl, "elbo": -(reconstruction + mean_kl)}
    return terms if per_dimension is None else {**terms, "kl_per_dimension": per_dimension}


def log_weights(estimator: Literal["mws", "mss"], B: int, N: int, device: torch.device | None = None) -> Tensor:
    """Return log W (B, B), the weight of posterior j in q(z_i) = (1/N) sum_n q(z_i|x_n), Chen et al. 2018.

    mws: 1/(N B) everywhere. mss, with M = B - 1: 1/N for the sample's own posterior (the diagonal), (N - M)/(N M) for
    the one after it and 1/M for the others. These M stand for the N - 1 other images; each row sums to 1.
    """
    if estimator == "mws":
        return torch.full((B, B), -math.log(N * B), device=device)
    if estimator != "mss":
        raise ValueError(f"estimator must be mws or mss, got {estimator}")
    if not 2 <= B <= N:
        raise ValueError(
            f"batch_size must be in [2, {N}] for {N} images and estimator=mss, got {B}: type objective.estimator=mws"
        )
    M = B - 1
    log_W = torch.full((B, B), -math.log(M), device=device)
    for after in (log_W.diagonal(1), log_W[-1, 0]):  # after the last posterior comes the first
        after.fill_(math.log((N - M) / (N * M)))
    log_W.diagonal().fill_(-math.log(N))
    return log_W


def minibatch_log_densities(
    qz_x: Distribution, z: Tensor, N: int, estimator: Literal["mws", "mss"]
) -> tuple[Tensor, Tensor]:
    """Return log q(z_i) (B,) and log q(z_ij) (B, D) of the aggregate posterior over N images, from one minibatch.

    The weights enter each log-sum-exp once: once for the joint density, once for each marginal.

    Raises:
        ValueError: `qz_x` does not factorise over latents.
    """
    q_d = factorised(qz_x)
    if q_d is None:
        raise ValueError("posterior must factorise over latents: type posterior=gaussian")
    log_q = q_d.log_prob(z[:, None])  # (B, B, D): z_i under q(.|x_j)
    log_W = log_weights(estimator, len(z), N, z.device)
    return (log_q.sum(2) + log_W).logsumexp(1), (log_q + log_W[:, :, None]).logsumexp(1)


def batch_log_density(qz_x: Distribution, z: Tensor) -> Tensor:
    """Return log (1/B) sum_b q(z_s|x_b) (S,): codes `z` (S, D) under the mixture of the batch's own posteriors."""
    log_q: Tensor = qz_x.log_prob(z[:, None])  # (S, B): z_s under q(.|x_b)
    return log_q.logsumexp(1) - math.log(log_q.shape[1])


def rsample(pz: Distribution, n: int) -> Tensor:
    """Draw `n` samples (n, D) of a prior, differentiable in its parameters and in those of a mixture's components."""
    if pz.has_rsample:
        return pz.rsample((n,))
    if isinstance(pz, Independent):
        return rsample(pz.base_dist, n)
    if not isinstance(pz, MixtureSameFamily):
        return pz.sample((n,))
    weights, components = pz.mixture_distribution, pz.component_distribution
    if weights.logits.requires_grad:
        raise ValueError(
            "mixture weights must be fixed, got learnt ones: a sample passes no gradient to them; "
            "type prior.learn_weights=false, or divergence=kl_exclusive"
        )
    chosen = weights.sample((n,))  # (n, *batch)
    z = rsample(components, n)  # (n, *batch, K, *event)
    K_axis = chosen.dim()
    index = chosen.reshape(chosen.shape + (1,) * (z.dim() - K_axis))
    return z.take_along_dim(index, K_axis).squeeze(K_axis)


def mmd(x: Tensor, y: Tensor, kernel: Literal["imq", "rbf"], scope: Literal["joint", "per_dimension"]) -> Tensor:
    """Return the unbiased squared MMD of samples `x` (n, D) and `y` (m, D), Gretton et al. 2012; it may be negative.

    The kernel is C/(C + d^2) (imq) or exp(-d^2/C) (rbf), summed over six C = 2 s k, one for each s in SCALES. With
    scope joint, d is the distance over all latents and k = D. With per_dimension, d is the distance in one latent, k =
    1, and the values of all latents are added.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError(f"batch_size must be at least 2 for the MMD, got {min(len(x), len(y))}")
    if scope == "joint":
        C = [2 * s * x.shape[1] for s in SCALES]
        return _mmd(_joint_squares(x, x), _joint_squares(y, y), _joint_squares(x, y), kernel, C)
    C = [2 * s for s in SCALES]
    width = max(1, _block(x) // (len(x) * len(y)))
    parts = [
        _mmd(_squares(a, a), _squares(b, b), _squares(a, b), kernel, C)
        for a, b in zip(x.T.split(width), y.T.split(width), strict=True)
    ]
    return torch.stack(parts).sum()


def _block(x: Tensor) -> int:
    """Return how many pairs to compute at a time: on a CPU those that stay in the cache, twice to ten times as fast."""
    return 2**18 if x.device.type == "cpu" else 2**24


def _squares(x: Tensor, y: Tensor) -> Tensor:
    return (x[:, :, None] - y[:, None, :]).square()  # (D, n, m) from (D, n) and (D, m)


def _joint_squares(x: Tensor, y: Tensor) -> Tensor:
    squares = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
    return squares.clamp(min=0)[None]  # (1, n, m)


def _mmd(xx: Tensor, yy: Tensor, xy: Tensor, kernel: str, C: list[float]) -> Tensor:
    def similarity(d2: Tensor) -> Tensor:
        rows = max(1, _block(d2) // (len(d2) * d2.shape[2]))
        return torch.stack(
            [(c / (c + b) if kernel == "imq" else (-b / c).exp()).sum() for b in d2.split(rows, 1) for c in C]
        ).sum()

    def within(d2: Tensor) -> Tensor:  # the pairs i != j
        n = d2.shape[1]
        return (similarity(d2) - similarity(d2.diagonal(dim1=1, dim2=2)[:, :, None])) / (n * (n - 1))

    return within(xx) + within(yy) - 2 * similarity(xy) / (xy.shape[1] * xy.shape[2])


class _LogRatio(Function):
    """The log-ratio l of linear layers and LeakyReLUs, in two copies: one for the codes, one for the weights.

    A gradient of the first reaches the codes alone, and one of the second the weights alone. In each layer both are
    multiples of the gradient of l itself, one for each row. So one pass backwards serves both.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        """Return l (n,) at codes (n, D) twice, then what the second and further layers read.

        `parameters` are all weights, then all biases, from the first layer on. The last layer has two outputs.
        """
        inputs = [z]
        *hidden, last = zip(*_halves(parameters), strict=True)
        for W, b in hidden:
            inputs.append(leaky_relu(linear(inputs[-1], W, b), SLOPE))
        logits = linear(inputs[-1], *last)
        ratio = (logits[:, 0] - logits[:, 1]).to(z.dtype)
        return ratio, ratio.clone(), *inputs[1:]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the weights, and what their layers read."""
        z, *parameters = inputs
        ctx.save_for_backward(z, *output[2:], *_halves(parameters)[0])
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, of_codes: Tensor | None, of_weights: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        """Return the gradients of codes, weights and biases."""
        inputs, weights = _halves(ctx.saved_tensors)
        dtype = inputs[-1].dtype  # that of autocast, if it is on
        ones = torch.ones_like(inputs[-1][:, :1])
        along = torch.cat([ones, -ones], 1)  # the gradient of l at the outputs of a layer (n, O)
        of_W: list[Tensor | None] = [None] * len(weights)
        of_b: list[Tensor | None] = [None] * len(weights)
        for layer in reversed(range(len(weights))):
            if of_weights is not None:
                scaled = along * of_weights[:, None].to(dtype)
                of_W[layer], of_b[layer] = scaled.T @ inputs[layer].to(dtype), scaled.sum(0)
            along = along @ weights[layer].to(dtype)
            if layer:
                along = torch.where(inputs[layer] > 0, along, SLOPE * along)
        of_z = None if of_codes is None else of_codes[:, None] * along
        return of_z, *of_W, *of_b


def _halves(tensors: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    return tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]


class DensityRatio(nn.Module):
    """A classifier of codes whose two logits differ by an estimate of log a(z) - log b(z) once it tells a from b.

    It has `layers` hidden layers of `width` with LeakyReLU(0.2) between them; Kim & Mnih 2018 take 6 of 1000.
    """

    def __init__(self, z_dim: int, width: int, layers: int) -> None:
        super().__init__()
        if layers < 1 or width < 1:
            raise ValueError(f"layers and width must be at least 1, got {layers} and {width}")
        if layers * width**2 > 10**9:
            raise ValueError(f"layers times width squared must be at most 1e9 weights, got {layers} and {width}")
        sizes = [z_dim] + [width] * layers
        hidden = [m for i, o in pairwise(sizes) for m in (nn.Linear(i, o), nn.LeakyReLU(SLOPE))]
        self.net = nn.Sequential(*hidden, nn.Linear(width, 2))

    def forward(self, z: Tensor) -> Tensor:
        """Return the log-ratio (n,) at codes (n, D); gradients reach the codes and never the classifier."""
        return self._both(z)[0]

    def fit_terms(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss 0.5 [CE(a, 0) + CE(b, 1)] in nats, log 2 at chance, and the accuracy.

        Gradients reach the classifier and never the codes.
        """
        return self.ratio_and_fit_terms(a, b)[1:]

    def ratio_and_fit_terms(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return `forward(a)` and `fit_terms(a, b)` from one pass through the network."""
        of_codes, ratio = self._both(torch.cat([a, b.detach()]))
        of_a, of_b = ratio[: len(a)], ratio[len(a) :]
        loss = 0.5 * (softplus(-of_a).mean() + softplus(of_b).mean())
        right = 0.5 * ((of_a > 0).float().mean() + (of_b < 0).float().mean())
        return of_codes[: len(a)], loss, right

    def _both(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-ratio (n,) twice: its gradient reaches the codes, and then the weights."""
        layers = [layer for layer in self.net if isinstance(layer, nn.Linear)]
        parameters = (*(layer.weight for layer in layers), *(layer.bias for layer in layers))
        for_codes, for_weights, *_ = _LogRatio.apply(z, *parameters)  # type: ignore[no-untyped-call]
        return for_codes, for_weights
