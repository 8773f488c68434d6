"""nEMO, acted emotional Polish: `data.tsv` and `samples/` (Christop, LREC-COLING 2024).

Its name is that of a data format too, so that the reader is called `nemo-emotions`; the column `corpus` says `nemo`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from earwitness.core.errors import DataError
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.lists import read_text
from earwitness.corpora.readers.named_files import FOLD, SENTENCE, Emotion, Values, imported, meant

EMOTIONS: Mapping[str, Emotion] = {
    "anger": "anger",
    "fear": "fear",
    "happiness": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
    "surprised": "surprised",
}
SEXES: Mapping[str, str] = {"male": "m", "female": "f"}
COLUMNS = ("file_id", "emotion", "raw_text", "speaker_id", "gender", "age")


def read_nemo_emotions(path: Path) -> Imported:
    """`data.tsv`, or the folder with it; `fold` is the speaker. Raises `DataError` naming the line."""
    file = path if path.is_file() else path / "data.tsv"
    if not file.is_file():
        raise DataError("holds no data.tsv", where=path, fix="Name the folder of nEMO.")
    reader = csv.reader(io.StringIO(read_text(file)), delimiter="\t")
    header = next(reader)
    if missing := [name for name in COLUMNS if name not in header]:
        raise DataError(f"there is no column '{missing[0]}'", where=file, fix=f"Needed: {', '.join(COLUMNS)}.")
    rows = []
    for values in reader:
        if len(values) != len(header):
            what = f"line {reader.line_num}: has {len(values)} fields instead of {len(header)}"
            raise DataError(what, where=file)
        rows.append(_row(dict(zip(header, values, strict=True)), f"{file}, line {reader.line_num}"))
    missing_files = sum(not (file.parent / str(row["path"])).is_file() for row in rows)
    notes = [f"{missing_files} of the recordings are not there"] if missing_files else []
    return imported(rows, file.parent, notes)


def _row(line: Mapping[str, str], where: str) -> Values:
    name, speaker = line["file_id"], line["speaker_id"]
    return {
        "id": Path(name).stem,
        "path": f"samples/{name if name.endswith('.wav') else f'{name}.wav'}",
        "corpus": "nemo",
        "label": "bonafide",
        "language": "pl",
        "licence": "CC-BY-NC-SA-4.0",
        "speaker": f"nemo:{speaker}",
        "sex": meant("gender", line["gender"].lower(), SEXES, where),
        "age": line["age"],
        "emotion": meant("emotion", line["emotion"], EMOTIONS, where),
        "transcript": line["raw_text"],
        SENTENCE: Path(name).stem.rpartition("_")[2],
        FOLD: speaker,
    }
