import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from disvae.runs.checkpoint import load, save

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}


def python(code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_a_full_disk_leaves_the_old_checkpoint_and_says_so(tmp_path):
    path = tmp_path / "last.ckpt"
    save({"step": 1}, path)
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
    assert load(path) == {"step": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.slow
def test_a_killed_writer_never_leaves_a_broken_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    for kill in range(6):
        writer = python(
            """
            import sys, torch
            from pathlib import Path
            from disvae.runs.checkpoint import save
            for step in range(10**6):
                save({"w": torch.full((3_000_000,), float(step))}, Path(sys.argv[1]))
                print(step, flush=True)
            """,
            str(path),
        )
        writer.stdout.readline()
        time.sleep(0.05 + 0.037 * kill)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        content = load(path)["w"]
        assert torch.equal(content, content[0].expand_as(content))
