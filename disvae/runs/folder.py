"""What a run is on disk: a folder named by its overrides and by the hash of what decides its numbers.

config.yaml      the resolved configuration            provenance.json  command, commit, versions, data, device
status.json      running, finished, interrupted ...    metrics.json     the final terms
scores.json      every metric with interval, controls and protocol    encoding.h5  the codes they were computed from
figures/         its pictures                           log.txt          what a job of a sweep printed
last.ckpt        to go on from    best.ckpt  the best ELBO    events.*  TensorBoard's
report.html      all of it on a page                    explore.html  a page with a slider for each latent

Only files of these names are ever removed. .new/ is where force=true prepares a repeat of the run: what the folder
holds stays until the repeat is finished.
"""

import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from disvae.config import ConfigError, options
from disvae.runs.atomic import write_atomically
from disvae.runs.identity import NOT_IDENTITY, identity
from disvae.runs.provenance import now

NAMES = (
    r"config\.yaml|(provenance|status|metrics|scores)\.json|(last|best)\.ckpt|encoding(-\w+)?\.h5"
    r"|events\.out\.tfevents\..+|(report|explore)\.html"
)
"""The files that disvae writes into a run's folder, as a pattern; log.txt is not among them: it tells of every run."""


class InUse(ConfigError):
    """Another process holds a run's folder."""


