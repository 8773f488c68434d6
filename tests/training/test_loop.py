"""The loop: what a step is, which epoch is kept, when it stops, and that a resumed run is the same run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import TinyData, TinyNetwork, TinyTask, make_batch, tiny_dev, tiny_network, tiny_recipe
from torch import Tensor, nn

from earwitness.core.errors import DataError, RecipeError, UsageError
from earwitness.corpora.batch import Batch, Targets
from earwitness.nn.layers.frozen import freeze
from earwitness.training.loop import FitResult, fit
from earwitness.training.processes import own_places, step_places
from earwitness.training.task import Losses, Metrics
from earwitness.training.tensors import read_tensors, trained_state


class Stop(Exception):  # noqa: N818
    """Stands for a kill in a test that stays in its process."""


class StoppingData(TinyData):
    """Fails once the batch at `place` of `epoch` is asked for."""

    def __init__(self, epoch: int, place: int, **options: int) -> None:
        super().__init__(**options)
        self.stop = epoch, place

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        for place, batch in zip(places, super().load(epoch, places), strict=True):
            if (epoch, place) == self.stop:
                raise Stop
            yield batch


class ScriptedTask(TinyTask):
    """Dev metrics by epoch, as given."""

    def __init__(self, values: list[float]) -> None:
        self.values = values
        self.judged = 0

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        self.judged += 1
        return Metrics({"loss": self.values[min(self.judged, len(self.values)) - 1]})


def train(folder: Path, **loop: Any) -> tuple[TinyNetwork, FitResult]:
    network = tiny_network()
    return network, fit(network, TinyTask(), TinyData(), tiny_dev(), tiny_recipe(**loop), folder)


def same(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_training_learns(tmp_path: Path) -> None:
    network, result = train(tmp_path, epochs=12, optimiser={"kind": "adamw", "lr": 0.05})
    assert result.metrics["errors"] < 0.2 < result.history[0].metrics["errors"]
    assert not network.training


def test_same_seed_same_weights_other_seed_other_weights(tmp_path: Path) -> None:
    first, _ = train(tmp_path / "a")
    second, _ = train(tmp_path / "b")
    assert same(first, second)
    assert (tmp_path / "a/log.jsonl").read_bytes() == (tmp_path / "b/log.jsonl").read_bytes()
    third = tiny_network()
    other = tiny_recipe().model_copy(update={"seed": 1})  # the data is the same, dropout is not
    fit(third, TinyTask(), TinyData(), tiny_dev(), other, tmp_path / "c")
    assert not same(first, third)


class NoNoise(nn.Module):
    """Without dropout and batch-norm, so that batches can be compared with their parts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.head = nn.Linear(64, 2)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.head(waveforms)


