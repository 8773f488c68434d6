"""Who may be a parent: nobody who is tested on."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from earwitness.cli.corpus import app
from earwitness.core.errors import DataError, LeakError
from earwitness.corpora.manifest import Manifest
from earwitness.speaker.identity_expansion import ExpansionConfig, Guards, expand_identities
from earwitness.speaker.identity_expansion.filters import require_other_model
from earwitness.speaker.identity_expansion.sources import read_names, sources_of


@pytest.mark.shows("inside:6.4")
def test_a_test_speaker_among_the_sources_fails(toy_corpus: Manifest, tmp_path: Path, config: ExpansionConfig) -> None:
    names = [f"v{number}" for number in range(12)]
    assert set(sources_of(toy_corpus, names).sexes) == set(names)
    expected = "the test speaker 'v14' is among the sources of new identities"
    with pytest.raises(LeakError, match=expected):
        expand_identities(toy_corpus, tmp_path / "a", config, guards=Guards([*names, "v14"]))
    (tmp_path / "sources.txt").write_text("\n".join([*names, "v14"]) + "\n")
    words = ["expand", str(toy_corpus.root / "manifest.csv"), "--identities", "2", "--synthesiser", "toy"]
    result = CliRunner().invoke(app, [*words, "--sources", str(tmp_path / "sources.txt"), "-o", str(tmp_path / "b")])
    assert isinstance(result.exception, LeakError)
    assert expected in str(result.exception)
    assert "Take the speaker out" in str(result.exception)
    assert not list((tmp_path).rglob("*.flac"))


@pytest.mark.shows("inside:6.4")
def test_held_out_speakers_and_other_sides(toy_corpus: Manifest, tmp_path: Path) -> None:
    with pytest.raises(LeakError, match="the test speaker 'v3' \\(and 1 more\\)"):
        sources_of(toy_corpus, held_out=["v3", "v4", "nobody"])
    with pytest.raises(LeakError, match="the dev speaker 'v12'"):
        sources_of(toy_corpus, ["v1", "v12"])
    torn = toy_corpus.table.with_columns(
        split=pl.when(pl.col("id") == "v1-0.flac").then(pl.lit("test")).otherwise("split")
    )
    with pytest.raises(LeakError, match="the test speaker 'v1'"):
        sources_of(toy_corpus.with_table(torn))
    (tmp_path / "test.csv").write_text("path,speaker\nx.wav,v2\n")
    words = ["expand", str(toy_corpus.root / "manifest.csv"), "--identities", "2", "--synthesiser", "toy"]
    result = CliRunner().invoke(app, [*words, "--held-out", str(tmp_path / "test.csv"), "-o", str(tmp_path / "c")])
    assert isinstance(result.exception, LeakError)
    assert "'v2'" in str(result.exception)


@pytest.mark.shows("inside:6.4")
def test_the_verifier_under_test_must_not_be_the_filter() -> None:
    with pytest.raises(LeakError, match="is the filter"):
        require_other_model("abc", "abc")
    require_other_model(None, "abc")
    require_other_model("abd", "abc")


def test_train_speakers_of_known_sex_only(toy_corpus: Manifest) -> None:
    table = toy_corpus.table.with_columns(
        sex=pl.when(pl.col("speaker") == "v0")
        .then(None)
        .when(pl.col("id") == "v1-0.flac")
        .then(pl.lit("Male"))
        .otherwise("sex"),
        licence=pl.when(pl.col("speaker") == "v2").then(pl.lit("CC-BY-NC-4.0")).otherwise("licence"),
        label=pl.when(pl.col("speaker") == "v4").then(pl.lit("spoof")).otherwise(None),
    )
    found = sources_of(toy_corpus.with_table(table))
    assert set(found.sexes) == {f"v{number}" for number in range(12)} - {"v0", "v1", "v2", "v4"}
    assert set(found.rows.table["speaker"]) == set(found.sexes)
    assert found.notes == (
        "3 recording(s) left out: their licence is excluded",
        "2 speaker(s) left out: their sex is not known, or not one",
    )
    unsplit = toy_corpus.table.with_columns(split=pl.lit(None, pl.String), sex=pl.lit("Female"))
    everybody = sources_of(toy_corpus.with_table(unsplit))
    assert len(everybody.sexes) == 16
    assert "no split" in everybody.notes[0]


def test_refusals(toy_corpus: Manifest, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'nobody' has no human recording"):
        sources_of(toy_corpus, ["nobody"])
    with pytest.raises(DataError, match="no source speaker has a sex"):
        sources_of(toy_corpus.with_table(toy_corpus.table.with_columns(sex=pl.lit(None, pl.String))))
    with pytest.raises(DataError, match="cannot be read"):
        read_names(tmp_path / "none.txt")
