"""Lists without a header, one recording a line, fields separated by blanks: to a table and back.

    form = ListForm(("speaker", "id", "-", "system", "label"), {"label": LABELS})
    table, form = read_list(path, [form])
    write_list(table, path, [form])

`-` stands for "none" in every field. A list is split as a whole, not line by line: 680,000 lines take seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from earwitness.core.config import nearest
from earwitness.core.errors import DataError
from earwitness.core.plain_files import read_plain
from earwitness.core.writing import write_atomically

NONE = "-"
LABELS: Mapping[str, str] = {"bonafide": "bonafide", "spoof": "spoof"}


@dataclass(frozen=True)
class ListForm:
    """How a line reads.

    `columns` are the fields in order, named as in the manifest; the field named `-` always holds `-`. `words` names
    the columns with few known words and what each becomes; any other word is refused. `no_system` is what a bona fide
    line has for its system.
    """

    columns: tuple[str, ...]
    words: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: {"label": LABELS})
    no_system: str = NONE

    def __str__(self) -> str:
        return " ".join(self.columns)


def read_list(path: Path, forms: Sequence[ListForm]) -> tuple[pl.DataFrame, ListForm]:
    """The fields as text columns, and the form that the list has: the one with as many fields as the first line.

    Raises `DataError` naming the line: another number of fields, an unknown word, an `id` that stands there twice.
    """
    lines = _lines(path)
    widths = lines["text"].str.count_matches(" ", literal=True) + 1
    form = next((form for form in forms if len(form.columns) == widths[0]), None)
    if form is None or (widths != widths[0]).any():
        row = int((widths != widths[0]).arg_max() or 0) if form else 0
        wanted = " or ".join(f"{len(known.columns)} (`{known}`)" for known in ([form] if form else forms))
        raise _fail(path, lines, row, f"has {widths[row]} field(s) instead of {wanted}")
    # `split_exact` makes one column a field in one pass
    fields = lines["text"].str.split_exact(" ", len(form.columns) - 1).struct.rename_fields(list(form.columns))
    table = fields.struct.unnest()
    _check_blank(table, path, lines)
    for name, words in form.words.items():
        _check_words(table[name], words, path, lines)
    if "id" in table.columns:
        _check_unique(table["id"], path, lines)
    return _without_none(table, form), form


def list_text(table: pl.DataFrame, forms: Sequence[ListForm], where: object = None) -> str:
    """The lines of a table, in the first form whose columns it has. Raises `DataError` where a value does not fit."""
    form = next((form for form in forms if _fits(table, form)), None)
    if form is None:
        missing = sorted(set(forms[0].columns) - {NONE} - set(table.columns))
        fix = "Only a manifest that came from such a list has them."
        raise DataError(
            f"the manifest has no column {', '.join(f'`{name}`' for name in missing)}", where=where, fix=fix
        )
    fields = [_field(table, name, form, where) for name in form.columns]
    lines = pl.select(pl.concat_str(fields, separator=" ")).to_series()
    return "".join(f"{line}\n" for line in lines)


def write_list(table: pl.DataFrame, path: Path, forms: Sequence[ListForm]) -> None:
    """Write whole or not at all, as `list_text` gives it. Raises `DataError`, or `UsageError` for a bad path."""
    write_atomically(path, list_text(table, forms, path))


def read_text(path: Path) -> str:
    """A list as text. Raises `DataError` where it cannot be read, is empty or no UTF-8."""
    try:
        text = read_plain(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError("there is no such list", where=path, fix="Check the path.") from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=path) from None
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text (byte {error.start})", where=path, fix="Save it as UTF-8.") from None
    if not text.strip():
        raise DataError("is empty", where=path, fix="A list has one recording a line.")
    return text


def translated(column: pl.Series, words: Mapping[str, str]) -> pl.Series:
    """Each word as `words` has it, other words as null."""
    return column.replace_strict(list(words), list(words.values()), default=None, return_dtype=pl.String)


def unknown_word(name: str, word: object, words: Mapping[str, str]) -> tuple[str, str]:
    """What is wrong and what to do, for a word that a list must not have."""
    guess = nearest(str(word).lower(), words)
    hint = f" Did you mean '{guess}'?" if guess else ""
    return f"unknown {name} '{word}'", f"Allowed: {', '.join(words)}.{hint}"


def _fits(table: pl.DataFrame, form: ListForm) -> bool:
    """The table has its columns, and loses no labels in it."""
    unlabelled = "label" in form.columns or table["label"].null_count() == table.height
    return unlabelled and set(form.columns) - {NONE} <= set(table.columns)


def _lines(path: Path) -> pl.DataFrame:
    """`number` (1-based) and `text` of every line that is not empty, fields one blank apart."""
    content = read_text(path)
    text = pl.col("text").str.strip_chars()
    if "\t" in content or "  " in content:  # most lists need no second pass
        text = text.str.replace_all(r"\s+", " ")
    lines = pl.DataFrame({"text": content.split("\n")}).with_row_index("number", offset=1)
    return lines.with_columns(text).filter(pl.col("text") != "")


def _check_blank(table: pl.DataFrame, path: Path, lines: pl.DataFrame) -> None:
    if NONE in table.columns and (wrong := table[NONE] != NONE).any():
        row = int(wrong.arg_max() or 0)
        place = table.columns.index(NONE) + 1
        fix = "A list of another corpus? Choose the reader that fits."
        raise _fail(path, lines, row, f"field {place} is '{table[NONE][row]}' instead of '-'", fix)


def _check_words(column: pl.Series, words: Mapping[str, str], path: Path, lines: pl.DataFrame) -> None:
    known = list(words) if column.name == "label" else [*words, NONE]
    wrong = ~column.is_in(known)
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise _fail(path, lines, row, *unknown_word(column.name, column[row], words))


def _check_unique(ids: pl.Series, path: Path, lines: pl.DataFrame) -> None:
    again = ~ids.is_first_distinct()
    if again.any():
        row = int(again.arg_max() or 0)
        first = int((ids == ids[row]).arg_max() or 0)
        raise _fail(path, lines, row, f"'{ids[row]}' stands in line {lines['number'][first]} too", "Keep one of them.")


def _fail(path: Path, lines: pl.DataFrame, row: int, what: str, fix: str | None = None) -> DataError:
    return DataError(f"line {lines['number'][row]}: {what}", where=path, fix=fix)


def _without_none(table: pl.DataFrame, form: ListForm) -> pl.DataFrame:
    """Words translated, `-` (and a bona fide line's word for "no system") as null."""
    columns = []
    for name in form.columns:
        column = table[name]
        if name == NONE:
            continue
        if name in form.words:
            column = translated(column, form.words[name])
        elif name != "id":
            none = [NONE, "bonafide"] if name == "system" else [NONE]
            column = pl.select(pl.when(~column.is_in(none)).then(column).alias(name)).to_series()
        columns.append(column)
    return pl.DataFrame(columns)


def _field(table: pl.DataFrame, name: str, form: ListForm, where: object) -> pl.Expr:
    """One column as the list writes it."""
    if name == NONE:
        return pl.lit(pl.Series(NONE, [NONE] * table.height))
    column = table[name]
    if name in form.words:
        column = _back(column, form.words[name], where)
    elif (blank := column.str.contains(r"\s").fill_null(False)).any():
        row = int(blank.arg_max() or 0)
        what = f"row {row + 1}, column `{name}`: '{column[row]}' holds a blank, which separates fields in this list"
        raise DataError(what, where=where)
    if name == "system":
        none = pl.when(table["label"] == "bonafide").then(pl.lit(form.no_system)).otherwise(pl.lit(NONE))
        column = pl.select(pl.coalesce(column, none)).to_series()
    return pl.lit(column.fill_null(NONE))


def _back(column: pl.Series, words: Mapping[str, str], where: object) -> pl.Series:
    """The list's word for each value; the first where several mean the same."""
    back = {value: word for word, value in reversed(list(words.items()))}
    text = translated(column, back)
    wrong = text.is_null() & (column.is_not_null() | (column.name == "label"))
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        what, fix = unknown_word(column.name, column[row], back)
        raise DataError(f"row {row + 1}: {what}", where=where, fix=fix)
    return text
