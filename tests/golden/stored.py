"""What today's code computes and writes, kept as files: `python tests/golden/stored.py` writes them again.

Everything goes through the command line and is read back from a run's folder, so that the files stay comparable however
the modules are rearranged. Write them again only where numbers were meant to change, and say so in CHANGELOG.md.
"""

import contextlib
import importlib
import io
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from unittest import mock

HERE = Path(__file__).resolve().parent

STEPS = 6
TINY = (
    f"steps={STEPS}",
    f"eval_every={STEPS}",
    "log_every=1",
    "batch_size=16",
    "eval_images=64",
    "eval_samples=32",
    "final=[]",
    "final_figures=[]",
    "report=false",
    "trainer.accelerator=cpu",
)
ALONE = ("metric=[]", "figure=[]")
POINTS = ("dataset=clusters", "model.encoder_hidden=[16]", "model.decoder_hidden=[16]")
SPRITES = ("dataset=sprites", "dataset.orientations=4", "dataset.positions=4", "dataset.scales=2", "z_dim=4")
CONV = (*SPRITES, "model=conv", "model.init=torch")  # the first weights when these numbers were stored
DECOMPOSITION = ("objective=decomposition", "alpha=2", "beta=0.5")
GROUPS = (*SPRITES, "model=mlp", "model.encoder_hidden=[8]", "model.decoder_hidden=[8]", "z_dim=6")
FACTOR_VAE = ("objective=factor_vae", "objective.width=32", "objective.layers=2")

NUMBERS = {
    "vae": ("objective=vae",),
    "beta_vae": ("objective=beta_vae", "beta=4"),
    "capacity": ("objective=capacity", "objective.gamma=1000", "schedule.capacity.value=5"),
    "beta_tc": ("objective=beta_tc", "beta=6"),
    "beta_tc-mss": ("objective=beta_tc", "beta=6", "objective.estimator=mss", "objective.mi_weight=0.5"),
    "factor_vae": FACTOR_VAE,
    "dip_vae": ("objective=dip_vae",),
    "dip_vae-I": ("objective=dip_vae", "objective.kind=I"),
    "dip_vae-full_gaussian": ("objective=dip_vae", "posterior=full_gaussian"),
    "infogan": ("objective=infogan", "prior=uniform", "posterior=joint"),
    "decomposition": ("objective=decomposition", "alpha=1"),
    "decomposition-mixture": (*DECOMPOSITION, "prior=mixture"),
    "decomposition-released": (*DECOMPOSITION, "prior=mixture", "objective.released_mixture_kl=true"),
    "decomposition-student_t": (*DECOMPOSITION, "prior=student_t", "posterior=student_t"),
    "decomposition-learnt_df": (
        *DECOMPOSITION,
        "prior=student_t",
        "prior.learn_df=true",
        "posterior=student_t",
        "posterior.learn_df=true",
        "posterior.df=5",
    ),
    "decomposition-mmd": (*DECOMPOSITION, "divergence=mmd"),
    "decomposition-jsd": (*DECOMPOSITION, "divergence=jsd", "divergence.width=16", "optimizer=adam"),
    "decomposition-kl_exclusive": (*DECOMPOSITION, "divergence=kl_exclusive"),
    "iwae": ("objective=iwae",),
    "dc_ign": (*GROUPS, "objective=dc_ign", "objective.groups=4"),
    "ada_gvae": (*GROUPS, "objective=ada_gvae"),
    "ml_vae": (*GROUPS, "objective=ml_vae", "objective.k=random"),
    "prior-anisotropic": ("prior=anisotropic", "prior.learn=true"),
    "prior-sparse": ("prior=sparse", "posterior=isotropic"),
    "prior-laplace": ("prior=laplace", "posterior=laplace", "posterior.link=softplus", "likelihood=laplace"),
    "schedule-linear": ("schedule@schedule.beta=linear", "beta=4"),
    "schedule-cosine": ("schedule@schedule.beta=cosine", "beta=4", "schedule.beta.until=1"),
    "schedule-cyclical": (*DECOMPOSITION, "schedule@schedule.alpha=cyclical", "schedule.alpha.cycles=2"),
    "optimizer-adam": ("optimizer=adam", "optimizer.lr=0.01"),
    "optimizer-adagrad": ("optimizer=adagrad",),
    "optimizer-amsgrad": ("optimizer=amsgrad", "optimizer.lr=0.01", "seed=1"),
    "gradient_clip": ("trainer.gradient_clip_val=0.5",),
    "conv": (*CONV, "objective=beta_tc", "beta=6"),
    "conv-factor_vae": (*CONV, *FACTOR_VAE),
}
"""Overrides of a tiny run by name: its curves and its validation are stored in numbers/NAME.json."""

STOPPED = "beta_tc"
"""The run of NUMBERS whose folder after half of its steps is in stopped/."""

