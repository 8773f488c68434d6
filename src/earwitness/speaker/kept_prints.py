"""Voice prints kept in the cache by the hash of their audio and the model that heard them, so that a gallery of known
voices is heard once.

A line a print is added to one file a model, in one write: several processes may add at once, and what a kill tears is
passed over and heard again. Nothing in it is trusted beyond numbers: a line of another shape is no print.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np

from earwitness.audio.facts import file_facts
from earwitness.core.cache import cache_folder
from earwitness.core.hashing import sha256_data
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.references import reference_doubts, speech_seconds
from earwitness.training.calibration import ConditionName
from earwitness.training.conditions import conditions_of
from earwitness.training.model_folder import ModelInfo


@dataclass(frozen=True)
class KeptPrint:
    """A unit voice print [D] of a recording, the conditions that the recording is in, and why it may mislead."""

    vector: Vectors
    conditions: tuple[ConditionName, ...]
    doubts: tuple[str, ...]


class KeptPrints:
    """The prints of one model. Raises `OSError` where the cache cannot be written."""

    def __init__(self, info: ModelInfo) -> None:
        made_by = sha256_data([info.sha256, info.windows.name, info.extra.get("one_voice"), info.tested.min_speech_s])
        self.path = cache_folder() / "prints" / f"{info.name}-{made_by[:12]}.jsonl"

    @cached_property
    def known(self) -> dict[str, KeptPrint]:
        """Prints by the key of their audio."""
        if not self.path.is_file():
            return {}
        with self.path.open("rb") as file:
            found = (_read(line) for line in file)
            return {key: print_ for pair in found if pair is not None for key, print_ in [pair]}

    def add(self, key: str, print_: KeptPrint) -> None:
        """Keep one; on return it survives a killed process."""
        vector = base64.b64encode(print_.vector.astype("<f4").tobytes()).decode("ascii")
        row = {"audio": key, "print": vector, "conditions": print_.conditions, "doubts": print_.doubts}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, f"\n{json.dumps(row)}\n".encode())  # the first break ends what a kill may have torn
        finally:
            os.close(handle)
        self.known[key] = print_


def hear_known(
    embedder: Embedder, path: str | Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
) -> KeptPrint:
    """What is kept of a recording. Raises `AudioError` where it cannot be heard."""
    print_, facts = embedder.embed_file(path, channel, start_s, end_s), file_facts(path, channel, start_s, end_s)
    doubts = reference_doubts(print_, speech_seconds(path, channel, start_s, end_s), facts, embedder.info)
    return KeptPrint(print_.vector, conditions_of(facts), tuple(doubts))


def _read(line: bytes) -> tuple[str, KeptPrint] | None:
    """A print and its key; None for a line that is none."""
    try:
        row: Any = json.loads(line)
        key, conditions, doubts = str(row["audio"]), row["conditions"], row["doubts"]
        vector = np.frombuffer(base64.b64decode(row["print"], validate=True), "<f4")
    except (ValueError, TypeError, KeyError, binascii.Error):
        return None
    known = isinstance(conditions, list) and all(name in get_args(ConditionName) for name in conditions)
    if not known or not isinstance(doubts, list) or not len(vector) or not np.isfinite(vector).all():
        return None
    return key, KeptPrint(vector, tuple(conditions), tuple(str(doubt) for doubt in doubts))
