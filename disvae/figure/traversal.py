"""Means of p(x|z) while one latent changes and the others keep the code of one image: the meaning of each latent.

A latent takes fixed quantiles of its own prior, so the steps are equally likely under any prior. For a Gaussian these
are equal steps from -2 to 2 standard deviations; for a sparse prior they stay where its mass is.
"""

import torch
from matplotlib.figure import Figure
from torch.distributions import Normal

from disvae.pictures.figure_data import FigureData, codes_of
from disvae.pictures.style import INACTIVE, MODEL, draw_images, frame_image, name_images
from disvae.statistics.latents import along, quantiles, seeded
from disvae.vae import VAE

PROBABILITIES = tuple(Normal(0.0, 1.0).cdf(torch.linspace(-2, 2, 9)).tolist())
"""Quantiles of the columns: 2.3 %, 6.7 %, 16 %, 31 %, 50 %, 69 %, 84 %, 93 %, 98 %."""


@torch.no_grad()
def traversal(vae: VAE, view: FigureData, *, image: int | None = None, most: int = 12, inactive: int = 2) -> Figure:
    """Return a row for each of at most `most` latents, highest KL first, and a column for each quantile of its prior.

    All other latents keep the code of one image: number `image` of the dataset, or one of the fixed sample. At most
    `inactive` inactive latents come last, in grey; their rows all look like the reconstruction.
    """
    x = view.pictures(1, image)
    (code,) = codes_of(vae, x)
    with seeded():
        places = quantiles(view.pz, PROBABILITIES)
    latents = view.latents
    shown, busy = latents.first(most, inactive), latents.busy
    images = torch.stack([vae.decode(along(code, d, places[:, d], view.pz)).mean for d in shown])
    fixed = torch.stack([x[0], vae.decode(code[None]).mean[0]])[:, None]
    own = (code - places).abs().argmin(0)  # (D,): the column nearest to the image's own code

    rows, (H, W) = len(shown), x.shape[2:]
    figure = Figure(figsize=(8.4, 0.45 + 0.69 * max(rows, 2) * H / W), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, len(PROBABILITIES)))
    draw_images(left, fixed)
    left.set_xticks([])
    left.set_yticks([H / 2, H * 3 / 2], ["image", "decoded"], rotation=90, va="center")
    left.set_anchor("N")
    draw_images(right, images)
    name_images(
        right, images, rows=[latents.label(d) for d in shown], columns=[f"{100 * p:.2g}" for p in PROBABILITIES]
    )
    for row, d in enumerate(shown):
        if latents.active[d]:
            frame_image(right, images, row, int(own[d]), MODEL)
        else:
            right.axhspan(H * row - 0.5, H * (row + 1) - 0.5, color="white", alpha=0.65, linewidth=0, zorder=2)
            right.get_yticklabels()[row].set_color(INACTIVE)
    right.set_anchor("N")
    right.xaxis.tick_top()
    said = f"Effect of each latent: {len(busy)} of {len(latents.order)} are active"
    if rows < len(busy):
        said += f", {rows} of them shown"
    if rows > len(busy):
        said += f", {rows - len(busy)} of the others in grey"
    figure.suptitle(f"{said}\ncolumns: quantiles (%) of its prior; framed: nearest to the image's own code", fontsize=9)
    return figure
