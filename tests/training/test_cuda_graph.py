"""What a CUDA graph needs of the steps, by stand-ins that record on a CPU; scripts/check_gpu.py checks the real one."""

import contextlib
import copy
import logging
from types import SimpleNamespace
from typing import ClassVar

import pytest
import pytorch_lightning as pl
import torch

from disvae.benchmark.workloads import Place, built
from disvae.data.batches import Chunks
from disvae.objective.beta_vae import BetaVAE
from disvae.optimizer.adagrad import adagrad
from disvae.training import cuda_graph as capture
from disvae.training import module
from disvae.training.cuda_graph import WARM_UP
from disvae.training.ddp import Rank, Shared
from disvae.training.module import Steps
from disvae.training.packed.module import Packed
from disvae.training.precision import set_products

CASE = ("dataset=clusters", "dataset.points=50", "batch_size=20", "objective=beta_vae")
CPU = Place(torch.device("cpu"), "32-true")


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
    """Let the CPU have graphs, of the given kind; the list of those made."""

    def use(kind=Recorded, waits=()):
        monkeypatch.setattr(Recorded, "made", [])
        monkeypatch.setattr(Rehearsed, "says", list(waits))
        monkeypatch.setattr(module, "can_record", lambda device: True)
        monkeypatch.setattr(module, "Rehearsal", Rehearsed)
        monkeypatch.setattr(module, "Captured", kind)
        return kind.made

    return use


def run(*overrides):
    """A run that is ready for steps."""
    one = built((*CASE, *overrides), CPU).module
    one.configure_optimizers()
    return one


def steps(one: Steps, *chunks):
    for n in chunks:
        one.training_step({"first": one.step, "n": n}, 0)


def assert_same(one, other):
    assert one.step == other.step
    assert one.last_terms == other.last_terms
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(one.optimizer.state_dict(), other.optimizer.state_dict(), rtol=0, atol=0)


def test_steps_are_recorded_once_after_the_eager_ones_to_the_same_numbers(recording):
    made = recording()
    replayed = run()
    steps(replayed, 1, WARM_UP - 1)
    assert made == []
    steps(replayed, 5, 3)
    assert [one.replays for one in made] == [8]
    eager = run("trainer.graph=false")
    steps(eager, WARM_UP + 8)
    assert len(made) == 1
    assert_same(replayed, eager)


@pytest.mark.parametrize(
    ("kind", "waits", "said"),
    [
        (Broken, [], "operation not permitted when stream is capturing"),
        (Recorded, ["disvae/objective/mine.py:12"], "disvae/objective/mine.py:12 waits for the device"),
    ],
)
def test_what_cannot_be_recorded_is_run_as_it_is_to_the_same_numbers_and_says_why(recording, caplog, kind, waits, said):
    made = recording(kind, waits)
    fallen_back = run()
    with caplog.at_level(logging.INFO, "disvae"):
        steps(fallen_back, WARM_UP + 5)
    (message,) = [record.getMessage() for record in caplog.records if "CUDA graph" in record.getMessage()]
    assert message == f"Steps run one kernel at a time: they cannot be recorded as a CUDA graph ({said})"
    assert len(made) == (0 if waits else 1)  # and is not tried again
    eager = run("trainer.graph=false")
    steps(eager, WARM_UP + 5)
    assert_same(fallen_back, eager)


def test_an_objective_that_reads_the_step_by_itself_is_run_as_it_is(recording, caplog, monkeypatch):
    made = recording()

    class Records(Recorded):
        def __init__(self, body, inputs, generators, stream):
            super().__init__(body, inputs, generators, stream)
            body(inputs)

    monkeypatch.setattr(module, "Captured", Records)
    original = BetaVAE.forward
    monkeypatch.setattr(BetaVAE, "forward", lambda self, draw: original(self, draw) if draw.step >= 0 else None)
    with caplog.at_level(logging.INFO, "disvae"):
        steps(run(), WARM_UP + 2)
    assert "may read draw.step through its schedules alone" in caplog.text
    assert len(made) == 1


def test_nothing_is_recorded_on_a_cpu_without_leave_or_on_several_devices(recording, monkeypatch):
    on_cpu = capture.can_record
    made = recording()
    steps(run("trainer.graph=false"), WARM_UP + 2)
    shared = Shared(run(), Rank(0, 1, 0))
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda terms: None)
    steps(shared, WARM_UP + 2)
    monkeypatch.setattr(module, "can_record", on_cpu)
    steps(run(), WARM_UP + 2)
    assert made == []


def test_a_pack_that_loses_a_member_is_recorded_anew_with_the_generators_of_the_others(recording):
    made = recording()
    members = [built((*CASE, f"seed={seed}"), CPU).module for seed in (0, 1, 2)]
    lost = []
    pack = Packed(members, lambda member, error: lost.append(member)).train()
    pack.configure_optimizers()
    steps(pack, WARM_UP + 2)
    assert made[0].generators == pack.pack.generators
    assert len(made[0].generators) == 3
    with torch.no_grad():
        next(members[1].parameters()).fill_(torch.inf)
    steps(pack, 1)
    assert lost == [members[1]]
    steps(pack, WARM_UP)
    assert len(made) == 1
    steps(pack, 2)
    assert made[1].generators == pack.pack.generators
    assert len(made[1].generators) == 2
    assert [one.replays for one in made] == [3, 2]
    for seed in (0, 2):
        alone = run(f"seed={seed}", "trainer.graph=false")
        steps(alone, pack.step)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(members[seed].state_dict()[name], value, rtol=1e-4, atol=1e-5)


