"""Sweeps by their command, marked so that whatever they start is found again."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sweep.sweep_command import Sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Sweep]:
    made = Sweep(tmp_path)
    yield made
    for pid in made.processes():
        os.kill(pid, signal.SIGKILL)
