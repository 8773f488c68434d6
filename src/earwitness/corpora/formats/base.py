"""What the formats of other tools share: lines of text files, names of recordings, and what a format has no place for.

Columns beyond those of `corpora.schema` that several formats use: `recording` (the name under which a format lists
the file of a row) and `point_s` (seconds; a stretch of no length, such as a point of a tier).
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import polars as pl

from earwitness.core.errors import DataError
from earwitness.core.plain_files import read_plain
from earwitness.corpora.imported import Imported, Reader
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.schema import ALLOWED, COLUMNS, checked, fail
from earwitness.corpora.suffixes import AUDIO_SUFFIXES

Writer = Callable[[Manifest, Path], tuple[str, ...]]
Value = str | float | None
BLANKS = " \t\r\n\v\f"  # what separates fields; other white space of Unicode is a letter like any other
_BLANK = r"[ \t\r\n\x0b\x0c]"


@dataclass(frozen=True)
class Format:
    """How a format is read and written. Writing gives notes: what was left behind, and what was made up."""

    read: Reader
    write: Writer


# --- reading


def text_of(path: Path) -> str:
    """The text of a file. Raises `DataError` where it cannot be read or is no UTF-8."""
    try:
        return read_plain(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError("there is no such file", where=path, fix="Check the path.") from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=path) from None
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text (byte {error.start})", where=path, fix="Save it as UTF-8.") from None


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of every line that is not empty, without blanks around it."""
    for number, line in enumerate(text_of(path).split("\n"), start=1):
        if line := line.strip(BLANKS):
            yield number, line


def malformed(path: Path, number: int, what: str, form: str) -> DataError:
    """The error for a line; `form` is what was expected."""
    return DataError(f"line {number}: {what}", where=path, fix=f"Expected: {form}.")


def seconds(text: str) -> float | None:
    """A time as a file writes it, or None for what is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") and "_" not in text else None


def files_of(path: Path, suffix: str) -> list[Path]:
    """The file itself, or all files of a folder at any depth. Raises `DataError` where there is none."""
    if path.is_file():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() == suffix.lower() and file.is_file())
    if not found:
        raise DataError(f"holds no *{suffix}", where=path, fix="Name the file, or the folder above it.")
    return found


def imported(rows: Sequence[Mapping[str, Value]], root: Path, where: Path, notes: Iterable[str] = ()) -> Imported:
    """Rows as a manifest; columns without any value are not there. Raises `DataError`."""
    if not rows:
        raise DataError("holds no row", where=where)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [_column(name, [row.get(name) for row in rows]) for name in names]
    missing = sum(_reads_as_missing(column) for column in columns)
    table = pl.DataFrame([column for column in columns if column.name in COLUMNS or column.null_count() < len(rows)])
    try:
        manifest = Manifest.from_table(table, root, where)
    except pl.exceptions.PolarsError as error:  # a number that no integer holds
        raise DataError(str(error).strip().splitlines()[0], where=where) from None
    told = [f"{missing} value(s) that are empty or 'n/a' read as missing"] if missing else []
    return Imported(manifest, (*notes, *told))


def _column(name: str, values: Sequence[Value]) -> pl.Series:
    """Numbers where all values are; else texts, which the schema reads as numbers where a column asks for them."""
    if COLUMNS.get(name, pl.String()) != pl.String and not any(isinstance(value, str) for value in values):
        return pl.Series(name, values, dtype=pl.Float64)
    texts = [str(value) if isinstance(value, int | float) else value for value in values]
    return pl.Series(name, texts, dtype=pl.String)


def _reads_as_missing(column: pl.Series) -> int:
    if column.dtype != pl.String:
        return 0
    return int(column.str.strip_chars().str.to_lowercase().is_in(["", "n/a"]).sum())


@lru_cache(maxsize=10_000)
def extra_name(name: str, prefix: str) -> str:
    """The column for a field of its own: the name, with a prefix where a manifest would take it for a typing error."""
    try:
        checked(pl.DataFrame({"path": ["x"], name: ["x"]} if name != "path" else {}))
    except DataError:
        return f"{prefix}{name}"
    return f"{prefix}{name}" if name in COLUMNS else name


def fits(column: str, values: Iterable[Value]) -> bool:
    """Whether a column with few allowed words may hold all values."""
    return column not in ALLOWED or all(value is None or value in ALLOWED[column] for value in values)


def root_above(folder: Path, paths: Iterable[str]) -> tuple[Path, tuple[str, ...]]:
    """The folder that relative paths start from, and a note where that was searched for.

    Several tools write paths against the folder in which they ran. It is taken to be the nearest folder above under
    which the first relative path lies; else the list's own folder.
    """
    first = next((path for path in paths if not Path(path).is_absolute()), None)
    if first is None or _is_file(folder / first):
        return folder, ()
    above = folder.absolute().parents
    found = next((parent for parent in above if _is_file(parent / first)), None)
    if found is None:
        return folder, (f"no file {first} under {folder.name} or a folder above: paths stand against {folder.name}",)
    return found, (f"paths stand against {found}, where the files lie",)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long to be one
        return False


def place(names: Iterable[str], folder: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """The path, against `folder`, of the audio file of each name, and a note on those without one.

    Looked for in the folder, in its folders one level down, and beside names that have a folder in them.
    """
    names = list(dict.fromkeys(names))
    beside = {folder / PurePosixPath(name).parent for name in names}
    found: dict[str, set[str]] = {}
    for place in sorted(beside | {folder} | {entry for entry in _entries(folder) if entry.is_dir()}):
        for file in _entries(place):
            if file.suffix.lower() in AUDIO_SUFFIXES:
                path = posixpath.normpath(file.relative_to(folder).as_posix())
                found.setdefault(path.removesuffix(file.suffix), set()).add(path)
                found.setdefault(file.stem, set()).add(path)
    paths = {name: min(found[name]) if len(found.get(name, ())) == 1 else name for name in names}
    bare = [name for name in names if len(found.get(name, ())) != 1]
    if not bare:
        return paths, ()
    note = f"{len(bare)} of {len(names)} recordings have not just one audio file beside the list, and the bare name"
    return paths, (f"{note} as their path (first: {bare[0]})",)


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where that cannot be read."""
    try:
        return list(folder.iterdir())
    except (OSError, ValueError):
        return []


