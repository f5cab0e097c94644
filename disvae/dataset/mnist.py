"""MNIST: grey images of ten handwritten digits (LeCun et al. 1998), resized from 28 x 28 to 32 x 32."""

import numpy as np

from disvae.data import cache, idx
from disvae.dataset import Dataset, Images

URLS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
FILES = {  # size in bytes and checksum by name
    "train-images-idx3-ubyte.gz": (
        9_912_422,
        "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    "train-labels-idx1-ubyte.gz": (28_881, "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    "t10k-images-idx3-ubyte.gz": (1_648_877, "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    "t10k-labels-idx1-ubyte.gz": (4_542, "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
}


class MNIST(Dataset):
    """The 60,000 training images, followed by the 10,000 official test images as the held-out split.

    The digit is the factor. `path` is a folder with the four official .gz files; without it they are downloaded
    (12 MB). `resize` is "pad", which adds a black border of two pixels, or "bilinear".
    """

    def __init__(self, path: str | None = None, resize: idx.Resize = "pad") -> None:
        found = idx.labelled_images(path, "mnist", URLS, FILES, resize)
        self.images = Images(found.images, (1, 32, 32))
        self.factors = found.labels[:, None]
        self.factor_names = ("digit",)
        self.factor_sizes = (idx.CLASSES,)
        self.held_out = np.arange(found.train, len(self.factors))
        self.checksum = cache.content_checksum({"images": self.images.data.numpy(), "factors": self.factors})
