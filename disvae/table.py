"""The table that ends a run."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from disvae.runs import Run

COLUMNS = {"train": "last batch", "val": "validation", "held_out": "held out"}


def _rows(metrics: Iterable[str]) -> list[str]:
    """Terms in the order they were logged, without per-latent vectors, standard errors and bounds."""
    names = dict.fromkeys(name.partition("/")[2] for name in metrics if name.partition("/")[0] in COLUMNS)
    return [name for name in names if not name.rpartition("/")[2].isdigit() and not name.endswith(("_se", "_limit"))]


def print_result(run: Run) -> None:
    """Final terms of a finished run, where it lies and how to look at it."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    metrics = run.metrics()
    stages = {stage: title for stage, title in COLUMNS.items() if any(name.startswith(f"{stage}/") for name in metrics)}
    caption = "± standard error; overlap and structure: the aggregate posterior of a fixed sample of images"
    table = Table(title=run.path.name, caption=caption)
    table.add_column("nats per image", no_wrap=True)
    for title in stages.values():
        table.add_column(title, justify="right", no_wrap=True)
    for name in _rows(metrics):
        cells = []
        for stage in stages:
            value = metrics.get(f"{stage}/{name}")
            error = metrics.get(f"{stage}/{name}_se")
            cells.append("" if value is None else f"{value:.4g}" + ("" if error is None else f" ± {error:.2g}"))
        table.add_row(name, *cells)
    console.print(table)
    for note in notes(run):
        console.print(note, highlight=False)
    console.print(f"\nRun folder:   {run.path}", highlight=False, soft_wrap=True)
    console.print(f"TensorBoard:  tensorboard --logdir {run.path}", highlight=False, soft_wrap=True)


def notes(run: Run) -> list[str]:
    """What a reader should know of these numbers: a collapsed posterior, a bound that is reached."""
    z_dim, metrics = run.config()["z_dim"], run.metrics()
    said = []
    if "val/active_units" in metrics:  # not for a posterior without a mean
        active = round(metrics["val/active_units"])
        if active == 0:
            said.append("posterior collapse: the codes say nothing of the images; try a lower or a warmed-up beta")
        else:
            said.append(f"{active} of {z_dim} latents are active (variance of their mean over images above 0.01)")
    limit = metrics["val/overlap/mutual_information_limit"]
    if metrics["val/overlap/mutual_information"] > 0.9 * limit:
        said.append(
            f"I(x;z) is near {limit:.2f}, the log of the number of validation images and its bound: with more of them "
            "(eval_images, split.validation) I(x;z) and TC could come out higher"
        )
    return said
