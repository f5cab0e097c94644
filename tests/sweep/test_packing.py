"""Which jobs share a process."""

import pytest

from disvae.config import ConfigError, check_values, options
from disvae.runs.folder import Run
from disvae.sweep.entry import Entry
from disvae.sweep.packing import even_parts, kind, make_packs, most, packs_on_cpu
from disvae.training.job import Job

BASE = ("dataset=clusters", "objective=decomposition", "alpha=1")


@pytest.fixture
def job(composed, tmp_path):
    """Return a function that makes a job of overrides; the last of two for the same key wins."""

    def make(*overrides: str) -> Job:
        given = [*BASE, *overrides]
        last = {override.partition("=")[0].lstrip("+"): override for override in given}
        choices = {key: value.partition("=")[2] for key, value in last.items() if key in ("objective", "dataset")}
        return Job.of(composed(*last.values(), f"out={tmp_path}"), list(last.values()), choices)

    return make


@pytest.mark.parametrize(
    "overrides",
    [
        ("seed=3",),
        ("beta=7",),
        ("alpha=2", "beta=0.5"),
        ("schedule@schedule.beta=linear", "schedule@schedule.alpha=cyclical"),
        ("schedule@schedule.beta=linear", "schedule.beta.until=0.5"),
        ("schedule@schedule.beta=linear", "schedule.beta.start=2", "beta=0"),
        ("checkpoint_every=9", "final=[]", "metric=[]", "launcher.retries=3"),
    ],
)
def test_jobs_that_differ_in_seed_weights_or_what_is_no_part_of_a_run_are_of_one_kind(job, overrides):
    assert kind(job()) == kind(job(*overrides)) is not None


@pytest.mark.parametrize(
    "overrides",
    [
        ("beta=0",),
        ("alpha=0",),
        ("z_dim=3",),
        ("batch_size=100",),
        ("steps=100",),
        ("eval_every=100",),
        ("log_every=7",),
        ("objective=beta_vae", "alpha=0"),
        ("model=conv",),
        ("model.encoder_hidden=[50]",),
        ("prior=laplace",),
        ("posterior=laplace",),
        ("likelihood=bernoulli",),
        ("divergence=mmd",),
        ("dataset.seed=1",),
        ("dataset=sprites",),
        ("optimizer.lr=0.01",),
        ("optimizer=adagrad",),
        ("split.validation=0.1",),
        ("trainer.precision=tf32",),
        ("trainer.accelerator=cpu",),
        ("objective.released_mixture_kl=true",),
    ],
)
def test_jobs_of_other_shapes_numbers_of_steps_or_places_are_of_another_kind(job, overrides):
    other = kind(job(*overrides))
    assert other is not None
    assert other != kind(job())


def test_the_objectives_own_numbers_may_differ_but_not_in_being_zero(job):
    kinds = [kind(job("objective=beta_tc", "alpha=0", f"objective.mi_weight={weight}")) for weight in (1, 0.5, 0, 0.0)]
    assert kinds[0] == kinds[1] != kinds[2] == kinds[3]


@pytest.mark.parametrize(
    "own",
    [
        "callbacks=[early_stopping]",
        "scheduler=cosine",
        "logger=[tensorboard,csv]",
        "trainer.precision=bf16-mixed",
    ],
)
def test_a_run_whose_step_or_trainer_is_its_own_goes_alone(job, own):
    assert kind(job(own)) is None
    assert kind(job("logger=[]")) is not None
    assert kind(job("trainer.devices=[0]")) is not None


def test_only_jobs_at_the_same_step_go_together(job):
    def at(step, *overrides, state="interrupted"):
        made = job("seed=5", *overrides)
        made.run.path.mkdir(parents=True, exist_ok=True)
        made.run.mark(state, step)
        return made

    assert kind(at(0)) == kind(job())
    assert kind(at(100)) != kind(job())
    interrupted = kind(at(100))
    assert interrupted == kind(at(100, "beta=3", state="failed")) == kind(at(100, "beta=4", state="running"))
    assert kind(at(100, "force=true")) == kind(job("force=true")) == kind(job()), "it begins anew"
    repeat = at(500, "force=true", state="finished").run.place(force=True)
    repeat.make()
    repeat.mark("interrupted", 100)
    assert kind(job("seed=5", "force=true")) == interrupted, "it goes on with the repeat"


