"""IEMOCAP: `Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M003.wav`, labelled in
`Session1/dialog/EmoEvaluation/Ses01F_impro01.txt` (Busso et al., Language Resources and Evaluation 2008).

The letter of `Ses01F` says who wore the markers, not who speaks: the speaker is the session and the letter after the
last underscore. Folds by the prefix have both voices on both sides.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.errors import DataError
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.lists import read_text
from earwitness.corpora.readers.named_files import FOLD, NON_COMMERCIAL, Emotion, Values, imported, meant

EMOTIONS: Mapping[str, Emotion] = {
    "ang": "anger",
    "hap": "happiness",
    "exc": "excited",
    "sad": "sadness",
    "neu": "neutral",
    "fru": "frustrated",
    "fea": "fear",
    "sur": "surprised",
    "dis": "disgust",
    "oth": "other",
}
NO_MAJORITY = "xxx"  # the raters did not agree
STYLES: Mapping[str, str] = {"impro": "improvised", "script": "scripted"}
LINE = re.compile(
    r"\[(\d+\.\d+) - (\d+\.\d+)\]\t(\S+)\t(\w{3})\t\[(\d+\.\d+), (\d+\.\d+), (\d+\.\d+)\]",
)
UTTERANCE = re.compile(r"Ses0([1-5])([FM])_(impro|script)(\w*)_([FM])(\w{3})")


@dataclass(frozen=True)
class Evaluated:
    """One utterance: its id, when it is spoken in its dialogue (seconds), the code of the emotion that most raters
    heard, and their mean valence, activation and dominance (1 to 5)."""

    id: str
    start: float
    end: float
    code: str
    valence: float
    activation: float
    dominance: float

    @property
    def dialogue(self) -> str:
        """The id without its last part."""
        return self.id.rpartition("_")[0]


@dataclass(frozen=True)
class Speaker:
    """Who speaks: the session, and the sex that tells its two speakers apart (`m`, `f`)."""

    session: int
    sex: str

    def __str__(self) -> str:
        return f"{self.session}{self.sex.upper()}"


def read_iemocap(path: Path) -> Imported:
    """The corpus folder, with any of its five sessions; `fold` is the session. Where raters did not agree `emotion` is
    empty and `emotion_code` says `xxx`.

    Raises `DataError` naming file and line: a line of another form, an unknown code, an utterance of another dialogue.
    """
    files = sorted(path.glob("Session[1-5]/dialog/EmoEvaluation/Ses*.txt"))
    if not files:
        what = "holds no Session1/dialog/EmoEvaluation/Ses*.txt"
        raise DataError(what, where=path, fix="Name the folder that holds Session1 to Session5.")
    rows: list[Values] = []
    for file in files:
        session = file.parents[2].name
        for number, said in read_evaluation(file):
            if said.dialogue != file.stem or speaker_of(said.id).session != int(session[-1]):
                raise DataError(f"line {number}: '{said.id}' is not of this dialogue", where=file)
            rows.append(_row(said, session, f"{file}, line {number}"))
    missing = sum(not (path / str(row["path"])).is_file() for row in rows)
    notes = [f"{missing} of the recordings are not there"] if missing else []
    codes = Counter(str(row["emotion_code"]) for row in rows)
    four = sum(codes[code] for code in ("ang", "sad", "neu", "hap", "exc"))
    notes.append(f"{four} are of the four classes anger, sadness, neutral, happiness with excited (5,531 in the whole)")
    return imported(rows, path, notes)


def read_evaluation(file: Path) -> Iterator[tuple[int, Evaluated]]:
    """The utterances of a file of EmoEvaluation, each with the number of its line; the lines of single raters that
    follow each are passed over. Raises `DataError` for a line that begins as an utterance and is none."""
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.startswith("["):
            continue
        found = LINE.fullmatch(line.rstrip())
        if found is None:
            what = f"line {number}: is not [START - END], UTTERANCE, EMOTION, [VALENCE, ACTIVATION, DOMINANCE]"
            raise DataError(what, where=file, fix="Is it a file of EmoEvaluation?")
        start, end, name, code, *attributes = found.groups()
        yield number, Evaluated(name, float(start), float(end), code, *map(float, attributes))


def speaker_of(utterance: str) -> Speaker:
    """Who speaks an utterance, by its id. Raises `DataError` where it is no id of IEMOCAP.

    >>> str(speaker_of("Ses01F_impro01_M003"))
    '1M'
    """
    found = UTTERANCE.fullmatch(utterance)
    if found is None:
        raise DataError(f"'{utterance}' is no utterance of IEMOCAP", fix="E.g. Ses01F_impro01_M003.")
    return Speaker(int(found[1]), found[5].lower())


def _row(said: Evaluated, session: str, where: str) -> Values:
    speaker, found = speaker_of(said.id), UTTERANCE.fullmatch(said.id)
    emotion = None if said.code == NO_MAJORITY else meant("emotion", said.code, EMOTIONS, where)
    return {
        "id": said.id,
        "path": f"{session}/sentences/wav/{said.dialogue}/{said.id}.wav",
        "corpus": "iemocap",
        "label": "bonafide",
        "language": "en",
        "licence": NON_COMMERCIAL,
        "speaker": f"iemocap:{speaker}",
        "sex": speaker.sex,
        "emotion": emotion,
        "emotion_code": said.code,
        "valence": said.valence,
        "activation": said.activation,
        "dominance": said.dominance,
        "session": str(speaker.session),
        FOLD: str(speaker.session),
        "dialogue": said.dialogue,
        "dialogue_start": said.start,  # in the recording of the dialogue, not in the utterance's own file
        "dialogue_end": said.end,
        "style": STYLES[found[3]] if found else None,
    }
