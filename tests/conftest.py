"""Fixtures: composed configurations, tiny runs, and the real data files where they are."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from disvae.config import conf_dir
from disvae.train import main

TINY = (
    "dataset=clusters",
    "steps=20",
    "eval_every=10",
    "eval_images=100",
    "eval_samples=50",
    "log_every=5",
    "final=[]",  # scores at the end have their own tests
)

NO_PICTURES = ("figure=[]", "final_figures=[]", "report=false")
"""What pictures and pages cost, only the tests pay that are about them."""


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of official files; tests that need it are skipped where it is not given."""
    folder = os.environ.get("DISVAE_DATA_DIR")
    if not folder:
        pytest.skip("DISVAE_DATA_DIR is not set: it names the folder of the official data files")
    return Path(folder)


@pytest.fixture(scope="session")
def composed() -> Callable[..., DictConfig]:
    """Compose a configuration from overrides, as the command line does; without pictures unless they are asked for."""

    def make(*overrides: str) -> DictConfig:
        asked = {override.partition("=")[0] for override in overrides}
        overrides = (*(each for each in NO_PICTURES if each.partition("=")[0] not in asked), *overrides)
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return compose("config", overrides=list(overrides))

    return make


@pytest.fixture
def small_vae(composed: Callable[..., DictConfig]) -> Callable[..., Any]:
    """A VAE of four latents for images (1, 16, 16), fresh and the same each time, from overrides."""
    import torch

    from disvae.build import make_vae
    from disvae.config import resolved

    def make(*overrides: str) -> Any:
        torch.manual_seed(0)
        typed = ["prior.variances=equal"] if overrides == ("prior=anisotropic",) else []
        tiny = ("model=mlp", "model.encoder_hidden=[8]", "model.decoder_hidden=[8]", "z_dim=4")
        return make_vae(resolved(composed(*tiny, *overrides, *typed)), (1, 16, 16)).eval()

    return make


@pytest.fixture
def hostile() -> str:
    """A text that would end a quoted value, a style or a script, run a script or be computed by a template."""
    return """"'></style></script><script>alert(1)</script>{{7*7}}{%raw%}&lt;"""


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """Overrides of a run that takes seconds."""
    return TINY + NO_PICTURES


@pytest.fixture(autouse=True, scope="session")
def _one_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests draw and keep datasets in a folder of their own."""
    os.environ["DISVAE_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Type `python -m disvae.train` in `tmp_path`, in this process; return the exit status and what stderr was told."""
    monkeypatch.chdir(tmp_path)

    def type_(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["disvae-train", *arguments])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().err

    return type_
