"""Every recipe in recipes/published/ builds and learns: two optimiser steps on made-up audio, its encoder made tiny.

What a step costs is cut (batch size, crop, epochs); what is learnt, by which network and loss, is as the recipe says.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile as sf
import torch
import yaml
from torch import nn

from earwitness.core.config import parse_config
from earwitness.corpora.batches import Vocabulary
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.material import material_of, train_speakers
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.retrieval.rad_mfa import RadMfaConfig
from earwitness.deepfake.retrieval.training import RetrievalRecipe
from earwitness.deepfake.task import task_of
from earwitness.evaluation.assessing.runs import AnyRecipe
from earwitness.speaker.identity_expansion.learning import Expansion, expanded_batches
from earwitness.speaker.identity_expansion.pairs import Pair, write_pairs
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.task import SpeakerTask, SpeakerTrainee
from earwitness.training.data import SplitData, train_batches
from earwitness.training.loop import fit, seed_run
from earwitness.training.task import Task, TrainData

ROOT = Path(__file__).resolve().parent.parent
EVERY = sorted((ROOT / "recipes" / "published").glob("*.yaml"))
RETRIEVING = [path for path in EVERY if "task: deepfake-retrieval" in path.read_text(encoding="utf-8")]
RECIPES = [path for path in EVERY if path not in RETRIEVING]
CUT = {"epochs": 1, "batch_size": 4, "workers": 0, "precision": "32-true", "accelerator": "cpu", "log_every": 1}
WITHOUT_DEV = dict.fromkeys(("select", "early_stop", "average"))
SMALL = {
    "num_hidden_layers": 4,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "intermediate_size": 16,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "feat_extract_norm": "layer",
}
"""Of the speech encoders."""


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders with an XLS-R and a WavLM of random weights."""
    import transformers

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("encoders")
    xlsr = transformers.Wav2Vec2Config(**SMALL)
    wavlm = transformers.WavLMConfig(**SMALL)
    transformers.Wav2Vec2Model(xlsr).save_pretrained(folder / "xls-r")
    transformers.WavLMModel(wavlm).save_pretrained(folder / "wavlm")
    return {name: str(folder / name) for name in ("xls-r", "wavlm")}


def made_tiny(node: Any, encoders: dict[str, str], sounds: Path) -> Any:
    """The recipe's plain data with every pretrained encoder replaced by one of its kind, and every folder of noises or
    rooms by `sounds`."""
    if isinstance(node, list):
        return [made_tiny(item, encoders, sounds) for item in node]
    if not isinstance(node, dict):
        return node
    inner = {name: made_tiny(value, encoders, sounds) for name, value in node.items()}
    if "folder" in inner:
        inner["folder"] = str(sounds)
    if node.get("kind") == "mfa":
        inner["layers"] = SMALL["num_hidden_layers"]
    if node.get("kind") == "pretrained" and len(node.get("layers") or ()) > 1:
        inner["layers"] = [layer for layer in node["layers"] if layer <= SMALL["num_hidden_layers"]]  # type: ignore[operator]
    if node.get("kind") == "pretrained":
        inner["source"] = encoders["wavlm" if "wavlm" in node["source"].lower() else "xls-r"]
    return inner


def shortened(path: Path, encoders: dict[str, str], sounds: Path) -> DetectionRecipe | SpeakerRecipe:
    """The recipe, with two steps to take."""
    data = made_tiny(yaml.safe_load(path.read_text(encoding="utf-8")), encoders, sounds)
    if data.get("loss", {}).get("kind") == "qamo":  # levels by augmentation, which need no predictor of quality
        data["loss"]["quality"] = {"source": "augmentation"}
    data["loop"] = {**data["loop"], **CUT, **WITHOUT_DEV}
    data["audio"] = {**data.get("audio", {}), "crop_s": 0.5}
    data["draws"] = 2 * CUT["batch_size"] * data["loop"].get("accumulate", 1)  # type: ignore[operator]
    recipe: DetectionRecipe | SpeakerRecipe = parse_config(AnyRecipe, data, where=path)
    return recipe


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, speechlike: Callable[..., Any]) -> Manifest:
    """Twenty bona fide speakers (as SAMO's recipe has) and as many spoofs, 1 s each."""
    folder = tmp_path_factory.mktemp("rows")
    table = []
    for number in range(40):
        sound = speechlike(1.0, seed=number) + 0.01 * np.random.default_rng(number).standard_normal(16_000)
        sf.write(folder / f"{number}.wav", sound.astype(np.float32), 16_000)
        label, speaker = ("bonafide" if number % 2 else "spoof"), f"s{number // 2}"
        table.append({"path": f"{number}.wav", "speaker": speaker, "label": label, "split": "train", "corpus": "made"})
    found = Manifest(pl.DataFrame(table), folder)
    write_expansion(found)
    return found


