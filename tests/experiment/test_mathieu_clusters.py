"""Mathieu et al. 2019, Fig. 3: what must hold on every seed, and the figure drawn from a sweep."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from disvae.config import conf_dir, resolved
from disvae.experiment.mathieu_clusters import MathieuClusters, modes
from disvae.runs.folder import Run
from disvae.training.job import Job
from disvae.training.job_group import train_jobs

QUICK = ("eval_every=10000", "metric=[]", "final=[]")  # what is measured is read from the last weights


def test_modes_are_the_components_nearest_to_more_than_a_twentieth_of_the_codes():
    centres = torch.tensor([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])
    z = torch.cat([centres[0].expand(50, 2), centres[1].expand(45, 2), centres[2].expand(5, 2)])
    assert modes(z, centres) == 2
    assert modes(torch.cat([z, centres[2].expand(2, 2)]), centres) == 3


@pytest.mark.slow
def test_alpha_gives_four_modes_on_every_seed_and_a_falling_kl(composed, tmp_path):
    most = {3: 0.7, 5: 0.35, 8: 0.2}  # nats; the published picture shows four blobs in each of these panels
    jobs = [
        Job(
            Run(tmp_path / f"{alpha}-{seed}"),
            resolved(
                composed("experiment=mathieu_clusters", f"panel={{beta:0,alpha:{alpha}}}", f"seed={seed}", *QUICK)
            ),
            brief=True,
        )
        for alpha in most
        for seed in range(3)
    ]
    recipe = MathieuClusters(claims={}, cost="")
    train_jobs(jobs, lambda i: None, lambda i, outcome: None)  # packed: a fifth of the time
    means = []
    for i, bound in enumerate(most.values()):
        runs = [job.run for job in jobs[3 * i : 3 * i + 3]]
        assert [recipe.measure(run)["modes"] for run in runs] == [4, 4, 4]
        kls = [run.metrics()["val/structure/kl_pz_qz"] for run in runs]
        assert max(kls) < bound
        means.append(sum(kls) / len(kls))
    assert means == sorted(means, reverse=True)


def test_one_command_sweeps_and_draws(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "disvae.train", "-m", "experiment=mathieu_clusters", "steps=5", "seed=0,1",
         "panel={beta:1,alpha:0},{beta:0,alpha:3}"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "claims and findings" in done.stdout
    assert "outputs/recipes/mathieu_clusters.html" in done.stdout
    assert (tmp_path / "outputs/recipes/mathieu_clusters.html").stat().st_size > 20_000
    assert "Not the runs of the recipe itself: steps=5" in done.stdout
    assert len(list((tmp_path / "outputs/clusters").glob("*/metrics.json"))) == 4


def test_the_sweep_covers_the_papers_panels():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("config", overrides=["experiment=mathieu_clusters"], return_hydra_config=True)
    panels = cfg.hydra.sweeper.params.panel.replace(" ", "")
    for beta, alpha in [(0.01, 0), (0.5, 0), (1, 0), (1.2, 0), (0, 1), (0, 3), (0, 5), (0, 8)]:
        assert f"{{beta:{beta},alpha:{alpha}}}" in panels
    assert cfg.hydra.sweeper.params.seed == "range(0,10)"