class JoinedData(TinyData):
    """The same utterances in batches twice the size; the last one may be smaller."""

    def __init__(self, batches: int) -> None:
        super().__init__(batches=(batches + 1) // 2)
        self.parts = batches

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        for place in places:
            yield joined([make_batch(0, epoch, p, 6) for p in (2 * place, 2 * place + 1) if p < self.parts])


def joined(parts: list[Batch]) -> Batch:
    labels = torch.cat([part.targets.label for part in parts if part.targets.label is not None])
    waveforms, lengths = (torch.cat([getattr(part, name) for part in parts]) for name in ("waveforms", "lengths"))
    return Batch(waveforms, lengths, Targets(label=labels), tuple(name for part in parts for name in part.ids))


@pytest.mark.parametrize("batches", [6, 7])
def test_accumulation_equals_the_bigger_batch(tmp_path: Path, batches: int) -> None:
    small, big = NoNoise(), NoNoise()
    options: dict[str, Any] = {"optimiser": {"kind": "sgd", "lr": 0.1}, "clip_norm": 0.5}
    recipe = tiny_recipe(accumulate=2, **dict(options))
    fit(small, TinyTask(), TinyData(batches), tiny_dev(), recipe, tmp_path / "small")
    fit(big, TinyTask(), JoinedData(batches), tiny_dev(), tiny_recipe(batch_size=12, **options), tmp_path / "big")
    assert torch.allclose(small.head.weight, big.head.weight, atol=1e-6)
    assert not torch.allclose(small.head.weight, NoNoise().head.weight, atol=1e-3)


class RaggedData(TinyData):
    """The last batch has one utterance."""

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        for place in places:
            yield make_batch(0, epoch, place, 1 if place == self.batches - 1 else 6)


class RaggedJoined(TinyData):
    """Both batches of an epoch as one."""

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        for _ in places:
            yield joined([make_batch(0, epoch, 0, 6), make_batch(0, epoch, 1, 1)])


def test_accumulation_weighs_utterances_not_batches(tmp_path: Path) -> None:
    small, big = NoNoise(), NoNoise()
    sgd = {"kind": "sgd", "lr": 0.1}
    fit(small, TinyTask(), RaggedData(2), None, tiny_recipe(accumulate=2, select=None, optimiser=sgd), tmp_path / "a")
    fit(big, TinyTask(), RaggedJoined(1), None, tiny_recipe(select=None, optimiser=sgd), tmp_path / "b")
    assert torch.allclose(small.head.weight, big.head.weight, atol=1e-6)


def test_clipping_bounds_the_step(tmp_path: Path) -> None:
    network, before = NoNoise(), NoNoise()
    sgd = {"kind": "sgd", "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0}
    recipe = tiny_recipe(epochs=1, clip_norm=0.01, select=None, optimiser=sgd, schedule={"kind": "constant"})
    fit(network, TinyTask(), TinyData(batches=1), None, recipe, tmp_path)
    moved = torch.cat([(a - b).flatten() for a, b in zip(network.parameters(), before.parameters(), strict=True)])
    assert float(moved.detach().norm()) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("values", "loop", "epochs"),
    [
        ([3, 1, 2, 5], {}, (1,)),
        ([3, 1, 2, 5], {"select": {"metric": "loss", "mode": "max"}}, (3,)),
        ([1, 1, 1, 1], {}, (0,)),
        ([float("nan"), 4, float("nan"), 5], {}, (1,)),
        ([3, 1, 2, 5], {"select": None}, (3,)),
        ([3, 1, 2, 5], {"average": {"of": "best", "count": 2}}, (1, 2)),
        ([3, 1, 2, 5], {"average": {"of": "last", "count": 3}}, (1, 2, 3)),
        ([3, 1, 2, 5], {"average": {"of": "last", "count": 9}}, (0, 1, 2, 3)),
    ],
)
def test_the_right_epochs_are_kept(tmp_path: Path, values: list[float], loop: Any, epochs: tuple[int, ...]) -> None:
    network = tiny_network()
    result = fit(network, ScriptedTask(values), TinyData(), tiny_dev(), tiny_recipe(epochs=4, **loop), tmp_path)
    assert result.epochs == epochs
    files = sorted(path.name for path in tmp_path.glob("epoch-*"))
    assert files == [f"epoch-{epoch:04d}.safetensors" for epoch in epochs]
    states = [read_tensors(tmp_path / name)[0] for name in files]
    for name, value in trained_state(network).items():
        expected = torch.stack([state[name].double() for state in states])
        expected = expected.mean(0) if value.is_floating_point() else expected[-1]
        assert torch.equal(value, expected.to(value.dtype)), name


def test_metrics_are_those_of_the_weights_that_are_kept(tmp_path: Path) -> None:
    network, result = train(tmp_path, epochs=4, average={"of": "last", "count": 3})
    with torch.no_grad():
        again = TinyTask().evaluate(network.eval(), tiny_dev())
    assert result.metrics == pytest.approx(again.values)
    assert log(tmp_path)[-1]["dev/loss"] == pytest.approx(result.metrics["loss"])


def test_early_stop_counts_epochs_without_a_better_one(tmp_path: Path) -> None:
    task = ScriptedTask([5, 4, 6, 4, 3.5, 9, 9, 9, 9])
    result = fit(tiny_network(), task, TinyData(), tiny_dev(), tiny_recipe(epochs=9, early_stop=3), tmp_path)
    assert (len(result.history), result.epochs) == (8, (4,))


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(("epoch", "place"), [(0, 0), (0, 2), (1, 6), (2, 4)])
def test_resume_takes_the_same_steps_and_asks_for_no_batch_twice(
    tmp_path: Path, accumulate: int, epoch: int, place: int
) -> None:
    recipe = tiny_recipe(
        accumulate=accumulate, log_every=1, checkpoint_every_steps=2, average={"of": "last", "count": 2}
    )
    whole = tiny_network()
    fit(whole, TinyTask(), TinyData(), tiny_dev(), recipe, tmp_path / "whole")

    with pytest.raises(Stop):
        fit(tiny_network(), TinyTask(), StoppingData(epoch, place), tiny_dev(), recipe, tmp_path / "cut")
    data, resumed = TinyData(), TinyNetwork()
    fit(resumed, TinyTask(), data, tiny_dev(), recipe, tmp_path / "cut", resume=True)
    assert same(whole, resumed)
    for name in ("log.jsonl", "checkpoint.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    first_epoch, places = data.asked[0]
    assert first_epoch == epoch
    assert places == list(range(places[0], 7))
    assert places[0] <= place


def test_the_log_has_each_line_once(tmp_path: Path) -> None:
    recipe = tiny_recipe(log_every=2, checkpoint_every_steps=3)
    with pytest.raises(Stop):
        fit(tiny_network(), TinyTask(), StoppingData(1, 5), tiny_dev(), recipe, tmp_path)
    fit(TinyNetwork(), TinyTask(), TinyData(), tiny_dev(), recipe, tmp_path, resume=True)
    lines = [(line["event"], line["step"]) for line in log(tmp_path)]
    steps = [("step", step) for step in range(2, 22, 2)]
    assert sorted(lines) == sorted([*steps, ("epoch", 7), ("epoch", 14), ("epoch", 21), ("result", 21)])
    assert lines == sorted(lines, key=lambda line: line[1])


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    network, result = train(tmp_path, average={"of": "best", "count": 2})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again, data = TinyNetwork(), TinyData()
    recipe = tiny_recipe(average={"of": "best", "count": 2})
    repeated = fit(again, TinyTask(), data, tiny_dev(), recipe, tmp_path, resume=True)
    assert repeated == result
    assert same(network, again)
    assert data.asked == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_torn_file_of_a_killed_writer_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.safetensors.abc.part").write_bytes(b"torn")
    train(tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_an_earlier_run_is_not_overwritten(tmp_path: Path) -> None:
    train(tmp_path)
    with pytest.raises(UsageError, match="Add --resume"):
        train(tmp_path)


def test_another_recipe_does_not_resume_a_run(tmp_path: Path) -> None:
    train(tmp_path)
    start = tiny_network(), TinyTask(), TinyData(), tiny_dev()
    with pytest.raises(RecipeError, match=r"optimiser\.lr was 0\.01, is 0\.02"):
        fit(*start, tiny_recipe(optimiser={"kind": "adamw", "lr": 0.02}), tmp_path, resume=True)
    note = tmp_path / "recipe.json"
    older = json.loads(note.read_text())
    del older["optimiser"]["parts"]  # a run of a version that did not know this field yet
    note.write_text(json.dumps(older))
    fit(*start, tiny_recipe(workers=2, log_every=3), tmp_path, resume=True)  # what leaves the weights alone may change


class Diverging(TinyTask):
    """Its loss is no number from the sixth step on."""

    def __init__(self) -> None:
        self.steps = 0

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        self.steps += 1
        terms = super().loss(model, batch).terms
        return Losses({name: value * (float("nan") if self.steps > 5 else 1) for name, value in terms.items()})


def test_a_loss_that_is_no_number_stops_the_run_before_it_harms_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"'classification' is nan at step 6\b"):
        fit(tiny_network(), Diverging(), TinyData(), tiny_dev(), tiny_recipe(checkpoint_every_steps=1), tmp_path)
    tensors, note = read_tensors(tmp_path / "checkpoint.safetensors")
    assert note["progress"]["step"] == 5
    assert all(value.isfinite().all() for value in tensors.values())


def test_what_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    network, task, recipe = tiny_network(), TinyTask(), tiny_recipe()
    with pytest.raises(DataError, match="no training batches"):
        fit(network, task, TinyData(batches=0), tiny_dev(), recipe, tmp_path / "a")
    with pytest.raises(RecipeError, match="no dev data"):
        fit(network, task, TinyData(), None, recipe, tmp_path / "b")
    with pytest.raises(RecipeError, match=r"gives loss, errors, not 'error'.*Did you mean 'errors'"):
        fit(network, task, TinyData(), tiny_dev(), tiny_recipe(select={"metric": "error"}), tmp_path / "c")
    with pytest.raises(RecipeError, match="no parameter that learns"):
        fit(freeze(tiny_network()), task, TinyData(), tiny_dev(), recipe, tmp_path / "d")


def test_frozen_parts_do_not_move_and_are_not_in_checkpoints(tmp_path: Path) -> None:
    network = tiny_network()
    freeze(network.conv)
    freeze(network.norm)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fit(network, TinyTask(), TinyData(), tiny_dev(), tiny_recipe(), tmp_path)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) is name.startswith(("conv", "norm")), name
    tensors, _ = read_tensors(tmp_path / "checkpoint.safetensors")
    assert {name for name in tensors if name.startswith("model/")} == {"model/head.weight", "model/head.bias"}


class GrowingTask(TinyTask):
    """Records the progress it is told."""

    def __init__(self) -> None:
        self.told: list[float] = []

    def set_progress(self, epochs: float) -> None:
        self.told.append(epochs)


def test_a_paced_task_is_told_how_far_training_is(tmp_path: Path) -> None:
    task = GrowingTask()
    fit(tiny_network(), task, TinyData(batches=4), tiny_dev(), tiny_recipe(epochs=2), tmp_path)
    assert task.told == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]