def test_what_is_trained_or_cannot_be_read_goes_alone(job):
    finished = job("metric=[component_nmi]")
    finished.run.path.mkdir(parents=True)
    finished.run.mark("finished", 500)
    finished.run.save_metrics({"val/elbo": 1.0})
    assert finished.remaining() == "scores"
    assert kind(finished) is None
    damaged = job("seed=1")
    damaged.run.path.mkdir(parents=True)
    (damaged.run.path / "status.json").write_text("?")
    assert kind(damaged) is None


@pytest.mark.parametrize(
    ("jobs", "limit", "slots", "sizes"),
    [
        (10, 16, 2, [5, 5]),
        (10, 16, 1, [10]),
        (10, 4, 2, [2, 3, 2, 3]),
        (9, 16, 8, [1] * 7 + [2]),
        (3, 16, 8, [1, 1, 1]),
        (17, 16, 1, [8, 9]),
        (40, 16, 2, [10, 10, 10, 10]),
        (16, 16, 1, [16]),
        (7, 1, 2, [1] * 7),
        (9, 16, 2, [4, 5]),
        (1, 16, 4, [1]),
    ],
)
def test_packs_are_even_and_leave_no_slot_idle(jobs, limit, slots, sizes):
    made = even_parts(["a"] * jobs, [limit] * jobs, slots)
    assert sorted(map(len, made)) == sorted(sizes)
    assert [i for pack in made for i in pack] == list(range(jobs)), "in the order they were given"


def test_two_kinds_on_two_slots_are_two_packs():
    assert even_parts(["a", "b"] * 3, [16] * 6, 2) == [[0, 2, 4], [1, 3, 5]]
    assert even_parts(["a", "b"] * 3, [16] * 6, 1) == [[0, 2, 4], [1, 3, 5]]


def test_each_kind_has_its_own_limit_and_none_goes_alone():
    made = even_parts(["mlp", "conv"] * 4 + [None, None], [16, 1] * 4 + [16, 16], 1)
    assert made == [[0, 2, 4, 6], [1], [3], [5], [7], [8], [9]]


@pytest.mark.parametrize("jobs", range(1, 40))
@pytest.mark.parametrize(("limit", "slots"), [(1, 3), (5, 1), (5, 2), (16, 2), (16, 8), (3, 7)])
def test_every_job_is_in_one_pack_and_no_pack_is_too_large(jobs, limit, slots):
    made = even_parts([str(i % 3) for i in range(jobs)], [limit] * jobs, slots)
    assert sorted(i for pack in made for i in pack) == list(range(jobs))
    assert max(map(len, made)) <= limit
    assert len(made) >= min(jobs, slots), "no slot idles"
    assert all(len({i % 3 for i in pack}) == 1 for pack in made)


def test_no_jobs_are_no_packs():
    assert make_packs([], 2) == []


def test_again_twin_and_unpackable_entries_go_alone(job):
    entries = [Entry([], job=job(f"seed={i}"), most=16) for i in range(6)]
    entries[1].attempts = 1
    entries[3].twin = "seed=0"
    entries[4].most = 1
    made = make_packs(entries, 1)
    assert [[entries.index(entry) for entry in pack] for pack in made] == [[0, 2, 5], [1], [3], [4]]
    assert len({entry.pack for entry in entries}) == len(made)


def test_on_a_cpu_only_the_networks_that_say_so_are_packed():
    assert [name for name in options("model") if packs_on_cpu(name, "beta_vae")] == ["mlp"]
    assert [name for name in options("objective") if not packs_on_cpu("mlp", name)] == ["factor_vae"]
    assert most("auto", False, "mlp", "beta_vae") == most("auto", True, "conv", "factor_vae") == 16
    assert most("auto", False, "conv", "beta_vae") == 1
    assert most(4, False, "conv", "beta_vae") == most(4, True, "mlp", "beta_vae") == 4
    assert not packs_on_cpu("none_such", "beta_vae")


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "true", "null"])
def test_a_pack_of_no_number_of_runs_is_refused(composed, value):
    with pytest.raises(ConfigError, match=r"launcher\.pack \(or auto\) must be a whole number from 1 to 10,000, got"):
        check_values(composed(f"launcher.pack={value}"))


@pytest.mark.parametrize("value", ["1", "16", "auto"])
def test_pack_takes_a_number_or_auto(composed, value):
    check_values(composed(f"launcher.pack={value}"))


def test_a_run_is_the_same_packed_or_alone(job):
    assert job("launcher.pack=4").run == job().run == Run(job("launcher.pack=1").run.path)
