"""Trial lists of both forms, and refusals that name the line."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.trials import Trials, read_trials


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    table = pl.DataFrame(
        {
            "id": ["a", "b", "c d", "part 1", "part 2"],
            "path": ["s1/a.wav", "s1/b.wav", "s2/c d.wav", "s3/long.wav", "s3/long.wav"],
            "start": [None, None, None, 0.0, 9.0],
        }
    )
    return Manifest(table, tmp_path)


@pytest.fixture
def read(tmp_path: Path, manifest: Manifest):
    def reading(content: str | bytes) -> Trials:
        path = tmp_path / "trials.txt"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_trials(path, manifest)

    return reading


def pairs(trials: Trials) -> list[tuple[str, str, str]]:
    ids = [row.id for row in trials.rows]
    return [(ids[e], ids[t], label) for e, t, label in zip(trials.enrol, trials.test, trials.labels, strict=True)]


def test_both_forms_say_the_same(read) -> None:
    expected = [("a", "b", "target"), ("b", "part 1", "nontarget"), ("a", "c d", "nontarget")]
    voxceleb = read("1 a b\n\n0\tb\tpart 1\r\n0\ta\ts2/c d.wav\n")
    kaldi = read("\ufeffa b target\nb\tpart 1\tnontarget\na\tc d\tnontarget")
    assert pairs(voxceleb) == pairs(kaldi) == expected
    assert [row.id for row in kaldi.rows] == ["a", "b", "part 1", "c d"]  # each once, as they come
    assert voxceleb.names[2] == ("a", "s2/c d.wav")  # as the list has it
    assert len(voxceleb) == 3


def test_names_are_ids_or_clear_paths(read) -> None:
    assert pairs(read("1 s1/a.wav b")) == [("a", "b", "target")]
    with pytest.raises(DataError, match=r"line 1: 's3/long\.wav' names several rows of INPUT"):
        read("1 a s3/long.wav")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("1 a b\n1 a nobody", "line 2: 'nobody' is not in INPUT"),
        ("1 a s1/c.wav", "Did you mean"),
        ("1 a b\n2 a b", "line 2: unknown label '2'"),
        ("a b target\na b tarjet", "line 2: unknown label 'tarjet'"),
        ("a b same", "line 1: has no label"),
        ("1 a b\n\n0 a a", "line 3: compares a recording with itself"),
        ("1 a s1/a.wav", "line 1: compares a recording with itself"),
        ("1 a b\na b nontarget", "line 2: is not of the form of the lines before"),
        ("a b nontarget\n0 a b", "line 2: is not of the form of the lines before"),
        ("1 a b\n0 a b", "line 2: 'a' and 'b' stand there with the other label too"),
        ("1 a", "line 1: has 2 fields instead of 3"),
        ("1 a b c", "line 1: has 4 fields instead of 3"),
        ("", "holds no trials"),
        ("\n \n", "holds no trials"),
        (b"1 a b\xff", "is not UTF-8 text"),
    ],
)
def test_refusals_name_the_line(read, content: str | bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read(content)
    assert said in str(caught.value)
    assert "trials.txt" in str(caught.value)


def test_a_list_that_cannot_be_read(tmp_path: Path, manifest: Manifest) -> None:
    with pytest.raises(DataError, match="no such trial list"):
        read_trials(tmp_path / "missing", manifest)
    with pytest.raises(DataError, match="cannot be read"):
        read_trials(tmp_path, manifest)