def write_expansion(rows: Manifest) -> None:
    """An expansion beside the rows: two identities between the first four speakers."""
    pairs = [Pair(f"ins_{k}", f"s{2 * k}", f"s{2 * k + 1}", "f", 0.5, 0.5, 60.0) for k in range(2)]
    table = rows.table.head(4).with_columns(
        id=pl.Series([f"n{k}" for k in range(4)]),
        speaker=pl.Series([pairs[k // 2].new_id for k in range(4)]),
        label=pl.lit("spoof"),
        synthetic=pl.lit("true"),
    )
    Manifest(table, rows.root).write(rows.root / "manifest.csv")
    write_pairs(rows.root / "pairs.tsv", pairs)
    (rows.root / "manifest.json").write_text('{"synthetic": true}')


def prepared(recipe: DetectionRecipe | SpeakerRecipe, rows: Manifest) -> tuple[nn.Module, Task, TrainData]:
    network = recipe.network.build()
    if isinstance(recipe, DetectionRecipe):
        needed = material_of(recipe, rows)
        train = train_batches(recipe, rows, train_speakers(recipe, rows), quality=needed.levels)
        return network, task_of(recipe, needed), train
    assert recipe.margin is not None, "teach this test how such a recipe is trained"
    speakers = Vocabulary.of(rows, "speaker")
    if recipe.expansion is not None:
        expansion = Expansion.read(
            recipe.expansion.folder, SplitData(rows, rows.filter(pl.lit(False)), rows.filter(pl.lit(False)))
        )
        classes = expansion.classes(speakers, recipe.speeds)
        trainee = SpeakerTrainee(network, recipe.margin.build(network.dim, len(classes)))
        return trainee, SpeakerTask(), expanded_batches(recipe, rows, expansion, classes, recipe.expansion.share)
    trainee = SpeakerTrainee(network, recipe.margin.build(network.dim, len(speakers) * len(recipe.speeds)))
    return trainee, SpeakerTask(), train_batches(recipe, rows, speakers, recipe.speeds)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_published_recipe_learns(path: Path, encoders: dict[str, str], rows: Manifest, tmp_path: Path) -> None:
    recipe = shortened(path, encoders, rows.root)
    assert recipe.name == path.stem
    seed_run(recipe.seed, "init")
    model, task, train = prepared(recipe, rows)
    before = {name: value.clone() for name, value in model.named_parameters()}
    result = fit(model, task, train, None, recipe, tmp_path)
    assert result.steps == 2
    assert all(bool(value.isfinite().all()) for value in model.parameters())
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    learning = {name for name, value in model.named_parameters() if value.requires_grad}
    assert moved <= learning
    assert len(moved) > 0.7 * len(learning)
    steps = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert ("gradient/conflict" in steps[0]) is (recipe.alignment is not None)


@pytest.mark.parametrize("path", RETRIEVING, ids=lambda path: path.stem)
def test_a_recipe_that_retrieves_learns(path: Path) -> None:
    recipe: RetrievalRecipe = parse_config(AnyRecipe, yaml.safe_load(path.read_text(encoding="utf-8")), where=path)
    assert recipe.name == path.stem
    seed_run(recipe.seed, "init")
    network = RadMfaConfig(layers=2, width=16, hidden=recipe.hidden, neighbours=recipe.neighbours).build()
    optimiser = recipe.optimiser.build(network.named_parameters())
    before = {name: value.clone() for name, value in network.named_parameters()}
    for _ in range(2):
        logits = network(torch.randn(8, 1 + recipe.neighbours, 2, 5, 16))
        optimiser.zero_grad()
        nn.functional.cross_entropy(logits, torch.arange(8) % 2).backward()
        optimiser.step()
    assert all(bool(value.isfinite().all()) for value in network.parameters())
    assert sum(not torch.equal(value, before[name]) for name, value in network.named_parameters()) > 0.7 * len(before)


def test_there_are_published_recipes() -> None:
    assert len(RECIPES) >= 12
    assert RETRIEVING
