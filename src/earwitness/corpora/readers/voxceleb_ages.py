"""Ages of VoxCeleb speakers at the time of a video: `final_dataframe_extended.csv`, `age-train.txt` or `age-test.txt`
of the VoxCeleb enrichment (Hechmi et al., arXiv 2109.13510), above `<VoxCeleb_ID>/<video_id>/*.wav` or `.m4a`.

Of a person the list's ids, sex and age are read; names, nationalities, dates of birth and titles are not. An age is a
difference of whole years, a year off either way, and the upload stands for the recording.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.named_files import Values, imported, meant
from earwitness.corpora.suffixes import AUDIO_SUFFIXES

LIST = "final_dataframe_extended.csv"
READ = ("VoxCeleb_ID", "video_id", "gender", "speaker_age", "speaker_age_title_only")
NEEDED = ("VoxCeleb_ID", "video_id", "speaker_age")
SIDES: Mapping[str, str] = {"age-train": "train", "age-test": "test"}
SEXES: Mapping[str, str] = {"m": "m", "f": "f", "male": "m", "female": "f"}
FOLDERS = ("", "wav", "aac", "dev/wav", "dev/aac", "test/wav", "test/aac", "vox1/wav", "vox2/aac")


def read_voxceleb_ages(path: Path) -> Imported:
    """A list, or a folder that holds the extended one. One row a recording of a video with an age. `age_source` says
    whether upload and recording year agree in title and description (`both`) or the title alone names it (`title`).

    Raises `DataError` where a column is missing, an age is no whole number of years below 120, or no audio is found.
    """
    file = path if path.is_file() else path / LIST
    if not file.is_file():
        raise DataError(f"holds no {LIST}", where=path, fix="Name the list, beside the audio or a link to it.")
    rows: list[Values] = []
    silent = 0
    for video in _videos(file):
        found = list(_recordings(file.parent, str(video["person"]), str(video["video"])))
        silent += not found
        rows += [_row(place, video, SIDES.get(file.stem)) for place in found]
    if not rows:
        fix = "Link the folder of VoxCeleb's audio beside the list."
        raise DataError("none of its videos with an age has audio below", where=file.parent, fix=fix)
    return imported(rows, file.parent, [f"{silent} video(s) with an age have no audio here"] if silent else [])


def _videos(file: Path) -> Iterator[Mapping[str, str | float | None]]:
    """Person, video, sex and age of each line with an age."""
    try:
        header = pl.read_csv(file, n_rows=0, infer_schema=False).columns
        if missing := [name for name in NEEDED if name not in header]:
            raise DataError(f"there is no column '{missing[0]}'", where=file, fix=f"Needed: {', '.join(NEEDED)}.")
        table = pl.read_csv(file, columns=[name for name in READ if name in header], infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"cannot be read ({str(error).splitlines()[0][:200]})", where=file) from None
    for number, line in enumerate(table.iter_rows(named=True), start=1):
        where = f"{file}, row {number}"
        both, title = line["speaker_age"], line.get("speaker_age_title_only")
        age, source = (both, "both") if both else (title, "title")
        if not age:
            continue
        sex = line.get("gender")
        yield {
            "person": _safe(line["VoxCeleb_ID"], where),
            "video": _safe(line["video_id"], where),
            "sex": meant("gender", sex.lower(), SEXES, where) if sex else None,
            "age": _years(age, where),
            "source": source,
        }


def _years(text: str, where: str) -> float:
    try:
        age = float(text)
    except ValueError:
        age = -1.0
    if not (0 <= age <= 120 and age == int(age)):
        raise DataError(f"'{text}' is no age in whole years", where=where)
    return age


def _safe(name: str | None, where: str) -> str:
    """A name that is one part of a path."""
    if not name or "/" in name or "\\" in name or name.startswith("."):
        raise DataError(f"'{name}' is no id of a person or video", where=where)
    return name


def _recordings(root: Path, person: str, video: str) -> Iterator[str]:
    for folder in FOLDERS:
        place = root / folder / person / video
        if place.is_dir():
            files = sorted(file for file in place.iterdir() if file.suffix.lower() in AUDIO_SUFFIXES)
            yield from (file.relative_to(root).as_posix() for file in files)


def _row(place: str, video: Mapping[str, str | float | None], side: str | None) -> Values:
    return {
        "id": place,
        "path": place,
        "corpus": "voxceleb",
        "label": "bonafide",
        "speaker": f"voxceleb:{video['person']}",
        "source_recording": f"voxceleb:{video['video']}",
        "sex": video["sex"],
        "age": video["age"],
        "age_source": video["source"],
        "split": side,
    }
