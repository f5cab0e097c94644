"""What the live line keeps on a narrow screen, and what the time left counts."""

import os
from types import SimpleNamespace

import pytest

from disvae.config import resolved
from disvae.runs.folder import Run
from disvae.training.progress import Progress, seconds_at_end

CONFIG = {"steps": 4000, "batch_size": 64, "eval_every": 1000}
MODULE = SimpleNamespace(last_terms={"loss": 746.889, "reconstruction": 608.244, "kl": -0.001})


def progress(at_end: float | None) -> Progress:
    """Progress at step 1,000 after 100 s of steps and a validation of 7 s."""
    found = Progress(CONFIG, SimpleNamespace(training=100.0, validation=7.0), at_end)
    found.first, found.validations, found.tc = 0, 1, "TC 1.27 (validation)"
    return found


def test_the_time_left_counts_validations_scores_and_pictures():
    assert progress(at_end=60.0).left(1000) == "6:21 left"  # 300 s of steps, 21 s of validations, 60 s at the end
    assert progress(at_end=None).left(1000) == "5:21 + scores left"
    assert progress(at_end=60.0).left(4000) == "1:00 left"


def test_loss_reconstruction_and_kl_stay_on_a_narrow_screen():
    of = progress(at_end=60.0)
    assert of.line(MODULE, 1000) == (
        "step 1,000/4,000 · 640 images/s · 6:21 left · loss 746.89 · reconstruction 608.24 · KL 0.00 "
        "· TC 1.27 (validation)"
    )
    for width in (79, 60, 40):
        line = of.line(MODULE, 1000, width)
        assert len(line) <= width
        assert "loss 746.9" in line.replace("746.89", "746.9")
        assert "reco" in line
        assert "KL" in line
    assert "left" in of.line(MODULE, 1000, 79)


@pytest.fixture
def finished(composed, tmp_path):
    """A function that makes the record of a finished run that took so long to score and draw."""

    def make(name: str, seconds: dict[str, float], *overrides: str) -> Run:
        run = Run(tmp_path / name)
        run.path.mkdir()
        run.create(resolved(composed(*overrides)), {"sessions": [{"seconds": seconds}]})
        return run

    return make


def test_the_time_at_the_end_is_that_of_the_newest_run_with_the_same_scores(finished, tmp_path):
    new = Run(tmp_path / "new")
    first = finished("first", {"scores": 60.0, "pictures": 5.0})
    finished("others", {"scores": 1.0}, "final=[mig]")
    config = first.config()
    assert seconds_at_end(new, config) == 65.0
    newer = finished("newer", {"scores": 70.0})
    os.utime(newer.path / "provenance.json", (2e9, 2e9))
    assert seconds_at_end(new, config) == 70.0
    assert seconds_at_end(new, {**config, "final": []}) is None
