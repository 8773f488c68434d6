"""Folds of IEMOCAP: cut by the actor who wears the markers they share speakers, by session or speaker they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.core.errors import LeakError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers.iemocap import read_iemocap, speaker_of
from earwitness.paralinguistic.emotion_training import read_sides
from toy_emotions import recipe

CODES = ("ang", "neu", "exc", "xxx")
PREFIXES = tuple(f"Ses0{session}{marker}" for session in range(1, 6) for marker in "FM")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five sessions, a recording for each marker side, in which both actors speak; read from the corpus's own form."""
    folder = tmp_path_factory.mktemp("iemocap")
    rng = np.random.default_rng(0)
    for prefix in PREFIXES:
        session, dialogue = folder / f"Session{prefix[4]}", f"{prefix}_impro01"
        lines = []
        for number, (speaker, code) in enumerate((who, code) for who in "FM" for code in CODES):
            name = f"{dialogue}_{speaker}{number:03d}"
            lines.append(f"[{number}.0000 - {number}.5000]\t{name}\t{code}\t[2.5000, 2.5000, 2.5000]")
            path = session / "sentences" / "wav" / dialogue / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.01 * rng.standard_normal(800), 16_000)
        labels = session / "dialog" / "EmoEvaluation" / f"{dialogue}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("\n".join(lines) + "\n")
    rows = read_iemocap(folder).manifest
    table = rows.table.with_columns(prefix=pl.col("id").str.slice(0, 6))
    path = folder / "iemocap.csv"
    Manifest(table, rows.root).write(path)
    return path


def held_out(corpus: Path, column: str, test: str, dev: str) -> list[set[str]]:
    """The speakers of train, dev and test."""
    split = {"kind": "given_folds", "column": column, "test": [test], "dev": [dev]}
    data = {"manifests": [str(corpus)], "exclude_licences": []}
    sides = read_sides(recipe(corpus, split=split, data=data))
    return [set(side.manifest.table["speaker"]) for side in (sides.train, sides.dev, sides.test)]


@pytest.mark.shows("speecheq:6.6")
def test_the_speaker_is_told_by_the_last_letter_not_by_the_recording() -> None:
    assert str(speaker_of("Ses01F_impro01_M003")) == "1M"
    assert str(speaker_of("Ses01F_script01_1_F000")) == "1F"
    assert str(speaker_of("Ses05M_impro01_F003")) == "5F"


@pytest.mark.shows("speecheq:6.6")
@pytest.mark.parametrize("prefix", PREFIXES)
def test_folds_by_recording_prefix_are_refused(corpus: Path, prefix: str) -> None:
    """As the released folds of Cai et al. are cut: both speakers of the fold are in training, in all ten.

    Dev is another session, whole, so that it leaks nothing.
    """
    session, dev = prefix[4], "1" if prefix[4] != "1" else "2"
    cut = pl.when(pl.col("session").cast(pl.String) == session).then("prefix").otherwise("session")
    table = pl.read_csv(corpus, infer_schema_length=0).with_columns(cut=cut)
    table.write_csv(corpus.parent / f"{prefix}.csv")
    with pytest.raises(LeakError, match="2 leak") as caught:
        held_out(corpus.parent / f"{prefix}.csv", "cut", prefix, dev)
    for letter in "FM":
        assert f"speaker 'iemocap:{session}{letter}' (4 in train, 4 in test)" in str(caught.value)


@pytest.mark.shows("speecheq:6.6")
def test_folds_by_session_and_by_speaker_are_accepted(corpus: Path) -> None:
    train, dev, test = held_out(corpus, "session", "5", "4")
    assert test == {"iemocap:5F", "iemocap:5M"}
    assert dev == {"iemocap:4F", "iemocap:4M"}
    assert not train & (dev | test)
    train, dev, test = held_out(corpus, "speaker", "iemocap:1M", "iemocap:2F")
    assert test == {"iemocap:1M"}
    assert "iemocap:1F" in train
    assert not train & (dev | test)
