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

from earwitness.audio.windows import Whole
from earwitness.core.config import parse_config
from earwitness.corpora.batches import Vocabulary
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.material import material_of, train_speakers
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.retrieval.rad_mfa import RadMfaConfig
from earwitness.deepfake.retrieval.training import RetrievalRecipe
from earwitness.deepfake.scores import labels_of
from earwitness.deepfake.task import task_of
from earwitness.evaluation.assessing.runs import AnyRecipe
from earwitness.nn.network import NetworkConfig
from earwitness.paralinguistic import age_training
from earwitness.paralinguistic.age_recipe import AgeRecipe
from earwitness.paralinguistic.emotion import build_network
from earwitness.paralinguistic.emotion_recipe import EmotionRecipe
from earwitness.paralinguistic.emotion_task import EmotionTask, KnownRows, joined
from earwitness.paralinguistic.emotion_training import EmotionSides, described, spell_sides, train_side, with_block
from earwitness.paralinguistic.labels import read_labels
from earwitness.speaker.identity_expansion.learning import Expansion, expanded_batches
from earwitness.speaker.identity_expansion.pairs import Pair, write_pairs
from earwitness.speaker.personal_vad.folder import read_verifier
from earwitness.speaker.personal_vad.recipe import PersonalVadRecipe
from earwitness.speaker.personal_vad.task import PersonalVadTask
from earwitness.speaker.personal_vad.training import build_trainee, mixture_batches
from earwitness.speaker.phones import ARPABET, Maker, PhoneSegment, PhoneTrack
from earwitness.speaker.phonetic_traits.data import Framing, PairBatches, PhonedRows
from earwitness.speaker.phonetic_traits.recipe import SpeakerTraitsRecipe
from earwitness.speaker.phonetic_traits.task import TraitTask, TraitTrainee
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.training import margin_trainee
from earwitness.speech_llm.training.folder import build_model
from earwitness.speech_llm.training.recipe import SpeechLlmRecipe
from earwitness.speech_llm.training.records import Record
from earwitness.speech_llm.training.teaching import ear_of, learn
from earwitness.training.complementary_task import Classes, complemented
from earwitness.training.data import SplitData, train_batches
from earwitness.training.inversion.recipe import InversionRecipe
from earwitness.training.inversion.rounds import distil
from earwitness.training.inversion.space import RangeConfig
from earwitness.training.inversion.tapped import Tapped
from earwitness.training.inversion.teacher import Teacher, open_teacher, teacher_of
from earwitness.training.loop import fit, seed_run
from earwitness.training.model_folder import ModelInfo
from earwitness.training.sound_classes import SoundClassRecipe, SoundClassTask, batches, network_of
from earwitness.training.task import Task, TrainData
from tiny_llm import make_decoder, make_whisper
from tiny_models import make_embedder
from tiny_personal_vad import make_verifier

ROOT = Path(__file__).resolve().parent.parent
EVERY = sorted((ROOT / "recipes" / "published").glob("*.yaml"))
RETRIEVING = [path for path in EVERY if "task: deepfake-retrieval" in path.read_text(encoding="utf-8")]
COMPARING_PHONES = [path for path in EVERY if "task: speaker-traits" in path.read_text(encoding="utf-8")]
INVERTING = [path for path in EVERY if "task: inversion" in path.read_text(encoding="utf-8")]
PERSONAL = [path for path in EVERY if "task: personal-vad" in path.read_text(encoding="utf-8")]
SOUNDING = [path for path in EVERY if "task: sound-class" in path.read_text(encoding="utf-8")]
AGING = [path for path in EVERY if "task: age" in path.read_text(encoding="utf-8")]
FEELING = [path for path in EVERY if "task: emotion" in path.read_text(encoding="utf-8")]
HEARING = [path for path in EVERY if "task: speech-llm" in path.read_text(encoding="utf-8")]
OTHERS = (*RETRIEVING, *COMPARING_PHONES, *INVERTING, *PERSONAL, *SOUNDING, *AGING, *FEELING, *HEARING)
RECIPES = [path for path in EVERY if path not in OTHERS]
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
    if node.get("kind") == "ecapa":
        inner |= {"channels": 16, "outputs": 24}
    if node.get("kind") == "resnet":
        inner["widths"] = [4] * len(node["widths"])  # type: ignore[arg-type]
    if node.get("kind") == "posterior":
        inner |= {"hidden": 16, "feed_forward": 32}
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
    if data.get("complementary"):
        data["complementary"]["members"] = [str(make_embedder(sounds / "member"))]
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
        return network, complemented(recipe, network, task_of(recipe, needed), Classes(2, labels_of)), train
    assert recipe.margin is not None, "teach this test how such a recipe is trained"
    speakers = Vocabulary.of(rows, "speaker")
    if recipe.expansion is not None:
        nobody = rows.filter(pl.lit(False))
        expansion = Expansion.read(recipe.expansion.folder, SplitData(rows, nobody, nobody))
        named = expansion.classes(speakers, recipe.speeds)
        count, train = len(named), expanded_batches(recipe, rows, expansion, named, recipe.expansion.share)
    else:
        count = len(speakers) * len(recipe.speeds)
        train = train_batches(recipe, rows, speakers, recipe.speeds)
    trainee, task = margin_trainee(recipe, network, count, train)
    return trainee, complemented(recipe, network, task, Classes(count, task.classes)), train


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


