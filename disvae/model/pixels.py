"""A network's first and last convolution: torch's layers, computed on a CPU in the form that is fastest there.

Parameters, their names and their initial values are those of torch's layers. Results equal theirs to float32 rounding.
docs/performance.md says what each gains.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import fold

FOLDED = 2
"""Up to this many output channels, matrix product and fold beat torch's layer, measured with 32 input channels."""


class FromPixels(nn.Conv2d):
    """An nn.Conv2d on images (B, C, H, W) that, on a CPU, returns its outputs with channels last in memory."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution; layers after it keep its memory order without a second copy of their weights."""
        if x.device.type == "cpu":
            # One channel lies in memory alike in both orders: only the strides of a clone say which order is meant.
            x = x.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)
        return super().forward(x)


class ToPixels(nn.ConvTranspose2d):
    """An nn.ConvTranspose2d to images of few channels, for which torch's CPU kernel is slow."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return (B, out_channels, H', W') from (B, in_channels, H, W): products give patches, which are summed."""
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
