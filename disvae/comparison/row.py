"""One run as a row: settings, terms, scores, baselines and failures, read from its folder. Imports no torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from disvae.config import ConfigError
from disvae.runs.folder import Run
from disvae.runs.settings import Setting, flat_settings
from disvae.runs.tables import needed_images
from disvae.system.plugins import plugins_of
from disvae.system.signals import stop_if_asked

CHECKSUM = "dataset.checksum"
"""The setting of a row that tells runs of different images apart, whatever their paths and settings are."""


@dataclass(frozen=True)
class Row:
    """One run, or a job of a sweep that has no run yet.

    `metrics` holds the values of metrics.json by tag, `errors` their standard errors, and `intervals` the ends of the
    scores' 95 % confidence intervals over the images of this run. `controls` holds the scores of the baselines and of
    `chance`, by tag and source. `needed` holds by label how many images those metrics need that had fewer. `peers`
    names the folders of the runs that UDR compared. `repeat` is the progress of a repeat with force=true. A `typed` row
    has no configuration: only the settings in its overrides are known. `plugins` names the packages whose options the
    run uses, and `tags` are the words in tags=[...].
    """

    name: str
    path: Path | None
    state: str  # finished, running, interrupted, killed, diverged, failed, new
    step: int = 0
    error: str = ""
    settings: dict[str, Setting] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    controls: dict[str, dict[str, float]] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    needed: dict[str, int] = field(default_factory=dict)
    peers: frozenset[str] = frozenset()
    repeat: str = ""
    typed: bool = False
    plugins: tuple[Any, ...] = ()
    tags: frozenset[str] = frozenset()

    def half(self, tag: str) -> float | None:
        """Return half the 95 % interval of a value over the images of this run; None if it has no interval."""
        if tag in self.intervals:
            low, high = self.intervals[tag]
            return (high - low) / 2
        return 1.96 * self.errors[tag] if tag in self.errors else None


def of_run(run: Run) -> Row:
    """Return the row of a run folder; a folder that cannot be read is a failed run with the reason as its error."""
    try:
        status = run.status()
        values = run.metrics()
        scores = run.scores()
        found = list(_flat(scores))
        if status["state"] == "new":
            raise ConfigError(f"{run.path / 'status.json'} is missing: repeat the run's command")
        config = run.config() if (run.path / "config.yaml").exists() else {}
        return Row(
            name=printable(run.path),
            path=run.path,
            state=run.state(),
            step=status["step"],
            error=status.get("error", ""),
            settings=_settings(run, config) if config else {},
            metrics={tag: value for tag, value in values.items() if not tag.endswith("_se")},
            errors={tag.removesuffix("_se"): value for tag, value in values.items() if tag.endswith("_se")},
            controls={tag: others for tag, _, others in found if others},
            intervals={tag: (of["low"], of["high"]) for tag, of, _ in found if of.get("low") is not None},
            needed=needed_images(scores.get("metric", {})),
            peers=_peers(scores),
            repeat=_repeat(run.place(force=True)),
            plugins=tuple(plugins_of(config)),
            tags=frozenset(map(str, config.get("tags", ()))),
        )
    except Exception as error:  # whatever is wrong with one run must not hide the others
        stop_if_asked()
        reason = str(error) if isinstance(error, ConfigError) else f"{run.path} cannot be read: {error!r}"
        return Row(printable(run.path), run.path, "failed", error=reason)


def printable(path: Path) -> str:
    """Return the name of a folder; bytes that are not UTF-8 are shown as `?`."""
    return path.name.encode(errors="replace").decode()


def _settings(run: Run, config: Mapping[str, Any]) -> dict[str, Setting]:
    """Return the settings that distinguish runs; the beginning of the images' checksum is one of them."""
    checksum = run.data_checksum()
    known = {CHECKSUM: checksum[: len("sha256:") + 8]} if checksum else {}
    return flat_settings(config) | known


def _flat(scores: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, float], dict[str, float]]]:
    """Yield each tag with the model's score and interval, and with the values of the baselines and chance."""
    for stage, entries in scores.items():
        for label, entry in entries.items():
            for name, sources in entry["scores"].items():
                others = {source: score["value"] for source, score in sources.items() if source != "model"}
                if name in entry.get("chance", {}):
                    others["chance"] = entry["chance"][name]
                yield f"{stage}/{label}/{name}", sources.get("model", {}), others


def _repeat(run: Run) -> str:
    status = run.status()
    error = f": {status['error']}" if status.get("error") else ""
    return "" if status["state"] == "new" else f"{run.state()} at step {status['step']:,}{error}"


def _peers(scores: Mapping[str, Any]) -> frozenset[str]:
    udr = scores.get("metric-runs", {}).get("udr", {"protocol": {}})
    return frozenset(Path(path).name for path in udr["protocol"].get("runs", ()))
