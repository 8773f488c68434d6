"""Files that are whole or absent, and results that survive being killed.

`write_atomically` writes to a sibling and renames. `ResumableRows` keeps one row a key: rows are appended to
`OUT.part.jsonl` as they come, and become the CSV, Parquet or JSONL file `OUT` in one rename at the end. A run that was
killed leaves the part file; the next run with `resume` skips the keys in it. A line torn by the kill is dropped and done again.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from earwitness.core.errors import UsageError

TABLE_FORMATS = (".csv", ".parquet", ".jsonl")


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part. Raises `UsageError` where it cannot."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file to write to, renamed to `path` when the block ends well and removed when it does not."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.", suffix=".part")
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror})", where=path, fix="Choose another output.") from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o644)
        os.replace(part, path)
    except OSError as error:
        _remove(part)
        raise UsageError(
            f"cannot be written ({error.strerror})", where=path, fix="Free space or choose another output."
        ) from None
    except BaseException:
        _remove(part)
        raise


def _remove(part: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(part)


class ResumableRows:
    """Rows keyed by one column, written as they come; see the module's docstring.

    Raises `UsageError` for an unknown file format, or when unfinished rows of an earlier run lie there and `resume` is off.
    """

    def __init__(self, path: str | Path, key: str, columns: Mapping[str, type], *, resume: bool = False) -> None:
        self.path = Path(path)
        self.key = key
        self.columns = dict(columns)
        if self.path.suffix not in TABLE_FORMATS:
            raise UsageError(
                f"'{self.path.suffix}' is not a table format", where=path, fix=f"Use one of {', '.join(TABLE_FORMATS)}."
            )
        self.part = self.path.with_name(self.path.name + ".part.jsonl")
        if not resume and self.part.exists():
            raise UsageError(
                "an unfinished run left rows here",
                where=self.part,
                fix="Add --resume to go on, or remove the file to start anew.",
            )
        self.done: set[Any] = set()
        self.failed = 0
        self._keep = 0
        if resume:
            self._read_part() if self.part.exists() else self._read_finished()
        try:
            self.part.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.part.open("r+b" if self.part.exists() else "w+b")
        except OSError as error:
            raise UsageError(
                f"cannot be written ({error.strerror})", where=path, fix="Choose another output."
            ) from None
        self._file.truncate(self._keep)
        self._file.seek(self._keep)

    def _read_part(self) -> None:
        """Take over the whole lines of an interrupted run."""
        with self.part.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:
                    break
                self._count(row)
                self._keep += len(line)

    def _read_finished(self) -> None:
        """A finished table counts as done too, so that new inputs can be added to it."""
        if not self.path.exists():
            return
        rows = read_rows(self.path, self.columns)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        self.part.write_text("".join(lines), encoding="utf-8")
        for row in rows:
            self._count(row)
        self._keep = self.part.stat().st_size

    def _count(self, row: Mapping[str, Any]) -> None:
        self.done.add(row[self.key])
        self.failed += bool(row.get("error"))

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep one row; on return it survives a killed process."""
        if row[self.key] in self.done:
            return
        full = {name: row.get(name) for name in self.columns}
        self._file.write((json.dumps(full, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape"))
        self._file.flush()
        self._count(full)

    def finish(self) -> None:
        """Turn the rows into the asked table and remove the part file."""
        self._file.flush()
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
            self._file.close()


def read_rows(path: str | Path, columns: Mapping[str, type] | None = None) -> list[dict[str, Any]]:
    """The rows of a CSV, Parquet or JSONL table."""
    import polars as pl

    path = Path(path)
    schema = None if columns is None else _schema(columns)
    if path.suffix == ".parquet":
        return pl.read_parquet(path).to_dicts()
    if path.suffix == ".csv":
        return pl.read_csv(path, schema_overrides=schema).to_dicts()
    return pl.read_ndjson(path, schema=schema).to_dicts()


def _convert(part: Path, path: Path, columns: Mapping[str, type]) -> None:
    """JSONL to the asked format, streamed, then renamed into place."""
    import polars as pl

    rows = (
        pl.scan_ndjson(part, schema=_schema(columns)) if part.stat().st_size else pl.LazyFrame(schema=_schema(columns))
    )
    target = path.with_name(f".{path.name}.part")
    try:
        if path.suffix == ".parquet":
            rows.sink_parquet(target)
        elif path.suffix == ".csv":
            rows.sink_csv(target)
        else:
            rows.sink_ndjson(target)
        os.replace(target, path)
    except OSError as error:
        _remove(str(target))
        raise UsageError(
            f"cannot be written ({error.strerror})", where=path, fix="The rows are kept; add --resume."
        ) from None


def _schema(columns: Mapping[str, type]) -> dict[str, Any]:
    import polars as pl

    kinds = {str: pl.String, float: pl.Float64, int: pl.Int64, bool: pl.Boolean}
    return {name: kinds[kind] for name, kind in columns.items()}
