"""Trial lists of both forms, and refusals that name the line."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.scoring.trials import TrialList, Trials, read_trial_list, read_trials, write_trials


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


VOXCELEB = (
    "1 id10270/5r0dWxy17C8/00001.wav id10270/x6uYqmx31kE/00001.wav\n"
    "0 id10270/5r0dWxy17C8/00001.wav id10300/ize_eiCFEg0/00003.wav\n"
    "1 id10300/ize_eiCFEg0/00003.wav id10300/ize_eiCFEg0/00009.wav\n"
)


@pytest.mark.shows("speaker-metrics:9.7")
def test_voxceleb_to_kaldi_and_back_is_the_same_file(tmp_path: Path) -> None:
    first, kaldi, back = tmp_path / "veri.txt", tmp_path / "trials", tmp_path / "back.txt"
    first.write_text(VOXCELEB)
    trials = read_trial_list(first)
    write_trials(kaldi, trials, "kaldi")
    assert kaldi.read_text().splitlines()[1] == (
        "id10270/5r0dWxy17C8/00001.wav id10300/ize_eiCFEg0/00003.wav nontarget"
    )
    write_trials(back, read_trial_list(kaldi), "voxceleb")
    assert back.read_bytes() == first.read_bytes()
    assert read_trial_list(kaldi) == trials


@pytest.mark.shows("speaker-metrics:9.7")
def test_counts_are_told_in_a_line(tmp_path: Path, read) -> None:
    (tmp_path / "veri.txt").write_text(VOXCELEB)
    assert read_trial_list(tmp_path / "veri.txt").summary == "3 trials, 2 target, 2 speakers"
    assert read("1\ta\tb\n0\ta\tc d\n").summary == "2 trials, 1 target, speakers not known"


def test_the_manifest_says_who_speaks(tmp_path: Path) -> None:
    table = pl.DataFrame({"path": ["id10270/x/1.wav", "id10271/x/2.wav", "c.wav"], "speaker": ["anna", None, "carl"]})
    (tmp_path / "list").write_text("0 id10270/x/1.wav id10271/x/2.wav\n0 c.wav id10271/x/2.wav\n")
    trials = read_trials(tmp_path / "list", Manifest(table, tmp_path))
    assert trials.speakers == {"anna", "id10271", "carl"}


name = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8).filter(
    lambda text: text == text.strip() and not set("\t\n\r") & set(text) and text[0] != "\ufeff"
)


@given(st.lists(st.tuples(name, name, st.sampled_from(["target", "nontarget"])), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_back(tmp_path: Path, drawn: list[tuple[str, str, Any]]) -> None:
    rows = {(a, b): label for a, b, label in drawn if a != b}
    assume(rows)
    trials = TrialList(tuple(rows), tuple(rows.values()))
    taken = {
        "voxceleb": any(test in ("target", "nontarget") for _, test in rows),
        "kaldi": any(enrol in ("0", "1") for enrol, _ in rows),
    }
    for form, refused in taken.items():
        with pytest.raises(DataError, match="read as a label") if refused else contextlib.nullcontext():
            write_trials(tmp_path / form, trials, form)  # type: ignore[arg-type]
            assert read_trial_list(tmp_path / form) == trials


@pytest.mark.parametrize(
    ("pair", "form", "said"),
    [
        (("a\tb", "c"), "kaldi", "cannot stand in a list"),
        (("a", " c"), "voxceleb", "cannot stand in a list"),
        (("a", "c\n"), "voxceleb", "cannot stand in a list"),
        (("", "c"), "kaldi", "cannot stand in a list"),
        (("1", "c"), "kaldi", "trial 1: '1' would be read as a label"),
        (("a", "target"), "voxceleb", "'target' would be read as a label"),
    ],
)
def test_names_that_would_not_come_back_are_not_written(
    tmp_path: Path, pair: tuple[str, str], form: Any, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        write_trials(tmp_path / "list", TrialList((pair,), ("target",)), form)
    assert not (tmp_path / "list").exists()


def test_a_list_alone_is_checked_like_one_with_recordings(tmp_path: Path) -> None:
    path = tmp_path / "list"
    for content, said in (
        ("1 a a", "compares a recording with itself"),
        ("1 a b\n0 a b", "the other label"),
        ("", "no t"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=said):
            read_trial_list(path)
