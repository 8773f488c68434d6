"""Names of classes, ensembles, and models of others loaded from local paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from earwitness.core.errors import ModelError
from earwitness.speech_llm.cpqa.checkpoints import (
    AudioClassifier,
    DimensionalRegressor,
    OnnxClassifier,
    _regressor_class,
)
from earwitness.speech_llm.cpqa.classes import CLASSES, canonical, columns_of, emotions_named
from earwitness.speech_llm.cpqa.gender import GenderGuess, PitchGender
from earwitness.speech_llm.cpqa.recognisers import ValenceFromClasses, joined

FUNASR = (
    "生气/angry",
    "厌恶/disgusted",
    "恐惧/fearful",
    "开心/happy",
    "中立/neutral",
    "其他/other",
    "难过/sad",
    "吃惊/surprised",
    "<unk>",
)
SIZES: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    "conv_dim": (8, 8), "conv_kernel": (10, 8), "conv_stride": (40, 8), "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 8,
}  # fmt: skip


def waves(count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, (count, 16_000)).astype(np.float32)


def test_names_of_other_tools_find_their_class_by_suffix_never_by_position() -> None:
    assert [canonical(name) for name in FUNASR] == list(CLASSES)
    assert columns_of(["难过/sad", "开心/happy"]) == (CLASSES.index("sad"), CLASSES.index("happy"))
    assert [canonical(name) for name in ("Disgust", "fear", "JOY", "surprise", "", "calm")] == [
        "disgusted", "fearful", "happy", "surprised", "unknown", None,
    ]  # fmt: skip
    with pytest.raises(ModelError, match=r"'calm' is none"):
        columns_of(["sad", "calm"])
    with pytest.raises(ModelError, match="two classes that mean 'fearful'"):
        columns_of(["fear", "fearful"])


def test_emotions_that_a_sentence_names() -> None:
    assert emotions_named("He is furious, not afraid; a saddle is no sadness.") == {"angry", "fearful", "sad"}
    assert emotions_named("The madness of it") == set()


def test_an_ensemble_is_the_mean_or_a_majority() -> None:
    members = np.zeros((3, 2, 9))
    members[0, :, 0], members[1, :, 0], members[2, :, 3] = 0.6, 0.6, 1.0
    members[1, 1, 0], members[1, 1, 6] = 0.0, 1.0
    assert joined(list(members))[0].argmax() == 0
    assert joined(list(members))[0, 0] == pytest.approx(0.4)
    majority = joined(list(members), "majority")
    assert [CLASSES[place] for place in majority.argmax(axis=1)] == ["angry", "unknown"]


def test_valence_from_classes_is_of_the_classes_alone() -> None:
    shares = np.zeros((4, 9))
    for row, name in enumerate(("happy", "sad", "neutral", "other")):
        shares[row, CLASSES.index(name)] = 1.0
    found = ValenceFromClasses().dimensions(waves(4), shares)
    assert found[:3, 0].tolist() == [1.0, 0.0, 0.45]
    assert np.isnan(found[3]).all()
    assert np.isnan(found[:, 1:]).all()


@pytest.mark.parametrize("names", [("arousal", "dominance", "valence"), ("valence", "arousal", "dominance")])
def test_valence_is_found_by_its_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    from transformers import Wav2Vec2Config

    torch.manual_seed(0)
    config = Wav2Vec2Config(**SIZES, id2label=dict(enumerate(names)), label2id={n: k for k, n in enumerate(names)})
    model = _regressor_class()(config).eval()
    model.classifier.out_proj.bias.data = torch.tensor([{"valence": 5.0, "arousal": 1.0}.get(n, 2.0) for n in names])
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": true, "sampling_rate": 16000}')
    found = DimensionalRegressor(tmp_path).dimensions(waves(), np.zeros((3, 9)))
    assert found.shape == (3, 3)
    assert np.abs(found - [5.0, 1.0, 2.0]).max() < 1.0
    louder = DimensionalRegressor(tmp_path).dimensions(3 * waves(), np.zeros((3, 9)))
    np.testing.assert_allclose(louder, found, atol=1e-4)  # as the processor normalises


def test_a_regressor_without_valence_or_with_weights_missing_is_refused(tmp_path: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(**SIZES, id2label={0: "arousal", 1: "dominance"}, label2id={"arousal": 0, "dominance": 1})
    _regressor_class()(config).save_pretrained(tmp_path / "a")
    with pytest.raises(ModelError, match="no valence"):
        DimensionalRegressor(tmp_path / "a")
    Wav2Vec2Model(config).save_pretrained(tmp_path / "b")
    with pytest.raises(ModelError, match="lacks 4 weight"):
        DimensionalRegressor(tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "config.json").write_text(json.dumps(config.to_dict()))
    (tmp_path / "c" / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ModelError, match="pickled weights are not read"):
        DimensionalRegressor(tmp_path / "c")


def test_a_classifier_of_transformers_by_bilingual_names(tmp_path: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

    torch.manual_seed(0)
    names = ("开心/happy", "<unk>", "生气/angry")
    config = Wav2Vec2Config(**SIZES, id2label=dict(enumerate(names)), label2id={n: k for k, n in enumerate(names)})
    model = Wav2Vec2ForSequenceClassification(config)
    model.classifier.bias.data = torch.tensor([0.0, 0.0, 4.0])
    model.save_pretrained(tmp_path)
    recogniser = AudioClassifier(tmp_path)
    found = recogniser.probabilities(waves())
    assert [CLASSES[place] for place in found.argmax(axis=1)] == ["angry"] * 3
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert set(np.flatnonzero(found.any(axis=0))) == {CLASSES.index(n) for n in ("happy", "unknown", "angry")}
    assert recogniser.id.startswith(f"{tmp_path.name}@")


def test_a_network_as_onnx(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["wave"], ["peak"], axes=[1], keepdims=1),
            helper.make_node("Neg", ["peak"], ["low"]),
            helper.make_node("Concat", ["peak", "low"], ["logits"], axis=1),
        ],
        "loudness",
        [helper.make_tensor_value_info("wave", kinds.FLOAT, ["B", "N"])],
        [helper.make_tensor_value_info("logits", kinds.FLOAT, ["B", 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "loud.onnx")
    with pytest.raises(ModelError, match="does not name the model's classes"):
        OnnxClassifier(tmp_path / "loud.onnx")
    (tmp_path / "loud.json").write_text('{"id2label": {"0": "anger", "1": "sadness"}}')
    found = OnnxClassifier(tmp_path / "loud.onnx").probabilities(waves())
    assert (found[:, CLASSES.index("angry")] > 0.5).all()
    np.testing.assert_allclose(found[:, CLASSES.index("angry")] + found[:, CLASSES.index("sad")], 1)
    (tmp_path / "loud.json").write_text('{"id2label": {"0": "anger", "1": "sadness", "2": "joy"}}')
    with pytest.raises(ModelError, match="3 classes"):
        OnnxClassifier(tmp_path / "loud.onnx").probabilities(waves())


def test_a_gender_is_unknown_unless_it_is_likely() -> None:
    assert GenderGuess.of(0.81).gender == "female"
    assert GenderGuess.of(0.79) == GenderGuess("unknown", 0.79)
    assert GenderGuess.of(0.1) == GenderGuess("male", 0.9)


def test_pitch_tells_low_from_high_voices_and_says_nothing_of_noise(speechlike: Any) -> None:
    pytest.importorskip("swift_f0")
    time = np.arange(32_000) / 16_000
    voices = {hz: sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 15)) * 0.1 for hz in (105, 165, 230)}
    found = {hz: PitchGender().gender(voice.astype(np.float32)).gender for hz, voice in voices.items()}
    assert found == {105: "male", 165: "unknown", 230: "female"}
    assert PitchGender().gender(np.zeros(16_000, np.float32)) == GenderGuess("unknown", None)
