"""The folder of a run, named by its overrides and by the hash of the settings that decide its numbers.

config.yaml      the resolved configuration
provenance.json  command, commit, versions, data and device
status.json      state (running, finished, interrupted ...) and step
metrics.json     the final terms and scores
scores.json      every metric with confidence intervals, baselines and protocol
encoding.h5      the codes that the scores were computed from
figures/         the pictures of the run
csv/             the curves as tables, one for each session, with logger=[csv]
wandb/           the sessions with Weights & Biases, with logger=[wandb]
log.txt          the output of a job of a sweep
digests.json     digests of the files above and below that hold numbers, which are checked when they are read
last.ckpt        the checkpoint to resume from
best.ckpt        the checkpoint with the best validation ELBO
events.*         the TensorBoard events
report.html      a page with all results
explore.html     a page with a slider for each latent

Only files with these names are ever removed. With force=true a run is repeated in the folder .new/ inside its own; the
old files stay until the repeat is finished.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import shlex
import shutil
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, Timeout
from omegaconf import OmegaConf

from disvae.config import ConfigError, options
from disvae.runs import digests
from disvae.runs.atomic import write_atomically
from disvae.runs.contents import CONFIG, METRICS, PROVENANCE, SCORES, STATUS, Form, with_form, yaml_tree
from disvae.runs.digests import Changed, Damaged, read_known, sealed, unsealed, write_recorded
from disvae.runs.identity import NOT_IDENTITY, identity
from disvae.runs.provenance import now
from disvae.runs.tags import main_term
from disvae.system.locks import acquired, awaited, owner
from disvae.system.plugins import check_plugins, plugins_of

NAMES = (
    r"config\.yaml|(provenance|status|metrics|scores|digests)\.json|(last|best)\.ckpt|encoding(-\w+)?\.h5"
    r"|events\.out\.tfevents\..+|(report|explore)\.html"
)
"""A pattern of the files in a run folder that a repeat replaces; log.txt is kept, because it covers all repeats."""


REMEDIES = {
    "config.yaml": "repeat the run with force=true",
    "status.json": "delete it and repeat the run's command, or repeat the run with force=true",
    "metrics.json": "delete it and repeat the run's command, which measures the trained run again",
    "scores.json": "python -m disvae.evaluate {run} writes it again",
    "provenance.json": "delete it, or repeat the run with force=true",
}
"""What to do about a file that cannot be believed, by its name."""


UNCHANGED = "defaults"
"""The name of a run without overrides, before its hash."""


LAST = (digests.NAME, "status.json")
"""Files of a repeat that are moved to their place after all others."""


class InUse(ConfigError):
    """An error that says that another process uses the folder of a run."""


def digest(config: Mapping[str, Any]) -> str:
    """Return the first eight hexadecimal digits of the hash of a resolved configuration's identity."""
    text = json.dumps(identity(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


LONGEST_READABLE = 200
"""Most bytes in the readable part of a folder's name; file systems allow 255 in the whole name."""


def readable(overrides: Iterable[str], skip: Iterable[str], kept: int = 0) -> str:
    """Return overrides as a folder name, `objective=beta_tc,beta=6`, without keys that do not identify a run.

    The name ends with a whole override and has at most 100 bytes, but the first `kept` overrides may need more.
    """
    name = ""
    for i, text in enumerate(overrides):
        key = text.lstrip("+~").partition("=")[0]
        if key not in skip and key.partition(".")[0] not in NOT_IDENTITY:
            part = text.lstrip("+").replace("{", "").replace("}", "").replace(":", "=")
            longer = f"{name},{part}" if name else part
            longer = re.sub(r"[^\w=.,@-]+", "_", longer).rstrip(",._")
            if i >= kept and name and len(longer.encode()) > 100:
                break
            name = longer.encode()[: LONGEST_READABLE if i < kept else 100].decode(errors="ignore")
    return name.rstrip(",._") or UNCHANGED


def _former(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the configuration in the forms in which earlier versions stored it.

    They left out `beta`, for example, if `schedule.beta.value` was typed. They had no `model.init`, which was `torch`.
    """
    typed = [name for name in ("beta", "alpha") if name in config]
    groups = [group for n in range(len(typed) + 1) for group in itertools.combinations(typed, n)]
    without = {key: value for key, value in config["model"].items() if key != "init"}
    models = [config["model"], *([without] if config["model"].get("init") == "torch" else [])]
    forms = [{**config, "model": model} for model in models]
    return [{key: value for key, value in form.items() if key not in group} for form in forms for group in groups]


def _with_hash_of(path: Path) -> Path:
    """Return the folder beside `path` whose name ends with the same hash, or else `path`."""
    found = sorted(path.parent.glob(f"*-{path.name.rpartition('-')[2]}"))
    return found[0] if found else path


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path} cannot be written ({error}); choose another folder for new runs with out=PATH")


@dataclass(frozen=True)
class Run:
    """A run, given by the path of its folder."""

    path: Path

    @classmethod
    def find(cls, out: Path, dataset: str, name: str, config: Mapping[str, Any]) -> "Run":
        """Return the run of this configuration: the folder with its hash, or else a new `out/dataset/name-hash`."""
        new = out / dataset / f"{name}-{digest(config)}"
        former = [new.with_name(f"{name}-{digest(each)}") for each in _former(config)]
        return cls(next(filter(Path.exists, map(_with_hash_of, (new, *former))), new))

    def claimed(self) -> "Run":
        """Make the folder and return the run; if another process has made one for the same hash, return that one.

        Raises:
            ConfigError: the folder cannot be made.
        """
        if self.path.is_dir():  # perhaps one that this user may only read
            return self
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with awaited(self.path.parent / ".lock"):  # two processes may have named the same run differently
                path = _with_hash_of(self.path)
                path.mkdir(exist_ok=True)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        return Run(path)

    @property
    def last(self) -> Path:
        """Return the path of the checkpoint to resume from."""
        return self.path / "last.ckpt"

    @property
    def best(self) -> Path:
        """Return the path of the checkpoint with the best validation ELBO."""
        return self.path / "best.ckpt"

    @property
    def figures(self) -> Path:
        """Return the path of the folder with pictures."""
        return self.path / "figures"

    @property
    def report(self) -> Path:
        """Return the path of the HTML report."""
        return self.path / "report.html"

    @property
    def _lock(self) -> Path:
        """Return the path of the lock file; a run and its repeat in .new/ share one lock."""
        return (self.path.parent if self.path.name == ".new" else self.path) / ".lock"

    def check_trained(self) -> None:
        """Check that the folder holds a configuration and a checkpoint, and that its plugins are allowed here.

        Raises:
            ConfigError: a file is missing, or a plugin is not allowed.
            Damaged: the folder or the configuration cannot be read, or it is not that of the run.
        """
        try:
            there = (self.path / "config.yaml").is_file() and self.last.is_file()
        except PermissionError as error:
            raise Damaged(f"{self.path} cannot be read ({error.strerror}): ask its owner") from error
        if not there:
            raise ConfigError(f"{self.path} is not the folder of a trained run: config.yaml or last.ckpt is missing")
        check_plugins(plugins_of(self.config()), self.path)

    def place(self, force: bool) -> "Run":
        """Return the run that training writes: this one or, with `force`, its repeat in .new/."""
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
        """Return the resolved configuration, as plain containers.

        Raises:
            Damaged: config.yaml is missing or damaged, holds no configuration of a run, or that of another run.
        """
        config = self._read("config.yaml", CONFIG, yaml_tree)
        named = re.fullmatch(rf"(?:.*=.*|{UNCHANGED})-([0-9a-f]{{8}})", self._lock.parent.resolve().name)
        if named and named[1] not in (digest(config), *map(digest, _former(config))):
            path, remedy = self.path / "config.yaml", REMEDIES["config.yaml"].format(run=shlex.quote(str(self.path)))
            raise Damaged(f"{path} is not that of {named[0]}: its hash is {digest(config)}; {remedy}")
        return config

    def status(self) -> dict[str, Any]:
        """Return state, step, pid, host, time and, after a failure, error; the state of a missing folder is `new`."""
        return self._read("status.json", STATUS) or {"state": "new", "step": 0}

    def state(self) -> str:
        """Return the state in status.json, or `killed` if that says running but no process holds the lock."""
        state: str = self.status()["state"]
        if state != "running":
            return state
        try:
            acquired(self._lock, timeout=0).release()
        except (Timeout, OSError):  # OSError: the folder belongs to another user
            return state
        return "killed"

    def finished(self) -> bool:
        """Return whether the run is trained to its last step and scored."""
        return self.status()["state"] == "finished" and main_term(self.metrics()) is not None

    def metrics(self) -> dict[str, float]:
        """Return the final terms and scores by tag; they are empty before the run is finished."""
        return self._read("metrics.json", METRICS)

    def provenance(self) -> dict[str, Any]:
        """Return the content of provenance.json: an entry for each session, since a resumed run has several."""
        return self._read("provenance.json", PROVENANCE)

    def data_checksum(self) -> str | None:
        """Return the checksum of the images that the run was trained on; None if it was stopped before it read them."""
        sessions = self.provenance().get("sessions", [])
        return sessions[-1].get("data_checksum") if sessions else None

    def _read(self, name: str, form: Form, parse: Callable[[str], Any] = json.loads) -> dict[str, Any]:
        """Return the content of a file, checked; a file that is not there is empty, but for the configuration.

        Raises:
            Damaged: the file cannot be read, is not what was written or does not have the form.
        """
        path = self.path / name
        remedy = REMEDIES[name].format(run=shlex.quote(str(self.path)))
        try:
            text = read_known(path).decode()
            content = with_form(unsealed(parse(text)), form)
        except FileNotFoundError as error:
            if name != "config.yaml":
                return {}
            raise Damaged(f"{path} is missing: {remedy}") from error
        except Changed as error:
            raise Damaged(f"{path} {error}: {remedy}") from error
        except Damaged:
            raise
        except (PermissionError, NotADirectoryError) as error:
            owner = "ask its owner, or " if isinstance(error, PermissionError) else ""
            raise Damaged(f"{path} cannot be read ({error.strerror}): {owner}type another out=PATH") from error
        except Exception as error:  # a damaged file makes parsers raise many kinds of errors
            reason = " ".join(str(error).split()) or type(error).__name__
            raise Damaged(f"{path} is not readable ({reason}): {remedy}") from error
        return content

    def mark(self, state: str, step: int, **more: Any) -> None:
        """Write the state (running, finished, interrupted, diverged or failed) and step to status.json."""
        status = {
            "state": state,
            "step": step,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "time": now(),
            **more,
        }
        path, text = self.path / "status.json", sealed(status)
        try:
            write_atomically(path, text)
        except ConfigError:  # a full disk has room for what a file holds already
            with contextlib.suppress(OSError), path.open("r+b") as file:
                file.write(text.encode())
                file.truncate()
                return
            raise

    def create(self, config: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        """Write the configuration and the provenance of the run."""
        write_recorded(self.path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(dict(config))))
        write_recorded(self.path / "provenance.json", json.dumps(provenance, indent=1) + "\n")

    def scores(self) -> dict[str, Any]:
        """Return the results of the metrics by stage and metric; they are empty before the first metric is computed.

        Raises:
            Damaged: scores.json is damaged.
        """
        return self._read("scores.json", SCORES)

    def scored(self) -> set[str]:
        """Return the labels of all metrics that were computed, failed ones included."""
        return {label for stage in self.scores().values() for label in stage}

    def drawn(self) -> set[str]:
        """Return the labels of the pictures in the folder."""
        return {path.stem for path in self.figures.glob("*.*")}

    def save_scores(self, scores: Mapping[str, Any]) -> None:
        """Write the results of metrics to scores.json."""
        write_recorded(self.path / "scores.json", json.dumps(scores, indent=1) + "\n")

    def save_metrics(self, metrics: Mapping[str, float]) -> None:
        """Write final terms and scores to metrics.json."""
        write_recorded(self.path / "metrics.json", json.dumps(metrics, indent=1) + "\n")

    def written(self, form: str = "{}") -> list[Path]:
        """Return the files that a repeat replaces; `form` is a pattern around the pattern of their names."""
        pictures = rf"({'|'.join(map(re.escape, options('figure')))})(-.*)?\.(png|gif)"
        tables = [(folder, r"metrics\.csv|hparams\.yaml") for folder in self.path.glob("csv/from-step-*")]
        places = [(self.path, NAMES), (self.figures, pictures), *tables]
        return [
            path
            for folder, names in places
            if folder.is_dir()
            for path in folder.iterdir()
            if re.fullmatch(form.format(f"({names})"), path.name)
        ]

    def _sessions(self) -> list[Path]:
        """Return the folders of the run's sessions with Weights & Biases, which names them by date and run."""
        name = rf"(offline-)?run-\d{{8}}_\d{{6}}-{re.escape(self._lock.parent.name[-8:])}(-repeat|-[0-9a-f]{{8}})?"
        return [path for path in self.path.glob("wandb/*") if re.fullmatch(name, path.name) and not path.is_symlink()]

    def withdraw(self) -> None:
        """Remove the folder of a run that was refused before it began, unless it holds more than a log."""
        if {path.name for path in self.path.glob("*")} <= {".lock", "log.txt"}:
            with contextlib.suppress(OSError):  # another process writes there
                for name in ("log.txt", ".lock"):
                    (self.path / name).unlink(missing_ok=True)
                self.path.rmdir()

    def settle(self) -> None:
        """Remove half-written files, and replace the results of the run by those of a finished repeat.

        The caller holds the lock. If the process is killed, the next call continues: first files without a successor
        are removed, then `.new` is renamed to `.done`, then its files are moved. status.json says running until it is
        moved last.

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
                for session in self._sessions():
                    shutil.rmtree(session)
                for link in self.path.glob("wandb/*"):
                    if re.fullmatch(r"latest-run|debug(-\w+)?\.log", link.name) and link.is_symlink():
                        link.unlink()
                emptied = (self.path / "csv", self.path / "wandb", self.figures)
                for folder in (*self.path.glob("csv/from-step-*"), *emptied):
                    if folder.is_dir() and not any(folder.iterdir()):
                        folder.rmdir()
                repeat.path.rename(done.path)
            if done.path.is_dir():
                digests.admit(self.path, done.path)
                # those of loggers and profilers, too; a link may lead to a folder or to what has moved
                files = [path for path in done.path.rglob("*") if path.is_file() or path.is_symlink()]
                for path in sorted(files, key=lambda path: LAST.index(path.name) if path.name in LAST else -1):
                    target = self.path / path.relative_to(done.path)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    path.replace(target)
                shutil.rmtree(done.path)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def reading(self) -> contextlib.AbstractContextManager[Any]:
        """Return the lock of the folder, or a context without one if this user may only read the folder."""
        return self.lock() if os.access(self.path, os.W_OK) else contextlib.nullcontext()

    def lock(self) -> BaseFileLock:
        """Lock the folder for this process, and clean up after a process that was killed.

        Raises:
            InUse: another process has locked the folder.
            ConfigError: the folder cannot be written.
        """
        self.make()
        try:
            lock = acquired(self._lock, timeout=1)  # `state` takes the lock for a moment
        except Timeout as error:
            remedy = f"wait for it or stop it, or delete {self._lock} if it has ended on another machine"
            raise InUse(f"{self.path} is in use by {owner(self._lock)}; {remedy}") from error
        except OSError as error:
            raise _unwritable(self.path, error) from error
        try:
            self.settle()
        except BaseException:
            lock.release()
            raise
        return lock
