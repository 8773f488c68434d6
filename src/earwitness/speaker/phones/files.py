"""Phone tracks that lie in files: `.pre.pho` of ExPO's code, TextGrid, CTM.

    STEM.pre.pho      lines of `start_seconds end_seconds PHONE`
    STEM.TextGrid     its tier `phones` (or `phone`, `phonemes`), or its only tier
    STEM.ctm, or any *.ctm of the folder that names STEM

looked for in `folder`, at any depth, else beside the recording. A missing one is an error: what the released code
does, all samples AA, would be evidence made up.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError
from earwitness.corpora.formats.base import lines_of, malformed, seconds
from earwitness.corpora.formats.ctm import read_ctm
from earwitness.corpora.formats.textgrid import read_textgrid
from earwitness.speaker.phones.source import Mark, PhoneSource
from earwitness.speaker.phones.symbols import of_any
from earwitness.speaker.phones.track import Maker, PhoneTrack

SUFFIXES = (".pre.pho", ".TextGrid", ".ctm")
_TIERS = ("phones", "phone", "phonemes")
_MOST_UNMAPPED = 0.5  # of the segments of a file; above it the labels are not phones


class PhoneFiles(PhoneSource):
    """Tracks in files; see the module."""

    def __init__(self, folder: str | Path | None = None, language: str = "not stated") -> None:
        self._folder = None if folder is None else Path(folder)
        name = "beside the recordings" if folder is None else f"folder {Path(folder).name}"
        self.maker = Maker("files", name, language)

    def of_file(
        self, path: Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> PhoneTrack:
        """Raises `DataError` where there is none, or most of its labels are no phones."""
        track = PhoneTrack.of_symbols(self._marks(Path(path), channel), of_any, self.inventory, self.maker)
        unmapped = sum(count for _, count in track.unmapped)
        if track.segments and unmapped > _MOST_UNMAPPED * len(track.segments):
            what = f"{unmapped} of {len(track.segments)} labels are no phones, e.g. '{track.unmapped[0][0]}'"
            raise DataError(what, where=path, fix="Give tracks of ARPAbet or IPA phones.")
        return track if start_s == 0 and end_s is None else track.cut(start_s, float("inf") if end_s is None else end_s)

    def _marks(self, path: Path, channel: int | None) -> Iterator[Mark]:
        for suffix in SUFFIXES:
            name = f"{path.stem}{suffix}"
            file = path.with_name(name) if self._folder is None else self._files.get(name)
            if file is not None and file.is_file():
                return _marks_of(file, path.stem, channel)
        if path.stem in self._in_lists:
            return _ctm(self._in_lists[path.stem], path.stem, channel)
        where = "beside it" if self._folder is None else f"in {self._folder}"
        fix = "Name the folder of the tracks, or let a recogniser hear the phones."
        raise DataError(
            f"has no phone track {where} ({', '.join(path.stem + end for end in SUFFIXES)})", where=path, fix=fix
        )

    @cached_property
    def _files(self) -> dict[str, Path]:
        """The tracks of the folder by name. Raises `DataError` for a name that stands there twice."""
        assert self._folder is not None
        if not self._folder.is_dir():
            raise DataError("there is no such folder of phone tracks", where=self._folder, fix="Check the path.")
        found: dict[str, Path] = {}
        for file in sorted(self._folder.rglob("*")):
            if file.name.endswith(SUFFIXES):
                if file.name in found:
                    raise DataError(f"two tracks are called '{file.name}'", where=self._folder, fix="Name one folder.")
                found[file.name] = file
        return found

    @cached_property
    def _in_lists(self) -> dict[str, Path]:
        """Recordings that a CTM file of another name lists."""
        lists = [] if self._folder is None else [file for file in self._files.values() if file.suffix == ".ctm"]
        return {str(name): file for file in lists for name in read_ctm(file).manifest.table["recording"].unique()}


def _marks_of(file: Path, recording: str, channel: int | None) -> Iterator[Mark]:
    if file.name.endswith(".pre.pho"):
        return _pho(file)
    return _grid(file) if file.suffix == ".TextGrid" else _ctm(file, recording, channel)


def _pho(file: Path) -> Iterator[Mark]:
    for number, line in lines_of(file):
        fields = line.split()
        times = [seconds(field) for field in fields[:2]]
        if len(fields) != 3 or None in times or not 0 <= times[0] <= times[1]:  # type: ignore[operator]
            raise malformed(file, number, f"'{line[:60]}'", "start_seconds end_seconds PHONE")
        yield times[0], times[1], fields[2]  # type: ignore[misc]


def _grid(file: Path) -> Iterator[Mark]:
    table = read_textgrid(file).manifest.table
    tiers = table["tier"].unique(maintain_order=True).to_list()
    tier = next((name for name in tiers if str(name).lower() in _TIERS), tiers[0] if len(tiers) == 1 else None)
    if tier is None:
        what = f"has the tiers {', '.join(map(str, tiers))}, and none is called phones"
        raise DataError(what, where=file, fix="Call the tier of the phones `phones`.")
    return _rows(table.filter(pl.col("tier") == tier))


def _ctm(file: Path, recording: str, channel: int | None) -> Iterator[Mark]:
    """The rows of a recording; a file that lists one recording only is of that, whatever its name."""
    table = read_ctm(file).manifest.table
    if table["recording"].n_unique() > 1:
        table = table.filter(pl.col("recording") == recording)
    return _rows(table if channel is None else table.filter(pl.col("channel") == channel))


def _rows(table: pl.DataFrame) -> Iterator[Mark]:
    """Stretches in order; points and what has no text are left out."""
    for start, end, text in table.select("start", "end", "transcript").iter_rows():
        if start is not None and end is not None:
            yield start, end, text or ""
