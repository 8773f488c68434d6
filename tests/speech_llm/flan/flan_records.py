"""A small labelled corpus without files, and records to spoil."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from earwitness.corpora.manifest import Manifest

MINIMAL: dict[str, Any] = {
    "instruction": "Say which emotion is heard.",
    "input": "audio: <|SOA|>21_ESD_0001_000351<|EOA|>",
    "output": "Emotion: sad",
    "uuid": "6f0c1f5a-0000-4000-8000-000000000001",
    "split": ["train"],
    "task_type": {
        "major": ["Paralinguistic Attribute Recognition"],
        "minor": ["Emotion Recognition"],
        "U/G": ["understanding"],
        "unseen": False,
    },
    "domain": "speech",
    "source": ["studio"],
    "other": None,
}
"""The record of the sheet."""
TEXTS = ("Das Tuch liegt da.", "Heute regnet es.", "Sie kommt morgen.")
EMOTIONS = ("anger", "neutral", "sadness")


def labelled(folder: Path, speakers: int = 9) -> Manifest:
    """Human speakers who say each text with each emotion, and a synthetic one."""
    rows = [
        {
            "path": f"voice {speaker}/{text}{emotion[0]}.wav",
            "speaker": f"v{speaker}",
            "sex": "mf"[speaker % 2],
            "age": 20.0 + speaker,
            "emotion": emotion,
            "language": "de" if speaker % 3 else "en-zhL1",
            "transcript": words,
            "label": "bonafide",
            "licence": "CC0-1.0",
            "corpus": "acted_ones",
            "duration_s": 2.0,
        }
        for speaker in range(speakers)
        for text, words in enumerate(TEXTS)
        for emotion in EMOTIONS
    ]
    fakes = [
        {"path": f"fake/{number}.wav", "label": "spoof", "system": f"maker-{number % 2}", "corpus": "fakes"}
        for number in range(6)
    ]
    return Manifest(pl.DataFrame([*rows, *fakes], infer_schema_length=None), folder)