class Stop(pl.Callback):
    """Breaks a training off, so that Lightning leaves out its end."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if pl_module._captured is not None:
            raise KeyError("stopped")


def test_each_training_records_its_own_graph_also_after_one_that_broke_off_and_leaves_none(recording):
    made = recording()
    one = built(CASE, CPU).module
    for callbacks in ([Stop()], [], []):
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=callbacks, **quiet)
        n = one.step + WARM_UP + 2
        with pytest.raises(KeyError, match="stopped") if callbacks else contextlib.nullcontext():
            trainer.fit(one, train_dataloaders=Chunks(n, n, n, one.step))
        assert (one._captured is None) == (not callbacks)
    assert [each.replays for each in made] == [1, 2, 2]


def tensors(stepper, parameters, optimizer):
    yield from ((f"parameter {name}", tensor) for name, tensor in parameters.items())
    yield from ((f"buffer {name}", tensor) for name, tensor in stepper.named_buffers())
    for i, state in enumerate(optimizer.state.values()):
        yield from ((f"state {i} {name}", tensor) for name, tensor in state.items())
    yield "images", stepper.members[0].data.images.data


@pytest.mark.parametrize("optimizer", ["adam", "amsgrad", "adagrad"])
@pytest.mark.parametrize("packed", [False, True])
def test_what_a_graph_has_read_and_written_stays_where_it_is(packed, optimizer):
    overrides = (*CASE, f"optimizer={optimizer}")
    if packed:
        stepper: Steps = Packed([built((*overrides, f"seed={seed}"), CPU).module for seed in (0, 1)], lambda *_: None)
        stepper.train().configure_optimizers()
        parameters, kept = stepper.pack.parameters, stepper.pack.optimizer
    else:
        stepper = run(f"optimizer={optimizer}")
        parameters, kept = dict(stepper.named_parameters()), stepper.optimizer
    steps(stepper, WARM_UP)
    before = {name: tensor.data_ptr() for name, tensor in tensors(stepper, parameters, kept)}
    steps(stepper, 2)
    stepper.validation_step(0, 0)
    for member in stepper.members:
        stepper.checkpoint_of(member)
    steps(stepper, 2)
    assert {name: tensor.data_ptr() for name, tensor in tensors(stepper, parameters, kept)} == before


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
        (capture, "_aside", lambda stream: contextlib.nullcontext()),
        (capture, "_FAILED", failed),
    ]:
        monkeypatch.setattr(home, name, stand_in, raising=False)
    states = []
    stand_in = SimpleNamespace(clone_state=lambda: "fresh", graphsafe_set_state=states.append)
    monkeypatch.setattr(torch.cuda, "default_generators", (None, stand_in))
    with pytest.raises(RuntimeError, match="previous error"):
        capture.Captured(lambda inputs: inputs["x"], {"x": torch.ones(1)}, [stand_in], SimpleNamespace(device_index=1))
    assert told == ([] if ended else [("end", 1, (0, 7)), ("release", 1, (0, 7))])
    assert failed == ([] if ended else [own])
    assert states == ["fresh", "fresh"]


def test_lightning_can_ask_for_the_precision_of_products():
    try:
        set_products(tf32=True)
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        assert torch.backends.cudnn.conv.fp32_precision == "tf32"
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
    finally:
        set_products(tf32=False)
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.cuda.matmul.fp32_precision == torch.backends.cudnn.conv.fp32_precision == "ieee"


def test_rounded_weights_of_bfloat16_do_not_outlive_a_step_of_the_benchmark():
    place = Place(torch.device("cpu"), "bf16-mixed")
    losses = []
    for chunks in ([4], [1, 1, 1, 1]):
        one = run("optimizer.lr=0.05")
        for n in chunks:
            with place.computing():
                steps(one, n)
        losses.append(one.last_terms)
    assert losses[0] == losses[1]


def test_adagrad_counts_its_steps_where_a_graph_can(monkeypatch):
    given = []
    monkeypatch.setattr(torch.optim, "Adagrad", lambda groups, **settings: given.append(settings["fused"]))
    for device in ("cuda", "cpu", "meta"):
        adagrad(
            [{"params": (SimpleNamespace(device=SimpleNamespace(type=device)) for _ in range(2))}], lr=0.1, eps=1e-10
        )
    assert given == [True, None, None]


def test_a_checkpoint_of_another_device_is_read_with_this_ones_settings(monkeypatch):
    one = run("optimizer=adagrad")
    steps(one, 2)
    saved = copy.deepcopy(one.checkpoint_of(one))
    for group in saved["optimizer_states"][0]["param_groups"]:
        group["fused"] = True  # as on a GPU
    seen = []
    original = torch.optim.Optimizer.load_state_dict

    def load(self, state):
        seen.extend(group["fused"] for group in state["param_groups"])
        original(self, state)

    monkeypatch.setattr(torch.optim.Optimizer, "load_state_dict", load)
    other = built((*CASE, "optimizer=adagrad"), CPU).module
    other.resume(saved)
    other.configure_optimizers()
    assert seen == [None]
    assert other.optimizer.param_groups[0]["fused"] is None
    steps(one, 2)
    steps(other, 2)
    assert one.last_terms == other.last_terms
