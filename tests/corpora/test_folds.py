"""Left-out folds: who is judged by whom, and who may learn from what."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import Folds, FoldSplit

RULE = FoldSplit(kind="folds", families=(("a",), ("b", "c")), shared_voices=("lj",), judged_only=("twin-",))


def corpus() -> Manifest:
    """40 speakers with two recordings, a copy of each first one by `a` and by `twin-b`, four spoofs, and LJ."""
    rows = []
    for number in range(40):
        speaker = f"s{number}"
        rows += [{"id": f"{speaker}/{take}", "label": "bonafide", "speaker": speaker} for take in (0, 1)]
        source = f"{speaker}/0"
        rows.append({"id": f"a/{number}", "label": "spoof", "family": "a", "source_recording": source})
        copy = {"label": "spoof", "family": "b", "system": "twin-b", "source_recording": source}
        rows.append({"id": f"twin/{number}", **copy})
    rows += [{"id": f"tts-{name}", "label": "spoof", "family": name, "speaker": "lj"} for name in "abcd"]
    rows += [{"id": f"lj/{number}", "label": "bonafide", "speaker": "lj"} for number in range(20)]
    columns = ("id", "label", "speaker", "family", "system", "source_recording")
    table = pl.DataFrame(
        [{name: row.get(name) for name in columns} for row in rows], schema=dict.fromkeys(columns, pl.String)
    )
    return Manifest.from_table(table.with_columns(path=pl.col("id") + ".wav"), ".")


def assigned(rule: FoldSplit = RULE) -> tuple[pl.DataFrame, Folds]:
    rows = corpus()
    return rows.table, rule.assign(rows, rows.table["id"].to_list())


def test_nobody_learns_from_what_they_are_judged_on() -> None:
    table, folds = assigned()
    for k in (0, 1):
        judged, heard = folds.judged & (folds.fold == k), folds.heard[:, k]
        assert judged.any()
        assert heard.any()
        assert not (judged & heard).any()
        for column in ("family", "speaker", "source_recording"):
            of_judged = set(table.filter(pl.Series(judged))[column].drop_nulls()) - {"lj"}
            of_heard = set(table.filter(pl.Series(heard))[column].drop_nulls()) - {"lj"}
            assert not of_judged & of_heard, column


def test_families_of_one_fold_are_left_out_together_and_unnamed_ones_judge_nobody() -> None:
    table, folds = assigned()
    place = dict(zip(table["id"], range(table.height), strict=True))
    assert [folds.fold[place[f"tts-{name}"]] for name in "abcd"] == [0, 1, 1, -1]
    assert folds.heard[place["tts-d"]].all()
    assert not folds.judged[place["tts-d"]]


def test_a_copy_is_judged_where_its_source_is() -> None:
    table, folds = assigned()
    place = dict(zip(table["id"], range(table.height), strict=True))
    for number in range(40):
        source, copy = place[f"s{number}/0"], place[f"a/{number}"]
        assert folds.judged[copy] == (folds.fold[source] == 0)


def test_speakers_stay_whole_but_a_shared_voice_is_in_both_folds() -> None:
    table, folds = assigned()
    human = table.with_columns(fold=pl.Series(folds.fold)).filter(pl.col("label") == "bonafide")
    per_speaker = human.group_by("speaker").agg(pl.col("fold").n_unique())
    assert dict(per_speaker.iter_rows())["lj"] == 2
    assert set(per_speaker.filter(pl.col("speaker") != "lj")["fold"]) == {1}
    assert set(human["fold"]) == {0, 1}


def test_what_is_judged_only_is_learnt_by_nobody() -> None:
    table, folds = assigned()
    twins = (table["system"] == "twin-b").fill_null(False).to_numpy()
    assert folds.judged[twins].any()
    assert not folds.heard[twins].any()


def test_nothing_is_judged_on_what_is_learnt_only() -> None:
    rows = corpus()
    table = rows.table.with_columns(
        corpus=pl.when(pl.col("family") == "a").then(pl.lit("own-a")).otherwise(pl.lit("x"))
    )
    rule = RULE.model_copy(update={"learnt_only": ("own-",)})
    folds = rule.assign(rows.with_table(table), table["id"].to_list())
    made = (table["corpus"] == "own-a").to_numpy()
    assert not folds.judged[made].any()
    assert folds.heard[made].any()


def test_equal_audio_is_kin() -> None:
    rows = corpus()
    hashes = rows.table["id"].to_list()
    place = dict(zip(hashes, range(len(hashes)), strict=True))
    hashes[place["tts-d"]] = hashes[place["tts-a"]]
    folds = RULE.assign(rows, hashes)
    np.testing.assert_array_equal(folds.heard[place["tts-d"]], [False, True])


def test_a_family_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="no family 'A'"):
        assigned(FoldSplit(kind="folds", families=(("A",), ("b",))))
