"""What reading and writing of Kaldi data directories share: which file is which column, and the order of keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from earwitness.corpora.formats.base import Value

Entries = dict[str, str]
COLUMN_OF: Mapping[str, str] = {"utt2spk": "speaker", "utt2lang": "language", "utt2gender": "sex", "text": "transcript"}
NO_FILE = ("id", "path", "start", "end", "channel", "duration_s", "recording", "point_s", "sex", "speaker")


def c_locale(key: str) -> bytes:
    """What Kaldi sorts by (LC_ALL=C): the bytes."""
    return key.encode("utf-8", "surrogateescape")


def prefix_note(pairs: Iterable[tuple[str, Value]]) -> list[str]:
    """A note where ids do not start with their speaker."""
    odd = [id_ for id_, speaker in pairs if speaker and not id_.startswith(str(speaker))]
    what = "utterance id(s) do not start with their speaker, as Kaldi's sorting asks"
    return [f"{len(odd)} {what} (first: {odd[0]})"] if odd else []
