"""A network's first and last convolution: the stock layers, computed on a CPU in the form that is fastest there.

Parameters, their names and their initial values are those of the stock layers; results equal theirs to float32
rounding. What each gains is in docs/performance.md.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import fold

FOLDED = 2
"""Output channels up to which matrix product and fold beat the stock layer, measured with 32 input channels."""


class FromPixels(nn.Conv2d):
    """nn.Conv2d on images (B, C, H, W); on a CPU it hands its outputs on with channels last in memory."""

    def forward(self, x: Tensor) -> Tensor:
        """The convolutions after it keep the order; none pays for a second copy of its weights."""
        if x.device.type == "cpu":
            # A clone, for one channel's memory is the same in both orders and only fresh strides say which is meant.
            x = x.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)
        return super().forward(x)


class ToPixels(nn.ConvTranspose2d):
    """nn.ConvTranspose2d to images of few channels, for which the stock layer's CPU kernel does not pay."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H', W'): each pixel's patch by a product, patches summed."""
        plain = self.groups == 1 and self.dilation == (1, 1) and self.output_padding == (0, 0) and output_size is None
        if x.device.type != "cpu" or self.out_channels > FOLDED or not plain:
            return super().forward(x, output_size)
        B, C, H, W = x.shape
        kernel, stride, padding = self.kernel_size, self.stride, self.padding
        assert not isinstance(padding, str)
        size = tuple((n - 1) * s - 2 * p + k for n, s, p, k in zip((H, W), stride, padding, kernel, strict=True))
        patches = torch.bmm(self.weight.reshape(C, -1).T.expand(B, -1, -1), x.flatten(2))  # (B, out * kernel, H W)
        image = fold(patches, size, kernel, padding=padding, stride=stride)
        return image if self.bias is None else image + self.bias.view(-1, 1, 1).to(image.dtype)
