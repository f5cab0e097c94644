"""Encode images with a trained run, and write their codes to an HDF5 file.

    python -m disvae.encode outputs/sprites/RUN images.npz
    python -m disvae.encode outputs/sprites/RUN photos/ out=photos.h5 skip_broken=true

The images are a folder of pictures, or an .npz, .npy or .h5 file with an array `images` as in dataset=images. They are
resized to the run's size. The file holds these arrays, a row for each image:

  codes (N, D)          the means of q(z|x)
  samples (N, D)        a sample of each q(z|x)
  parameters/NAME       the parameters of q(z|x): loc and scale (N, D) for most posteriors
  reconstruction (N,)   -log p(x|z) of the sample, in nats
  kl (N,)               KL(q(z|x) || p(z)), in nats
  names (N,)            the pictures in the folder; or factors and factor_names, if the file of images has them

  out=FILE              where to write it; default: IMAGES-codes.h5 in the current folder
  skip_broken=true      leave out pictures that cannot be read, with a warning

python -m disvae.score FILE scores the codes. The exit status is 2 for a wrong argument, 130 for Ctrl-C and 143 for
SIGTERM.
"""

from collections.abc import Sequence

from disvae.config import ConfigError
from disvae.runs.folder import Run
from disvae.system.command import command, option, paths, target
from disvae.system.imports import loading

USAGE = "python -m disvae.encode outputs/DATASET/RUN IMAGES out=codes.h5"


def encode_file(arguments: Sequence[str]) -> None:
    """Encode the images in the arguments with the run in the arguments, and write the file.

    Raises:
        ConfigError: an argument or an image is wrong; the message says what to type.
    """
    out, others = option(arguments, "out")
    skip, others = option(others, "skip_broken")
    found, overrides = paths([argument.removeprefix("images=") for argument in others], "run")
    if overrides or skip not in (None, "true", "false"):
        wrong = overrides[0] if overrides else f"skip_broken={skip}"
        raise ConfigError(f"{wrong} is not an option: type {USAGE}, or skip_broken=true")
    if len(found) != 2:
        raise ConfigError(f"name a run and its images: {USAGE}")
    folder, images = found
    file = target(f"out={out or f'{images.resolve().stem}-codes.h5'}", "out")
    Run(folder).check_trained()
    if not images.exists():
        raise ConfigError(f"{images} does not exist; name a folder of pictures, or a file with an array `images`")
    with loading():
        from disvae.api.encoded import encoded, read_images
        from disvae.api.trained import load
        from disvae.evaluation import codes_file
        from disvae.evaluation.run_encodings import device_of

    trained = load(folder, device=str(device_of(Run(folder).config())))
    pixels, arrays = read_images(images, trained.x_shape, skip_broken=skip == "true")
    codes_file.write(file, encoded(trained, pixels) | arrays)
    print(f"Written: {file} ({len(pixels):,} images)")


def main() -> None:
    """Run the command line that encodes images."""
    command(lambda: __doc__ or "", encode_file, kept="written")


if __name__ == "__main__":
    main()
