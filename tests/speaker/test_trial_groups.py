"""Speaker tests by age and corpus."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import polars as pl

from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.assessing.trial_groups import group_tables

AGES = {"a": 8, "b": 9, "c": 12, "d": 13, "e": 40, "f": 41, "g": None}


def side(corpus_of: dict[str, str]) -> Manifest:
    rows = [
        {"id": f"{name}{part}", "path": f"{name}{part}.wav", "speaker": name, "age": age, "corpus": corpus_of[name]}
        for name, age in AGES.items()
        for part in (1, 2)
    ]
    return Manifest(pl.DataFrame(rows, infer_schema_length=None), Path())


def table(path: Path, manifest: Manifest) -> Path:
    ids = manifest.table["id"].to_list()
    rows = [
        {"enrol": a, "test": b, "score": 0.0, "label": "target" if a[0] == b[0] else "nontarget", "enrol_speaker": a[0]}
        for a, b in combinations(ids, 2)
    ]
    pl.DataFrame(rows).write_csv(path)
    return path


def test_trials_of_children_adults_and_corpora_stand_apart(tmp_path: Path) -> None:
    manifest = side({name: "one" if name in "abcd" else "two" for name in AGES})
    found = dict(group_tables(manifest, table(tmp_path / "dev.full.scores.csv", manifest)))
    assert list(found) == ["children (under 13)", "of 13 years and more", "of one", "of two"]
    children = pl.read_csv(found["children (under 13)"])
    assert found["children (under 13)"].name == "dev.full.children.scores.csv"
    assert set(children["enrol"].str.head(1)) | set(children["test"].str.head(1)) == {"a", "b", "c"}
    assert children.height == 15


def test_a_group_of_everybody_or_of_too_few_is_left_out(tmp_path: Path) -> None:
    manifest = side(dict.fromkeys(AGES, "one"))
    few = manifest.filter(pl.col("speaker").is_in(["a", "b", "d", "e", "f"]))  # two children
    assert [words for words, _ in group_tables(few, table(tmp_path / "dev.full.scores.csv", few))] == [
        "of 13 years and more"
    ]
