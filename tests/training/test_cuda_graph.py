"""What a CUDA graph needs of the steps, by stand-ins that record on a CPU; scripts/check_gpu.py checks the real one."""

import contextlib
import copy
import logging
from types import SimpleNamespace
from typing import ClassVar

import pytest
import pytorch_lightning as pl
import torch

from disvae.build import build
from disvae.config import resolved
from disvae.objective.beta_vae import BetaVAE
from disvae.optimizer.adagrad import adagrad
from disvae.training import build_module as building
from disvae.training import cuda_graph
from disvae.training.checkpoint_io import AtomicCheckpointIO
from disvae.training.cuda_graph import WARM_UP, GraphedVAEModule
from disvae.training.data_module import DataModule
from disvae.training.module import VAEModule, step_seed
from disvae.training.packed.module import PackedDataModule, PackedModule
from disvae.training.trainer import set_up, trainer_of

CASE = ("dataset=clusters", "dataset.points=50", "batch_size=20", "objective=beta_vae", "eval_images=20")
CPU = torch.device("cpu")


class Rehearsed:
    """Steps made eagerly; where they wait is told by the test."""

    says: ClassVar[list[str]] = []

    def __init__(self, device):
        self.stream = None
        self.steps = 0
        self.waits = self.says

    def __call__(self, step):
        self.steps += 1
        return step()


class Recorded:
    """Computes nothing when made; a replay is `body` on the tensors it was made with."""

    made: ClassVar[list["Recorded"]] = []

    def __init__(self, body, inputs, generators, stream):
        self.body = body
        self.inputs = {name: value.clone() for name, value in inputs.items()}
        self.generators = generators
        self.replays = 0
        self.made.append(self)

    def __call__(self, inputs):
        for name, value in inputs.items():
            self.inputs[name].copy_(value)
        self.replays += 1
        return self.body(self.inputs).clone()


class Broken(Recorded):
    """Draws on the CPU before it fails, as torch does: the reason, then an error of its own."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        torch.rand(5)
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nCompile with ...")
        except RuntimeError:
            raise RuntimeError("operation failed due to a previous error during capture")  # noqa: B904


@pytest.fixture
def recording(monkeypatch):
    """Return a function that lets the CPU have graphs of the given kind, and returns the list of those made."""

    def use(kind=Recorded, waits=()):
        monkeypatch.setattr(Recorded, "made", [])
        monkeypatch.setattr(Rehearsed, "says", list(waits))
        for user in (building, cuda_graph):
            monkeypatch.setattr(user, "can_record", lambda device: True)
        monkeypatch.setattr(cuda_graph, "Rehearsal", Rehearsed)
        monkeypatch.setattr(cuda_graph, "Captured", kind)
        return kind.made

    return use


class Fitter:
    """Makes modules of overrides and lets Lightning train them, without a run's folder."""

    def __init__(self, composed, folder):
        self.composed = composed
        self.folder = folder
        set_up()

    def parts(self, *overrides):
        config = resolved(self.composed(*CASE, *overrides))
        built = build(config)
        return config, built.data, building.build_module(config, built, CPU)

    def fit(self, config, data, module, steps, *callbacks):
        """Make `steps` steps and return the trainer."""
        trainer = trainer_of(self.folder, {**config, "steps": steps}, callbacks, [], AtomicCheckpointIO())
        kind = PackedDataModule if isinstance(module, PackedModule) else DataModule
        trainer.fit(module, datamodule=kind(data, steps))
        return trainer

    def __call__(self, steps, *overrides, callbacks=()):
        """Make a module and `steps` steps of it; return it and the trainer."""
        config, data, module = self.parts(*overrides)
        return module, self.fit(config, data, module, steps, *callbacks)


@pytest.fixture
def fitted(composed, tmp_path):
    return Fitter(composed, tmp_path)


class After(pl.Callback):
    """Call `act` with the module after `step` steps, their validation included."""

    def __init__(self, step, act):
        self.step = step
        self.act = act

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            self.act(pl_module)


