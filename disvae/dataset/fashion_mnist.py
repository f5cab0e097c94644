"""Fashion-MNIST: grey images of ten kinds of clothes (Xiao et al. 2017), resized from 28 x 28 to 32 x 32."""

import numpy as np

from disvae.data import cache, idx
from disvae.dataset import Dataset, Images

URLS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
)
FILES = {  # size in bytes and checksum by name
    "train-images-idx3-ubyte.gz": (
        26_421_880,
        "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    "train-labels-idx1-ubyte.gz": (29_515, "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    "t10k-images-idx3-ubyte.gz": (4_422_102, "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    "t10k-labels-idx1-ubyte.gz": (5_148, "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
}
NAMES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


class FashionMNIST(Dataset):
    """The 60,000 training images, followed by the 10,000 official test images as the held-out split.

    The label is the factor. `path` is a folder with the four official .gz files; without it they are downloaded
    (31 MB). `resize` is "bilinear", as in Mathieu et al. 2019, or "pad", which adds a black border of two pixels.
    """

    def __init__(self, path: str | None = None, resize: idx.Resize = "bilinear") -> None:
        found = idx.labelled_images(path, "fashion_mnist", URLS, FILES, resize)
        self.images = Images(found.images, (1, 32, 32))
        self.factors = found.labels[:, None]
        self.factor_names = ("class",)
        self.factor_sizes = (idx.CLASSES,)
        self.class_names = {"class": NAMES} if found.official else {}
        self.held_out = np.arange(found.train, len(self.factors))
        self.checksum = cache.content_checksum({"images": self.images.data.numpy(), "factors": self.factors})
