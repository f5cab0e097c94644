"""Ray and submitit carry the same jobs: same folders, finished ones skipped, a failing one among the others."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from disvae.config import ConfigError
from disvae.runs.folder import Run
from disvae.sweep.engine import carry, check_installed

ROOT = Path(__file__).parents[2]
JOBS = (
    "dataset=clusters",
    "steps=200",
    "eval_every=100",
    "checkpoint_every=20",
    "eval_images=100",
    "eval_samples=50",
    "final=[]",
    "figure=[]",
    "final_figures=[]",
    "report=false",
)


def test_a_launcher_that_is_not_installed_names_its_extra():
    with pytest.raises(ConfigError, match=r'hydra/launcher=ray_gpu .*"\.\[ray\]" in the folder'):
        check_installed(["beta=1", "hydra/launcher=ray_gpu"])
    for name in ("slurm_gpu", "submitit_local"):
        with pytest.raises(ConfigError, match=r"\.\[slurm\]"):
            check_installed([f"hydra/launcher={name}"])
    check_installed(["hydra/launcher=basic", "hydra/launcher=disvae", "objective=beta_tc"])


class Losing:
    """An engine that is not to be had."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def launch(self, jobs, initial_job_idx):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RuntimeError("worker died\n\nby SIGKILL\n  File x.py"), 1, "disvae: Losing: worker died by SIGKILL\n"),
        (KeyboardInterrupt(), 130, "disvae: stopped\n"),
    ],
)
def test_an_engine_that_loses_a_job_ends_in_a_message(error, status, said, capsys):
    with pytest.raises(SystemExit) as ended:
        carry(Losing(error), [["beta=1"]], 0)
    assert ended.value.code == status
    printed = capsys.readouterr().err
    assert printed.startswith(said)
    assert "the same command does the rest" in printed
    assert "x.py" not in printed


