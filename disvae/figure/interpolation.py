"""Means of p(x|z) on the straight line between the codes of two images: is every step an image like the data?"""

import torch
from matplotlib.figure import Figure

from disvae.pictures.figure_data import FigureData, NotDrawable, codes_of
from disvae.pictures.style import DATA, draw_images, frame_image, name_images
from disvae.vae import VAE


@torch.no_grad()
def interpolation(
    vae: VAE, view: FigureData, *, first: int | None = None, second: int | None = None, pairs: int = 5, steps: int = 9
) -> Figure:
    """Return a row for each of at most `pairs` pairs of images, with the means at `steps` codes between the two.

    Pairs come from the fixed sample; `first` and `second` choose the images of the first pair by number in the dataset.

    Raises:
        NotDrawable: the sample holds fewer than two images.
    """
    x = view.pictures(2 * pairs)
    if len(x) < 2:
        raise NotDrawable(f"the sample must hold 2 images, got {len(x)}")
    x = x[: len(x) // 2 * 2]
    for place, number in enumerate((first, second)):
        if number is not None:
            (x[place],) = view.pictures(1, number)
    start, end = codes_of(vae, x).unflatten(0, (-1, 2)).unbind(1)  # (P, D)
    shares = torch.linspace(0, 1, steps, device=x.device)
    z = torch.lerp(start[:, None], end[:, None], shares[:, None])  # (P, steps, D)
    means = vae.decode(z.flatten(0, 1)).mean.unflatten(0, z.shape[:2])
    images = torch.cat([x[0::2, None], means, x[1::2, None]], 1)

    rows, columns, _, H, W = images.shape
    figure = Figure(figsize=(8.2, 0.8 + 8.0 / columns * rows * H / W), layout="constrained")
    axes = figure.add_subplot()
    draw_images(axes, images)
    name_images(axes, images, columns=["image", *(f"{100 * share:.0f}" for share in shares.tolist()), "image"])
    for row in range(rows):
        frame_image(axes, images, row, 0, DATA)
        frame_image(axes, images, row, columns - 1, DATA)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    way = "% of the way from the left code to the right one; framed: images of the data"
    axes.set_xlabel(way, fontsize=9, labelpad=6)
    figure.suptitle("Between the codes of two images: does every step look like the data?", fontsize=10)
    return figure
