"""The command line of a sweep in a folder of its own."""

import os
import subprocess
import sys
import uuid
from pathlib import Path


class Sweep:
    """The command line in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"DISVAE_TEST_MARK={uuid.uuid4().hex}"

    def start(self, *arguments: str, multirun: bool = True, limits=None) -> subprocess.Popen[str]:
        name, value = self.mark.split("=")
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(self.folder), "COLUMNS": "120", name: value}
        return subprocess.Popen(
            [sys.executable, "-m", "disvae.train", *["-m"] * multirun, *arguments],
            cwd=self.folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=limits,
        )

    def run(self, *arguments: str, multirun: bool = True, limits=None) -> tuple[int, str]:
        """The exit status and all that was printed."""
        process = self.start(*arguments, multirun=multirun, limits=limits)
        output, _ = process.communicate(timeout=300)
        return process.returncode, output

    def processes(self) -> list[int]:
        """Every process that a command of this folder has started and that is there."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # it has ended, or is not ours
                continue
        return found

    def runs(self) -> list[Path]:
        return sorted(path.parent for path in self.folder.glob("outputs/*/*/config.yaml"))