def environment(extra: str, folder: Path) -> str:
    """The Python of a virtual environment that borrows this one's packages and has disvae with an extra.

    Hydra imports all plugins that it finds, so that in this environment they would be part of every test.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
    borrowed = "\n".join(path for path in sys.path if path.endswith("site-packages"))
    (next((folder / "lib").glob("python3*/site-packages")) / "borrowed.pth").write_text(borrowed + "\n")
    python = str(folder / "bin" / "python")
    pip = [sys.executable, "-m", "pip", f"--python={python}", "install", "-q", "--no-build-isolation", "--no-compile"]
    wanted = ["--retries", "1", "--editable", f"{ROOT}[{extra}]"]
    done = subprocess.run([*pip, *wanted], env=variables(folder), capture_output=True, text=True, timeout=500)
    if "Could not find a version" in done.stderr or "connection" in done.stderr.lower():
        pytest.skip(f"the extra [{extra}] cannot be downloaded: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return python


def variables(home: Path) -> dict[str, str]:
    """The environment of a command: Ray keeps files at home; one thread, so that all engines compute the same."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    of_ray = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}  # its jobs would wait for other tests
    return kept | of_ray | {"HOME": str(home), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def with_submitit(tmp_path_factory) -> str:
    return environment("slurm", tmp_path_factory.mktemp("submitit"))


@pytest.fixture(scope="module")
def with_ray(tmp_path_factory) -> str:
    return environment("ray", tmp_path_factory.mktemp("ray"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """The runs of beta=1 and beta=2 as one process does them."""
    where = tmp_path_factory.mktemp("undisturbed")
    command = [sys.executable, "-m", "disvae.train", "-m", "hydra/launcher=basic", *JOBS, "beta=1,2", f"out={where}"]
    done = subprocess.run(command, cwd=ROOT, env=variables(where), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return where / "clusters"


def run_of(beta: int, runs: Path) -> Run:
    folders = [path.parent for path in runs.glob("*/config.yaml")]  # the name lacks a beta that is usual
    return next(run for run in map(Run, folders) if run.config()["beta"] == beta)


def sweep(python: str, where: Path, *arguments: str) -> subprocess.Popen:
    """A sweep in the folder `where`, its output in the file `log`."""
    with (where / "log").open("w") as log:
        command = [python, "-m", "disvae.train", "-m", *arguments]
        return subprocess.Popen(command, cwd=where, env=variables(where), stdout=log, stderr=subprocess.STDOUT)


def disturbed_sweep(python: str, undisturbed: Path, where: Path, launcher: str, blow: signal.Signals) -> None:
    """Three jobs: one is finished, one cannot be, and the third is struck once and must yet come to the same end."""
    runs = where / "outputs" / "clusters"
    finished = run_of(1, undisturbed)
    shutil.copytree(finished.path, runs / finished.path.name)
    process = sweep(python, where, f"hydra/launcher={launcher}", *JOBS, "beta=1,-3,2")
    while process.poll() is None and not list(runs.glob("*beta=2[,-]*/last.ckpt")):
        time.sleep(0.05)
    assert process.poll() is None, (where / "log").read_text()
    os.kill(run_of(2, runs).status()["pid"], blow)
    status = process.wait(timeout=300)
    said = (where / "log").read_text()
    assert status == 1, said
    assert "beta must be a finite number >= 0, got -3" in said
    assert "Traceback" not in said
    assert {run.name for run in runs.iterdir()} == {run.name for run in undisturbed.iterdir()}
    assert run_of(1, runs).provenance() == finished.provenance()  # left alone
    struck = run_of(2, runs)
    assert struck.state() == "finished"
    assert len(struck.provenance()["sessions"]) == 2
    assert struck.metrics() == pytest.approx(run_of(2, undisturbed).metrics(), rel=1e-5)


@pytest.mark.slow
def test_submitit_skips_what_is_finished_and_continues_what_its_queue_took_back(with_submitit, undisturbed, tmp_path):
    # SIGUSR2 is what Slurm is told to send before it takes a job back, for another's sake or at its time limit
    disturbed_sweep(with_submitit, undisturbed, tmp_path, "submitit_local", signal.SIGUSR2)


@pytest.mark.slow
def test_ray_skips_what_is_finished_and_continues_a_job_whose_process_was_killed(with_ray, undisturbed, tmp_path):
    disturbed_sweep(with_ray, undisturbed, tmp_path, "ray", signal.SIGKILL)


@pytest.mark.slow
def test_ray_gives_each_job_a_gpu_of_its_own(with_ray, tmp_path):
    # Ray counts GPUs as it is told, and names each job its own, there or not
    machine = ("+hydra.launcher.ray.init.num_gpus=2", "+hydra.launcher.ray.init.num_cpus=2")
    job = ("hydra/launcher=ray_gpu", "hydra.launcher.ray.remote.num_cpus=1", "trainer.accelerator=cpu")
    place = "out=gpu${oc.env:CUDA_VISIBLE_DEVICES,none}"
    few = ("dataset=clusters", "steps=20", "eval_every=10", "eval_images=100", "eval_samples=50", "final=[]")
    few += ("figure=[]", "final_figures=[]", "report=false")
    assert sweep(with_ray, tmp_path, *machine, *job, *few, "beta=1,2", place).wait(timeout=300) == 0
    assert len(list(tmp_path.glob("gpu0/clusters/*/metrics.json"))) == 1
    assert len(list(tmp_path.glob("gpu1/clusters/*/metrics.json"))) == 1


@pytest.mark.slow
def test_the_example_for_a_cluster_asks_slurm_for_a_gpu_a_job_and_to_be_requeued(with_submitit, tmp_path):
    # what the launcher does up to the queue, which there is none of here
    script = tmp_path / "script.py"
    script.write_text(
        """
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from submitit.slurm import slurm
from disvae.config import conf_dir
with initialize_config_dir(str(conf_dir()), version_base="1.3"):
    asked = ["hydra/launcher=slurm_gpu", "hydra.launcher.partition=gpu", "hydra.launcher.name=x"]
    cfg = compose("config", overrides=asked, return_hydra_config=True)
cfg.hydra.launcher.submitit_folder = "folder"
launcher = instantiate(cfg.hydra.launcher)
settings = {key: value for key, value in launcher.params.items() if key != "submitit_folder"}
print("requeued", settings.pop("max_num_timeout"))
executor = object.__new__(slurm.SlurmExecutor)  # whose __init__ looks for srun
settings = executor._convert_parameters(settings)
print(slurm._make_sbatch_string(command="COMMAND", folder="folder", map_count=32, **settings))
"""
    )
    done = subprocess.run(
        [with_submitit, str(script)], cwd=tmp_path, env=variables(tmp_path), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for line in ("--gpus-per-node=1", "--cpus-per-task=4", "--partition=gpu", "--signal=USR2@120", "--array=0-31%16"):
        assert f"#SBATCH {line}" in done.stdout, done.stdout
    assert "requeued 20" in done.stdout
