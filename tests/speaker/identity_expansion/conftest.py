"""Toy voices on disk: train, dev and test speakers of both sexes, a few short utterances each."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.corpora.manifest import Manifest
from earwitness.speaker.identity_expansion import ExpansionConfig
from earwitness.speaker.identity_expansion.sentences import SENTENCES
from earwitness.speaker.identity_expansion.synthesisers.toy import RATE, drawn_voice, spoken

UTTERANCES = 3
SIDES = ["train"] * 12 + ["dev"] * 2 + ["test"] * 2


@pytest.fixture(scope="session")
def toy_corpus(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Sixteen voices v0 ... v15 with three utterances of about one second each; sides.csv beside it."""
    folder = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(3)
    rows = []
    for number, side in enumerate(SIDES):
        sex = "f" if number % 2 else "m"
        voice = drawn_voice(rng, "f" if number % 2 else "m")
        for part in range(UTTERANCES):
            text = SENTENCES[(number * 7 + part) % 200][4:22]
            samples = spoken(text, voice, 100 * number + part)
            path = f"v{number}-{part}.flac"
            soundfile.write(folder / path, samples, RATE)
            row = {"path": path, "speaker": f"v{number}", "sex": sex, "split": side, "transcript": text}
            rows.append({**row, "duration_s": len(samples) / RATE, "licence": "CC0-1.0", "corpus": "toy"})
    manifest = Manifest(pl.DataFrame(rows), folder)
    manifest.write(folder / "manifest.csv")
    manifest.table.select("id", "split").write_csv(folder / "sides.csv")
    return manifest


@pytest.fixture(scope="session")
def config() -> ExpansionConfig:
    """Four identities of three utterances by the toy synthesiser, hardly filtered."""
    return ExpansionConfig.model_validate(
        {
            "synthesiser": {"kind": "toy"},
            "identities": 4,
            "utterances": 3,
            "averaging": {"least": 2, "seconds": [0.2, 10]},
            "pairs": {"lowest": -1, "highest": 1},
            "filters": {"seconds": [0.2, 15], "likeness": None, "nearest": False, "few": 1, "speech": None},
            "length_s": [0.2, 12],
        }
    )
