"""ESD, the Emotional Speech Database (Zhou et al. 2021): `0011/Angry/0011_000351.wav`, or with the sides of later
releases between (`0011/Angry/train/...`); the texts in `0011/0011.txt`.

The number tells the emotion, 350 of each, and which of 350 sentences is spoken; folder and number must agree. The
corpus's own sides lie within each speaker, so that they are kept in `own_side` and are no split.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.errors import DataError
from earwitness.core.plain_files import read_plain
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.named_files import (
    FOLD,
    NON_COMMERCIAL,
    SENTENCE,
    Emotion,
    NamedFiles,
    Values,
    audio_below,
    imported,
    meant,
    row_of,
)

EMOTIONS: Mapping[str, Emotion] = {
    "Neutral": "neutral",
    "Angry": "anger",
    "Happy": "happiness",
    "Sad": "sadness",
    "Surprise": "surprised",
}
MANDARIN: Mapping[str, str] = {
    "中立": "Neutral",
    "生气": "Angry",
    "快乐": "Happy",
    "伤心": "Sad",
    "惊喜": "Surprise",
}
OF_EACH = 350  # recordings of a speaker and emotion, in the order of `EMOTIONS`
FOLDS: tuple[tuple[int, ...], ...] = (  # five of four speakers, as EmoBox has them (arXiv 2406.07162)
    (5, 11, 16, 18),
    (12, 14, 15, 19),
    (3, 4, 6, 9),
    (7, 8, 13, 20),
    (1, 2, 10, 17),
)


@dataclass(frozen=True)
class Texts:
    """What a speaker's list says: transcripts by file id, and how many lines say nothing or another emotion."""

    transcripts: Mapping[str, str]
    unread: int
    otherwise: int


def read_esd(path: Path) -> Imported:
    """The corpus folder, both layouts. Texts that are missing leave `transcript` empty; notes say where.

    Raises `DataError` naming the file: an unknown emotion or speaker, or a number of another emotion than the folder.
    """
    rows = [row_of(ESD, path, file) for file in audio_below(path, ESD.places)]
    speakers = sorted({str(row["id"])[:4] for row in rows})
    texts = {speaker: read_texts(path / speaker / f"{speaker}.txt") for speaker in speakers}
    notes = [f"no list {speaker}/{speaker}.txt" for speaker, known in texts.items() if known is None]
    for speaker, known in texts.items():
        if known and known.unread:
            notes.append(f"{speaker}.txt: {known.unread} line(s) without three fields passed over")
        if known and known.otherwise:
            notes.append(f"{speaker}.txt: {known.otherwise} line(s) name another emotion than the number; it counts")
    for row in rows:
        known = texts[str(row["id"])[:4]]
        row["transcript"] = known.transcripts.get(str(row["id"])) if known else None
    return imported(rows, path, notes)


def read_texts(file: Path) -> Texts | None:
    """A speaker's list: id, transcript and emotion between tabs. None where there is none; `DataError` for an emotion
    that ESD does not have, and for text in none of the encodings that its lists come in."""
    if not file.is_file():
        return None
    transcripts: dict[str, str] = {}
    unread = otherwise = 0
    for number, line in enumerate(_decoded(file).splitlines(), start=1):
        fields = [part.strip() for part in line.split("\t")]
        if not line.strip():
            continue
        if len(fields) != 3:
            unread += 1
            continue
        name, text, word = fields
        word = MANDARIN.get(word, word)
        emotion = meant("emotion", word, {**EMOTIONS, **MANDARIN}, f"{file}, line {number}")
        transcripts[name] = text
        place = re.fullmatch(r"\d{4}_(\d{6})", name)
        otherwise += place is not None and _of_number(int(place[1])) != emotion
    return Texts(transcripts, unread, otherwise)


def _decoded(file: Path) -> str:
    """UTF-16 by its mark, else UTF-8, else GB 18030."""
    data = read_plain(file)
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError("is neither UTF-8, UTF-16 nor GB 18030 text", where=file, fix="Save it as UTF-8.")


def _of_number(number: int) -> Emotion | None:
    place = (number - 1) // OF_EACH
    return list(EMOTIONS.values())[place] if 0 <= place < len(EMOTIONS) else None


def _values(found: re.Match[str], file: Path) -> Values:
    folder, word, side, speaker, digits = found.groups()
    emotion = meant("emotion", word, EMOTIONS, file)
    fold = next((place for place, speakers in enumerate(FOLDS, 1) if int(speaker) in speakers), None)
    if fold is None or folder != speaker:
        raise DataError(f"is not of the speaker of the folder '{folder}', 0001 to 0020", where=file)
    if _of_number(int(digits)) != emotion:
        what = f"the number {int(digits)} is of '{_of_number(int(digits))}', the folder of '{emotion}'"
        raise DataError(what, where=file, fix="Move it to the folder of its number.")
    mandarin = int(speaker) <= 10
    return {
        "speaker": f"esd:{speaker}",
        "emotion": emotion,
        "language": "zh" if mandarin else "en",
        SENTENCE: f"{'zh' if mandarin else 'en'}-{(int(digits) - 1) % OF_EACH + 1}",
        FOLD: str(fold),
        "own_side": side,
    }


ESD = NamedFiles(
    "esd",
    ("[0-9][0-9][0-9][0-9]/**/*",),
    re.compile(r"(\d{4})/(\w+)/(?:(train|evaluation|test)/)?(\d{4})_(\d{6})"),
    "SPEAKER/EMOTION/SPEAKER_NUMBER",
    _values,
    licence=NON_COMMERCIAL,
)
