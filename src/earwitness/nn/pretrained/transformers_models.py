"""Encoders in transformers' form, from a folder or a hub name, read from safetensors only.

Nothing is unpickled and nothing is fetched unless it is allowed by name. transformers is imported where it is used,
since that takes seconds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from earwitness.core.errors import ModelError, RecipeError
from earwitness.core.writing import atomic_file

#: model_type in config.json -> class in transformers
CLASSES = {
    "wav2vec2": "Wav2Vec2Model",
    "hubert": "HubertModel",
    "wavlm": "WavLMModel",
    "whisper": "WhisperModel",
}
#: Used by masking alone, which is off; checkpoints that were fine-tuned may lack it.
UNUSED = {"masked_spec_embed"}


def load_encoder(source: str, *, allow_download: bool = False) -> Any:
    """The bare encoder of `source` in float32: a transformers module (for Whisper its `WhisperEncoder`).

    Raises `ModelError` where it is not on this machine and may not be fetched, is of another kind, has no safetensors
    weights, or lacks a weight (a weight made up at random would pass unnoticed).
    """
    kind = _model_type(source, allow_download)
    if kind not in CLASSES:
        raise ModelError(
            f"is a model of type '{kind}'", where=source, fix=f"Encoders are of type {', '.join(CLASSES)}."
        )
    import torch
    import transformers
    from safetensors import SafetensorError

    try:
        model, report = getattr(transformers, CLASSES[kind]).from_pretrained(
            source,
            local_files_only=not allow_download,
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except OSError as error:
        raise _explain(source, error, allow_download) from None
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise ModelError(f"the weights cannot be read ({_first_line(error)})", where=source) from None
    missing = sorted(key for key in report["missing_keys"] if key not in UNUSED)
    mismatched = report["mismatched_keys"]
    if missing or mismatched:
        example = missing[0] if missing else str(next(iter(mismatched)))
        raise ModelError(
            f"{len(missing) + len(mismatched)} weights are missing or of another shape, e.g. {example}", where=source
        )
    return model.encoder if kind == "whisper" else model


def convert_weights(folder: str | Path) -> Path:
    """Write `model.safetensors` beside a `pytorch_model.bin`, read by torch's weights-only reader.

    Returns the new file's path. Raises `ModelError` where there is no such file, or it holds more than named tensors.
    """
    import pickle

    import torch
    from safetensors.torch import save

    source = Path(folder) / "pytorch_model.bin"
    if not source.is_file():
        raise ModelError("there is no pytorch_model.bin", where=folder)
    try:
        weights = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ModelError(f"is not a file of plain weights ({_first_line(error)})", where=source) from None
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise ModelError("holds more than named tensors", where=source)
    target = source.with_name("model.safetensors")
    with atomic_file(target) as file:
        file.write(
            save({name: value.clone().contiguous() for name, value in weights.items()}, metadata={"format": "pt"})
        )
    return target


def _model_type(source: str, allow_download: bool) -> str:
    """What config.json says; a local one is read without transformers, so that a typo is answered at once."""
    if is_local(source):
        path = Path(source) / "config.json"
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelError(
                "there is no config.json", where=source, fix="Give a folder in transformers' form."
            ) from None
        except (OSError, ValueError):
            raise ModelError("cannot be read as JSON", where=path) from None
        return str(settings.get("model_type")) if isinstance(settings, dict) else "unknown"
    from transformers import PretrainedConfig

    try:
        found, _ = PretrainedConfig.get_config_dict(source, local_files_only=not allow_download)
    except OSError as error:
        raise _explain(source, error, allow_download) from None
    return str(found.get("model_type"))


def is_local(source: str) -> bool:
    """Whether `source` is a folder rather than a hub name. Raises `RecipeError` for what can be neither."""
    if Path(source).is_dir():
        return True
    if source.startswith(("/", ".", "~")) or source.count("/") > 1 or "\\" in source or not source:
        raise RecipeError(
            f"source: there is no folder '{source}'", fix="Check the path, or give a hub name (owner/name)."
        )
    return False


def _explain(source: str, error: OSError, allow_download: bool) -> ModelError:
    """Why an encoder could not be loaded, and what to fetch from where."""
    if Path(source).is_dir():
        return ModelError(
            "there is no model.safetensors that can be read",
            where=source,
            fix=f"Weights in pickle form are not read; {__name__}.convert_weights makes the file.",
        )
    if allow_download:
        return ModelError(
            f"could not be fetched ({_first_line(error)})", where=source, fix="Check the name and the connection."
        )
    page = f"https://huggingface.co/{source}"
    return ModelError(
        f"the encoder '{source}' is not on this machine",
        fix=f"Fetch it from {page} (its licence stands there) and give the folder, or set allow_download: true",
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
