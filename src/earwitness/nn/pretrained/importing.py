"""Speech encoders in their own code's naming become folders in transformers' form, with safetensors."""

from __future__ import annotations

from pathlib import Path

from earwitness.core.errors import ModelError, UsageError
from earwitness.nn.pretrained.encoder_keys import Naming, read_encoder
from earwitness.nn.pretrained.plain_weights import read_plain_weights

ENCODERS: dict[str, Naming] = {"fairseq-wav2vec2": "fairseq_wav2vec2", "wavlm": "wavlm"}


def import_encoder(path: str | Path, kind: str, folder: str | Path, heads: int | None = None) -> int:
    """Write `folder` from a checkpoint of `ENCODERS`; gives the number of its parameters.

    Raises `UsageError` where the folder is there already, `ModelError` for a file that is not exactly such an encoder.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("is there already", where=folder, fix="Choose another place.")
    try:
        settings, state = read_encoder(read_plain_weights(path), ENCODERS[kind], heads)
    except ModelError as error:
        fix = error.fix or f"Is it an official checkpoint of {kind}?"
        raise ModelError(error.what, where=error.where or path, fix=fix) from None
    model = settings.build()
    model.load_state_dict(state)
    model.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())
