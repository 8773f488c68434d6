"""Records that survive a kill: an append-only JSONL file with one record a key.

Every record is on the disk when `add` returns. A line that a kill has torn is dropped when the file is opened again,
and its record is made anew. Several threads may add.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from earwitness.core.errors import UsageError
from earwitness.speech_llm.items import json_line


class KeptRecords:
    """The records of one file by the text under `key`.

    Raises `UsageError` where the file cannot be written, or holds whole lines that are no such records.
    """

    def __init__(self, path: str | Path, key: str = "key") -> None:
        self.path = Path(path)
        self.key = key
        self.records: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            keep = self._read() if self.path.exists() else 0
            self._file = self.path.open("r+b" if self.path.exists() else "w+b")
            self._file.truncate(keep)
            self._file.seek(keep)
        except OSError as error:
            raise UsageError(
                f"cannot be written ({error.strerror})", where=path, fix="Choose another folder."
            ) from None

    def _read(self) -> int:
        """Take over the whole records; the number of their bytes."""
        keep = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):  # torn by a kill
                    break
                try:
                    record = json.loads(line)
                    name = record[self.key]
                except (ValueError, TypeError, KeyError, RecursionError):
                    what = f"line {number} is no record with a '{self.key}'"
                    raise UsageError(what, where=self.path, fix="Choose another folder, or remove the line.") from None
                self.records[name] = record
                keep += len(line)
        return keep

    def __contains__(self, key: str) -> bool:
        return key in self.records

    def add(self, record: dict[str, Any]) -> None:
        """Keep one record; a key that is there already keeps its first record."""
        self.add_all([record])

    def add_all(self, records: Iterable[dict[str, Any]]) -> None:
        """Keep several records at the cost of one: the disk is waited for once."""
        with self._lock:
            new: dict[str, dict[str, Any]] = {}
            for record in records:
                if record[self.key] not in self.records:
                    new.setdefault(record[self.key], record)
            if not new:
                return
            try:
                self._file.write(b"".join(json_line(record).encode("utf-8", "replace") for record in new.values()))
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                what = f"cannot be written ({error.strerror})"
                raise UsageError(what, where=self.path, fix="Free space and run again: the records are kept.") from None
            self.records.update(new)

    def __enter__(self) -> KeptRecords:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
