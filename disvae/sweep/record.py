"""A sweep on disk: outputs/sweeps/OVERRIDES-HASH.json lists its jobs, where their runs are, and what had no run."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from disvae.config import ConfigError
from disvae.runs.atomic import write_atomically
from disvae.runs.folder import Run

FOLDER = "sweeps"
"""Below `out`, beside the datasets' folders."""


@dataclass
class SweepJob:
    """One combination of a sweep: its overrides, its run's folder below `out` and, where it never got one, why."""

    overrides: list[str]
    run: str | None
    error: str | None = None

    @property
    def name(self) -> str:
        """As the command line would have it."""
        return ",".join(self.overrides) or "defaults"


@dataclass
class Sweep:
    """The jobs of one multirun command."""

    path: Path
    command: str
    started: str
    jobs: list[SweepJob] = field(default_factory=list)

    @property
    def out(self) -> Path:
        """The folder its runs are in."""
        return self.path.parent.parent

    @classmethod
    def find(cls, out: Path, name: str, arguments: Sequence[str], command: str, started: str) -> "Sweep":
        """The record of a command line, the same for the same arguments in any order."""
        mark = hashlib.sha256(json.dumps(sorted(arguments)).encode()).hexdigest()[:8]
        return cls(out / FOLDER / f"{name}-{mark}.json", command, started)

    @classmethod
    def read(cls, path: Path) -> "Sweep":
        """Raises ConfigError when the file is not a sweep's record."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            jobs = [SweepJob(**job) for job in content["jobs"]]
            return cls(path, str(content["command"]), str(content["started"]), jobs)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"{path} is no sweep's record ({error}); name a run's folder or a sweeps/*.json"
            ) from error

    def write(self) -> None:
        """Write the record.

        Raises:
            ConfigError: it cannot be written.
        """
        content = {"command": self.command, "started": self.started, "jobs": [asdict(job) for job in self.jobs]}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{self.path.parent} cannot be written ({error}); choose another with out=PATH"
            ) from error
        write_atomically(self.path, json.dumps(content, indent=1) + "\n")

    def run(self, job: SweepJob) -> Run | None:
        """The job's run folder, which may not be there yet."""
        return None if job.run is None else Run(self.out / job.run)
