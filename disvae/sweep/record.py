"""The record of a sweep, outputs/sweeps/OVERRIDES-HASH.json: its jobs, their run folders and their errors."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from disvae.config import ConfigError
from disvae.runs.atomic import write_atomically
from disvae.runs.contents import OPTIONAL_TEXT, TEXT, Form, with_form
from disvae.runs.folder import Run

RECORD: Form = {
    "command": TEXT,
    "started": TEXT,
    "jobs": [{"overrides": [TEXT], "run": OPTIONAL_TEXT, "error": OPTIONAL_TEXT}],
}

FOLDER = "sweeps"
"""The folder of the records, below `out` and beside the datasets' folders."""


@dataclass
class SweepJob:
    """One job of a sweep: its overrides, its run folder below `out` and, if it has none, the reason."""

    overrides: list[str]
    run: str | None
    error: str | None = None

    @property
    def name(self) -> str:
        """Return the overrides as one text."""
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
        """Return the folder of the sweep's runs."""
        return self.path.parent.parent

    @classmethod
    def find(cls, out: Path, name: str, arguments: Sequence[str], command: str, started: str) -> "Sweep":
        """Return the empty record of a command line; its path does not depend on the order of the arguments."""
        mark = hashlib.sha256(json.dumps(sorted(arguments)).encode()).hexdigest()[:8]
        return cls(out / FOLDER / f"{name}-{mark}.json", command, started)

    @classmethod
    def read(cls, path: Path) -> "Sweep":
        """Return the sweep of a record; raise ConfigError if the file is not a record."""
        try:
            content = with_form(json.loads(path.read_text(encoding="utf-8")), RECORD)
            jobs = [SweepJob(job["overrides"], job["run"], job["error"]) for job in content["jobs"]]
            return cls(path, content["command"], content["started"], jobs)
        except Exception as error:  # a damaged file makes the parser raise many kinds of errors
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"{path} is not a sweep's record ({reason}); type a run folder or a file sweeps/*.json"
            ) from error

    def write(self) -> None:
        """Write the record.

        Raises:
            ConfigError: the file cannot be written.
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
        """Return the job's run, whose folder may not exist yet, or None if the job has none."""
        return None if job.run is None else Run(self.out / job.run)
