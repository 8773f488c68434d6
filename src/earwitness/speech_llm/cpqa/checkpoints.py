"""Recognisers of others, loaded from local paths: nothing is fetched, nothing is unpickled.

    AudioClassifier      a folder of transformers, `AutoModelForAudioClassification` (wav2vec 2.0, WavLM, ...)
    DimensionalRegressor a folder with the layout of audEERING's wav2vec 2.0 on MSP-Podcast (arXiv 2203.07378)
    OnnxClassifier       a network as ONNX with a JSON file of its labels beside it

Outputs are found by the names in the configuration, never by their position.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from earwitness.core.config import Config, parse_config
from earwitness.core.errors import MissingPartError, ModelError, RecipeError
from earwitness.core.hashing import sha256_file
from earwitness.speech_llm.cpqa.classes import CLASSES, columns_of
from earwitness.speech_llm.cpqa.recognisers import DIMENSIONS, Floats, Waveforms

RATE = 16_000
CONFIG, WEIGHTS, PREPROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
_EPSILON = 1e-7  # beside the variance, as the wav2vec 2.0 processors have it


class AudioClassifier:
    """A categorical recogniser: classes by `id2label`, other names and bilingual ones understood (`classes.canonical`).

    Raises `ModelError` where the folder is not such a model, or names a class that is not known.
    """

    def __init__(self, folder: str | Path) -> None:
        from transformers import AutoModelForAudioClassification

        self.id = _id(folder)
        self._model = _loaded(AutoModelForAudioClassification, folder)
        self._columns = columns_of(_labels(self._model.config.id2label, folder), folder)
        self._normalises = _normalises(folder)

    def probabilities(self, windows: Waveforms) -> Floats:
        """[B, N] at 16 kHz -> [B, 9]."""
        return _placed(_softmax(_run(self._model, windows, self._normalises)), self._columns)


class DimensionalRegressor:
    """A dimensional recogniser: wav2vec 2.0, the mean of its last hidden states over time, a dense layer with tanh and
    one output a dimension, named by `id2label`.

    Raises `ModelError` where the folder is not such a model, or lacks a valence.
    """

    def __init__(self, folder: str | Path) -> None:
        self.id = _id(folder)
        self._model = _loaded(_regressor_class(), folder)
        names = [name.strip().lower() for name in _labels(self._model.config.id2label, folder)]
        if "valence" not in names:
            raise ModelError(f"has the outputs {', '.join(names)}, and no valence", where=folder)
        self._places = [names.index(name) if name in names else None for name in DIMENSIONS]
        self._normalises = _normalises(folder)

    def dimensions(self, windows: Waveforms, probabilities: Floats) -> Floats:
        """[B, N] at 16 kHz -> valence, arousal, dominance [B, 3]; what it does not know is NaN."""
        found = _run(self._model, windows, self._normalises)
        columns = [found[:, place] if place is not None else np.full(len(found), np.nan) for place in self._places]
        return np.stack(columns, axis=1)


class OnnxLabels(Config):
    """The JSON file beside NAME.onnx: `id2label`; whether the input is normalised to zero mean and unit variance; and
    whether the first output is `logits` or probabilities already."""

    id2label: dict[int, str] = Field(min_length=2)
    normalise: bool = False
    logits: bool = True


class OnnxClassifier:
    """A categorical recogniser: NAME.onnx takes waveforms [B, N] at 16 kHz and gives [B, K]; NAME.json is `OnnxLabels`.

    Raises `ModelError` where it cannot be loaded, `MissingPartError` where onnxruntime is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self.id = f"{path.stem}@{sha256_file(path)[:12]}" if path.is_file() else path.stem
        told = path.with_suffix(".json")
        try:
            self._labels: OnnxLabels = parse_config(OnnxLabels, json.loads(told.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecipeError) as error:
            fix = 'Write {"id2label": {"0": "angry", ...}} there.'
            raise ModelError(f"does not name the model's classes ({error})", where=told, fix=fix) from None
        names = _labels(self._labels.id2label, told)
        self._columns = columns_of(names, told)
        self._session = _onnx_session(path)
        self._input = self._session.get_inputs()[0].name

    def probabilities(self, windows: Waveforms) -> Floats:
        """[B, N] at 16 kHz -> [B, 9]."""
        heard = _normalised(windows) if self._labels.normalise else windows
        outputs = np.asarray(self._session.run(None, {self._input: heard})[0], np.float64)
        if outputs.shape != (len(windows), len(self._columns)):
            what = f"gives {outputs.shape} for {len(windows)} windows and {len(self._columns)} classes"
            raise ModelError(what, where=self.id, fix="Its first output must be [B, K].")
        return _placed(_softmax(outputs) if self._labels.logits else outputs, self._columns)


def _regressor_class() -> Any:
    import torch
    from torch import nn
    from transformers import Wav2Vec2Model, Wav2Vec2PreTrainedModel

    class Head(nn.Module):
        """Dropout, a dense layer with tanh, dropout, one output a dimension; the names are the checkpoint's."""

        def __init__(self, config: Any) -> None:
            super().__init__()
            self.dense = nn.Linear(config.hidden_size, config.hidden_size)
            self.dropout = nn.Dropout(getattr(config, "final_dropout", 0.0))
            self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

        def forward(self, pooled: torch.Tensor) -> torch.Tensor:
            hidden = torch.tanh(self.dense(self.dropout(pooled)))
            found: torch.Tensor = self.out_proj(self.dropout(hidden))
            return found

    class Regressor(Wav2Vec2PreTrainedModel):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.wav2vec2 = Wav2Vec2Model(config)
            self.classifier = Head(config)
            self.post_init()

        def forward(self, input_values: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.classifier(self.wav2vec2(input_values)[0].mean(dim=1))
            return found

    return Regressor


def _loaded(kind: Any, folder: str | Path) -> Any:
    """The model in eval mode, every weight of it from `model.safetensors`. Raises `ModelError`."""
    place = Path(folder)
    if not (place / CONFIG).is_file():
        raise ModelError(f"is no model folder of transformers: it has no {CONFIG}", where=folder)
    if not (place / WEIGHTS).is_file() and not list(place.glob("model-*.safetensors")):
        fix = "Save it with `save_pretrained(..., safe_serialization=True)`; pickled weights are not read."
        raise ModelError(f"has no {WEIGHTS}", where=folder, fix=fix)
    try:
        model, told = kind.from_pretrained(
            place, local_files_only=True, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except Exception as error:  # whatever transformers and safetensors raise for a bad folder
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"cannot be loaded ({first[:200]})", where=folder) from None
    missing = sorted(told.get("missing_keys") or ())
    if missing:
        what = f"lacks {len(missing)} weight(s), the first '{missing[0]}'"
        raise ModelError(what, where=folder, fix="It is a model of another kind, or incomplete.")
    return model.eval()


def _labels(id2label: dict[int, str], where: object) -> list[str]:
    """Names in the order of the outputs. Raises `ModelError` where they don't count from 0."""
    if sorted(map(int, id2label)) != list(range(len(id2label))):
        raise ModelError("its id2label does not count from 0 on", where=where, fix="Correct it.")
    return [id2label[place] for place in range(len(id2label))]


def _normalises(folder: str | Path) -> bool:
    """Whether the model's processor brings waveforms to zero mean and unit variance."""
    try:
        told = json.loads((Path(folder) / PREPROCESSOR).read_text(encoding="utf-8"))
    except OSError:
        return False
    except ValueError:
        raise ModelError("is not JSON", where=Path(folder) / PREPROCESSOR) from None
    rate = told.get("sampling_rate", RATE)
    if rate != RATE:
        raise ModelError(f"hears {rate} Hz, windows have {RATE}", where=folder)
    return bool(told.get("do_normalize", False))


def _run(model: Any, windows: Waveforms, normalises: bool) -> Floats:
    import torch

    with torch.inference_mode():
        found = model(torch.from_numpy(np.ascontiguousarray(_normalised(windows) if normalises else windows)))
    return np.asarray(getattr(found, "logits", found).double().numpy())


def _normalised(windows: Waveforms) -> Waveforms:
    centred = windows - windows.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt(windows.var(axis=1, keepdims=True) + _EPSILON), np.float32)


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _placed(shares: Floats, columns: Sequence[int]) -> Floats:
    found = np.zeros((len(shares), len(CLASSES)))
    found[:, list(columns)] = shares
    return found


def _id(folder: str | Path) -> str:
    weights = Path(folder) / WEIGHTS
    return f"{Path(folder).name}@{sha256_file(weights)[:12]}" if weights.is_file() else Path(folder).name


def _onnx_session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise MissingPartError("onnxruntime is not installed", fix="Install it: pip install onnxruntime") from None
    if not path.is_file():
        raise ModelError("there is no such file", where=path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has its own tree of errors
        raise ModelError(f"cannot be loaded ({str(error).splitlines()[0][:200]})", where=path) from None
