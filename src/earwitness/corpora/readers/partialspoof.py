"""PartialSpoof: utterances of ASVspoof 2019 LA with spoofed parts, and where those parts are.

    LA_0079 CON_T_0000000 - CON spoof                   the protocol: as ASVspoof 2019 LA
    SPEAKER CON_T_0000000 1 0.00 1.32 <NA> <NA> bonafide <NA> <NA>

Regions come from RTTM (second line) or from an `.npz` of segment labels. The corpus gives its segment labels as pickled
`.npy`, which run code when they are loaded, so they are never read here. (Zhang et al., arXiv 2204.05177)
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import DataError
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.lists import LABELS, ListForm, read_list
from earwitness.corpora.readers.protocol import Protocol, read_protocol
from earwitness.metrics.localisation import Region

PARTS = ("train", "dev", "eval")
PARTIALSPOOF = Protocol(
    name="partialspoof",
    forms=(ListForm(("speaker", "id", "-", "system", "label")),),
    folders=("protocols/PartialSpoof_LA_cm_protocols", "PartialSpoof_LA_cm_protocols"),
    lists=tuple(f"PartialSpoof.LA.cm.{part}.trl.txt" for part in PARTS),
    audio={part[0].upper(): (f"{part}/con_wav",) for part in PARTS},
    suffix=".wav",
)
_RTTM = ("type", "utterance", "channel", "start", "duration", "na1", "na2", "label", "na3", "na4")


def read_partialspoof(path: Path) -> Imported:
    """A protocol of PartialSpoof, or the folder `database` that holds `protocols`."""
    return read_protocol(PARTIALSPOOF, path)


def read_regions(path: str | Path, words: Mapping[str, str] = LABELS) -> dict[str, tuple[Region, ...]]:
    """The regions of each utterance of an RTTM file, in order of time; `words` maps its labels to ours.

    Raises `DataError` naming the line: not ten fields, an unknown label, a time that is no number or below 0.
    """
    path = Path(path)
    table, _ = read_list(path, (ListForm(_RTTM, {"label": words}),))
    regions: dict[str, list[Region]] = {}
    columns = table.select("utterance", "start", "duration", "label")
    for number, (name, start, duration, label) in enumerate(columns.iter_rows(), start=1):
        begin, length = (_seconds(text, f"{path}, region {number}") for text in (start, duration))
        regions.setdefault(name, []).append(Region(begin, begin + length, label == "bonafide"))
    return {name: tuple(sorted(found, key=lambda region: region.start)) for name, found in regions.items()}


def read_segments(path: str | Path, step_s: float) -> dict[str, tuple[Region, ...]]:
    """The regions of each utterance of an `.npz`: one array an utterance, a label every `step_s` seconds.

    Labels are 1 (bona fide) or 0 (spoof), as numbers or as text. Raises `DataError` for anything else, and for files
    that would have to be unpickled.
    """
    path = Path(path)
    return {name: _runs(labels, step_s, f"{path}, {name}") for name, labels in _arrays(path).items()}


def _arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    fix = (
        "Where you trust the file: d = numpy.load(FILE, allow_pickle=True).item(); "
        "numpy.savez(OUT, **{k: numpy.asarray(v, int) for k, v in d.items()})."
    )
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise DataError("is one array, not an .npz with one array an utterance", where=path, fix=fix)
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise DataError("there is no such file", where=path, fix="Check the path.") from None
    except ValueError:
        raise DataError("holds pickled objects, which are never loaded", where=path, fix=fix) from None
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"is no .npz file ({error})", where=path) from None


def _runs(labels: NDArray[np.generic], step_s: float, where: str) -> tuple[Region, ...]:
    """Equal neighbours joined to one region."""
    words = labels.astype(str).tolist() if labels.ndim == 1 else []
    if not words or not set(words) <= {"0", "1"}:
        raise DataError("is no row of labels 0 and 1", where=where, fix="1 is bona fide, 0 is spoof.")
    regions, start = [], 0
    for word, run in groupby(words):
        end = start + len(list(run))
        regions.append(Region(start * step_s, end * step_s, word == "1"))
        start = end
    return tuple(regions)


def _seconds(text: str | None, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise DataError(f"'{text}' is no time in seconds", where=where)
    return value
