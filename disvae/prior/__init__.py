"""Priors p(z): modules whose forward returns the distribution of one code."""

from abc import abstractmethod
from collections.abc import Callable

from torch import Tensor, nn
from torch.distributions import Distribution


class Encode:
    """A VAE's encoder as a function from images to q(z|x), for a prior that needs it.

    A prior that held the VAE as a module of its own would hold all weights twice. Any two are equal: packed runs differ
    in the weights of their encoders and not in what they are.
    """

    def __init__(self, encode: Callable[[Tensor], Distribution]) -> None:
        self.encode = encode

    def __call__(self, x: Tensor) -> Distribution:
        """Return q(z|x) for images (B, C, H, W)."""
        return self.encode(x)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Encode)

    def __hash__(self) -> int:
        return hash(Encode)


class Prior(nn.Module):
    """A prior p(z) over codes of `z_dim` latents; subclasses take `z_dim` first, then their own options by keyword."""

    from_images: bool = False
    """True if `initialise` must be called before training."""

    from_codes: bool = False
    """True if `observe` must be called with the codes of each training step."""

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.z_dim = z_dim

    @abstractmethod
    def forward(self) -> Distribution:
        """Return the distribution, with batch_shape () and event_shape (z_dim,), made with validate_args=False.

        It must have `log_prob` and `sample`. Three things are optional, and what needs them is refused by name before
        training or left out: a `variance` (objective=dip_vae); `rsample`, without which a divergence from samples
        passes no gradient to a learnt prior; and latents of known marginals, which are Independent(dist, 1) or a
        mixture of such components (pictures of densities, the dimension-wise KL, score.transport).
        """

    def join(self, encode: Encode, x_shape: tuple[int, ...]) -> None:
        """Take the encoder, and the shape (C, H, W) of its images, if the prior needs them; called once at first."""

    def observe(self, z: Tensor) -> None:
        """Take what the prior needs from a batch's codes (B, D), without gradient; called if `from_codes` is true.

        It may change buffers, in place and without a branch on their values, for packed runs and graphs repeat it.
        """

    def initialise(self, images: Tensor) -> None:
        """Set the prior up from training images (n, C, H, W); called once before training if `from_images` is true."""