def assert_same(one, other):
    (module, trainer), (other_module, other_trainer) = one, other
    assert trainer.global_step == other_trainer.global_step
    assert module.last_terms == other_module.last_terms
    torch.testing.assert_close(module.state_dict(), other_module.state_dict(), rtol=0, atol=0)
    states = [each.optimizers[0].state_dict() for each in (trainer, other_trainer)]
    torch.testing.assert_close(*states, rtol=0, atol=0)


@pytest.mark.parametrize("settings", [(), ("trainer.gradient_clip_val=0.5", "trainer.precision=bf16-mixed")])
def test_steps_are_recorded_once_after_the_eager_ones_to_the_same_numbers(recording, fitted, settings):
    made = recording()
    counts = []
    watch = [After(step, lambda module: counts.append(len(made))) for step in range(1, WARM_UP + 2)]
    replayed = fitted(WARM_UP + 8, *settings, callbacks=watch)
    assert counts == [0] * WARM_UP + [1]
    assert [one.replays for one in made] == [8]
    eager = fitted(WARM_UP + 8, "trainer.graph=false", *settings)
    assert len(made) == 1
    assert (type(replayed[0]), type(eager[0])) == (GraphedVAEModule, VAEModule)
    assert_same(replayed, eager)


def test_a_schedule_moves_between_replays_as_it_does_between_eager_steps(recording, fitted):
    made = recording()
    schedule = ("schedule@schedule.beta=linear", "steps=20")
    replayed, eager = (fitted(WARM_UP + 5, *schedule, f"trainer.graph={graph}") for graph in ("true", "false"))
    assert [one.replays for one in made] == [5]
    assert_same(replayed, eager)
    assert eager[0].last_terms["beta"] > 0


@pytest.mark.parametrize(
    ("kind", "waits", "said"),
    [
        (Broken, [], "operation not permitted when stream is capturing"),
        (Recorded, ["disvae/objective/mine.py:12"], "disvae/objective/mine.py:12 waits for the device"),
    ],
)
def test_what_cannot_be_recorded_is_run_as_it_is_to_the_same_numbers_and_says_why(
    recording, fitted, caplog, kind, waits, said
):
    made = recording(kind, waits)
    with caplog.at_level(logging.INFO, "disvae"):
        fallen_back = fitted(WARM_UP + 5)
    (message,) = [record.getMessage() for record in caplog.records if "CUDA graph" in record.getMessage()]
    assert message == f"Steps run one kernel at a time: they cannot be recorded as a CUDA graph ({said})"
    assert len(made) == (0 if waits else 1)  # and is not tried again
    assert_same(fallen_back, fitted(WARM_UP + 5, "trainer.graph=false"))


def test_an_objective_that_reads_the_step_by_itself_is_run_as_it_is(recording, fitted, caplog, monkeypatch):
    made = recording()

    class Records(Recorded):
        def __init__(self, body, inputs, generators, stream):
            super().__init__(body, inputs, generators, stream)
            body(inputs)

    monkeypatch.setattr(cuda_graph, "Captured", Records)
    original = BetaVAE.forward
    monkeypatch.setattr(BetaVAE, "forward", lambda self, draw: original(self, draw) if draw.step >= 0 else None)
    with caplog.at_level(logging.INFO, "disvae"):
        fallen_back = fitted(WARM_UP + 2)
    assert "may read draw.step through its schedules alone" in caplog.text
    assert len(made) == 1
    assert_same(fallen_back, fitted(WARM_UP + 2, "trainer.graph=false"))


def test_nothing_is_recorded_on_a_cpu_without_leave_or_where_a_scheduler_moves_the_learning_rate(
    recording, fitted, monkeypatch
):
    on_cpu = cuda_graph.can_record
    made = recording()
    fitted(WARM_UP + 2, "trainer.graph=false")
    fitted(WARM_UP + 2, "scheduler=cosine")
    monkeypatch.setattr(cuda_graph, "can_record", on_cpu)
    fitted(WARM_UP + 2)
    monkeypatch.setattr(building, "can_record", on_cpu)
    module, _ = fitted(WARM_UP + 2)
    assert type(module) is VAEModule
    assert made == []