def digest(config: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of the hash of a resolved configuration's identity."""
    text = json.dumps(identity(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def readable(overrides: Iterable[str], skip: Iterable[str]) -> str:
    """Overrides as a folder name: `objective=beta_tc,beta=6` without the keys that are no part of a run's identity."""
    kept = []
    for text in overrides:
        key = text.lstrip("+~").partition("=")[0]
        if key not in skip and key.partition(".")[0] not in NOT_IDENTITY:
            kept.append(text.lstrip("+"))
    name = ",".join(kept).replace("{", "").replace("}", "").replace(":", "=")
    name = re.sub(r"[^\w=.,@-]+", "_", name)
    return name.encode()[:100].decode(errors="ignore").rstrip(",._") or "defaults"


def _with_hash_of(path: Path) -> Path:
    """The folder beside `path` whose name ends with the same hash, else `path`."""
    found = sorted(path.parent.glob(f"*-{path.name.rpartition('-')[2]}"))
    return found[0] if found else path


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path} cannot be written ({error}); for a new run choose another place with out=PATH")


@dataclass(frozen=True)
class Run:
    """One run folder."""

    path: Path

    @classmethod
    def find(cls, out: Path, dataset: str, name: str, config: Mapping[str, Any]) -> "Run":
        """The folder of this configuration: an existing one with its hash, else a new `out/dataset/name-hash`."""
        return cls(_with_hash_of(out / dataset / f"{name}-{digest(config)}"))

    def claimed(self) -> "Run":
        """The one folder of this run's hash, made if there is none; `find` cannot see one that is yet to be made.

        Raises:
            ConfigError: it cannot be made.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.parent / ".lock"):  # who asks under other overrides gets the same
                path = _with_hash_of(self.path)
                path.mkdir(exist_ok=True)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        return Run(path)

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.path / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint with the best validation ELBO."""
        return self.path / "best.ckpt"

    @property
    def figures(self) -> Path:
        """The folder of its pictures."""
        return self.path / "figures"

    @property
    def report(self) -> Path:
        """Its page."""
        return self.path / "report.html"

    @property
    def _lock(self) -> Path:
        """The file whose holder may write; that of a repeat is the one of the run."""
        return (self.path.parent if self.path.name == ".new" else self.path) / ".lock"

    def place(self, force: bool) -> "Run":
        """Return the folder that training writes: this one or, with `force`, the hidden one of a repeat."""
        return Run(self.path / ".new") if force else self

    def make(self) -> None:
        """Make the folder if it is not there.

        Raises:
            ConfigError: the folder cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def config(self) -> dict[str, Any]:
        """The resolved configuration, as plain containers."""
        try:
            text = (self.path / "config.yaml").read_text(encoding="utf-8")
            tree = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # ten times as fast as OmegaConf's
            if not isinstance(tree, dict) or not tree.keys() >= {"dataset", "trainer", "seed", "split"}:
                raise ValueError("it holds no run's configuration")
        except Exception as error:  # YAML's many ways to say that it is damaged
            raise ConfigError(
                f"{self.path / 'config.yaml'} is not readable ({error}); repeat the run with force=true"
            ) from error
        return {str(key): value for key, value in tree.items()}

    def status(self) -> dict[str, Any]:
        """state, step, pid, host, time and, where it went wrong, error; state `new` for a folder that is not there."""
        return {"state": "new", "step": 0} | self._read("status.json")

    def state(self) -> str:
        """The state of `status`, but `killed` where it says running and no process holds the folder."""
        state: str = self.status()["state"]
        if state != "running":
            return state
        probe = FileLock(self._lock)
        try:
            probe.acquire(timeout=0)
        except (Timeout, OSError):  # OSError: somebody else's folder; its word has to do
            return state
        probe.release()
        return "killed"

    def finished(self) -> bool:
        """Trained to the end and scored."""
        return self.status()["state"] == "finished" and "val/elbo" in self.metrics()

    def metrics(self) -> dict[str, float]:
        """The final terms, empty before the run is finished."""
        return self._read("metrics.json")

    def provenance(self) -> dict[str, Any]:
        """Where the numbers come from, by session (a resumed run has several); empty for a new folder."""
        return self._read("provenance.json")

    def _read(self, name: str) -> dict[str, Any]:
        path = self.path / name
        if not path.is_file():
            return {}
        try:
            content = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"{path} is not readable ({error}); delete it or repeat the run with force=true"
            ) from error
        return content

    def mark(self, state: str, step: int, **more: Any) -> None:
        """Write status.json: running, finished, interrupted, diverged or failed."""
        status = {
            "state": state,
            "step": step,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "time": now(),
            **more,
        }
        write_atomically(self.path / "status.json", json.dumps(status, indent=1) + "\n")

    def create(self, config: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        """Write the configuration and where the numbers come from."""
        write_atomically(self.path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(dict(config))))
        write_atomically(self.path / "provenance.json", json.dumps(provenance, indent=1) + "\n")

    def scores(self) -> dict[str, Any]:
        """The metrics' results by stage and metric, empty before there are any."""
        scores = self._read("scores.json")
        for stage in scores.values():
            entries = stage.values() if isinstance(stage, dict) else [None]
            if not all(isinstance(entry, dict) and entry.keys() >= {"scores", "protocol"} for entry in entries):
                raise ConfigError(f"{self.path / 'scores.json'} does not hold scores; delete it")
        return scores

    def scored(self) -> set[str]:
        """The metrics that were computed, whatever came of them."""
        return {label for stage in self.scores().values() for label in stage}

    def drawn(self) -> set[str]:
        """The pictures that are there, by label."""
        return {path.stem for path in self.figures.glob("*.*")}

    def save_scores(self, scores: Mapping[str, Any]) -> None:
        """Write scores.json."""
        write_atomically(self.path / "scores.json", json.dumps(scores, indent=1) + "\n")

    def save_metrics(self, metrics: Mapping[str, float]) -> None:
        """Write metrics.json."""
        write_atomically(self.path / "metrics.json", json.dumps(metrics, indent=1) + "\n")

    def written(self, form: str = "{}") -> list[Path]:
        """Return the files that disvae wrote into the folder; `form` is a pattern about the pattern of their names."""
        pictures = rf"({'|'.join(map(re.escape, options('figure')))})(-.*)?\.(png|gif)"
        places = [(self.path, NAMES), (self.figures, pictures)]
        return [
            path
            for folder, names in places
            if folder.is_dir()
            for path in folder.iterdir()
            if re.fullmatch(form.format(f"({names})"), path.name)
        ]

    def settle(self) -> None:
        """Remove half-written files and put a repeat that is finished in the place of what it repeats.

        The caller holds the lock. After a kill the next call goes on: `.new` becomes `.done` once what has no
        successor is removed, and the status, which says running meanwhile, comes last.

        Raises:
            ConfigError: the folder cannot be written.
        """
        repeat, done = self.place(force=True), Run(self.path / ".done")
        try:
            for half in self.written(r"\.{}\.\d+"):
                half.unlink()
            if repeat.finished():
                self.mark("running", repeat.status()["step"])
                successors = {path.relative_to(repeat.path) for path in repeat.written()}
                for path in self.written():
                    if path.relative_to(self.path) not in successors:
                        path.unlink()
                if self.figures.is_dir() and not any(self.figures.iterdir()):
                    self.figures.rmdir()
                repeat.path.rename(done.path)
            if done.path.is_dir():
                files = [path for path in done.path.rglob("*") if path.is_file()]  # those of loggers and profilers, too
                for path in sorted(files, key=lambda path: path.name == "status.json"):
                    target = self.path / path.relative_to(done.path)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    path.replace(target)
                shutil.rmtree(done.path)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def lock(self) -> FileLock:
        """Hold the folder for this process, and complete what a process that was killed left half done.

        Raises:
            InUse: another process trains this very run.
            ConfigError: the folder cannot be written.
        """
        self.make()
        lock = FileLock(self._lock)
        try:
            lock.acquire(timeout=1, poll_interval=0.05)  # `state` holds it for a moment
            self._lock.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        except Timeout as error:
            owner = self._lock.read_text(encoding="utf-8") or "another process"
            raise InUse(f"{self.path} is in use by {owner}; wait for it or stop it") from error
        except OSError as error:
            raise _unwritable(self.path, error) from error
        try:
            self.settle()
        except BaseException:
            lock.release()
            raise
        return lock