COMMANDS = (
    ("dataset=clusters", "steps=3"),
    ("dataset=clusters", "objective=beta_tc", "beta=6", "batch_size=50", "steps=3", "seed=2"),
    (
        "dataset=clusters",
        "objective=decomposition",
        "alpha=2",
        "prior=mixture",
        "divergence=mmd",
        "schedule@schedule.alpha=linear",
        "posterior.link=softplus",
        "steps=3",
    ),
    (*SPRITES, "objective=factor_vae", "objective.layers=1", "objective.width=8", "model=mlp", "steps=3"),
)
"""Command lines whose folders, without weights and curves, are in runs/DATASET/."""

UNSEEN = ("metric=[]", "figure=[]", "final=[]", "final_figures=[]", "report=false", "trainer.accelerator=cpu")
"""What makes a run quick and is no part of its identity."""

WHOLE = (
    "dataset=clusters",
    "model.encoder_hidden=[4]",
    "model.decoder_hidden=[4]",
    "prior=mixture",
    "objective=decomposition",
    "alpha=1",
    "steps=4",
    "eval_every=2",
    "log_every=1",
    "eval_images=200",
    "eval_samples=20",
    "trainer.accelerator=cpu",
)
"""A run with all scores and figures that suit clusters; its folder but curves and pictures is in whole/."""


def command(name: str, *arguments: str) -> str:
    """What `python -m disvae.NAME ARGUMENTS` prints, in this process."""
    argv = [f"disvae-{name}", *arguments]
    printed = io.StringIO()
    with mock.patch.multiple(sys, argv=argv, orig_argv=argv), contextlib.redirect_stdout(printed):
        importlib.import_module(f"disvae.{name}").main()
    return printed.getvalue()


def train(*overrides: str, out: Path) -> Path:
    """Train on the command line; returns the one run folder that is in `out`."""
    command("train", *overrides, f"out={out}")
    (config,) = out.glob("*/*/config.yaml")
    return config.parent


def curves(run: Path) -> dict[str, list[float]]:
    """The values of every scalar of a run, in the order of the steps, by name."""
    from disvae.runs.curves import curves

    return {name: curve.values.tolist() for name, curve in curves(run).items()}


def tags(run: Path) -> list[str]:
    """Every tag of a run in TensorBoard, KIND:TAG."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run))
    events.Reload()
    kinds = ("scalars", "images", "tensors", "histograms")
    return sorted(f"{kind}:{tag}" for kind in kinds for tag in events.Tags()[kind])


def of_numbers(name: str) -> tuple[str, ...]:
    """All overrides of the run NAME."""
    dataset = () if NUMBERS[name][0].startswith("dataset=") else POINTS
    return (*dataset, *TINY, *ALONE, *NUMBERS[name])


def numbers(name: str, out: Path) -> dict[str, dict[str, list[float]]]:
    """Curves of the run NAME while it trains (`train/TERM` at each step) and of its validation (`val/TERM` once)."""
    found = curves(train(*of_numbers(name), out=out))
    return {stage: {tag: found[tag] for tag in sorted(found) if tag.startswith(stage)} for stage in ("train/", "val/")}


def _store(run: Path, folder: str, *names: str) -> Path:
    kept = HERE / folder / run.parent.name / run.name
    kept.mkdir(parents=True)
    for name in names:
        shutil.copy(run / name, kept / name)
    return kept


def write() -> None:
    """Write every file anew."""
    for folder in ("numbers", "runs", "stopped", "whole"):
        shutil.rmtree(HERE / folder, ignore_errors=True)
    (HERE / "numbers").mkdir()
    with tempfile.TemporaryDirectory() as temporary, contextlib.chdir(temporary):  # no path of this machine is stored
        os.environ["DISVAE_CACHE_DIR"] = "cache"
        for name in NUMBERS:
            found = numbers(name, Path(name))
            (HERE / "numbers" / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        for i, overrides in enumerate(COMMANDS):
            run = train(*overrides, *UNSEEN, out=Path(f"runs{i}"))
            _store(run, "runs", "config.yaml", "status.json", "metrics.json")
        stopped = _store(train(*of_numbers(STOPPED), out=Path("to_the_end")), "stopped", "config.yaml")
        half = train(*of_numbers(STOPPED), f"steps={STEPS // 2}", out=Path("half"))
        shutil.copy(half / "last.ckpt", stopped / "last.ckpt")  # steps of one weight: the same at this step
        state = {"state": "interrupted", "step": STEPS // 2}
        (stopped / "status.json").write_text(json.dumps(state | {"pid": 1, "host": "host", "time": "then"}) + "\n")
        run = train(*WHOLE, out=Path("outputs"))
        names = ("config.yaml", "status.json", "metrics.json", "scores.json", "provenance.json", "last.ckpt")
        _store(run, "whole", *names)
        (HERE / "tags.txt").write_text("\n".join(tags(run)) + "\n")


if __name__ == "__main__":
    write()
