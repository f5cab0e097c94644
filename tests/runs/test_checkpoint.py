import functools
import math
import operator
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import pytest
import torch

from disvae.config import ConfigError, resolved
from disvae.runs.checkpoint import load, save
from disvae.runs.folder import Run
from disvae.training.checkpoint_io import resume
from disvae.training.job import Job
from disvae.training.loop import train_run
from disvae.training.module import VAEModule

CONTENT = {"global_step": 1, "state_dict": {}, "optimizer_states": [], "terms": {}, "best_elbo": 0.0}
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


def python(code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_a_full_disk_leaves_the_old_checkpoint_and_says_so(tmp_path):
    path = tmp_path / "last.ckpt"
    save(CONTENT, path)
    writer = python(
        """
        import resource, sys, torch
        from pathlib import Path
        from disvae.runs.checkpoint import save
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # as a disk that is full after 100 kB
        save({"step": 2, "w": torch.zeros(1_000_000)}, Path(sys.argv[1]))
        """,
        str(path),
    )
    said, _ = writer.communicate(timeout=120)
    assert writer.returncode != 0
    assert "make room or set out=PATH" in said
    assert load(path) == CONTENT
    assert {entry.name for entry in tmp_path.iterdir()} == {"digests.json", "last.ckpt"}


def equal(one, other) -> bool:
    """Whether two contents of checkpoints are the same to the bit and the type."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and [*one] == [*other] and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and one == other


@pytest.fixture(scope="module")
def checkpoint(composed, tmp_path_factory) -> Path:
    """The last checkpoint of a run."""
    run = Run(tmp_path_factory.mktemp("runs") / "run")
    train_run(Job(run, resolved(composed("dataset=clusters", "steps=5", "eval_images=20", "final=[]")), brief=True))
    return run.last


@pytest.mark.parametrize("seed", range(30))
def test_a_flipped_byte_is_found_or_changes_nothing(checkpoint, tmp_path, seed):
    content = bytearray(checkpoint.read_bytes())
    rng = random.Random(seed)
    at = rng.randrange(len(content))
    content[at] ^= rng.randrange(1, 256)
    damaged = tmp_path / "last.ckpt"
    damaged.write_bytes(content)
    try:
        found = load(damaged)
    except ConfigError as error:
        said = str(error)
    else:  # a date, say, or a filling between two tensors
        assert equal(found, load(checkpoint))
        return
    assert said.startswith(f"{damaged} cannot be read (")
    assert said.endswith("): delete it and repeat the run's command with force=true")
    assert "\n" not in said


def test_every_flip_in_a_weight_is_found(checkpoint, tmp_path):
    content = checkpoint.read_bytes()
    with zipfile.ZipFile(checkpoint) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist() if "/data/" in entry.filename}
        largest = archive.read(max(sizes, key=sizes.get))
    start = content.index(largest)
    for at in range(start, start + len(largest), len(largest) // 20):
        (tmp_path / "last.ckpt").write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(ConfigError, match=r"the checksum of .* is wrong"):
            load(tmp_path / "last.ckpt")


@pytest.mark.parametrize(
    ("place", "wrong", "said"),
    [
        (["pytorch-lightning_version"], "abc", "pytorch-lightning_version must be a version, got 'abc'"),
        (["callbacks"], 0.5, "callbacks must be a mapping, got 0.5"),
        (["callbacks"], {"EarlyStopping": None}, "callbacks.EarlyStopping must be a mapping, got None"),
        (["lr_schedulers"], (1, 2), r"lr_schedulers must be a list, got \(1, 2\)"),
        (["hyper_parameters"], None, "hyper_parameters must be a mapping, got None"),
        (["state_dict", "vae.model.encoder.1.bias"], torch.ones(3), "size mismatch for vae.model.encoder.1.bias"),
        (["optimizer_states", 0, "param_groups", 0, "lr"], "x", "lr of its optimiser is 'x'"),
        (["optimizer_states", 0, "param_groups", 0, "betas"], (0.9, math.nan), "betas of its optimiser is"),
        (["optimizer_states", 0, "state", 0, "step"], torch.tensor(-1.0), "step of parameter 0 is -1"),
        (["optimizer_states", 0, "state", 0, "step"], torch.tensor(6.0), "step of parameter 0 is 6"),
        (["optimizer_states", 0, "state", 1, "exp_avg"], torch.tensor(math.nan), "exp_avg of parameter 1 is nan"),
    ],
)
def test_a_readable_checkpoint_with_wrong_content_is_refused(checkpoint, tmp_path, place, wrong, said):
    """Even without digests, as in folders of earlier versions."""
    content = torch.load(checkpoint, weights_only=True)
    *above, last = place
    functools.reduce(operator.getitem, above, content)[last] = wrong
    path = tmp_path / "last.ckpt"
    torch.save(content, path)
    with pytest.raises(ConfigError, match=said) as refusal:
        resume(VAEModule.load_from_checkpoint(checkpoint), load(path), 5, path)
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)


@pytest.mark.slow
def test_a_killed_writer_never_leaves_a_broken_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    for kill in range(6):
        writer = python(
            """
            import sys, torch
            from pathlib import Path
            from disvae.runs.checkpoint import save
            content = {"global_step": 1, "optimizer_states": [], "terms": {}, "best_elbo": 0.0}
            for step in range(10**6):
                save(content | {"state_dict": {"w": torch.full((3_000_000,), float(step))}}, Path(sys.argv[1]))
                print(step, flush=True)
            """,
            str(path),
        )
        writer.stdout.readline()
        time.sleep(0.05 + 0.037 * kill)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        content = load(path)["state_dict"]["w"]
        assert torch.equal(content, content[0].expand_as(content))
