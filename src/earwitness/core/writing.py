"""Files that are whole or absent, and results that survive being killed.

`write_atomically` writes to a sibling and renames. `ResumableRows` keeps one row a key: rows are appended to
`OUT.part.jsonl` as they come, and become the CSV, Parquet or JSONL file `OUT` in one rename at the end. A run that was
killed leaves the part file; the next run with `resume` skips the keys in it. A line torn by the kill is dropped and
done again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from earwitness.core.errors import UsageError
from earwitness.core.plain_files import require_plain

if TYPE_CHECKING:
    import polars as pl

TABLE_FORMATS = (".csv", ".parquet", ".jsonl")


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Raises `UsageError` where it cannot be written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file to write to, renamed to `path` when the block ends well and removed when it does not."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.", suffix=".part")
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror})", where=path, fix="Choose another output.") from None
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    except BaseException as error:
        _remove(part)
        if (refused := _refusal(error)) is None:
            raise
        raise UsageError(
            f"cannot be written ({refused})", where=path, fix="Free space or choose another output."
        ) from None


def _refusal(error: BaseException) -> str | None:
    """What the system has refused, in its words; None for other errors. Polars hides it in errors of its own."""
    if (number := re.search(r"\(os error (\d+)\)", str(error))) is not None:
        return os.strerror(int(number[1]))
    return (error.strerror or str(error)) if isinstance(error, OSError) else None


def require_writable(path: str | Path) -> None:
    """Raises `UsageError` where a file could not be made now: told before the work that it is the result of."""
    path = Path(path)
    if path.is_dir():
        raise UsageError("is a folder", where=path, fix="Name a file.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror})", where=path, fix="Choose another output.") from None


def _remove(part: Path) -> None:
    with contextlib.suppress(OSError):
        part.unlink()


class ResumableRows:
    """Rows keyed by one column, written as they come; see the module's docstring.

    `same` names columns that are equal in every row (the model that scored, for one): rows of an earlier run with
    other values are refused, so that one table never mixes two models. Raises `UsageError` for an unknown file
    format, for rows that differ so, and when unfinished rows of an earlier run lie there and `resume` is off.
    """

    def __init__(
        self,
        path: str | Path,
        key: str,
        columns: Mapping[str, type],
        *,
        resume: bool = False,
        same: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.key = key
        self.columns = dict(columns)
        self.same = dict(same or {})
        self.part = part_of(self.path)
        if not resume:
            refuse_unfinished(self.part)
        self.done: set[Any] = set()
        self.failed = 0
        self._keep = 0  # bytes of whole rows in the part file
        with _told(self.path, "Choose another output."):
            self.part.parent.mkdir(parents=True, exist_ok=True)
            if resume and not self.part.exists() and self.path.exists():
                _convert(self.path, self.part, self.columns)  # a finished table counts as done, and may be added to
            if self.part.exists():
                require_plain(self.part)
                self._read_part()
            self._file = self.part.open("r+b" if self.part.exists() else "w+b")
            self._file.truncate(self._keep)
            self._file.seek(self._keep)

    def _read_part(self) -> None:
        """Take over the whole rows of an interrupted run, up to a line that the kill has torn."""
        with self.part.open("rb") as file:
            for line in file:
                row = _whole_row(line)
                if row is None or self.key not in row:
                    break
                self._check_same(row)
                self._count(row)
                self._keep += len(line)

    def _check_same(self, row: Mapping[str, Any]) -> None:
        for name, value in self.same.items():
            if row.get(name) != value:
                what = f"holds rows whose {name} is '{row.get(name)}', now it is '{value}'"
                raise UsageError(what, where=self.path, fix="Choose another output, or remove the rows to start anew.")

    def _count(self, row: Mapping[str, Any]) -> None:
        self.done.add(row[self.key])
        self.failed += bool(row.get("error"))

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep one row; on return it survives a killed process. A key that is there already is not written again."""
        if row[self.key] in self.done:
            return
        full = {name: row.get(name) for name in self.columns}
        with _told(self.path, "Free space, then add --resume: the rows so far are kept."):
            self._file.write((json.dumps(full, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
            self._file.flush()
        self._count(full)

    def finish(self) -> None:
        """Turn the rows into the asked table and remove the part file."""
        with _told(self.path, "The rows are kept; add --resume."):
            os.fsync(self._file.fileno())
            self._file.close()
            _convert(self.part, self.path, self.columns)
            self.part.unlink()

    def __enter__(self) -> ResumableRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            with contextlib.suppress(OSError):  # a full disk has been told already
                self._file.close()


def part_of(path: Path) -> Path:
    """Where the rows of a table lie until it is finished. Raises `UsageError` for an unknown table format."""
    if path.suffix not in TABLE_FORMATS:
        raise UsageError(
            f"'{path.suffix}' is not a table format", where=path, fix=f"Use one of {', '.join(TABLE_FORMATS)}."
        )
    return path.with_name(path.name + ".part.jsonl")


def refuse_unfinished(part: Path) -> None:
    """Raises `UsageError` where rows of an interrupted run lie, which a fresh run would lose."""
    if part.exists():
        fix = "Add --resume to go on, or remove the file to start anew."
        raise UsageError("an unfinished run left rows here", where=part, fix=fix)


def read_rows(path: str | Path, columns: Mapping[str, type]) -> pl.DataFrame:
    """These columns of a CSV, Parquet or JSONL table that `ResumableRows` wrote. Raises `UsageError`."""
    with _told(Path(path), "Remove the file to start anew."):
        return _scan(Path(path), columns).collect()


def _whole_row(line: bytes) -> dict[str, Any] | None:
    """A row, or None for a line that is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _convert(source: Path, target: Path, columns: Mapping[str, type]) -> None:
    """One table as another format, streamed, then renamed into place. Raises `OSError` or polars' own errors."""
    part = target.with_name(f".{target.name}.part")
    try:
        rows = _scan(source, columns)
        if target.suffix == ".parquet":
            rows.sink_parquet(part)
        elif target.suffix == ".csv":
            rows.sink_csv(part)
        else:
            rows.sink_ndjson(part)
        part.replace(target)
    except BaseException:
        _remove(part)
        raise


def _scan(path: Path, columns: Mapping[str, type]) -> pl.LazyFrame:
    """The table, not yet read, with exactly these columns."""
    import polars as pl

    kinds = {str: pl.String, float: pl.Float64, int: pl.Int64, bool: pl.Boolean}
    schema = {name: kinds[kind] for name, kind in columns.items()}
    if path.stat().st_size == 0:
        return pl.LazyFrame(schema=schema)
    if path.suffix == ".parquet":
        return pl.scan_parquet(path).select(list(schema))
    if path.suffix == ".csv":
        return pl.scan_csv(path, schema_overrides=schema).select(list(schema))
    return pl.scan_ndjson(path, schema=schema)


@contextlib.contextmanager
def _told(path: Path, fix: str) -> Iterator[None]:
    """What the system refuses, in one line as a `UsageError`."""
    import polars as pl

    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        if (refused := _refusal(error)) is not None:
            raise UsageError(f"cannot be written ({refused})", where=path, fix=fix) from None
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"is not the table that is to be gone on with ({first[:200]})", where=path, fix=fix) from None
