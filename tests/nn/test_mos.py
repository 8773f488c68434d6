"""Predictors of quality give what their own packages give, and say what they cannot judge."""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.core.errors import AudioError, MissingPartError, ModelError, UsageError
from earwitness.nn.pretrained import mos
from earwitness.nn.pretrained.mos import Dnsmos, load_mos, weights_of

needs = {
    name: pytest.mark.skipif(find_spec(file[0]) is None, reason=f"{file[0]} is not installed")
    for name, file in mos.FILES.items()
}


@needs["dnsmos"]
@pytest.mark.parametrize(("seed", "seconds", "wanted"), [(1, 5.0, 2.319883), (2, 9.01, 2.318644)])
def test_dnsmos_equals_its_package(seed: int, seconds: float, wanted: float, speechlike) -> None:
    """P.808 of `speechmos` 0.0.1.1 for signals that are one window there too."""
    found = load_mos("dnsmos").score(speechlike(seconds, seed=seed), 16_000)
    assert found.score == pytest.approx(wanted, abs=2e-3)
    assert (found.seconds_used, found.seconds_total) == (seconds, seconds)


@needs["distillmos"]
def test_distillmos_equals_its_package(speechlike) -> None:
    """The published class, for one window of 5 s and zeros."""
    found = load_mos("distillmos").score(speechlike(5.0, seed=1), 16_000)
    assert found.score == pytest.approx(1.219913, abs=2e-3)


@needs["dnsmos"]
def test_a_file_is_heard_as_its_samples_are(tmp_path: Path, speechlike) -> None:
    estimator, samples = load_mos("dnsmos"), speechlike(10.5, seed=3)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    whole = estimator.score(samples, 16_000)
    assert estimator.score_file(tmp_path / "a.wav").score == pytest.approx(whole.score, abs=1e-6)
    part = estimator.score_file(tmp_path / "a.wav", None, 1.0, 3.0)
    assert (part.seconds_used, part.seconds_total) == (2.0, 2.0)


@needs["dnsmos"]
@pytest.mark.parametrize("samples", [np.zeros(48_000, np.float32), 0.1 * np.ones(1_500, np.float32)])
def test_nothing_is_said_of_what_cannot_be_heard(samples) -> None:
    with pytest.raises(AudioError, match="s of sound; a judgement needs at least"):
        load_mos("dnsmos").score(samples, 16_000)


def graph(path: Path, rows: bool = True) -> Path:
    """A graph whose MOS is 3 plus the mean of the samples (over the batch, without `rows`)."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    axes = helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [1 if rows else 0])
    nodes = [
        helper.make_node("ReduceMean", ["wave", "axes"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "three"], ["mos"]),
    ]
    inputs = [helper.make_tensor_value_info("wave", kind, ["B", "N"])]
    outputs = [helper.make_tensor_value_info("mos", kind, None)]
    made = helper.make_graph(nodes, "mos", inputs, outputs, [axes, helper.make_tensor("three", kind, [], [3.0])])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_a_graph_of_ones_own(tmp_path: Path) -> None:
    path = graph(tmp_path / "scoreq.onnx")
    estimator = load_mos(str(path))
    assert (estimator.name, estimator.model) == weights_of(str(path))
    assert estimator.name == "scoreq"
    assert estimator.score(0.25 * np.ones(8_000, np.float32), 16_000).score == pytest.approx(3.25)
    with pytest.raises(ModelError, match="does not give one number a waveform"):
        load_mos(str(graph(tmp_path / "other.onnx", rows=False))).score(0.2 * np.ones(8_000, np.float32), 16_000)
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(ModelError, match="is no graph that can be run"):
        load_mos(str(tmp_path / "text.onnx"))


def test_what_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no predictor of quality is called 'dnsmoss'"):
        load_mos("dnsmoss")
    with pytest.raises(UsageError, match="there is no such graph"):
        load_mos(str(tmp_path / "none.onnx"))
    monkeypatch.setattr(mos, "find_spec", lambda name: None)
    with pytest.raises(MissingPartError, match="needs the package speechmos"):
        weights_of("dnsmos")
    (tmp_path / "distill.pt").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="does not hold the weights of Distill-MOS"):
        mos.DistillMos(tmp_path / "distill.pt")


@needs["dnsmos"]
def test_dnsmos_rates_noise_below_the_same_speech(samples_folder: Path) -> None:
    from earwitness.audio import load

    samples = load(samples_folder / "caller.flac", 16_000).samples[: 16_000 * 8]
    noise = np.random.default_rng(0).standard_normal(len(samples)).astype(np.float32)
    estimator = load_mos("dnsmos")
    assert isinstance(estimator, Dnsmos)
    clean, noisy = (estimator.score(samples + level * noise, 16_000).score for level in (0.0, 0.05))
    assert noisy < clean


def test_another_process_opens_the_same_weights(tmp_path: Path) -> None:
    path = graph(tmp_path / "scoreq.onnx")
    estimator, samples = load_mos(str(path)), 0.25 * np.ones(8_000, np.float32)
    sent = pickle.dumps(estimator)
    again = pickle.loads(sent)  # noqa: S301 - what this test made itself, as the engine `ray` does
    assert again.score(samples, 16_000) == estimator.score(samples, 16_000)
    graph(path, rows=False)
    with pytest.raises(ModelError, match=rf"has the hash \w+, not {estimator.model}"):
        pickle.loads(sent)  # noqa: S301 - likewise