def numbered(names: Iterable[str]) -> list[str]:
    """Ids for rows that have none of their own: the name and a number that counts within it from 1."""
    seen: Counter[str] = Counter()
    ids = []
    for name in names:
        seen[name] += 1
        ids.append(f"{name}-{seen[name]:04d}")
    return ids


# --- writing


def recording_names(table: pl.DataFrame) -> list[str]:
    """What each row's file is called: `recording` where that is set, else the file name without its suffix.

    Raises `DataError` where one name would stand for two files.
    """
    given = table["recording"] if "recording" in table.columns else [None] * table.height
    names = [name or PurePosixPath(path).stem for name, path in zip(given, table["path"], strict=True)]
    paths: dict[str, str] = {}
    for row, (name, path) in enumerate(zip(names, table["path"], strict=True)):
        if paths.setdefault(name, path) != path:
            fix = "Give each file a name of its own in the column `recording`."
            raise fail(row, "path", f"'{name}' would name {path} and {paths[name]}", None, fix)
    return names


def left_behind(table: pl.DataFrame, held: Iterable[str], format_name: str) -> tuple[str, ...]:
    """A note that lists the columns with values that a format has no place for."""
    counts = {name: table.height - table[name].null_count() for name in table.columns if name not in set(held)}
    lost = [f"`{name}` ({count})" for name, count in counts.items() if count]
    return (f"left behind, for {format_name} has no place for them: {', '.join(lost)}",) if lost else ()


def ids_left_behind(ids: Sequence[str], made: Sequence[str], format_name: str) -> tuple[str, ...]:
    """A note where rows have other ids than reading the written file will give them."""
    changed = sum(a != b for a, b in zip(ids, made, strict=True))
    return (f"left behind, for {format_name} has no place for them: `id` ({changed})",) if changed else ()


def values_of(table: pl.DataFrame, name: str) -> list[str | None]:
    """A text column, or as many nulls."""
    return table[name].to_list() if name in table.columns else [None] * table.height


def without_outer_blanks(table: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The table with blanks around texts removed (lines cannot hold them), and a note on where that was."""
    texts = [name for name, kind in table.schema.items() if kind == pl.String and name != "path"]
    stripped = table.with_columns(pl.col(texts).str.strip_chars(BLANKS).replace("", None))
    changed = [name for name in texts if not stripped[name].equals(table[name])]
    return stripped, tuple(f"blanks around values of `{name}` removed" for name in changed)


def refuse_blanks(values: Sequence[str | None], column: str, format_name: str) -> None:
    """Raises `DataError` for a value with a blank in it, where blanks separate fields."""
    _refuse(values, column, _BLANK, f"holds a blank, which {format_name} cannot hold")


def refuse_line_breaks(values: Sequence[str | None], column: str, format_name: str) -> None:
    """Raises `DataError` for a value that is more than one line."""
    _refuse(values, column, r"\n|\r$", f"holds a line break, which {format_name} cannot hold")


def _refuse(values: Sequence[str | None], column: str, pattern: str, what: str) -> None:
    wrong = pl.Series(values, dtype=pl.String).str.contains(pattern).fill_null(False)
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise fail(row, column, f"'{values[row]}' {what}", None, "Change the value in the manifest.")
