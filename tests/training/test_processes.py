"""Two processes that share a run end with the weights of one that takes the same steps alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from earwitness.core.errors import RecipeError
from earwitness.corpora.batch import Batch, Targets
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.training import train_detector
from earwitness.training import processes
from earwitness.training.processes import batch_shares, launched, mean_over_processes, require_one_process
from earwitness.training.recipe import LoopConfig, read_recipe
from earwitness.training.tensors import read_tensors
from toy_sides import make_sides

ROWS, BATCH = 17, 2  # nine batches an epoch, the last of a single utterance


class Pretended:
    """The first of two processes; the other one says `other` whenever numbers are averaged."""

    world_size = 2
    device = torch.device("cpu")

    def __init__(self, *other: float) -> None:
        self.other = torch.tensor(other, dtype=torch.float64)

    def all_reduce(self, values: torch.Tensor) -> torch.Tensor:
        return (values + self.other) / 2


def batch_of(count: int) -> Batch:
    return Batch(torch.zeros(count, 4), torch.full((count,), 4), Targets(), tuple(map(str, range(count))))


def test_an_utterance_counts_as_much_whichever_process_hears_it() -> None:
    batches = [batch_of(4), batch_of(4)]
    assert batch_shares(Pretended(5.0), batches, own=2) == pytest.approx([8 / 13, 8 / 13])  # 4 of 13, times 2
    assert batch_shares(Pretended(5.0), batches, own=1) == pytest.approx([8 / 9, 0])  # the second is a repeat
    assert mean_over_processes(Pretended(1.0, 2.0), {"a": 3.0, "b": 6.0}) == {"a": 2.0, "b": 4.0}


def test_networks_in_turn_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    two = LoopConfig(epochs=1, batch_size=1, devices=2)
    with pytest.raises(RecipeError, match=r"^loop.devices: a committee trains several networks in turn.*devices=1"):
        require_one_process(two, "a committee")
    require_one_process(LoopConfig(epochs=1, batch_size=1), "a committee")
    monkeypatch.setattr(processes, "_SHARED", ["cpu"])
    with pytest.raises(RecipeError, match=r"^loop.devices: a recipe that trains several networks in turn runs in one"):
        launched(two)


@pytest.fixture
def recipe(tmp_path: Path, speechlike: Any) -> Path:
    """A small detector without batch-norm and dropout, by plain gradient descent, whose errors would show."""
    manifest, split = make_sides(tmp_path / "corpus", speechlike)
    plan = {
        "name": "shared",
        "task": "deepfake",
        "data": {"manifests": [str(manifest)], "split_file": str(split)},
        "split": {"shared_voices": ["known"]},
        "audio": {"crop_s": 0.5, "trim_silence": False},
        "draws": ROWS,
        "network": {
            "branches": [
                {"frontend": {"kind": "log_mel", "n_mels": 20, "mean_norm": True}, "pooling": {"kind": "statistics"}}
            ],
            "outputs": 2,
        },
        "optimiser": {"kind": "sgd", "lr": 0.002},
        "loop": {"epochs": 3, "batch_size": BATCH, "accelerator": "cpu", "select": {"metric": "eer"}, "log_every": 1},
        "windows": {"kind": "sliding", "length_s": 0.5, "hop_s": 0.5},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(plan))
    return path


def test_two_processes_end_with_the_weights_of_one(recipe: Path, tmp_path: Path) -> None:
    """Three batches a process and step: the second step has three left for both, so that one is taken twice."""
    alone = read_recipe(recipe, DetectionRecipe, ["loop.accumulate=6"])
    train_detector(alone, tmp_path / "alone")
    words = [sys.executable, "-m", "earwitness", "train", recipe, "--devices", "2", "--set", "loop.accumulate=3"]
    done = subprocess.run(
        [*map(str, words), "-o", str(tmp_path / "shared")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "[c10d]" not in line]  # torch, where hosts have no names
    assert said == [f"model: {tmp_path}/shared/model"]  # once, by the first process
    logs = [_log(tmp_path / name / "fit" / "log.jsonl") for name in ("alone", "shared")]
    assert [line["event"] for line in logs[0]].count("step") == 6
    losses = [line["loss"] for line in logs[0] if line["event"] == "epoch"]
    assert losses[0] - losses[-1] > 0.01  # it learns enough for errors to show
    assert [line["event"] for line in logs[1]] == [line["event"] for line in logs[0]]
    for one, two in zip(*logs, strict=True):
        assert two == pytest.approx(one, abs=1e-4)
    weights = [read_tensors(tmp_path / name / "fit" / "checkpoint.safetensors")[0] for name in ("alone", "shared")]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-4)


def _log(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
