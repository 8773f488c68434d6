"""CREMA-D: `AudioWAV/1001_DFA_ANG_XX.wav`, the actors in `VideoDemographics.csv`, what listeners heard in
`processedResults/summaryTable.csv` (Cao et al., IEEE Trans. Affective Computing 2014).

One corpus with age, sex, emotion, intensity and text. Its `fold` is ours, as none is published: five over actors,
stratified by sex and age, seed 0.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.errors import DataError
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.lists import read_text
from earwitness.corpora.readers.named_files import (
    FOLD,
    SENTENCE,
    Emotion,
    NamedFiles,
    Values,
    audio_below,
    imported,
    meant,
    row_of,
    strength,
)
from earwitness.corpora.splits.grouping import draw

EMOTIONS: Mapping[str, Emotion] = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
VOTES: Mapping[str, Emotion] = {word[0]: emotion for word, emotion in EMOTIONS.items()}
LEVELS: Mapping[str, str] = {"LO": "LO", "MD": "MD", "HI": "HI", "XX": "XX", "X": "XX"}  # one file ends in _X
STRENGTHS = {"LO": (0.0, 1 / 3), "MD": (1 / 3, 2 / 3), "HI": (2 / 3, 1.0)}
SENTENCES: Mapping[str, str] = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
SEXES: Mapping[str, str] = {"Male": "m", "Female": "f"}
FOLDS, SEED = 5, 0


@dataclass(frozen=True)
class Actor:
    """One line of the demographics: the number, age in years, and sex (`m`, `f`)."""

    number: str
    age: float
    sex: str


def read_crema_d(path: Path) -> Imported:
    """The corpus folder. Without `VideoDemographics.csv` ages, sexes and folds stay empty, which a note says; without
    the summary table `voice_vote` and `voice_level` do.

    Raises `DataError` naming the file or line: an unknown word, or an actor that the demographics lack.
    """
    files = audio_below(path, CREMA_D.places)
    tables, notes = [path, path.parent], []
    demographics = _first(tables, ("VideoDemographics.csv",))
    actors = {actor.number: actor for actor in read_actors(demographics)} if demographics else {}
    folds = actor_folds(tuple(actors.values()))
    summary = _first(tables, ("processedResults/summaryTable.csv", "summaryTable.csv"))
    votes = read_votes(summary) if summary else {}
    if not demographics:
        notes.append("no VideoDemographics.csv: ages, sexes and folds stay empty")
    rows = []
    for file in files:
        row = row_of(CREMA_D, path, file)
        number = str(row["speaker"]).partition(":")[2]
        if demographics and number not in actors:
            raise DataError(f"has no actor {number}", where=demographics, fix=f"{file.name} is theirs.")
        known: Values = {}
        if actor := actors.get(number):
            known = {"age": actor.age, "sex": actor.sex, FOLD: str(folds[number])}
        rows.append({**row, **known, **votes.get(file.stem, {})})
    return imported(rows, path, notes)


def read_actors(file: Path) -> tuple[Actor, ...]:
    """`VideoDemographics.csv`: ActorID, Age and Sex, read by name; race and ethnicity are not read. `DataError`."""
    actors: dict[str, Actor] = {}
    for number, line in _lines(file, ("ActorID", "Age", "Sex")):
        if not re.fullmatch(r"\d{1,3}(\.\d+)?", line["Age"]):
            raise DataError(f"line {number}: '{line['Age']}' is no age", where=file)
        if line["ActorID"] in actors:
            raise DataError(f"line {number}: the actor {line['ActorID']} stands there twice", where=file)
        sex = meant("sex", line["Sex"], SEXES, f"{file}, line {number}")
        actors[line["ActorID"]] = Actor(line["ActorID"], float(line["Age"]), sex)
    return tuple(actors.values())


def read_votes(file: Path) -> dict[str, Values]:
    """`summaryTable.csv`: for each recording the emotion that most heard in the voice alone (several where they tie,
    joined by `:`) and its mean strength from 0 to 100. Raises `DataError`."""
    votes: dict[str, Values] = {}
    for number, line in _lines(file, ("FileName", "VoiceVote", "VoiceLevel")):
        where = f"{file}, line {number}"
        heard = [meant("vote", letter, VOTES, where) for letter in line["VoiceVote"].split(":")]
        votes[line["FileName"]] = {"voice_vote": ":".join(heard), "voice_level": line["VoiceLevel"]}
    return votes


def actor_folds(actors: Sequence[Actor]) -> dict[str, int]:
    """1 to 5 for each actor: within sex and tercile of age they are shuffled by seed 0 and dealt out in turn."""
    by_age = sorted(actors, key=lambda actor: (actor.age, actor.number))
    tercile = {actor.number: 3 * place // len(by_age) for place, actor in enumerate(by_age)}
    dealt = sorted(actors, key=lambda actor: (actor.sex, tercile[actor.number], draw(SEED, actor.number)))
    return {actor.number: place % FOLDS + 1 for place, actor in enumerate(dealt)}


def _values(found: re.Match[str], file: Path) -> Values:
    actor, sentence, emotion, level = found.groups()
    return {
        "speaker": f"crema-d:{actor}",
        "emotion": meant("emotion", emotion, EMOTIONS, file),
        **strength(meant("level", level, LEVELS, file), STRENGTHS),
        "transcript": meant("sentence", sentence, SENTENCES, file),
        SENTENCE: sentence,
    }


CREMA_D = NamedFiles(
    "crema-d",
    ("AudioWAV/*", "*.wav"),
    re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})"),
    "ACTOR_SENTENCE_EMOTION_LEVEL",
    _values,
    language="en",
    licence="ODbL-1.0",
)


def _first(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    places = (folder / name for folder in folders for name in names)
    return next((place for place in places if place.is_file()), None)


def _lines(file: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The named columns of every line with its number. Raises `DataError` where one is missing."""
    reader = csv.reader(io.StringIO(read_text(file)))
    lines = []
    try:
        header = [name.strip() for name in next(reader, [])]
        if missing := [name for name in columns if name not in header]:
            raise DataError(f"there is no column '{missing[0]}'", where=file, fix=f"Needed: {', '.join(columns)}.")
        for values in reader:
            if values and len(values) != len(header):
                what = f"line {reader.line_num}: has {len(values)} fields instead of {len(header)}"
                raise DataError(what, where=file)
            if values:
                line = dict(zip(header, values, strict=True))
                lines.append((reader.line_num, {name: line[name].strip() for name in columns}))
    except csv.Error as error:
        raise DataError(f"line {reader.line_num}: is not CSV ({error})", where=file) from None
    return lines
