"""Write the networks of a trained run for other programs, and check that the files compute the same.

    python -m disvae.export outputs/sprites/RUN
    python -m disvae.export outputs/sprites/RUN format=pt2,onnx,safetensors out=deployed

  format=pt2            encoder.pt2 and decoder.pt2, for torch.export.load (default)
  format=onnx           encoder.onnx and decoder.onnx; needs pip install onnx onnxscript onnxruntime
  format=safetensors    weights.safetensors, with the run's configuration in it; needs pip install safetensors
  out=FOLDER            where to write the files; default: export/ in the run's folder

The encoder takes images x (N, C, H, W) in [0, 1] and returns the parameters of q(z|x), `loc` and `scale` (N, D) for
most posteriors. The decoder takes codes z (N, D) and returns the mean of p(x|z) (N, C, H, W). The exit status is 2 for
a wrong argument, 130 for Ctrl-C and 143 for SIGTERM.
"""

from collections.abc import Sequence
from pathlib import Path

from disvae.config import ConfigError
from disvae.runs.folder import Run
from disvae.system.command import command, option, paths
from disvae.system.imports import loading

ALLOWED = ("pt2", "onnx", "safetensors")
"""The formats that format= takes."""


def export_run(arguments: Sequence[str]) -> None:
    """Write the networks of the run in the arguments.

    Raises:
        ConfigError: an argument is wrong, a package is missing, or a file does not compute the same.
    """
    out, others = option(arguments, "out")
    named, others = option(others, "format")
    folders, overrides = paths(others, "run")
    if overrides:
        raise ConfigError(f"{overrides[0]} is not an option; the options are format={','.join(ALLOWED)} and out=FOLDER")
    formats = (named or "pt2").strip("[]").split(",")
    if unknown := [name for name in formats if name not in ALLOWED]:
        raise ConfigError(f"format must be one or several of {','.join(ALLOWED)}, got {', '.join(unknown)}")
    if len(folders) != 1:
        raise ConfigError("name the folder of one run: python -m disvae.export outputs/DATASET/RUN")
    run = Run(folders[0])
    run.check_trained()
    with loading():
        from disvae.api.networks import export_networks
        from disvae.api.trained import load

    folder = Path(out).expanduser() if out else run.path / "export"
    for path in export_networks(load(run), folder, formats):
        print(f"Written: {path} ({path.stat().st_size / 1e6:.1f} MB)")


def main() -> None:
    """Run the command line that exports networks."""
    command(lambda: __doc__ or "", export_run, kept="written")


if __name__ == "__main__":
    main()
