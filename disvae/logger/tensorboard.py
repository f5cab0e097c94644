"""Curves and pictures as TensorBoard's events in the run's folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

from disvae.runs.tensorboard import begin, later_file, picture_summary


class TensorBoard(TensorBoardLogger):
    """TensorBoard's events in the run's folder itself; points after `step` are dropped from view.

    Events are written every 10 seconds and by `close`.
    """

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__(folder, name="", version="", default_hp_metric=False, purge_step=step + 1, flush_secs=10)

    @property
    def experiment(self) -> SummaryWriter:
        """Return the writer; its file comes after those that are there."""
        if self._experiment is None:
            later_file(Path(self.save_dir))
        writer: SummaryWriter = super().experiment
        return writer

    def begin(self, config: Mapping[str, Any]) -> None:
        """Write the run's hyperparameters and the layout of its curves."""
        begin(self.experiment, config)

    def log_picture(self, label: str, content: bytes, step: int) -> None:
        """Write a picture file as it is; TensorBoard plays animations."""
        self.experiment._get_file_writer().add_summary(picture_summary(label, content), step)

    def save(self) -> None:
        """Do nothing: Lightning asks after every point, and the run's folder has a configuration already."""

    def finalize(self, status: str) -> None:
        """Bring the events to the disk; the scores of the trained run are still to come."""
        if self._experiment is not None:
            self._experiment.flush()

    def close(self) -> None:
        """Close the file; all points are on the disk after this."""
        if self._experiment is not None:
            self._experiment.close()
