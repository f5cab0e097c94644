"""p(z) = (1/K) sum_k q(z|u_k), the posteriors of K learnt pseudo-inputs u_k: Tomczak & Welling 2018, eq. 9."""

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from disvae.prior import Encode, Prior


class Vamp(Prior):
    """The VampPrior, a mixture near the aggregate posterior; each step encodes K more images.

    The pseudo-inputs start at training images and are trained without bounds. The KL to it is a sampled estimate.
    """

    from_images = True
    log_weight: Tensor  # (K,)
    pseudo_inputs: nn.Parameter  # (K, C, H, W)
    encode: Encode

    def __init__(self, z_dim: int, *, components: int) -> None:
        super().__init__(z_dim)
        if components < 1:
            raise ValueError(f"components must be positive, got {components}")
        self.register_buffer("log_weight", torch.zeros(components))

    def join(self, encode: Encode, x_shape: tuple[int, ...]) -> None:
        """Take the encoder, and make pseudo-inputs of the shape of its images."""
        self.encode = encode
        self.pseudo_inputs = nn.Parameter(torch.rand(len(self.log_weight), *x_shape))

    def initialise(self, images: Tensor) -> None:
        """Start the pseudo-inputs at the first of the images (n, C, H, W)."""
        K = len(self.log_weight)
        if len(images) < K:
            raise ValueError(
                f"components must be at most {len(images)}, the number of images, got {K}: "
                f"type prior.components={len(images)}"
            )
        with torch.no_grad():
            self.pseudo_inputs.copy_(images[:K])

    def forward(self) -> Distribution:
        """Return the distribution, with event (D,); its components are those of the posterior."""
        weights = Categorical(logits=self.log_weight, validate_args=False)
        return MixtureSameFamily(weights, self.encode(self.pseudo_inputs), validate_args=False)
