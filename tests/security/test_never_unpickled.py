"""A pickle that would leave a file when it is opened lies wherever the tool loads something; no file is ever left."""

from __future__ import annotations

import ast
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

from earwitness.claims.store import Store
from earwitness.cli.main import exit_code
from earwitness.core.errors import EarwitnessError, ModelError
from earwitness.nn.pretrained import whisper
from earwitness.nn.pretrained.transformers_models import convert_weights, load_encoder
from earwitness.speaker.identity_expansion.vectors import SpeakerVectors
from earwitness.speaker.phones.recognisers import _ctc_model
from earwitness.speaker.published import read_published
from earwitness.speech_llm.clients.transformers_models import TransformersConfig, load_model
from earwitness.speech_llm.training.decoder import TextDecoder
from tiny_models import make_detector

SOURCE = Path(__file__).resolve().parents[2] / "src" / "earwitness"


class Canary:
    """Leaves the file `sang` where it is unpickled."""

    def __init__(self, sang: Path) -> None:
        self.sang = str(sang)

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (self.sang, "w"))


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    """Every test ends with the question whether it sang; that it can is asked last, of the same object."""
    sang = tmp_path / "sang"
    found = Canary(sang)
    yield found
    assert not sang.exists()
    pickle.loads(pickle.dumps(found))  # noqa: S301 - a canary that is dumb would show nothing
    assert sang.exists()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speechlike: Callable[..., Any]) -> Path:
    """The folder that the commands run in, with a recording and a cache of its own."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EARWITNESS_CACHE", str(folder / "cache"))
    soundfile.write(folder / "a.wav", speechlike(1.2), 16_000)
    return folder


def hide(canary: Canary, path: Path, how: str) -> Path:
    """Write the canary to `path` as torch, pickle or numpy would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    match how:
        case "torch":
            torch.save({"w": canary}, path)
        case "old torch":
            torch.save({"w": canary}, path, _use_new_zipfile_serialization=False)
        case "pickle":
            path.write_bytes(pickle.dumps(canary))
        case "numpy":
            with path.open("wb") as file:
                np.save(file, np.array([canary], dtype=object), allow_pickle=True)
        case "numpy zip":
            with path.open("wb") as file:
                np.savez(file, ids=np.array([canary], dtype=object), allow_pickle=True)
    return path


TORCH = ("torch", "old torch", "pickle")
RUNS = {
    "score": "score a.wav --task deepfake --model made -o s.csv",
    "examine": "examine a.wav --model deepfake=made --no-manner",
    "info": "model info made",
    "verify": "model verify made",
}


@pytest.mark.parametrize("how", TORCH)
@pytest.mark.parametrize("suffix", ["pth", "pt", "bin"])
def test_importing_a_checkpoint(home: Path, canary: Canary, how: str, suffix: str) -> None:
    hide(canary, home / f"c.{suffix}", how)
    for kind in ("aasist", "nes2net-asvspoof5", "fairseq-wav2vec2", "wavlm"):
        assert exit_code(["model", "import", f"c.{suffix}", "--as", kind, "-o", "made"]) == 2


@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("how", TORCH)
def test_a_model_folder_whose_weights_are_a_pickle(home: Path, canary: Canary, words: str, how: str) -> None:
    make_detector(home / "made")
    hide(canary, home / "made" / "weights.safetensors", how)
    assert exit_code(words.split()) == 2


@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("name", ["weights.pth", "pytorch_model.bin", "extra.pkl", "cohort.npy"])
def test_a_pickle_beside_the_weights(home: Path, canary: Canary, words: str, name: str) -> None:
    make_detector(home / "made")
    hide(canary, home / "made" / name, "pickle")
    assert exit_code(words.split()) == 2


def snapshot(canary: Canary, folder: Path, config: dict[str, Any]) -> Path:
    """What a hub download looks like: a snapshot of links to blobs, weights in pickle form only."""
    root = folder / "models--someone--something"
    blob = hide(canary, root / "blobs" / "1234", "torch")
    place = root / "snapshots" / "abcd"
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(config))
    (place / "pytorch_model.bin").symlink_to(blob)
    return place


WAV2VEC2 = {"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForCTC"], "hidden_size": 16, "num_hidden_layers": 1}
LOADERS: dict[str, tuple[dict[str, Any], Callable[[Path], object]]] = {
    "encoder": (WAV2VEC2, lambda folder: load_encoder(str(folder))),
    "conversion": (WAV2VEC2, convert_weights),
    "phones": (WAV2VEC2, _ctc_model),
    "decoder": ({"model_type": "gpt2"}, TextDecoder.load),
    "client": (
        {"model_type": "qwen2_audio"},
        lambda f: load_model(TransformersConfig(model=str(f), family="qwen2_audio")),
    ),
}


@pytest.mark.parametrize(("config", "load"), LOADERS.values(), ids=LOADERS)
def test_a_hub_download_in_pickle_form(home: Path, canary: Canary, config: Any, load: Callable[[Path], object]) -> None:
    with pytest.raises(ModelError):
        load(snapshot(canary, home / "hub", config))


