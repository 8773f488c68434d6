"""Common Voice: `validated.tsv` (or another of its lists) and `clips/` (Mozilla; CC0). Columns are read by name, since
releases differ.

Ages are bands, so `age` stays empty and `age_lo` and `age_hi` hold the years. The site and the data page disagree on
the edges (twenties from 19 or from 20 on); a band here has both. They end where the next decade begins, as a person is
in their twenties until the thirtieth birthday.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.lists import read_text, unknown_word

BANDS: Mapping[str, tuple[int, int]] = {
    "teens": (10, 20),
    "twenties": (19, 30),
    "thirties": (30, 40),
    "forties": (40, 50),
    "fourties": (40, 50),  # as the corpus spells it
    "fifties": (50, 60),
    "sixties": (60, 70),
    "seventies": (70, 80),
    "eighties": (80, 90),
    "nineties": (90, 100),
}
SEXES: Mapping[str, str | None] = {
    "male": "m",
    "male_masculine": "m",
    "female": "f",
    "female_feminine": "f",
    **dict.fromkeys(("other", "intersex", "transgender", "non-binary", "do_not_wish_to_say")),
}
SIDES = ("train", "dev", "test")
NEEDED = ("client_id", "path")
KEPT = ("accents", "variant", "up_votes", "down_votes")  # kept under their own names


def read_common_voice(path: Path) -> Imported:
    """A list, or the folder of a language (then its `validated.tsv`). The lists train, dev and test fill `split`.

    Raises `DataError` naming the line: an unknown age or gender, or a missing column.
    """
    file = path if path.is_file() else path / "validated.tsv"
    if not file.is_file():
        raise DataError("holds no validated.tsv", where=path, fix="Name the folder of a language, or one of its lists.")
    table = _table(file)
    for name in NEEDED:
        if name not in table.columns:
            raise DataError(f"there is no column '{name}'", where=file, fix="Is it a list of Common Voice?")
    for name, words in (("age", BANDS), ("gender", SEXES)):
        _refuse_unknown(table, name, list(words), file)
    age, gender, accents = (_column(table, name) for name in ("age", "gender", "accents"))
    low, high = ({word: band[end] for word, band in BANDS.items()} for end in (0, 1))
    clip = table["path"]
    rows = table.select(
        id=clip,
        path="clips/" + clip,
        corpus=pl.lit("common-voice"),
        label=pl.lit("bonafide"),
        licence=pl.lit("CC0-1.0"),
        speaker="common-voice:" + table["client_id"],
        sex=gender.replace_strict(SEXES, default=None, return_dtype=pl.String),
        gender=gender,
        age_band=age,
        age_lo=age.replace_strict(low, default=None, return_dtype=pl.Int64),
        age_hi=age.replace_strict(high, default=None, return_dtype=pl.Int64),
        language=_column(table, "locale"),
        transcript=_column(table, "sentence"),
        accents=accents.fill_null(_column(table, "accent")),
        **{name: table[name] for name in KEPT if name in table.columns and name != "accents"},
        split=pl.lit(file.stem if file.stem in SIDES else None, dtype=pl.String),
    )
    aged = rows["age_lo"].len() - rows["age_lo"].null_count()
    notes = [f"{rows.height} clips, {rows['speaker'].n_unique()} client ids, {aged} clips with an age band"]
    if missing := sum(not (file.parent / place).is_file() for place in rows["path"]):
        notes.append(f"{missing} of the clips are not there")
    return Imported(Manifest.from_table(rows, file.parent, file), tuple(notes))


def _table(file: Path) -> pl.DataFrame:
    """All columns as text, empty as null; a quotation mark is a character of the sentence."""
    text = read_text(file)
    try:
        return pl.read_csv(text.encode(), separator="\t", quote_char=None, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"is not a list between tabs ({str(error).splitlines()[0][:200]})", where=file) from None


def _column(table: pl.DataFrame, name: str) -> pl.Series:
    if name in table.columns:
        return table[name].alias(name)
    return pl.Series(name, [None] * table.height, dtype=pl.String)


def _refuse_unknown(table: pl.DataFrame, name: str, known: list[str], file: Path) -> None:
    column = _column(table, name)
    wrong = column.is_not_null() & (column != "") & ~column.is_in(known)
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        what, fix = unknown_word(name, column[row], dict.fromkeys(known, ""))
        raise DataError(f"line {row + 2}: {what}", where=file, fix=fix)
