"""Splits: whole units, stable draws, and nothing on both sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.core.config import parse_config
from earwitness.core.errors import DataError, LeakError, RecipeError
from earwitness.corpora.leaks import audio_hashes, find_leaks, require_no_leaks
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import read_corpus
from earwitness.corpora.splits import ByColumn, DetectionSplit, SpeakerSplit, SplitConfig, exclude_licences, split
from earwitness.corpora.splits.grouping import connected, draw

Make = Callable[[list[dict[str, Any]]], Manifest]


def sides(manifest: Manifest, by: str) -> dict[Any, set[str | None]]:
    found: dict[Any, set[str | None]] = {}
    for value, side in manifest.table.select(by, "split").iter_rows():
        found.setdefault(value, set()).add(side)
    return found


def test_connected_follows_chains() -> None:
    assert connected([["a", "b"], ["c"], ["b", "d"], [], ["d"]]) == ["a", "c", "a", None, "a"]


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=3), max_size=12))
def test_connected_is_the_finest_grouping_that_joins_shared_keys(keys: list[list[str]]) -> None:
    groups = connected(keys)
    links = {i: {j for j in range(len(keys)) if set(keys[i]) & set(keys[j])} for i in range(len(keys))}
    for i, group in enumerate(groups):
        reached, todo = set(), [i]
        while todo:
            here = todo.pop()
            if here not in reached:
                reached.add(here)
                todo.extend(links[here])
        expected = reached if keys[i] else {i}
        assert (group is None) == (not keys[i])
        if group is not None:
            assert {j for j, other in enumerate(groups) if other == group} == expected


def test_draw_is_even_and_depends_on_the_seed() -> None:
    numbers = [draw(0, str(i)) for i in range(2000)]
    assert 0.47 < sum(numbers) / 2000 < 0.53
    assert draw(0, "a") == draw(0, "a") != draw(1, "a")


def test_by_column_keeps_units_whole_and_more_rows_change_nothing(make: Make) -> None:
    rows = [{"speaker": f"s{i % 40}"} for i in range(200)]
    rule = ByColumn(unit="speaker", dev=0.2, test=0.2, seed=3)
    before = sides(split(make(rows), rule), "speaker")
    assert all(len(places) == 1 for places in before.values())
    assert {"train", "dev", "test"} == set().union(*before.values())
    after = sides(split(make(rows + [{"speaker": f"new{i}"} for i in range(100)]), rule), "speaker")
    assert {name: after[name] for name in before} == before


def test_by_column_moves_connected_units_together(make: Make) -> None:
    rows = [{"speaker": f"s{i}", "source_recording": f"r{i // 3}"} for i in range(60)]
    result = split(make(rows), ByColumn(unit="speaker", together=("source_recording",), dev=0.3, test=0.3))
    assert all(len(places) == 1 for places in sides(result, "source_recording").values())
    torn = split(make(rows), ByColumn(unit="speaker", dev=0.3, test=0.3))
    assert any(len(places) > 1 for places in sides(torn, "source_recording").values())


def test_by_column_refusals(make: Make) -> None:
    with pytest.raises(DataError, match="no row has a speaker"):
        split(make([{"label": "spoof"}]), ByColumn())
    with pytest.raises(DataError, match="nothing for train"):
        split(make([{"speaker": "a"}]), ByColumn(dev=0.5, test=0.5))


def test_rules_come_from_a_recipe_and_typos_are_answered() -> None:
    rule: Any = parse_config(SplitConfig, {"kind": "detection", "shared_voices": ["lj"]})
    assert rule == DetectionSplit(shared_voices=("lj",))
    with pytest.raises(RecipeError, match="Did you mean 'detection'"):
        parse_config(SplitConfig, {"kind": "detecton"})
    with pytest.raises(RecipeError, match="did you mean 'test_families'"):
        parse_config(SplitConfig, {"kind": "detection", "test_familes": ["x"]})


def copies_corpus() -> list[dict[str, Any]]:
    """Ten human speakers of two corpora, two recordings each; three families of copies of the first corpus."""
    rows: list[dict[str, Any]] = []
    for speaker in range(10):
        for take in range(2):
            source = f"r{speaker}-{take}"
            corpus = "a" if speaker < 5 else "b"
            human = {"speaker": f"s{speaker}", "source_recording": source, "corpus": corpus}
            rows.append({**human, "label": "bonafide"})
            if corpus == "a":
                rows += [{**human, "label": "spoof", "system": f"{f}{take}", "family": f} for f in ("f", "g", "h")]
    return rows


def test_detection_gives_every_corpus_its_fifth_and_tears_nothing(make: Make) -> None:
    result = split(make(copies_corpus()), DetectionSplit())
    assert find_leaks(result, "detection") == []
    humans = result.filter(pl.col("label") == "bonafide")
    assert Counter(humans.filter(pl.col("split") == "dev").table["corpus"]) == {"a": 10, "b": 2}
    spoofs = result.filter(pl.col("label") == "spoof", pl.col("split").is_not_null())
    assert sides(spoofs, "family") == {"f": {"dev"}}  # no family fits into a fifth, so the smallest, with its twins


def test_detection_takes_the_twins_of_a_held_out_family_along(make: Make) -> None:
    result = split(make(copies_corpus()), DetectionSplit(test_families=("g",), dev_families=("h",)))
    table = result.table
    assert set(table.filter(pl.col("family") == "g")["split"]) == {"test"}
    assert set(table.filter(pl.col("label") == "bonafide", pl.col("corpus") == "a")["split"]) == {"test"}
    left = table.filter(pl.col("split").is_null())
    assert set(left["family"]) == {"f", "h"}
    assert set(left["left_out"]) == {
        "its family is in train, its source or group in test",
        "its family is in dev, its source or group in test",
    }
    assert find_leaks(result, "detection") == []


def twins_corpus() -> list[dict[str, Any]]:
    """Twenty speakers of two corpora with a recording each, twins of it by f, g and h, and a synthesiser k."""
    rows: list[dict[str, Any]] = [{"label": "spoof", "system": "k1", "family": "k"} for _ in range(5)]
    for speaker in range(20):
        human = {"speaker": f"s{speaker}", "source_recording": f"r{speaker}", "corpus": "ab"[speaker % 2]}
        rows.append({**human, "label": "bonafide"})
        rows += [{**human, "label": "spoof", "system": f"twin-{f}", "family": f} for f in "fgh"]
    return rows


def test_twins_are_learnt_from_on_some_speakers_and_tested_on_others(make: Make) -> None:
    rule = DetectionSplit(test_families=("g",), dev_families=("h",), twin_families=("f", "g", "h"))
    result = split(make(twins_corpus()), rule)
    assert find_leaks(result, "detection") == []
    humans = result.filter(pl.col("label") == "bonafide").table
    assert Counter(humans.select("corpus", "split").iter_rows()) == {
        (corpus, side): count for corpus in "ab" for side, count in (("test", 5), ("dev", 2), ("train", 3))
    }
    spoofs = result.filter(pl.col("label") == "spoof").table
    placed = Counter(spoofs.drop_nulls("split").select("family", "split").iter_rows())
    assert placed == {("f", "train"): 6, ("g", "test"): 10, ("h", "dev"): 4, ("k", "train"): 5}
    tested, learnt = (
        set(spoofs.filter(pl.col("split") == side)["source_recording"]) - {None} for side in ("test", "train")
    )
    assert len(tested) == 10
    assert len(learnt) == 6
    assert not tested & learnt
    without = split(make(twins_corpus()), DetectionSplit(test_families=("g",), dev_families=("h",))).table
    assert set(without.filter(pl.col("label") == "bonafide")["split"]) == {"test"}


def test_twins_of_another_share_seed_and_corpus(make: Make) -> None:
    manifest = make(twins_corpus())

    def test_speakers(**fields: Any) -> set[str]:
        rule = DetectionSplit(test_families=("g",), dev_families=("k",), twin_families=("f", "g", "h"), **fields)
        found = split(manifest, rule)
        assert find_leaks(found, "detection") == []
        return set(found.filter(pl.col("label") == "bonafide", pl.col("split") == "test").table["speaker"])

    assert len(test_speakers(twin_test_share=0.2)) == 4
    assert test_speakers(twin_test_share=0.2) <= test_speakers()
    assert test_speakers() != test_speakers(seed=1)
    of_b = {f"s{i}" for i in range(1, 20, 2)}
    assert test_speakers(test_corpora=("b",)) & of_b == of_b
    learnt = split(manifest, DetectionSplit(dev_families=("k",), twin_families=("f", "g", "h"), test_corpora=("b",)))
    assert "train" in sides(learnt, "family")["f"]  # a held-out corpus does not hold out its twins' families


def test_detection_holds_out_named_speakers_and_corpora(make: Make) -> None:
    rows = [*copies_corpus(), {"label": "spoof", "family": "k", "system": "k1", "corpus": "b", "speaker": "s1"}]
    result = split(make(rows), DetectionSplit(test_speakers=("s7",)))
    assert sides(result.filter(pl.col("label") == "bonafide"), "speaker")["s7"] == {"test"}
    result = split(make(rows), DetectionSplit(test_corpora=("b",)))
    assert sides(result, "corpus")["b"] == {"test"}
    assert sides(result, "family")["k"] == {"test"}
    assert find_leaks(result, "detection") == []


def test_shared_voice_stands_on_both_sides_by_recording(make: Make) -> None:
    rows: list[dict[str, Any]] = []
    for take in range(20):
        voice = {"speaker": "lj", "split_group": "lj", "source_recording": f"r{take}", "corpus": "lj"}
        rows.append({**voice, "label": "bonafide"})
        family = "fghij"[take % 5]
        rows.append({**voice, "label": "spoof", "system": family, "family": family, "split_group": family})
    alone = split(make(rows), DetectionSplit(dev_families=("f",)))
    assert sides(alone.filter(pl.col("label") == "bonafide"), "speaker")["lj"] == {"dev"}
    shared = split(make(rows), DetectionSplit(dev_families=("f",), shared_voices=("lj",)))
    humans = shared.filter(pl.col("label") == "bonafide")
    assert sides(humans, "speaker")["lj"] == {"train", "dev"}
    assert Counter(humans.table["split"]) == {"train": 16, "dev": 4}
    assert shared.table["split"].null_count() == 0
    assert find_leaks(shared, "detection", shared_voices=["lj"]) == []
    assert {leak.kind for leak in find_leaks(shared, "detection")} == {"speaker", "split_group"}


def test_detection_says_why_rows_are_left_out(make: Make) -> None:
    rows = [
        *copies_corpus(),
        {"label": None, "speaker": "x"},
        {"label": "bonafide", "speaker": "y", "licence": "CC-BY-NC-SA-4.0"},
    ]
    result = split(make(rows), DetectionSplit(dev_families=("f",)))
    assert result.table["left_out"].to_list()[-2:] == ["label not known", "licence excluded"]
    kept = split(make(rows), DetectionSplit(dev_families=("f",), exclude_licences=()))
    assert kept.table["split"].to_list()[-1] is not None


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (DetectionSplit(test_families=("gg",)), "Did you mean 'g'"),
        (DetectionSplit(test_speakers=("s77",)), "no speaker 's77'"),
        (DetectionSplit(test_corpora=("c",)), "no corpus 'c'"),
        (DetectionSplit(twin_families=("gg",)), "Did you mean 'g'"),
        (DetectionSplit(dev_families=("f",), test_families=("f",)), "named for dev and for test"),
        (SpeakerSplit(dev_corpora=("c",)), "no corpus 'c'"),
        (SpeakerSplit(dev_speakers=10), "leave none to train on"),
    ],
)
def test_rules_refuse_what_is_not_there(make: Make, rule: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        split(make(copies_corpus()), rule)


def test_bad_licence_pattern(make: Make) -> None:
    with pytest.raises(RecipeError, match="no regular expression"):
        split(make(copies_corpus()), DetectionSplit(exclude_licences=("(",)))


a_row = st.fixed_dictionaries(
    {
        "label": st.sampled_from(["bonafide", "spoof", "spoof", None]),
        "speaker": st.sampled_from(["s1", "s2", "s3", "s4", "lj", None]),
        "system": st.sampled_from(["x", "y", "z", None]),
        "source_recording": st.sampled_from(["r1", "r2", "r3", "r4", "r5", None, None]),
        "split_group": st.sampled_from(["g1", "g2", "g3", None, None]),
        "corpus": st.sampled_from(["a", "b", None]),
    }
)


@settings(max_examples=80, deadline=None)
@given(rows=st.lists(a_row, min_size=1, max_size=30), seed=st.integers(0, 5), twins=st.booleans())
def test_detection_never_leaks(rows: list[dict[str, Any]], seed: int, twins: bool) -> None:
    table = pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String))
    family = pl.when(pl.col("label") == "spoof").then(pl.col("system").replace({"x": "f", "y": "f", "z": "g"}))
    system = pl.when(pl.col("label") == "spoof").then(pl.col("system"))
    table = table.with_columns(family=family, system=system, path=pl.Series([f"{i}.wav" for i in range(len(rows))]))
    voices = ("lj",) if "lj" in table["speaker"] else ()
    families = ("f",) if twins and "f" in table["family"] else ()
    result = split(Manifest(table, Path()), DetectionSplit(seed=seed, shared_voices=voices, twin_families=families))
    assert find_leaks(result, "detection", voices) == []
    explained = result.table["left_out"].is_not_null()
    assert (result.table["split"].is_null() == explained).all()


def test_speaker_protocol(make: Make) -> None:
    rows: list[dict[str, Any]] = [
        {"speaker": f"s{i}", "corpus": "abc"[i % 3], "label": "bonafide"} for i in range(30) for _ in range(2)
    ]
    rows += [{"speaker": "s0", "label": "spoof"}, {"label": "bonafide"}, {"speaker": "n", "licence": "CC BY-NC 4.0"}]
    result = split(make(rows), SpeakerSplit(dev_corpora=("a",), dev_speakers=4, exclude_corpora=("c",)))
    dev = result.filter(pl.col("split") == "dev").table
    assert dev["speaker"].n_unique() == 4
    assert set(dev["corpus"]) == {"a"}
    assert Counter(result.table["split"]) == {"dev": 8, "train": 32, None: 23}
    reasons = Counter(result.table["left_out"])
    assert reasons == {None: 40, "corpus excluded": 20, "spoof": 1, "speaker not known": 1, "licence excluded": 1}
    assert find_leaks(result, "speaker") == []


def test_whole_corpora_are_held_out_with_the_speakers_they_share(make: Make) -> None:
    rows: list[dict[str, Any]] = [
        {"speaker": f"s{i}", "corpus": "ab"[i % 2], "label": "bonafide"} for i in range(20) for _ in range(2)
    ]
    rows += [{"speaker": "s0", "corpus": "t", "label": "bonafide"}, {"speaker": "new", "corpus": "t"}]
    result = split(make(rows), SpeakerSplit(dev_speakers=5, test_corpora=("t",)))
    sides = dict(result.table.select("speaker", "split").unique().iter_rows())
    assert sides["s0"] == sides["new"] == "test"
    assert Counter(sides.values()) == {"test": 2, "dev": 5, "train": 14}
    assert find_leaks(result, "speaker") == []


def test_splitting_again_starts_anew(make: Make) -> None:
    first = split(make(copies_corpus()), DetectionSplit(dev_families=("f",)))
    again = split(first, ByColumn())
    assert again.table["split"].null_count() == 0
    assert again.table["left_out"].null_count() == len(again)


def test_licences(make: Make) -> None:
    names = ["MIT", "CC-BY-NC-SA-4.0", "cc by-nc 4.0", "non-commercial use", None, "NCSA"]
    kept = exclude_licences(make([{"licence": name} for name in names]))
    assert kept.table["licence"].to_list() == ["MIT", None, "NCSA"]


def test_leaks_by_task(make: Make) -> None:
    rows: list[dict[str, Any]] = [
        {"split": "train", "label": "bonafide", "speaker": "a", "source_recording": "r"},
        {"split": "dev", "label": "bonafide", "speaker": "a"},
        {"split": "train", "label": "spoof", "speaker": "b", "system": "x", "family": "f"},
        {"split": "test", "label": "spoof", "speaker": "b", "system": "y", "family": "f", "source_recording": "r"},
        {"split": "test", "label": "spoof", "speaker": "b", "system": "y", "family": "f"},
        {"split": None, "label": "bonafide", "speaker": "c", "source_recording": "r"},
    ]
    manifest = make(rows)
    found = {(leak.kind, leak.value, leak.counts) for leak in find_leaks(manifest, "detection")}
    assert found == {
        ("family", "f", (("train", 1), ("test", 2))),
        ("speaker", "a", (("train", 1), ("dev", 1))),
        ("source_recording", "r", (("train", 1), ("test", 1))),
    }
    kinds = {(leak.kind, leak.value) for leak in find_leaks(manifest, "speaker")}
    assert kinds == {("speaker", "a"), ("speaker", "b"), ("source_recording", "r")}


def test_require_no_leaks(make: Make) -> None:
    leaky = make([{"split": side, "speaker": f"s{i}"} for i in range(5) for side in ("train", "dev")])
    with pytest.raises(LeakError, match=r"5 leak\(s\).*speaker 's0' \(1 in train, 1 in dev\).*and 2 more"):
        require_no_leaks(leaky, "speaker")
    assert len(require_no_leaks(leaky, "speaker", allow=True)) == 5
    assert require_no_leaks(make([{"split": "train", "speaker": "a"}]), "speaker") == []


def test_equal_files_are_a_leak(tmp_path: Path) -> None:
    for name, data in {"a": b"one", "b": b"two", "c": b"one"}.items():
        (tmp_path / name).write_bytes(data)
    manifest = Manifest(pl.DataFrame({"path": ["a", "b", "c"], "split": ["train", "train", "dev"]}), tmp_path)
    assert find_leaks(manifest, "manner") == []
    (leak,) = find_leaks(manifest, "manner", hashes=audio_hashes(manifest))
    assert (leak.kind, leak.counts) == ("audio", (("train", 1), ("dev", 1)))


def test_real_recordings_split_without_leaks(shared_data: Path) -> None:
    manifest = read_corpus("earwitness-data", shared_data).manifest
    hashes = audio_hashes(manifest)
    for rule in (
        DetectionSplit(shared_voices=("lj",)),
        DetectionSplit(shared_voices=("lj",), test_families=("world",)),
    ):
        result = split(manifest, rule)
        require_no_leaks(result, "detection", rule.shared_voices, hashes)
        placed = result.filter(pl.col("split").is_not_null())
        counts = Counter(placed.table.select("split", "label").iter_rows())
        assert counts["train", "bonafide"] > 1800
        assert counts["train", "spoof"] > 550
        assert 100 <= counts["dev", "spoof"] <= 300
        lj = sides(placed.filter(pl.col("label") == "bonafide"), "speaker")["lj"]
        assert {"train", "dev"} <= lj
        assert not any("NC" in str(licence) for licence in placed.table["licence"])
    speakers = split(manifest, SpeakerSplit(dev_corpora=("speechocean762",)))
    require_no_leaks(speakers, "speaker", hashes=hashes)
    assert speakers.filter(pl.col("split") == "dev").table["speaker"].n_unique() == 30