def test_a_recipe_whose_encoder_is_a_pickle(home: Path, canary: Canary) -> None:
    (home / "rows.csv").write_text("path,label,speaker,system,split\na.wav,bonafide,x,,train\n")
    source = str(snapshot(canary, home / "hub", WAV2VEC2))
    recipe = {
        "name": "t",
        "task": "deepfake",
        "data": {"manifests": ["rows.csv"]},
        "network": {"branches": [{"frontend": {"kind": "pretrained", "source": source}, "pooling": {"kind": "mean"}}]},
        "loop": {"epochs": 1, "batch_size": 1},
        "windows": {"kind": "whole"},
    }
    (home / "r.yaml").write_text(yaml.safe_dump(recipe))
    assert exit_code(["train", "r.yaml", "-o", "run"]) == 2


def test_an_index_whose_files_are_pickles(home: Path, canary: Canary) -> None:
    built = ["index", "build", "a.wav", "-o", "i", "--encoder", "log_mel", "--segment", "1"]
    assert exit_code(built) == 0
    for name in sorted(path.name for path in (home / "i").iterdir()):
        shutil.copytree(home / "i", home / name)
        hide(canary, home / name / name, "pickle")
        for words in (["search", name, "a.wav"], ["info", name]):
            assert exit_code(["index", *words]) in (0, 1, 2)  # numbers may be read as other numbers
    hide(canary, home / "i" / "index.faiss", "pickle")
    assert exit_code(["index", "info", "i"]) == 0


@pytest.mark.skipif(not whisper.encoder_available(), reason="the package of the encoder is not here")
def test_a_cache_whose_weights_are_a_pickle_is_made_anew(home: Path, canary: Canary) -> None:
    file = hide(canary, whisper._cache_file(), "torch")
    assert whisper.load_whisper_encoder().width == 384
    assert file.read_bytes()[:2] != b"PK"


def test_arrays_that_hold_objects(home: Path, canary: Canary) -> None:
    with pytest.raises(EarwitnessError):
        SpeakerVectors.read(hide(canary, home / "v.npz", "numpy zip"))
    hide(canary, home / "store" / "done.npy", "numpy")
    hide(canary, home / "store" / "x.npy", "numpy")
    with pytest.raises(EarwitnessError, match=r"x\.npy: is no array of numbers \(.*([Oo]bject|pickle)"):
        Store(home / "store", 1, {"x": (1,)})
    np.lib.format.open_memmap(home / "store" / "x.npy", "w+", np.float16, (1, 1)).flush()
    with pytest.raises(EarwitnessError, match=r"done\.npy: is no array of numbers \(.*([Oo]bject|pickle)"):
        Store(home / "store", 1, {"x": (1,)})
    np.save(home / "store" / "done.npy", np.zeros(2, bool))
    with pytest.raises(EarwitnessError, match=r"done\.npy: does not say which of 1 rows are done"):
        Store(home / "store", 1, {"x": (1,)})


def test_published_speaker_weights(home: Path, canary: Canary) -> None:
    for how in TORCH:
        for start in ("resemblyzer", "camplus"):
            with pytest.raises(EarwitnessError):
                read_published(start, hide(canary, home / "c.bin", how))


# --- what the source may not say --------------------------------------------------------------------------------------

REQUIRED = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
FORBIDDEN = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "dill.load", "shelve.open", "marshal.loads"),
    *("torch.hub.load", "yaml.load", "yaml.unsafe_load", "pd.read_pickle", "faiss.read_index", "os.system", "os.popen"),
    *("eval", "exec", "compile", "shutil.unpack_archive"),
}
ARCHIVES = {"zipfile", "tarfile"}


@cache
def calls(path: Path) -> tuple[tuple[str, ast.Call], ...]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return tuple((ast.unparse(node.func), node) for node in nodes if isinstance(node, ast.Call))


def faults(path: Path) -> list[str]:
    """What a module says that it must not."""
    found = []
    for name, call in calls(path):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        if name in REQUIRED:
            option, value = REQUIRED[name]
            if not (isinstance(given.get(option), ast.Constant) and given[option].value is value):  # type: ignore[attr-defined]
                found.append(f"{name} without {option}={value}")
        if name in FORBIDDEN:
            found.append(name)
        if isinstance(shell := given.get("shell"), ast.Constant) and shell.value:
            found.append(f"{name}(shell=True)")
        if name.endswith(".from_pretrained"):
            reads_weights = not any(
                part in name for part in ("AutoConfig", "Tokenizer", "FeatureExtractor", "Processor")
            )
            if reads_weights and "use_safetensors" not in given:
                found.append(f"{name} without use_safetensors")
    return [f"{path.relative_to(path.parents[1])}: {what}" for what in found]


def test_no_module_unpickles_or_executes_what_it_reads() -> None:
    modules = sorted(SOURCE.rglob("*.py"))
    assert len(modules) > 300
    assert [fault for path in modules for fault in faults(path)] == []


def test_the_search_for_faults_finds_them(tmp_path: Path) -> None:
    bad = tmp_path / "x" / "bad.py"
    bad.parent.mkdir()
    bad.write_text(
        "torch.load(p)\nnp.load(p, allow_pickle=True)\npickle.loads(b)\nrun(c, shell=True)\nM.from_pretrained(p)\n"
    )
    assert len(faults(bad)) == 5


def test_nothing_is_unpacked() -> None:
    """No archive is opened, so no member can leave its folder: numpy's `.npz` is read by name, in memory."""
    used = {
        (path.relative_to(SOURCE).as_posix(), name)
        for path in SOURCE.rglob("*.py")
        for name, _ in calls(path)
        if name.split(".")[0] in ARCHIVES or name.endswith((".extractall", ".unpack_archive"))
    }
    assert used == set()
