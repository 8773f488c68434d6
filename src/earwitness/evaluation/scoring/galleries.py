"""A gallery of known voices from a person's files: who is in it, by which recordings, and what is doubtful about it.

`--known` is a folder, a glob or a manifest. A manifest names the speaker of each row. In a folder each sub-folder is a
name; a file that lies in it directly is named by what stands before a trailing number (`anna-1.wav`, `anna_02.wav` and
`anna 3.wav` are of `anna`; `p225.wav` is of `p225`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from earwitness.core.errors import AudioError, DataError
from earwitness.core.writing import TABLE_FORMATS
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.side_tables import AudioKeys
from earwitness.evaluation.scoring.inputs import read_input
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.gallery import Doubts, Gallery, KnownVoice
from earwitness.speaker.kept_prints import KeptPrint, KeptPrints, hear_known

_NUMBER = re.compile(r"[ _-]+\d+$")
_SHOWN = 5  # of many alike warnings


@dataclass(frozen=True)
class KnownRecording:
    """A recording of a gallery: whose, where, the sha256 of its file (and the stretch of a part), its print."""

    name: str
    path: str
    key: str
    print_: KeptPrint

    @property
    def sha256(self) -> str:
        """Of the file as a whole."""
        return self.key.split(":")[0]


@dataclass(frozen=True)
class KnownVoices:
    """The recordings of a gallery, and an embedder that compares with them. `unheard` are recordings that cannot be
    heard, with the reason."""

    recordings: tuple[KnownRecording, ...]
    unheard: tuple[str, ...]
    embedder: Embedder

    @property
    def names(self) -> tuple[str, ...]:
        """Each once, in order."""
        return tuple(dict.fromkeys(recording.name for recording in self.recordings))

    def gallery(self, without: str | None = None) -> Gallery | None:
        """The voices by name, without the file of a sha256: it must not be compared with itself. None where nothing is
        left."""
        of_names: dict[str, list[KeptPrint]] = {}
        for recording in self.recordings:
            if recording.sha256 != without:
                of_names.setdefault(recording.name, []).append(recording.print_)
        voices = [
            KnownVoice(
                name,
                np.stack([print_.vector for print_ in prints]),
                tuple(sorted({condition for print_ in prints for condition in print_.conditions})),
            )
            for name, prints in of_names.items()
        ]
        return Gallery(voices, self.embedder.comparator) if voices else None

    def holding(self, sha256: str) -> tuple[KnownRecording, ...]:
        """The recordings that are of this very file."""
        return tuple(recording for recording in self.recordings if recording.sha256 == sha256)

    def warnings(self, gallery: Gallery) -> list[str]:
        """In words, what is doubtful: a file under two names, a name on two voices, a voice under two names, recordings
        that are doubtful themselves or cannot be heard."""
        said = [*self._same_files()]
        calibration = self.embedder.info.calibration
        if calibration is not None:
            said += doubts_in_words(gallery.doubts(calibration))
        said += _some([f"{r.path}: {doubt}." for r in self.recordings for doubt in r.print_.doubts], "such recordings")
        return said + _some([f"{line}: it is left out." for line in self.unheard], "such recordings")

    def _same_files(self) -> Iterable[str]:
        names: dict[str, dict[str, None]] = {}
        for recording in self.recordings:
            names.setdefault(recording.key, {})[recording.name] = None
        twice = [" and ".join(found) for found in names.values() if len(found) > 1]
        return _some([f"One and the same recording stands under the names {pair}." for pair in twice], "such files")


def doubts_in_words(doubts: Doubts) -> list[str]:
    """One line a doubt, of many alike the strongest only."""
    split = [
        f"The recordings of {name} do not seem to be of one voice (least log ratio between two of them {llr:.1f}). "
        "Give each voice a name of its own."
        for name, llr in doubts.split
    ]
    twins = [
        f"{a} and {b} may be one voice under two names (log ratio {llr:+.1f}). Give one voice one name."
        for a, b, llr in doubts.twins
    ]
    many = ["The names are too many to be compared with each other."] if doubts.unpaired else []
    return [*_some(split, "such names"), *_some(twins, "such pairs"), *many]


def read_known(
    given: str | Path,
    embedder: Embedder,
    data_root: str | Path | None = None,
    progress: Callable[[], object] = lambda: None,
) -> KnownVoices:
    """The gallery that a person names; recordings that were heard before are not heard again (`speaker.kept_prints`).

    Raises `UsageError` for what is not there, and `DataError` for a manifest without speakers or a gallery of which
    nothing can be heard.
    """
    manifest = read_input(given, data_root)
    listed = Path(given).suffix.lower() in TABLE_FORMATS and Path(given).is_file()
    keys, kept = AudioKeys(manifest), KeptPrints(embedder.info)
    found: list[KnownRecording] = []
    unheard: list[str] = []
    for row in manifest.rows():
        name = row.speaker or (None if listed else name_of(row.path))
        if name is None:
            raise DataError("has no speaker", where=row.id, fix="Fill in the column `speaker`.")
        try:
            key = keys.of(row)
            if key not in kept.known:
                kept.add(key, _heard(manifest, row, embedder))
            found.append(KnownRecording(name, str(manifest.resolve(row)), key, kept.known[key]))
        except AudioError as error:
            unheard.append(f"{row.id} {error.what}")
        progress()
    if not found:
        raise DataError("nothing of the gallery can be heard", where=given, fix=f"The first: {unheard[0]}.")
    return KnownVoices(tuple(found), tuple(unheard), embedder)


def name_of(path: str) -> str:
    """Whose a file of a folder is.

    >>> [name_of(p) for p in ("anna/x.wav", "anna-1.wav", "anna_02.wav", "p225.wav", "7.wav")]
    ['anna', 'anna', 'anna', 'p225', '7']
    """
    parts = PurePosixPath(path).parts
    stem = PurePosixPath(path).stem
    return parts[0] if len(parts) > 1 else _NUMBER.sub("", stem) or stem


def _heard(manifest: Manifest, row: Row, embedder: Embedder) -> KeptPrint:
    return hear_known(embedder, manifest.resolve(row), row.channel, row.start or 0.0, row.end)


def _some(lines: list[str], what: str) -> list[str]:
    more = len(lines) - _SHOWN
    return lines if more <= 0 else [*lines[:_SHOWN], f"{more} more {what}."]