@pytest.mark.parametrize("path", COMPARING_PHONES, ids=lambda path: path.stem)
def test_a_recipe_that_compares_phones_learns(path: Path, rows: Manifest, tmp_path: Path) -> None:
    """Its network is made small too: a step of the published one takes seconds."""
    published = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert published["network"]["encoder"]["outputs"] == 1536
    data = made_tiny(published, {}, rows.root)
    data["loop"] = {**data["loop"], **CUT}
    data["audio"]["crop_s"] = 0.5
    data["draws"] = 8
    data["network"]["encoder"] = {"kind": "ecapa", "channels": 16, "outputs": 48, "se_hidden": 8}
    recipe: SpeakerTraitsRecipe = parse_config(AnyRecipe, data, where=path)
    assert recipe.name == path.stem
    seed_run(recipe.seed, "init")
    network = recipe.network.build()
    segments = tuple(PhoneSegment(0.1 * k, 0.1 * k + 0.1, ARPABET.phones[k % 7]) for k in range(10))
    tracks = dict.fromkeys(rows.table["id"], PhoneTrack(segments, ARPABET, Maker("files", "made up")))
    speakers = Vocabulary.of(rows, "speaker")
    train = PhonedRows(rows, tracks, Framing(16_000, network.window, network.hop), speakers)
    margin = None if network.dim == 0 else recipe.margin.build(network.dim, len(speakers))
    model = TraitTrainee(network, margin)
    before = {name: value.clone() for name, value in model.named_parameters()}
    task = TraitTask(model, recipe.traits, recipe.margin_growth)
    result = fit(model, task, PairBatches(train, recipe), None, recipe, tmp_path)
    assert result.steps == 2
    assert all(bool(value.isfinite().all()) for value in model.parameters())
    moved = [name for name, value in model.named_parameters() if not torch.equal(value, before[name])]
    assert len(moved) > 0.7 * len(before)
    terms = {"margin", "same", "diff", "center"} if margin is not None else {"pairing", "same", "diff"}
    assert set(result.history[0].losses) == terms


@pytest.mark.parametrize("path", SOUNDING, ids=lambda path: path.stem)
def test_a_recipe_of_sound_classes_learns(path: Path, rows: Manifest, tmp_path: Path) -> None:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    data["loop"] = {**data["loop"], **CUT}
    data["audio"] = {**data["audio"], "crop_s": 0.5}
    recipe: SoundClassRecipe = parse_config(AnyRecipe, {**data, "draws": 8}, where=path)
    assert recipe.name == path.stem
    classes = [str(number % 3) for number in range(len(rows))]
    heard = rows.with_table(rows.table.with_columns(pl.Series("sound", classes)))
    seed_run(recipe.seed, "init")
    network = network_of(recipe, heard, 3).build()
    before = {name: value.clone() for name, value in network.named_parameters()}
    train = batches(recipe, heard, Vocabulary.of(heard, "sound"))
    assert fit(network, SoundClassTask(), train, None, recipe, tmp_path).steps == 2
    assert sum(not torch.equal(value, before[name]) for name, value in network.named_parameters()) > 0.7 * len(before)


