"""A trained run and its VAE, opened from Python."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disvae.api.isolation import kept_random_numbers, usual_defaults
from disvae.config import ConfigError
from disvae.evaluation.settings import scoring_settings
from disvae.runs.folder import Run
from disvae.system.overrides import as_override

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike
    from PIL.Image import Image
    from torch import Tensor
    from torch.distributions import Distribution

    from disvae.dataset import Dataset
    from disvae.vae import VAE


class TrainedRun(Run):
    """The folder of a trained run, with its pictures; `disvae.train` returns it, and `path` may be a str.

    Raises:
        ConfigError: the folder has no config.yaml or no last.ckpt.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(Path(path))
        self.check_trained()

    @usual_defaults()
    @kept_random_numbers()
    def figure(self, name: str, **settings: Any) -> "Image":
        """Return a picture of the last weights, which a notebook shows: `run.figure("traversal", image=7)`.

        An animation is one image of several frames: `.save("traversal.gif", save_all=True)` keeps them all.

        Raises:
            ConfigError: there is no such figure or setting, or it does not suit the run.
        """
        overrides = [f"figure.{name}.{key}={as_override(value)}" for key, value in settings.items()]
        _, nodes, _ = scoring_settings([f"figure=[{name}]", *overrides])
        import torch
        from PIL import Image

        from disvae.pictures.files import rendered
        from disvae.pictures.run_figures import choose_figures, view_of_run
        from disvae.pictures.style import plain_style

        (figure,) = choose_figures(nodes, []).figures.values()
        with self.reading():  # the folder keeps the encoding for the next picture
            vae, view, _ = view_of_run(self)
        try:
            with torch.no_grad(), plain_style():
                content, _ = rendered(figure(vae, view))
        except ValueError as error:
            raise ConfigError(f"figure {name}: {error}") from error
        return Image.open(io.BytesIO(content))


@dataclass(frozen=True)
class TrainedVAE:
    """The trained VAE of a run, in evaluation mode and without gradients; `vae` is the torch module itself.

    `config` is the resolved configuration of the run, and `x_shape` the shape (C, H, W) of an image.
    """

    run: TrainedRun
    config: dict[str, Any]
    vae: "VAE"
    x_shape: tuple[int, ...]

    @usual_defaults()
    def encode(self, x: "Tensor | ArrayLike") -> "Distribution":
        """Return q(z|x), whose `.mean` (N, D) are the codes, for images (N, C, H, W), (N, H, W, C) or (N, H, W).

        Raises:
            ConfigError: the images have another shape, or values that are neither uint8 nor in [0, 1].
        """
        import torch

        from disvae.api.images import images_of

        with torch.no_grad():
            return self.vae.encode(images_of(x, self.x_shape).to(self._device))

    @usual_defaults()
    def decode(self, z: "Tensor | ArrayLike") -> "Distribution":
        """Return p(x|z), whose `.mean` (N, C, H, W) are the images, for codes (N, D).

        Raises:
            ConfigError: the codes have another shape.
        """
        import torch

        codes = torch.as_tensor(z, dtype=torch.float32, device=self._device)
        if codes.shape != (len(codes), self.vae.prior.z_dim):
            raise ConfigError(f"z must be (N, {self.vae.prior.z_dim}), one row for each code, got {tuple(codes.shape)}")
        with torch.no_grad():
            return self.vae.decode(codes)

    @usual_defaults()
    def dataset(self, path: str | None = None) -> "Dataset":
        """Return the dataset of the run, read or drawn now: `.images.take(rows)`, `.factors`, `.factor_names`.

        `path` says where the data are now, if they have moved.

        Raises:
            ConfigError: the data cannot be read, or they are not the data of the run.
        """
        from disvae.evaluation.run_encodings import dataset_of

        return dataset_of(self.run, path)

    @property
    def _device(self) -> "torch.device":
        return next(self.vae.parameters()).device


@usual_defaults()
def load(run: str | Path | Run, *, device: str = "cpu") -> TrainedVAE:
    """Return the VAE of a trained run with its last weights; its data are not read.

    Raises:
        ConfigError: the folder holds no trained run, or a file in it is damaged.
    """
    opened = TrainedRun(run.path if isinstance(run, Run) else run)
    from disvae.evaluation.run_encodings import restored
    from disvae.runs.checkpoint import load as load_checkpoint
    from disvae.statistics.latents import seeded
    from disvae.system.instantiate import make

    config, checkpoint = opened.config(), load_checkpoint(opened.last)
    x_shape = checkpoint.get("hyper_parameters", {}).get("x_shape")
    if x_shape is None:  # a version before Lightning's hyperparameters wrote it
        x_shape = make(config["dataset"], "dataset").x_shape
    with seeded():  # the initial weights, which are replaced, take no random numbers from the program
        vae = restored(config, checkpoint, tuple(x_shape))
    return TrainedVAE(opened, config, vae.to(device).eval(), tuple(x_shape))