class TalkingTask(TinyTask):
    """Counts its steps, and says how many there were."""

    def __init__(self) -> None:
        self.steps = 0

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        self.steps += 1
        return super().loss(model, batch)

    def notes(self, model: nn.Module) -> dict[str, float]:
        steps, self.steps = self.steps, 0
        return {"steps": steps, "training": float(model.training)}


def test_what_a_task_notes_stands_in_the_epochs_line(tmp_path: Path) -> None:
    fit(tiny_network(), TalkingTask(), TinyData(batches=4), tiny_dev(), tiny_recipe(epochs=2), tmp_path)
    epochs = [line for line in log(tmp_path) if line["event"] == "epoch"]
    assert [(line["note/steps"], line["note/training"]) for line in epochs] == [(4, 1), (4, 1)]


def test_a_part_learns_at_its_own_rate_and_the_schedule_scales_all_alike(tmp_path: Path) -> None:
    sgd = {"kind": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0}
    options = {"select": None, "schedule": {"kind": "cosine", "per": "epoch", "t_max": 4}, "epochs": 1}
    moves = []
    for parts in ([], [{"prefix": "head", "lr": 0.3}, {"prefix": "head.bias", "lr": 0.01}]):
        network, before = tiny_network(), tiny_network()
        recipe = tiny_recipe(optimiser={**sgd, "parts": parts}, **options)
        fit(network, TinyTask(), TinyData(batches=1), None, recipe, tmp_path / str(len(parts)))
        was = dict(before.named_parameters())
        moves.append({name: (now - was[name]).detach() for name, now in network.named_parameters()})
    for name, times in {"conv.weight": 1, "norm.bias": 1, "head.weight": 3, "head.bias": 0.1}.items():
        torch.testing.assert_close(moves[1][name], moves[0][name] * times, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_every_optimiser_and_precision_resumes_exactly(tmp_path: Path, optimiser: str, precision: str) -> None:
    recipe = tiny_recipe(
        select=None,
        epochs=2,
        optimiser={"kind": optimiser, "lr": 0.01, "parts": [{"prefix": "norm", "lr": 0.1}]},
        precision=precision,
        checkpoint_every_steps=3,
    )
    whole, resumed = tiny_network(), TinyNetwork()
    fit(whole, TinyTask(), TinyData(), tiny_dev(), recipe, tmp_path / "whole")
    with pytest.raises(Stop):
        fit(tiny_network(), TinyTask(), StoppingData(1, 4), tiny_dev(), recipe, tmp_path / "cut")
    fit(resumed, TinyTask(), TinyData(), tiny_dev(), recipe, tmp_path / "cut", resume=True)
    assert same(whole, resumed)


def test_the_callers_settings_of_torch_are_left_alone(tmp_path: Path) -> None:
    before = torch.are_deterministic_algorithms_enabled()
    train(tmp_path)
    assert torch.are_deterministic_algorithms_enabled() is before


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 4))
def test_processes_share_an_epoch_and_leave_nothing_out(count: int, accumulate: int, processes: int) -> None:
    plans = [step_places(count, accumulate, processes, rank) for rank in range(processes)]
    assert len({tuple(len(step) for step in plan) for plan in plans}) == 1  # all go on together
    taken = [place for plan in plans for step in plan for place in step]
    assert set(taken) == set(range(count))
    assert len(taken) - count < processes  # at most one batch a process is taken twice
    counted = sorted(
        place
        for rank, plan in enumerate(plans)
        for step, own in zip(plan, own_places(count, accumulate, processes, rank), strict=True)
        for place in step[:own]
    )
    assert counted == list(range(count))  # each once
    if processes == 1:
        assert taken == list(range(count))
