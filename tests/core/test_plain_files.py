"""What is read whole is a plain file, and gzip does not unpack without end."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from earwitness.core import plain_files
from earwitness.core.errors import DataError
from earwitness.core.hashing import sha256_file
from earwitness.core.paths import matches
from earwitness.core.plain_files import read_plain, unzipped
from earwitness.corpora.formats.json_lines import read_objects
from earwitness.evaluation.judging.score_files import read_score_file


def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for read in (read_plain, sha256_file):
            with pytest.raises(OSError, match="it is a pipe or a device, not a file"):
                read(path)
    with pytest.raises(FileNotFoundError):
        read_plain(tmp_path / "nothing")


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="the system has no /dev/fd")
def test_what_a_shell_hands_over_is_read() -> None:
    code = "import sys; from earwitness.core.plain_files import read_plain; print(read_plain(sys.argv[1]))"
    words = ["bash", "-c", f'"{sys.executable}" -c "$0" <(echo hello)', code]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout == "b'hello\\n'\n", done.stderr


def test_gzip_unpacks_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_files, "MOST_UNZIPPED", 3 << 20)
    whole = bytes(3 << 20)
    assert unzipped(gzip.compress(whole), "a.gz") == whole
    bomb = gzip.compress(bytes(200 << 20))
    assert len(bomb) < 300_000
    with pytest.raises(DataError, match=r"^a\.gz: holds more than 3 MB when it is unzipped\. If that is right, unzip"):
        unzipped(bomb, "a.gz")
    for torn in (bomb[:-9], b"\x1f\x8b nothing", gzip.compress(b"x")[:-2] + b"??"):
        with pytest.raises(DataError, match=r"^a\.gz: "):
            unzipped(torn, "a.gz")


def test_tables_that_unpack_without_end_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_files, "MOST_UNZIPPED", 1 << 20)
    for name in ("cuts.jsonl.gz", "scores.txt.gz"):
        (tmp_path / name).write_bytes(gzip.compress(b"a b 0.5\n" * 1_000_000))
    with pytest.raises(DataError, match=r"cuts\.jsonl\.gz: holds more than 1 MB when it is unzipped"):
        list(read_objects(tmp_path / "cuts.jsonl.gz"))
    with pytest.raises(DataError, match=r"scores\.txt\.gz: holds more than 1 MB when it is unzipped"):
        read_score_file("deepfake", tmp_path / "scores.txt.gz")


def test_a_glob_follows_no_link_round_in_a_circle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.wav", "deep/down/b.wav", "deep/c.wav", ".hidden/d.wav", "odd [1]/e.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "deep" / "up").symlink_to("..")
    (tmp_path / "again").symlink_to(".")
    monkeypatch.chdir(tmp_path)
    names = ["a.wav", "deep/c.wav", "deep/down/b.wav", "odd [1]/e.wav"]
    assert [path.as_posix() for path in matches("**/*.wav")] == names
    assert matches(f"{tmp_path}/**/*.wav") == [tmp_path / name for name in names]
    assert [path.as_posix() for path in matches("deep/**/*.wav")] == names[1:3]
    assert [path.as_posix() for path in matches("**/down/**")] == ["deep/down/b.wav"]
    assert [path.as_posix() for path in matches("*.wav")] == ["a.wav"]
    assert matches("nothing/**/*.wav") == matches("*.mp3") == []
