"""A taught model as a folder: the adapter's weights, how it was built, and the hashes of what it was taught beside.

The frozen encoder and decoder are not in it. Loading reads them from their own places, and refuses others than those
that the adapter was taught beside.
"""

from __future__ import annotations

from pathlib import Path

from earwitness.core.config import parse_config
from earwitness.core.errors import ModelError, RecipeError
from earwitness.speech_llm.training.decoder import TextDecoder
from earwitness.speech_llm.training.model import SpeechLanguageModel
from earwitness.speech_llm.training.recipe import SpeechLlmConfig
from earwitness.training.model_folder import DESCRIPTION, WEIGHTS, ModelInfo, load_weights, read_model_info, save_model
from earwitness.training.tensors import load_trained_state, trained_state

TASK = "speech-llm"
FROZEN = "frozen"  # in the `extra` of model.json


def build_model(config: SpeechLlmConfig) -> SpeechLanguageModel:
    """The model with a new adapter. Raises `ModelError`, `MissingPartError` and `RecipeError` as its parts do."""
    frontend, decoder = config.encoder.build(), TextDecoder.load(config.decoder)
    adapter = config.adapter.build(frontend.dim, decoder.width)
    return SpeechLanguageModel(frontend, adapter, decoder, pad_to_s=config.pad_to_s)


def save_taught(folder: str | Path, model: SpeechLanguageModel, info: ModelInfo) -> ModelInfo:
    """Write the folder; `info.network` is the model's configuration. Gives the info with all hashes."""
    hashes = dict(model.frozen_hashes())
    known = info.model_copy(update={"extra": {**info.extra, FROZEN: hashes}})
    return save_model(folder, known, trained_state(model.adapter))


def load_taught(
    folder: str | Path, decoder: str | Path | None = None
) -> tuple[SpeechLanguageModel, SpeechLlmConfig, ModelInfo]:
    """The model, its configuration and its description. `decoder`: where the language model lies on this machine, if
    elsewhere than when it was taught.

    Raises `ModelError` where the folder is altered or of another task, or the encoder or decoder is not the one that
    the adapter was taught beside.
    """
    info = read_model_info(folder)
    if info.task != TASK:
        raise ModelError(f"this model answers '{info.task}', not '{TASK}'", where=folder)
    weights = load_weights(folder)
    try:
        config: SpeechLlmConfig = parse_config(SpeechLlmConfig, info.network)
        if decoder is not None:
            config = config.model_copy(update={"decoder": Path(decoder)})
        model = build_model(config)
    except RecipeError as error:
        raise ModelError(f"it cannot be built: {error}", where=Path(folder) / DESCRIPTION) from None
    known = info.extra.get(FROZEN)
    for part, found in model.frozen_hashes().items():
        if not isinstance(known, dict) or known.get(part) != found:
            what = f"the {part} is not the one that this adapter was taught beside (sha256 {found[:12]}...)"
            raise ModelError(what, where=folder, fix=f"Give the {part} that {DESCRIPTION} was made with.")
    load_trained_state(model.adapter, weights, where=Path(folder) / WEIGHTS)
    return model.eval(), config, info
