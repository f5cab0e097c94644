"""The schedules of a comparison: each is drawn once, over the longest run that has it."""

from omegaconf import OmegaConf

from disvae.comparison.groups import compare
from disvae.comparison.schedules import schedule_figure
from tests.comparison.rows import runs, write


def config_with(beta, steps):
    parts = ("dataset", "model", "prior", "posterior", "likelihood", "objective", "optimizer")
    config = {part: {"_target_": f"disvae.{part}.x.X"} for part in parts}
    config["objective"]["beta"] = beta
    counts = dict.fromkeys(("seed", "z_dim", "batch_size", "eval_every"), 1)
    return {**config, **counts, "steps": steps, "trainer": {}, "split": {}, "score": {}}


def test_schedules_that_differ_in_one_setting_are_two_and_equal_ones_are_one(tmp_path):
    rows = runs(tmp_path, seeds=1, beta=(1.0, 2.0, 4.0))
    for row, (warm_up, steps) in zip(rows, [(20, 50), (60, 50), (20, 80)], strict=True):
        node = {"_target_": "disvae.schedule.linear.Linear", "start": 0.0, "value": 1.0, "until": 0.5}
        node["steps"] = warm_up
        write(row, OmegaConf.to_yaml(OmegaConf.create(config_with(node, steps))), "config.yaml")
    drawn = schedule_figure(compare(rows)[0])
    titles = [axes.get_title(loc="left") for axes in drawn.figure.axes]
    assert [title.partition(":")[2].partition(":")[0] for title in titles] == [
        " start 0, value 1, until 0.5, steps 20",
        " start 0, value 1, until 0.5, steps 60",
    ]
    assert drawn.figure.axes[-1].get_xlim() == (0, 79)