@pytest.mark.parametrize("path", AGING, ids=lambda path: path.stem)
def test_a_recipe_of_ages_learns(path: Path, encoders: dict[str, str], rows: Manifest, tmp_path: Path) -> None:
    data = made_tiny(yaml.safe_load(path.read_text(encoding="utf-8")), encoders, rows.root)
    data["loop"] = {**data["loop"], **CUT, **WITHOUT_DEV}
    data["audio"]["crop_s"] = 0.5
    recipe: AgeRecipe = parse_config(AnyRecipe, {**data, "draws": 8}, where=path)
    assert recipe.name == path.stem
    ages = [float(20 + number) for number in range(len(rows))]
    heard = rows.with_table(
        rows.table.with_columns(age=pl.Series(ages), age_band=pl.Series([str(a // 5) for a in ages]))
    )
    trainee, task = age_training.build_trainee(recipe, heard)
    before = {name: value.clone() for name, value in trainee.named_parameters()}
    learning, batches = age_training.regularised_ages(recipe, trainee, task, heard)
    result = fit(trainee, learning, batches, None, recipe, tmp_path)
    assert result.steps == 2
    contrast = recipe.regularise.contrast
    assert contrast is None or contrast.kind in result.history[0].losses
    assert all(bool(value.isfinite().all()) for value in trainee.parameters())
    assert sum(not torch.equal(value, before[name]) for name, value in trainee.named_parameters()) > 0.7 * len(before)


def teacher_for(recipe: InversionRecipe) -> Teacher:
    """A shipped teacher, or one of random weights by the recipe that trains it."""
    folder = Path(recipe.teacher)
    if folder.name != "model":
        return open_teacher(recipe.teacher, recipe.input_range)
    data = yaml.safe_load((ROOT / "recipes" / "published" / f"{folder.parent.name}.yaml").read_text(encoding="utf-8"))
    network = NetworkConfig.model_validate({**data["network"], "outputs": 10})
    info = ModelInfo(
        name="t",
        task="sound-class",
        network=network.model_dump(mode="json"),
        windows=Whole(),
        polarity="none",
        licence="CC0-1.0",
    )
    return teacher_of(Tapped(network.build()), info, RangeConfig())


@pytest.mark.parametrize("path", INVERTING, ids=lambda path: path.stem)
def test_a_recipe_that_inverts_learns(path: Path, tmp_path: Path) -> None:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    tiny = {"batch_size": 4, "steps": 2, **({"width": 4, "z": 8} if data["synthesis"]["kind"] == "generator" else {})}
    data |= {
        "frames": 48,
        "synthesis": {**data["synthesis"], **tiny},
        "loop": {"rounds": 1, "steps": 2, "device": "cpu"},
    }
    data["distillation"] |= {"batch_size": 4}
    recipe: InversionRecipe = parse_config(AnyRecipe, data, where=path)
    assert recipe.name == path.stem
    done = distil(teacher_for(recipe), recipe, tmp_path)
    assert all(bool(value.isfinite().all()) for value in done.student.parameters())
    wanted = {"kd"} | {name for name in ("pre", "post") if getattr(recipe.distillation, name)}
    assert set(done.rounds[0].losses) == wanted


@pytest.mark.parametrize("path", PERSONAL, ids=lambda path: path.stem)
def test_a_recipe_of_a_personal_vad_learns(path: Path, rows: Manifest, tmp_path: Path) -> None:
    """With a small verifier, short mixtures, and a transform to as many values as that one's vectors allow."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    data |= {"verifier": str(make_verifier(tmp_path / "verifier")), "draws": 2 * CUT["batch_size"]}  # type: ignore[operator]
    data["mixing"] = {"seconds": [0.6, 0.6], "registration_s": [0.5, 0.5], "target_s": [0.5, 0.5]}
    data["network"]["condition"] = 12
    data["loop"] = {**data["loop"], **CUT}
    recipe: PersonalVadRecipe = parse_config(AnyRecipe, data, where=path)
    assert recipe.name == path.stem
    verifier, _, _ = read_verifier(recipe.verifier)
    sides = SplitData(rows, rows, rows)
    train, _ = mixture_batches(recipe, sides, 16_000, None)
    trainee = build_trainee(recipe, verifier, None)
    before = {name: value.clone() for name, value in trainee.vad.named_parameters()}
    assert fit(trainee, PersonalVadTask(recipe.losses), train, None, recipe, tmp_path / "fit").steps == 2
    assert all(bool(value.isfinite().all()) for value in trainee.vad.parameters())
    moved = sum(not torch.equal(value, before[name]) for name, value in trainee.vad.named_parameters())
    assert moved > 0.7 * len(before)


@pytest.mark.parametrize("path", FEELING, ids=lambda path: path.stem)
def test_a_recipe_of_emotions_learns(path: Path, encoders: dict[str, str], rows: Manifest, tmp_path: Path) -> None:
    data = made_tiny(yaml.safe_load(path.read_text(encoding="utf-8")), encoders, rows.root)
    data["loop"] = {**data["loop"], **CUT, **WITHOUT_DEV, "accumulate": 1}
    recipe: EmotionRecipe = parse_config(AnyRecipe, {**data, "draws": 8}, where=path)
    assert recipe.name == path.stem
    number = pl.int_range(pl.len())
    felt = {"corpus": "iemocap", "transcript": "da ist es", "split": "train"}
    table = rows.table.with_columns(
        **{name: pl.lit(value) for name, value in felt.items()},
        emotion=pl.when(number % 2 == 0).then(pl.lit("ang")).otherwise(pl.lit("neu")),
        sex=pl.when(number % 3 == 0).then(pl.lit("m")).otherwise(pl.lit("f")),
        intensity=(number % 5) / 5,
    )
    train = read_labels(rows.with_table(table), recipe.labels)
    sides = EmotionSides(train, train, train, ())
    spelt = spell_sides(recipe, sides)
    seed_run(recipe.seed, "init")
    network = build_network(recipe.network, described(recipe, train, spelt[0]))
    recipe = with_block(recipe, network)
    task = EmotionTask(KnownRows.of((train,), joined(spelt)), recipe.losses)
    before = {name: value.clone() for name, value in network.named_parameters()}
    result = fit(network, task, train_side(recipe, train), None, recipe, tmp_path)
    assert result.steps == 2
    assert set(result.history[0].losses) == set(recipe.losses.tasks)
    moved = sum(not torch.equal(value, before[name]) for name, value in network.named_parameters())
    assert moved > 0.7 * len(before)


@pytest.mark.parametrize("path", HEARING, ids=lambda path: path.stem)
def test_a_recipe_that_teaches_a_language_model_learns(path: Path, rows: Manifest, tmp_path: Path) -> None:
    """With a Whisper and a GPT of random weights, and an adapter as narrow as they are; audio is padded to 2 s."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    network = data["network"]
    width: Any = {"hidden": [8, 12]} if network["adapter"]["kind"] == "small" else {"hidden": 8}
    network["adapter"] |= {**width, "rest": "trim"}
    network |= {"encoder": {**network["encoder"], "source": str(make_whisper(tmp_path / "whisper", mels=128))}}
    network |= {"decoder": str(make_decoder(tmp_path / "decoder")), "pad_to_s": 2.0, "prompt": {}}
    line = "Detected vocal emotion: 0.0-1.0 s angry." if network.get("metadata") else None
    kinds = ("ASR", "PQA-emotion", "CPQA")
    records = [
        Record(f"{kind}{row.id}", str(rows.resolve(row)), "How?", "sad", kind, "CE", "train", metadata_text=line)
        for row in rows.rows()
        for kind in kinds
    ]
    data["loop"] = {**data["loop"], **CUT, "accumulate": 1}
    recipe: SpeechLlmRecipe = parse_config(AnyRecipe, {**data, "draws": 8}, where=path)
    assert recipe.name == path.stem
    model = build_model(recipe.network)
    before = {name: value.clone() for name, value in model.named_parameters()}
    ears = [ear_of(recipe, model, records, tmp_path)] * 2
    assert learn(recipe, model, records, [], ears, tmp_path, False).steps == 2
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.startswith("adapter.")}


def test_there_are_published_recipes() -> None:
    assert len(RECIPES) >= 12
    assert RETRIEVING
    assert COMPARING_PHONES
    assert len(INVERTING) == 9
    assert len(SOUNDING) == 4
    assert PERSONAL
    assert len(FEELING) == 2
    assert len(HEARING) == 3