def packed(fitted, seeds, *overrides, failed=lambda member, error: None):
    """The configuration, data and packed module of runs that differ in their seed."""
    runs = [fitted.parts(*overrides, f"seed={seed}") for seed in seeds]
    module = PackedModule(
        [member for *_, member in runs],
        [None] * len(runs),
        failed=failed,
        log=lambda member, values, step: None,
        graph=True,
    )
    return runs[0][0], [data for _, data, _ in runs], module


def test_a_pack_that_loses_a_member_is_recorded_anew_with_the_generators_of_the_others(recording, fitted):
    made = recording()
    lost, generators = [], []
    config, data, pack = packed(fitted, (0, 1, 2), failed=lambda member, error: lost.append(member))

    def fill(module):
        generators.append(list(module.pack.generators))
        with torch.no_grad():
            next(module.all[1].parameters()).fill_(torch.inf)

    steps = 2 * WARM_UP + 5
    counts = []
    watch = [After(step, lambda module: counts.append((len(made), len(lost)))) for step in range(1, steps)]
    fitted.fit(config, data, pack, steps, After(WARM_UP + 2, fill), *watch)
    assert lost == [pack.all[1]]
    assert counts == (
        [(0, 0)] * WARM_UP + [(1, 0)] * 2  # the eager steps, then replays
        + [(1, 1)] * (WARM_UP + 1)  # the replay that shows the loss, then eager steps
        + [(2, 1)]
    )  # fmt: skip
    assert made[0].generators == generators[0]
    assert len(made[0].generators) == 3
    assert made[1].generators == pack.pack.generators
    assert len(made[1].generators) == 2
    assert [one.replays for one in made] == [3, 2]
    for seed in (0, 2):
        alone, _ = fitted(steps, f"seed={seed}", "trainer.graph=false")
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(pack.all[seed].state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_each_training_records_its_own_graph_also_after_one_that_broke_off_and_leaves_none(recording, fitted):
    made = recording()
    config, data, module = fitted.parts()

    def stop(module):
        assert module.recorder.captured is not None
        raise KeyError("stopped")

    with pytest.raises(KeyError, match="stopped"):
        fitted.fit(config, data, module, WARM_UP + 2, After(WARM_UP + 1, stop))
    for _ in range(2):
        fitted.fit(config, data, module, WARM_UP + 2)
        assert module.recorder.captured is None
    assert [each.replays for each in made] == [1, 2, 2]


def tensors(module):
    """All that a graph of a module's steps reads and writes, by name, but for the inputs it has copies of."""
    of_pack = isinstance(module, PackedModule)
    parameters = module.pack.parameters if of_pack else dict(module.named_parameters())
    optimizer = module.pack.optimizer if of_pack else module.optimizer
    yield from ((f"parameter {name}", tensor) for name, tensor in parameters.items())
    yield from ((f"buffer {name}", tensor) for name, tensor in module.named_buffers())
    for i, state in enumerate(optimizer.state.values()):
        yield from ((f"state {i} {name}", tensor) for name, tensor in state.items())


@pytest.mark.parametrize("optimizer", ["adam", "amsgrad", "adagrad"])
@pytest.mark.parametrize("together", [False, True])
def test_what_a_graph_has_read_and_written_stays_where_it_is(recording, fitted, tmp_path, together, optimizer):
    recording()
    overrides = (f"optimizer={optimizer}", f"eval_every={WARM_UP + 2}")
    config, data, module = packed(fitted, (0, 1), *overrides) if together else fitted.parts(*overrides)
    places = []

    def note(module):
        places.append({name: tensor.data_ptr() for name, tensor in tensors(module)})

    def save(module):
        if together:
            for member in module.all:
                assert module.checkpoint_of(member)["optimizer_states"]
        module.trainer.save_checkpoint(tmp_path / "x.ckpt")

    watch = [After(WARM_UP, note), After(WARM_UP + 2, save), After(WARM_UP + 4, note)]
    fitted.fit(config, data, module, WARM_UP + 5, *watch)
    assert all(member.evaluated_at for member in (module.all if together else [module]))
    assert len(places[0]) > 10
    assert places[0] == places[1]


class Refused:
    """torch.cuda.graph about a step that the device refuses: it fails at its end, before it has cleaned up."""

    def __init__(self, graph, pool, stream):
        assert pool == (0, 7)

    def __enter__(self):
        pass

    def __exit__(self, *error):
        raise RuntimeError("operation failed due to a previous error during capture")


@pytest.mark.parametrize("ended", [False, True])
def test_after_a_recording_that_failed_torch_can_be_used_as_before(monkeypatch, ended):
    told, failed = [], []

    def end(device, pool):
        if ended:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        told.append(("end", device, pool))

    own = SimpleNamespace(register_generator_state=lambda generator: None)
    for home, name, stand_in in [
        (torch._C, "_cuda_endAllocateToPool", end),
        (torch._C, "_cuda_releasePool", lambda *arguments: told.append(("release", *arguments))),
        (torch.cuda, "CUDAGraph", lambda: own),
        (torch.cuda, "graph_pool_handle", lambda: (0, 7)),
        (torch.cuda, "graph", Refused),
        (cuda_graph, "_aside", lambda stream: contextlib.nullcontext()),
        (cuda_graph, "_FAILED", failed),
    ]:
        monkeypatch.setattr(home, name, stand_in, raising=False)
    states = []
    stand_in = SimpleNamespace(clone_state=lambda: "fresh", graphsafe_set_state=states.append)
    monkeypatch.setattr(torch.cuda, "default_generators", (None, stand_in))
    with pytest.raises(RuntimeError, match="previous error"):
        cuda_graph.Captured(
            lambda inputs: inputs["x"], {"x": torch.ones(1)}, [stand_in], SimpleNamespace(device_index=1)
        )
    assert told == ([] if ended else [("end", 1, (0, 7)), ("release", 1, (0, 7))])
    assert failed == ([] if ended else [own])
    assert states == ["fresh", "fresh"]


def test_adagrad_counts_its_steps_where_a_graph_can(monkeypatch):
    given = []
    monkeypatch.setattr(torch.optim, "Adagrad", lambda groups, **settings: given.append(settings["fused"]))
    for device in ("cuda", "cpu", "meta"):
        adagrad(
            [{"params": (SimpleNamespace(device=SimpleNamespace(type=device)) for _ in range(2))}], lr=0.1, eps=1e-10
        )
    assert given == [True, None, None]


def test_a_checkpoint_of_another_device_is_read_with_this_ones_settings(fitted):
    whole = fitted(4, "optimizer=adagrad")
    config, data, module = fitted.parts("optimizer=adagrad")
    saved = []

    def save(module):
        saved.append((copy.deepcopy(module.state_dict()), copy.deepcopy(module.optimizers().optimizer.state_dict())))

    fitted.fit(config, data, module, 4, After(2, save))
    [(weights, state)] = saved
    for group in state["param_groups"]:
        group["fused"] = True  # as on a GPU
    other = fitted.parts("optimizer=adagrad")[2]
    other.load_state_dict(weights)
    optimizer = other.configure_optimizers()
    optimizer.load_state_dict(state)
    assert [group["fused"] for group in optimizer.param_groups] == [None]
    for step in (2, 3):
        rows = {name: of_step[0] for name, of_step in data.batches.of_steps(step, 1).items()}
        torch.manual_seed(step_seed(other.seed, step))
        optimizer.zero_grad()
        other.compute_terms(data.take(rows, CPU), step)["loss"].backward()
        optimizer.step()
    torch.testing.assert_close(other.state_dict(), whole[0].state_dict(), rtol=0, atol=0)
