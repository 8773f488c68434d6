"""Acted emotions, told by file names: EmoDB, RAVDESS, CASIA, SAVEE and TESS.

emodb     wav/03a01Wa.wav                            speaker 03, text a01, W = anger            (Burkhardt et al. 2005)
ravdess   Actor_18/03-01-05-01-02-01-18.wav          ... emotion, intensity, statement, ..., actor     (Zenodo 1188976)
casia     liuchanhg/angry/201.wav                    speaker, emotion, text                (the public 1,200 recordings)
savee     AudioData/DC/sa03.wav, or DC_sa03.wav      speaker, emotion letters and text              (Surrey University)
tess      OAF_angry/OAF_back_angry.wav               speaker, word, emotion                    (University of Toronto)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from earwitness.core.errors import DataError
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
    read_named_files,
    row_of,
    strength,
)

EMODB_EMOTIONS: Mapping[str, Emotion] = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
EMODB_SPEAKERS: Mapping[str, tuple[str, int]] = {  # sex and age in years
    "03": ("m", 31),
    "08": ("f", 34),
    "09": ("f", 21),
    "10": ("m", 32),
    "11": ("m", 26),
    "12": ("m", 30),
    "13": ("f", 32),
    "14": ("f", 35),
    "15": ("m", 25),
    "16": ("f", 31),
}
EMODB_TEXTS: Mapping[str, str] = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
RAVDESS_EMOTIONS: Mapping[str, Emotion] = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprised",
}
RAVDESS_LEVELS: Mapping[str, str] = {"01": "normal", "02": "strong"}
RAVDESS_STRENGTHS = {"normal": (0.0, 0.5), "strong": (0.5, 1.0)}
RAVDESS_TEXTS: Mapping[str, str] = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
RAVDESS_FOLDS: tuple[tuple[int, ...], ...] = (  # six of four actors, as EmoBox has them (arXiv 2406.07162)
    (1, 11, 20, 21),
    (4, 10, 12, 14),
    (8, 9, 19, 23),
    (3, 5, 7, 24),
    (2, 15, 16, 18),
    (6, 13, 17, 22),
)
CASIA_EMOTIONS: Mapping[str, Emotion] = {
    "angry": "anger",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "sad": "sadness",
    "surprise": "surprised",
}
CASIA_SPEAKERS = ("liuchanhg", "wangzhe", "zhaoquanyin", "zhaozuoxiang")
SAVEE_EMOTIONS: Mapping[str, Emotion] = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprised",
}
TESS_EMOTIONS: Mapping[str, Emotion] = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "ps": "surprised",  # "pleasant surprise"
    "sad": "sadness",
}
TESS_AGES: Mapping[str, int] = {"OAF": 64, "YAF": 26}


def read_emodb(path: Path) -> Imported:
    """535 recordings of 10 German speakers; `fold` is the speaker (leave one out). Raises `DataError`."""
    return read_named_files(EMODB, path)


def read_ravdess(path: Path) -> Imported:
    """The spoken part, 1,440 recordings of 24 actors; songs are passed over and counted. `fold`: six of four actors.

    Raises `DataError`, also for a strong neutral, which RAVDESS does not have.
    """
    files = audio_below(path, RAVDESS.places)
    songs = [file for file in files if re.fullmatch(r"\d\d-02-.*", file.stem)]
    rows = [row_of(RAVDESS, path, file) for file in files if file not in set(songs)]
    if not rows:
        raise DataError("holds songs alone", where=path, fix="Add the files of Audio_Speech_Actors.")
    return imported(rows, path, [f"{len(songs)} songs passed over"] if songs else [])


def read_casia(path: Path) -> Imported:
    """1,200 recordings of 4 Mandarin speakers; `fold` is the speaker. Their sex is nowhere in the corpus, so it stays
    empty. Raises `DataError`."""
    return read_named_files(CASIA, path)


def read_savee(path: Path) -> Imported:
    """480 recordings of 4 English men; `fold` is the speaker. Raises `DataError`."""
    return read_named_files(SAVEE, path)


def read_tess(path: Path) -> Imported:
    """2,800 recordings of two English women, 26 and 64 years old: their ages are their voices. Raises `DataError`."""
    return read_named_files(TESS, path)


def _emodb(found: re.Match[str], file: Path) -> Values:
    speaker, text, letter, version = found.groups()
    if speaker not in EMODB_SPEAKERS:
        fix = f"Speakers: {', '.join(EMODB_SPEAKERS)}."
        raise DataError(f"unknown speaker '{speaker}'", where=file, fix=fix)
    sex, age = EMODB_SPEAKERS[speaker]
    return {
        "speaker": f"emodb:{speaker}",
        "sex": sex,
        "age": age,
        "emotion": meant("emotion", letter, EMODB_EMOTIONS, file),
        "transcript": meant("text", text, EMODB_TEXTS, file),
        SENTENCE: text,
        FOLD: speaker,
        "version": version,
    }


def _ravdess(found: re.Match[str], file: Path) -> Values:
    emotion, level, statement, repetition, actor = found.groups()
    number = int(actor)
    fold = next((place for place, actors in enumerate(RAVDESS_FOLDS, 1) if number in actors), None)
    if fold is None:
        raise DataError(f"there is no actor '{actor}'", where=file, fix="RAVDESS has the actors 01 to 24.")
    word = meant("emotion", emotion, RAVDESS_EMOTIONS, file)
    said = meant("intensity", level, RAVDESS_LEVELS, file)
    if word == "neutral" and said == "strong":
        raise DataError("is called a strong neutral, which RAVDESS does not have", where=file)
    return {
        "speaker": f"ravdess:{actor}",
        "sex": "m" if number % 2 else "f",
        "emotion": word,
        **strength(said, RAVDESS_STRENGTHS),
        "transcript": meant("statement", statement, RAVDESS_TEXTS, file),
        SENTENCE: statement,
        FOLD: str(fold),
        "repetition": repetition,
    }


def _casia(found: re.Match[str], file: Path) -> Values:
    speaker, emotion, text = found.groups()
    if speaker not in CASIA_SPEAKERS:
        raise DataError(f"unknown speaker '{speaker}'", where=file, fix=f"Speakers: {', '.join(CASIA_SPEAKERS)}.")
    return {
        "id": f"{speaker}/{emotion}/{text}",
        "speaker": f"casia:{speaker}",
        "emotion": meant("emotion", emotion, CASIA_EMOTIONS, file),
        SENTENCE: text,
        FOLD: speaker,
    }


def _savee(found: re.Match[str], file: Path) -> Values:
    speaker, letters, number = found.groups()
    return {
        "id": f"{speaker}_{letters}{number}",
        "speaker": f"savee:{speaker}",
        "sex": "m",
        "emotion": meant("emotion", letters, SAVEE_EMOTIONS, file),
        SENTENCE: f"{letters}{number}",
        FOLD: speaker,
    }


def _tess(found: re.Match[str], file: Path) -> Values:
    speaker, word, emotion = found.groups()
    speaker = "OAF" if speaker == "OA" else speaker  # one file of the corpus is named so
    return {
        "speaker": f"tess:{speaker}",
        "sex": "f",
        "age": TESS_AGES[speaker],
        "emotion": meant("emotion", emotion.lower(), TESS_EMOTIONS, file),
        "transcript": f"Say the word {word}.",
        SENTENCE: word,
        FOLD: speaker,
    }


EMODB = NamedFiles(
    "emodb",
    ("wav/*", "*", "*/*"),
    re.compile(r"(\d\d)([a-z]\d\d)([A-Z])([a-z])"),
    "SPEAKER, TEXT, EMOTION, VERSION (03a01Wa)",
    _emodb,
    language="de",
    licence="CC-BY-4.0",
)
RAVDESS = NamedFiles(
    "ravdess",
    ("Actor_*/*", "*/Actor_*/*", "*"),
    re.compile(r"\d\d-01-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)"),
    "MODALITY-01-EMOTION-INTENSITY-STATEMENT-REPETITION-ACTOR",
    _ravdess,
    language="en",
    licence="CC-BY-NC-SA-4.0",
)
CASIA = NamedFiles(
    "casia", ("*/*/*",), re.compile(r"(\w+)/(\w+)/(\d{3})"), "SPEAKER/EMOTION/TEXT", _casia, language="zh"
)
SAVEE = NamedFiles(
    "savee",
    ("AudioData/*/*", "*/*", "*"),
    re.compile(r"(DC|JE|JK|KL)[/_]([a-z]{1,2})(\d\d)"),
    "SPEAKER/EMOTION and number (DC/sa03)",
    _savee,
    language="en",
    licence=NON_COMMERCIAL,
)
TESS = NamedFiles(
    "tess",
    ("*/*", "*", "*/*/*"),
    re.compile(r"(OAF|OA|YAF)_([a-z']+)_([A-Za-z]+)"),
    "SPEAKER_WORD_EMOTION",
    _tess,
    language="en",
    licence="CC-BY-NC-ND-4.0",
)
