"""A run's pictures: what a figure gives as a file, in TensorBoard, at validations, at the end and by evaluate."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from disvae.config import ConfigError, options, resolved
from disvae.evaluate import evaluate
from disvae.evaluation.settings import scoring_settings
from disvae.logger.tensorboard import TensorBoard
from disvae.pictures import files as rendering
from disvae.pictures import run_figures as drawing
from disvae.pictures.figure_data import NotDrawable
from disvae.pictures.files import DPI, FRAME_S, rendered
from disvae.pictures.run_figures import Pictures, choose_figures, draw_figures
from disvae.runs.folder import Run
from disvae.training.job import Job
from disvae.training.job_group import train_jobs
from disvae.training.loop import train_run
from disvae.training.module import VAEModule

SPRITES = ("dataset=sprites", "dataset.orientations=4", "dataset.positions=8", "dataset.scales=2", "z_dim=3")
SMALL = ("model=mlp", "model.encoder_hidden=[16]", "model.decoder_hidden=[16]", "batch_size=16", "eval_images=60")
SHORT = ("steps=6", "eval_every=2", "split.validation=0.3", "eval_samples=50", "metric=[]", "final=[]")
SHOWN = ("figure=[traversal]", "final_figures=[reconstruction]")


def a_figure(text="", width=3.0, height=2.0):
    figure = Figure(figsize=(width, height))
    figure.add_subplot().set_xlabel(text)
    return figure


def frames(n=4) -> Iterator[Figure]:
    """One figure, whose black square moves over white."""
    figure = Figure(figsize=(2.0, 1.015))  # a height of 111.65 pixels
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.set(xlim=(0, n), ylim=(0, 1))
    square = axes.axvspan(0, 1, color="black")
    for place in range(n):
        square.set_x(place)
        yield figure


def pictures_of(run: Run) -> dict[str, dict[int, list[bytes]]]:
    """The pictures in TensorBoard by tag and step."""
    events = EventAccumulator(str(run.path), size_guidance={"images": 0}).Reload()
    found: dict[str, dict[int, list[bytes]]] = {}
    for tag in events.Tags()["images"]:
        for event in events.Images(tag):
            found.setdefault(tag, {}).setdefault(event.step, []).append(event.encoded_image_string)
    return found


def files_of(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.figures.iterdir()}


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB")).astype(float) / 255


# what a figure becomes


def test_a_figure_is_a_png_on_white():
    content, suffix = rendered(a_figure())
    assert suffix == ".png"
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.width) == ("PNG", 3 * DPI)  # as wide as it says; its type is larger
        assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


def test_frames_are_an_animation_that_repeats_and_may_be_one_figure_changed():
    content, suffix = rendered(frames())
    assert suffix == ".gif"
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.n_frames, image.info["loop"]) == ("GIF", 4, 0)
        seen = []
        for place in range(4):
            image.seek(place)
            assert image.info["duration"] == 1000 * FRAME_S
            seen.append(np.asarray(image.convert("L"))[50, 27::55].tolist())
    assert seen == [[0 if k == place else 255 for k in range(4)] for place in range(4)]  # pure black, pure white


def test_colours_that_come_later_in_an_animation_are_kept():
    def in_colour():
        for colour in ("white", "#0072B2", "#D55E00", "#009E73"):
            figure = Figure(figsize=(1, 1))
            figure.add_axes((0, 0, 1, 1), facecolor=colour)
            yield figure

    content, _ = rendered(in_colour())
    with Image.open(io.BytesIO(content)) as image:
        image.seek(3)
        assert np.abs(np.array(image.convert("RGB").getpixel((50, 50))) - (0, 0x9E, 0x73)).max() <= 2


@pytest.mark.parametrize("drawn", [a_figure, frames])
def test_tensorboard_holds_the_very_file_at_its_step(tmp_path, drawn):
    content, _ = rendered(drawn())
    logger = TensorBoard(tmp_path, step=0)
    logger.log_picture("response", content, 70)
    logger.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["images"] == ["val_figure/response"]
    (event,) = events.Images("val_figure/response")
    assert event.step == 70
    assert event.encoded_image_string == content
    assert (event.height, event.width) == pixels(content).shape[:2]


# one after another


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, vae, view):
        raise self.error


def played(vae, view) -> Iterator[Figure]:
    yield a_figure()
    raise RuntimeError("in the second frame")


def test_a_figure_that_fails_is_told_of_once_and_stops_no_other(caplog):
    figures = {"bad": Failing(KeyError("z")), "worse": played, "good": lambda vae, view: a_figure()}
    chosen = Pictures(figures, named=())
    vae = torch.nn.Linear(1, 1).train()
    assert [label for label, _, _ in draw_figures(chosen, vae, None)] == ["good"]
    assert caplog.messages == [
        "figure bad could not be drawn: KeyError: 'z'",
        "figure worse could not be drawn: RuntimeError: in the second frame",
    ]
    assert vae.training
    caplog.clear()
    assert [label for label, _, _ in draw_figures(chosen, vae, None)] == ["good"]  # at the next validation
    assert not caplog.messages


@pytest.mark.parametrize("named", [True, False])
def test_what_does_not_suit_the_data_is_told_of_only_if_somebody_named_it(caplog, named):
    figures = {"magnitude": Failing(NotDrawable("the data must have classes"))}
    assert not list(draw_figures(Pictures(figures, {"magnitude"} if named else ()), torch.nn.Linear(1, 1), None))
    assert caplog.messages == ["figure magnitude is not available: the data must have classes"] * named


def test_figures_see_the_vae_as_it_scores(caplog):
    seen = []
    figures = {"a": lambda vae, view: seen.append((vae.training, torch.is_grad_enabled())) or a_figure()}
    vae = torch.nn.Linear(1, 1).train()
    assert len(list(draw_figures(Pictures(figures, ()), vae, None))) == 1
    assert seen == [(False, False)]
    assert vae.training


def test_a_users_own_style_changes_nothing():
    figures = {"a": lambda vae, view: a_figure("nats")}
    (_, expected, _), *_ = draw_figures(Pictures(figures, ()), torch.nn.Linear(1, 1), None)
    with matplotlib.rc_context({"text.color": "red", "axes.labelcolor": "red", "axes.facecolor": "black"}):
        (_, found, _), *_ = draw_figures(Pictures(figures, ()), torch.nn.Linear(1, 1), None)
        assert matplotlib.rcParams["text.color"] == "red"
    assert found == expected


def test_labels_say_what_was_set_and_who_named_it():
    _, shown, _ = scoring_settings(["figure=[traversal,reconstruction]", "figure.traversal.image=7"])
    chosen = choose_figures(shown, ["schedules"])
    assert set(chosen.figures) == {"traversal-image7", "reconstruction", "schedules"}
    assert set(chosen.named) == set(chosen.figures)
    assert set(choose_figures(shown, ["schedules"], by_default=True).named) == {"schedules"}
    everything = choose_figures({}, "all")
    assert set(everything.figures) == set(options("figure")) - {"traversal_animation"}
    assert not everything.named
    assert "traversal_animation" in choose_figures({}, ["traversal_animation"]).named


def test_an_unknown_setting_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"figure\.traversal"):
        choose_figures({"traversal": {"_target_": "disvae.figure.traversal.traversal", "imgae": 7}}, [])


# a run


@pytest.fixture(scope="module")
def trained(composed, tmp_path_factory) -> Run:
    run = Run(tmp_path_factory.mktemp("runs") / "run")
    train_run(Job(run, resolved(composed(*SPRITES, *SMALL, *SHORT, *SHOWN)), SHOWN, brief=True))
    return run


@pytest.fixture
def run(trained, tmp_path) -> Run:
    """A copy that a test may change."""
    shutil.copytree(trained.path, tmp_path / "z_dim=3-0123")
    return Run(tmp_path / "z_dim=3-0123")


def test_a_run_draws_at_each_validation_and_at_the_end(trained):
    files, found = files_of(trained), pictures_of(trained)
    assert set(files) == {"traversal.png", "reconstruction.png"}
    assert trained.drawn() == {"traversal", "reconstruction"}
    assert list(found["val_figure/traversal"]) == [2, 4, 6]
    assert found["val_figure/traversal"][6] == [files["traversal.png"]]
    assert found["val_figure/traversal"][2] != found["val_figure/traversal"][6]
    assert found["val_figure/reconstruction"] == {6: [files["reconstruction.png"]]}


def test_pictures_cost_the_numbers_nothing(trained, composed, tmp_path):
    plain = Run(tmp_path / "plain")
    none = ("figure=[]", "final_figures=[]")
    train_run(Job(plain, resolved(composed(*SPRITES, *SMALL, *SHORT, *none)), brief=True))
    assert plain.metrics() == trained.metrics()
    assert not plain.figures.exists()
    assert not pictures_of(plain)


def test_evaluate_draws_what_it_is_asked_for_and_nothing_else(run, capsys):
    before, metrics = files_of(run), run.metrics()
    evaluate([f"run={run.path}", "figure=[traversal]", "figure.traversal.image=7"])
    assert capsys.readouterr().out == f"Drawn in {run.figures}: traversal-image7.png\n"
    after = files_of(run)
    assert after.keys() - before.keys() == {"traversal-image7.png"}
    assert {name: after[name] for name in before} == before
    assert after["traversal-image7.png"] != after["traversal.png"]
    assert pictures_of(run)["val_figure/traversal-image7"] == {6: [after["traversal-image7.png"]]}
    assert run.metrics() == metrics


def test_what_is_drawn_again_is_the_same_and_takes_its_place(run, capsys):
    before, expected = files_of(run), pictures_of(run)
    evaluate([str(run.path), "figure=[traversal]"])
    assert files_of(run) == before
    assert pictures_of(run) == expected  # once at each step
    evaluate([str(run.path), "figure=[interpolation]"])
    assert pictures_of(run).keys() - expected.keys() == {"val_figure/interpolation"}


def test_a_picture_that_looks_otherwise_now_is_the_only_one_of_its_step(run, monkeypatch, capsys):
    monkeypatch.setattr(rendering, "DPI", 50)
    evaluate([str(run.path), "figure=[traversal]"])
    assert pictures_of(run)["val_figure/traversal"][6] == [files_of(run)["traversal.png"]]
    assert pixels(files_of(run)["traversal.png"]).shape[1] < 500
    assert list(pictures_of(run)["val_figure/traversal"]) == [2, 4, 6]


def test_a_full_disk_is_said_and_takes_no_former_picture(run, monkeypatch, capsys):
    expected = pictures_of(run)
    write = Path.open

    def full(path, *arguments, **more):
        if "tfevents" in path.name:
            raise OSError(28, "No space left on device")
        return write(path, *arguments, **more)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ConfigError, match=r"cannot write .*No space left on device"):
        evaluate([str(run.path), "figure=[interpolation]"])
    monkeypatch.undo()
    assert "interpolation.png" in files_of(run)
    assert pictures_of(run) == expected


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("figure=[traversals]", "figure must be one or a list of .*traversal.*got traversals"),
        ("figure.traversal.imgae=7", "imgae"),
        ("figure=[traversal] figure.traversal.imgae=7", "imgae"),
        ("figure=[prior_samples] figure.prior_samples.side=0", "figure.prior_samples.side must be at least 1, got 0"),
        ("figure=[scatter] figure.scatter.most=-1", "figure.scatter.most must be at least 1, got -1"),
        ("figure=[traversal] figure.traversal.image=99999", "no figure could be drawn"),
    ],
)
def test_what_is_not_there_is_refused_by_name(run, override, said, caplog):
    before = files_of(run)
    with pytest.raises(ConfigError, match=said):
        evaluate([str(run.path), *override.split()])
    assert files_of(run) == before
    if "99999" in override:
        assert "image must be a number from 0 to 1535, got 99999" in caplog.text


def test_final_figures_are_refused_by_name(composed):
    from disvae.config import check_values

    with pytest.raises(ConfigError, match=r"final_figures must be all or a list of .*traversal"):
        check_values(composed("final_figures=[traversals]"))


class Killed(BaseException):
    """The process is gone."""


def test_a_resumed_run_has_the_same_pictures(trained, composed, tmp_path, monkeypatch):
    original = VAEModule.training_step

    def training_step(self, batch, batch_idx):
        if self.global_step == 5:
            raise Killed
        return original(self, batch, batch_idx)

    again = Run(tmp_path / "again")
    config = resolved(composed(*SPRITES, *SMALL, *SHORT, *SHOWN))
    with monkeypatch.context() as patched:
        patched.setattr(VAEModule, "training_step", training_step)
        with pytest.raises(Killed):
            train_run(Job(again, config, SHOWN, brief=True))
    assert not again.figures.exists()
    train_run(Job(again, config, SHOWN, brief=True))
    assert files_of(again) == files_of(trained)
    assert pictures_of(again) == pictures_of(trained)


def test_a_run_killed_while_it_draws_draws_when_it_goes_on(trained, composed, tmp_path, monkeypatch):
    again = Run(tmp_path / "again")
    config = resolved(composed(*SPRITES, *SMALL, *SHORT, *SHOWN))

    def killed(*arguments):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(drawing, "write_atomically", killed)
        with pytest.raises(Killed):
            train_run(Job(again, config, SHOWN, brief=True))
    assert not again.finished()
    train_run(Job(again, config, SHOWN, brief=True))
    assert again.finished()
    assert files_of(again) == files_of(trained)
    assert pictures_of(again) == pictures_of(trained)


def test_runs_trained_together_draw_what_they_draw_alone(trained, composed, tmp_path):
    packed = [
        Job(
            Run(tmp_path / f"{seed}"),
            resolved(composed(*SPRITES, *SMALL, *SHORT, *SHOWN, f"seed={seed}")),
            SHOWN,
            brief=True,
        )
        for seed in (0, 1)
    ]
    outcomes = {}
    train_jobs(packed, lambda i: None, outcomes.__setitem__)
    assert not any(isinstance(outcome, BaseException) for outcome in outcomes.values()), outcomes
    found, expected = pictures_of(packed[0].run), pictures_of(trained)
    assert {tag: list(steps) for tag, steps in found.items()} == {tag: list(steps) for tag, steps in expected.items()}
    for tag, steps in expected.items():
        for step, (content,) in steps.items():
            (other,) = found[tag][step]
            assert np.abs(pixels(other) - pixels(content)).mean() < 1e-3, (tag, step)
    other_seed = pixels(files_of(packed[1].run)["reconstruction.png"])
    assert np.abs(other_seed - pixels(files_of(trained)["reconstruction.png"])).mean() > 1e-3


def test_the_defaults_that_do_not_suit_the_data_are_not_complained_of(composed, tiny, tmp_path, caplog):
    overrides = [text for text in tiny if "figure" not in text]
    run = Run(tmp_path / "clusters")
    train_run(Job(run, resolved(composed(*overrides, "final_figures=all")), brief=True))
    assert "figure" not in caplog.text
    assert "traversal" not in run.drawn()
