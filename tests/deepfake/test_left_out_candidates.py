"""The benchmark of detector candidates: what its plans name, and that a learner hears its branches and a teacher."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
import yaml

from earwitness.core.config import parse_config
from earwitness.corpora.batch import Batch, Targets
from earwitness.nn.network import NetworkConfig

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "benchmarks" / "left_out_detector"
NAMES = ("material", "judging", "distilling", "frames", "adapters")
BRANCHES = [{"frontend": {"kind": "log_mel", "n_mels": mels}, "pooling": {"kind": "mean"}} for mels in (3, 5)]


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """The benchmark's modules, imported as it does, and forgotten again."""
    monkeypatch.setattr(sys, "path", [str(HERE), *sys.path])
    for name in NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield {name: importlib.import_module(name) for name in NAMES}
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("plan", ["candidates", "first_round", "third_round"])
def test_every_candidate_of_a_plan_has_a_recipe(
    plan: str, modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    content = yaml.safe_load((HERE / f"{plan}.yaml").read_text(encoding="utf-8"))
    candidates = [modules["material"].Candidate(**entry) for entry in content["candidates"]]
    names = [candidate.name for candidate in candidates]
    assert len(set(names)) == len(names)
    assert [candidate.row for candidate in candidates].count("reference") == 1
    assert candidates[0].row == "reference"
    for candidate in candidates:
        recipe = modules["material"].recipe_of(candidate, content)
        assert len(recipe.network.branches) == (len(candidate.branches) or len(recipe.network.branches))
        assert {candidate.teacher, candidate.beside, candidate.learnt_with} <= {None, *names}
        if candidate.learnt_with:
            whole = candidates[names.index(candidate.learnt_with)]
            assert (whole.branches, whole.corpora) == ([], candidate.corpora)
            assert recipe.network.branches == [
                modules["material"].recipe_of(whole, content).network.branches[place] for place in candidate.branches
            ]
    assert len(content["protocol"]["seeds"]) >= 3


def test_a_learner_hears_its_columns_and_its_teacher_stays_as_it_is(modules: dict[str, ModuleType]) -> None:
    torch.manual_seed(0)
    votes = {"hidden": 4, "copies": 2, "average": "odds"}
    teacher = parse_config(NetworkConfig, {"branches": BRANCHES, "outputs": 2, "votes": votes}).build()
    learner = parse_config(NetworkConfig, {"branches": BRANCHES[1:], "outputs": 2, "votes": votes}).build()
    taught = modules["distilling"].Taught(learner, teacher, np.arange(3, 8)).eval()
    vectors = torch.randn(6, 8)
    own, told = taught(vectors)
    assert own.shape == (6, 1, 2, 2)
    assert told.shape == (6, 2, 2)
    vectors[:, :3] += 1
    same, other = taught(vectors)
    torch.testing.assert_close(own, same)
    assert not torch.allclose(told, other)
    task = modules["distilling"].TaughtTask(torch.nn.CrossEntropyLoss())
    members = torch.tensor([[True, False]] * 6)
    labels = torch.tensor([0, 1] * 3)
    losses = task.loss(taught.train(), Batch(vectors, torch.full((6,), 8), Targets(labels, members=members), ("",) * 6))
    losses.total.backward()
    assert all(weight.grad is None for weight in teacher.parameters())
    member = learner.classifier.members[0].weight.grad
    assert member[0].abs().sum() > 0
    assert member[1].abs().sum() == 0  # it may hear none of these rows


def test_a_part_of_a_committee_votes_as_its_branches_do_in_the_whole(modules: dict[str, ModuleType]) -> None:
    torch.manual_seed(0)
    votes = {"hidden": 4, "copies": 2, "average": "odds"}
    whole = parse_config(NetworkConfig, {"branches": BRANCHES, "outputs": 2, "votes": votes}).build().eval()
    config = parse_config(NetworkConfig, {"branches": BRANCHES[1:], "outputs": 2, "votes": votes})
    part = modules["material"].part_of(whole, SimpleNamespace(network=config), [1])
    vectors = torch.randn(6, 8)
    each = whole.classifier.each(vectors)
    torch.testing.assert_close(part.classifier.each(vectors[:, 3:]), each[:, 1:])
    assert not torch.allclose(each[:, 0], each[:, 1])


def test_differences_under_a_perturbation_are_of_the_drawn_rows(modules: dict[str, ModuleType]) -> None:
    judging, rng = modules["judging"], np.random.default_rng(0)
    human, drawn = np.arange(80) < 40, np.arange(0, 80, 2)
    labels = np.where(human, "bonafide", "spoof")
    systems = [None if own else f"s{k % 4}" for k, own in enumerate(human)]
    speakers = [f"p{k % 10}" if own else None for k, own in enumerate(human)]
    table = pl.DataFrame({"id": [f"r{k}" for k in range(80)], "label": labels, "system": systems, "speaker": speakers})
    table = table.with_columns(source_recording=pl.lit(None, pl.String), family=pl.col("system"))
    good, bad = human + 0.1 * rng.normal(size=(2, 80)), rng.normal(size=(2, 80))

    def judged(clean: np.ndarray, noisy: np.ndarray) -> object:
        return judging.Judged(table, clean, clean, clean[:, drawn], drawn, drawn, {"noisy": noisy[:, drawn]})

    worse, better = judged(good, bad).put_under("noisy"), judged(bad, good).put_under("noisy")
    assert worse.table["id"].to_list() == [f"r{k}" for k in drawn]
    found = judging._eer("EER under noisy", worse, better, ~worse.own_copies)
    assert found.value > 0.3
    assert found.minus_reference[0] == pytest.approx(found.value)  # the other makes no errors there
    assert found.minus_reference[1] > 0


def test_an_adapter_starts_as_the_layer_itself_and_alone_learns(modules: dict[str, ModuleType]) -> None:
    torch.manual_seed(0)
    adapted, plain = (modules["adapters"].AdaptedLayer(which).eval() for which in (True, False))
    frames = torch.randn(2, 10, 384)
    with torch.no_grad():
        torch.testing.assert_close(adapted.layer(frames), plain.layer(frames))
    learning = {name for name, weight in adapted.named_parameters() if weight.requires_grad}
    assert {name for name in learning if name.startswith("layer")} == {n for n in learning if "lora" in n}
    assert not any(weight.requires_grad for weight in plain.layer.parameters())
    adapted(frames).sum().backward()
    assert any(w.grad is not None and w.grad.abs().sum() > 0 for n, w in adapted.named_parameters() if "lora_B" in n)
