"""Files are whole or absent; rows survive a killed process, each once."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from earwitness.core import writing
from earwitness.core.errors import UsageError
from earwitness.core.writing import ResumableRows, atomic_file, read_rows, write_atomically

COLUMNS: dict[str, type] = {"id": str, "score": float, "count": int, "fine": bool, "error": str}
FORMATS = (".csv", ".parquet", ".jsonl")
ODD = ['plain, with "quotes"', "new\nline", "<script>alert(1)</script>", "007", "語 ß", "it's\ttab", "n/a"]
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks")


def row(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "score": len(name) / 3, "count": len(name), "fine": True, **more}


def table(path: Path, *names: str, **how: Any) -> ResumableRows:
    with ResumableRows(path, "id", COLUMNS, **how) as rows:
        for name in names:
            rows.add(row(name))
    return rows


def interrupted(path: Path, *names: str, **how: Any) -> None:
    with contextlib.suppress(KeyboardInterrupt), ResumableRows(path, "id", COLUMNS, **how) as rows:
        for name in names:
            rows.add(row(name))
        raise KeyboardInterrupt


def ids(path: Path) -> list[str]:
    return read_rows(path, COLUMNS)["id"].to_list()


class TestWriteAtomically:
    def test_replaces_what_was_there(self, tmp_path: Path) -> None:
        path = tmp_path / "new folder" / "a.txt"
        write_atomically(path, "one ß")
        write_atomically(path, b"two")
        assert path.read_bytes() == b"two"
        assert path.stat().st_mode & 0o777 == 0o644
        assert list(path.parent.iterdir()) == [path]

    def test_an_error_in_the_block_leaves_the_old_content(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        write_atomically(path, "old")
        with contextlib.suppress(KeyboardInterrupt), atomic_file(path) as file:
            file.write(b"half of")
            raise KeyboardInterrupt
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_full_disk_is_one_line_and_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "fsync", full_disk)
        with pytest.raises(UsageError, match="No space left on device"):
            write_atomically(tmp_path / "a.txt", "text")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(UsageError, match="cannot be written"):
            write_atomically(tmp_path / "file" / "a.txt", "text")


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("suffix", FORMATS)
class TestTable:
    def test_rows_come_back_as_they_were(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"out{suffix}"
        with ResumableRows(path, "id", COLUMNS) as rows:
            for name in ODD:
                rows.add(row(name, error="bad\nfile" if name == "007" else None))
            assert rows.failed == 1
        expected = [row(name, error="bad\nfile" if name == "007" else None) for name in ODD]
        assert read_rows(path, COLUMNS).to_dicts() == expected
        assert list(tmp_path.iterdir()) == [path]

    def test_no_rows_are_a_table_too(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"out{suffix}"
        table(path)
        assert read_rows(path, COLUMNS).is_empty()

    def test_a_finished_table_counts_as_done_and_is_added_to(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"out{suffix}"
        table(path, *ODD)
        before = path.read_bytes()
        again = table(path, *ODD, resume=True)
        assert again.done == set(ODD)
        assert path.read_bytes() == before
        table(path, *ODD, "another", resume=True)
        assert ids(path) == [*ODD, "another"]

    def test_interrupted_and_resumed_gives_the_same_bytes(self, tmp_path: Path, suffix: str) -> None:
        whole, parts = tmp_path / f"whole{suffix}", tmp_path / f"parts{suffix}"
        table(whole, *ODD)
        for upto in (2, 5):
            interrupted(parts, *ODD[:upto], resume=True)
            assert not parts.exists()
        table(parts, *ODD, resume=True)
        assert parts.read_bytes() == whole.read_bytes()
        assert not part(parts).exists()


def part(path: Path) -> Path:
    return path.with_name(path.name + ".part.jsonl")


class TestResuming:
    def test_unfinished_rows_are_not_lost_to_a_fresh_run(self, tmp_path: Path) -> None:
        path = tmp_path / "out.csv"
        interrupted(path, "a", "b")
        with pytest.raises(UsageError, match=r"out\.csv\.part\.jsonl: an unfinished run left rows here") as caught:
            ResumableRows(path, "id", COLUMNS)
        assert "--resume" in str(caught.value)
        assert part(path).read_bytes().count(b"\n") == 2

    @pytest.mark.parametrize(
        "torn", [b'{"id": "c", "sc', b'{"id": "c"}', b"\xff\xfe\n", b"[1, 2]\n", b"{}\n", b"\0\0\0\0\n"]
    )
    def test_a_torn_line_is_dropped_and_done_again(self, tmp_path: Path, torn: bytes) -> None:
        path = tmp_path / "out.jsonl"
        interrupted(path, "a", "b")
        with part(path).open("ab") as file:
            file.write(torn)
        resumed = table(path, "a", "b", "c", resume=True)
        assert resumed.done == {"a", "b", "c"}
        assert ids(path) == ["a", "b", "c"]

    def test_a_key_is_written_once(self, tmp_path: Path) -> None:
        path = tmp_path / "out.csv"
        table(path, "a", "b", "a", "b")
        assert ids(path) == ["a", "b"]

    def test_errors_of_an_earlier_run_are_counted(self, tmp_path: Path) -> None:
        path = tmp_path / "out.csv"
        with ResumableRows(path, "id", COLUMNS) as rows:
            rows.add({"id": "a", "error": "bad"})
        assert table(path, "a", "b", resume=True).failed == 1

    def test_rows_of_another_model_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "out.csv"
        columns: dict[str, type] = {"id": str, "model": str}
        with ResumableRows(path, "id", columns, same={"model": "one"}) as rows:
            rows.add({"id": "a", "model": "one"})
        before = path.read_bytes()
        with pytest.raises(UsageError, match="holds rows whose model is 'one', now it is 'two'"):
            ResumableRows(path, "id", columns, resume=True, same={"model": "two"})
        assert path.read_bytes() == before

    def test_a_table_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "out.csv"
        path.write_text("name,value\nx,3\n")
        with pytest.raises(UsageError, match="is not the table"):
            ResumableRows(path, "id", COLUMNS, resume=True)
        assert path.read_text() == "name,value\nx,3\n"


class TestRefusals:
    def test_an_unknown_format(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"'.xlsx' is not a table format.*\.csv, \.parquet, \.jsonl"):
            ResumableRows(tmp_path / "out.xlsx", "id", COLUMNS)

    def test_a_place_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(UsageError, match="cannot be written"):
            ResumableRows(tmp_path / "file" / "out.csv", "id", COLUMNS)
        (tmp_path / "out.csv.part.jsonl").mkdir()
        with pytest.raises(UsageError, match="cannot be written"):
            ResumableRows(tmp_path / "out.csv", "id", COLUMNS, resume=True)

    def test_a_disk_that_fills_up_keeps_the_rows_so_far(self, tmp_path: Path) -> None:
        path = tmp_path / "out.csv"
        rows = ResumableRows(path, "id", COLUMNS)
        rows.add(row("a"))
        real, rows._file = rows._file, FullDisk(rows._file)
        with pytest.raises(UsageError, match="No space left on device") as caught, rows:
            rows.add(row("b"))
        assert "--resume" in str(caught.value)
        assert "b" not in rows.done
        real.close()
        table(path, "a", "b", resume=True)
        assert ids(path) == ["a", "b"]

    def test_a_disk_that_is_full_at_the_end_keeps_the_rows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "out.parquet"
        with monkeypatch.context() as patched:
            patched.setattr(pl.LazyFrame, "sink_parquet", full_disk)
            with pytest.raises(UsageError, match="The rows are kept; add --resume"):
                table(path, "a", "b")
        assert not path.exists()
        table(path, "a", "b", resume=True)
        assert ids(path) == ["a", "b"]


class FullDisk:
    """A file on a disk that takes half a line and no more."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, data: bytes) -> None:
        os.write(self.file.fileno(), data[: len(data) // 2])
        full_disk()

    def close(self) -> None:
        full_disk()


# --- killed at random moments -------------------------------------------------------------------


def killed_after(pause_s: float, work: Any) -> None:
    """Run `work` in a forked process, killed after a while."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    time.sleep(pause_s)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def write_without_end(path: Path) -> None:
    for number in range(1_000_000):
        write_atomically(path, str(number % 10) * 200_000)


def kill_writes(path: Path, times: int) -> None:
    write_atomically(path, "0" * 200_000)
    for _ in range(times):
        killed_after(random.uniform(0.001, 0.02), lambda: write_without_end(path))
        content = path.read_text()
        assert len(content) == 200_000
        assert len(set(content)) == 1, "a torn file"


def kill_rows(path: Path, times: int) -> None:
    names = [f"row {number}" for number in range(300)]

    def work() -> None:
        with ResumableRows(path, "id", COLUMNS, resume=True) as rows:
            for name in names:
                if name not in rows.done:
                    rows.add(row(name))
                    time.sleep(0.001)

    for _ in range(times):
        killed_after(random.uniform(0.001, 0.04), work)
        for line in part(path).read_bytes().split(b"\n")[:-1] if part(path).exists() else []:
            json.loads(line)
    work()
    assert ids(path) == names


@forks
def test_a_killed_write_never_leaves_a_torn_file(tmp_path: Path) -> None:
    kill_writes(tmp_path / "a.txt", 20)


@forks
def test_killed_rows_are_neither_lost_nor_doubled(tmp_path: Path) -> None:
    kill_rows(tmp_path / "rows.jsonl", 8)


@forks
@pytest.mark.soak
def test_a_thousand_killed_writes_never_leave_a_torn_file(tmp_path: Path) -> None:
    kill_writes(tmp_path / "a.txt", 1_000)


@forks
@pytest.mark.soak
def test_rows_killed_two_hundred_times_are_neither_lost_nor_doubled(tmp_path: Path) -> None:
    for number in range(25):
        kill_rows(tmp_path / f"rows-{number}.jsonl", 8)


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory as Linux tells it")
@pytest.mark.parametrize("suffix", FORMATS)
def test_memory_is_bounded_by_the_keys(tmp_path: Path, suffix: str) -> None:
    """A million rows of 1 kB: resuming and finishing hold their keys, not their text (mapped files not counted)."""
    path = tmp_path / f"rows{suffix}"
    line = json.dumps({"id": "#", "score": 1.0, "count": 1, "fine": True, "error": "e" * 1_000}) + "\n"
    with part(path).open("w") as file:
        for number in range(1_000_000):
            file.write(line.replace("#", str(number)))
    before, most, ended = own_memory_mb(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.02):
            most = max(most, own_memory_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ResumableRows(path, "id", COLUMNS, resume=True) as rows:
            assert len(rows.done) == rows.failed == 1_000_000
    finally:
        ended.set()
        watcher.join()
    assert most - before < 600, f"{most - before:.0f} MB"
    assert read_rows(path, {"id": str}).height == 1_000_000
    path.unlink()  # a gigabyte


def own_memory_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("RssAnon"))


def test_the_part_file_stands_beside_the_table() -> None:
    assert writing.part_of(Path("a/out.csv")) == Path("a/out.csv.part.jsonl")
