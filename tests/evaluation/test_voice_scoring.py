"""Known voices ranked, unknown ones told apart, and voice prints exported: tables of real files and what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.core.errors import DataError, UsageError
from earwitness.evaluation.scoring import galleries, scorers
from earwitness.evaluation.scoring.cluster_scores import score_clusters
from earwitness.evaluation.scoring.galleries import name_of, read_known
from earwitness.evaluation.scoring.inputs import read_input
from earwitness.evaluation.scoring.known_scores import score_known
from earwitness.evaluation.scoring.print_export import export_prints
from earwitness.speaker.embedder import Embedder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def home(tmp_path: Path, speechlike: Callable[..., Any]) -> Path:
    """A gallery of a folder `anna` and the files `bert-1.wav`, `bert-2.wav`; two recordings to ask about."""
    known, asked = tmp_path / "known", tmp_path / "asked"
    (known / "anna").mkdir(parents=True)
    asked.mkdir()
    for number, name in enumerate(("anna/one.wav", "anna/two.wav", "bert-1.wav", "bert-2.wav")):
        soundfile.write(known / name, speechlike(2.5, seed=number), 16_000)
    soundfile.write(asked / "x.wav", speechlike(2.5, seed=7), 16_000)
    soundfile.write(asked / "y.wav", speechlike(1.0, seed=8), 16_000)
    (asked / "z.wav").write_text("no sound")
    return tmp_path


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    heard: list[str] = []
    hear = galleries.hear_known

    def count(embedder: Embedder, path: Path, *where: Any) -> Any:
        heard.append(path.name)
        return hear(embedder, path, *where)

    monkeypatch.setattr(galleries, "hear_known", count)
    return heard


class TestGalleries:
    def test_names_come_from_folders_and_files(self, home: Path, embedder: Embedder) -> None:
        found = read_known(home / "known", embedder)
        assert [(r.name, Path(r.path).name) for r in found.recordings] == [
            ("bert", "bert-1.wav"),
            ("bert", "bert-2.wav"),
            ("anna", "one.wav"),
            ("anna", "two.wav"),
        ]
        assert [name_of(n) for n in ("a/b/c.wav", "p225.wav", "p225_001.wav", "A. B 2.flac", "7.wav", "-1.wav")] == [
            "a",
            "p225",
            "p225",
            "A. B",
            "7",
            "-1",
        ]

    def test_a_manifest_names_speakers(self, home: Path, embedder: Embedder) -> None:
        (home / "known" / "list.csv").write_text("path,speaker\nbert-1.wav,robert\nanna/one.wav,anna\n")
        assert read_known(home / "known" / "list.csv", embedder).names == ("robert", "anna")
        (home / "known" / "list.csv").write_text("path,speaker\nbert-1.wav,\n")
        with pytest.raises(DataError, match=r"bert-1\.wav: has no speaker"):
            read_known(home / "known" / "list.csv", embedder)

    def test_what_was_heard_is_kept_by_hash_and_model(
        self, home: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        heard = counted(monkeypatch)
        first = read_known(home / "known", embedder)
        assert sorted(heard) == ["bert-1.wav", "bert-2.wav", "one.wav", "two.wav"]
        heard.clear()
        (home / "known").rename(home / "moved")
        again = read_known(home / "moved", embedder)
        assert heard == []
        assert np.array_equal(first.recordings[0].print_.vector, again.recordings[0].print_.vector)
        (home / "moved" / "bert-2.wav").write_bytes((home / "asked" / "x.wav").read_bytes())
        read_known(home / "moved", embedder)
        assert heard == ["bert-2.wav"]

    def test_what_cannot_be_heard_is_told_and_left_out(self, home: Path, embedder: Embedder) -> None:
        (home / "known" / "anna" / "two.wav").write_text("no sound")
        found = read_known(home / "known", embedder)
        assert found.unheard[0].startswith("anna/two.wav is not audio")
        gallery = found.gallery()
        assert gallery is not None
        assert any("anna/two.wav is not audio" in line for line in found.warnings(gallery))
        for path in (home / "known").rglob("*.wav"):
            path.write_text("no sound")
        with pytest.raises(DataError, match="nothing of the gallery can be heard"):
            read_known(home / "known", embedder)

    def test_one_file_under_two_names_is_told(self, home: Path, embedder: Embedder) -> None:
        (home / "known" / "carl-1.wav").write_bytes((home / "known" / "bert-1.wav").read_bytes())
        found = read_known(home / "known", embedder)
        gallery = found.gallery()
        assert gallery is not None
        assert "One and the same recording stands under the names bert and carl." in found.warnings(gallery)


class TestKnown:
    def test_a_row_a_recording_and_candidate(self, home: Path, embedder: Embedder) -> None:
        known = read_known(home / "known", embedder)
        tally = score_known(read_input(home / "asked"), known, home / "out.csv")
        assert (tally.done, tally.failed) == (3, 1)
        assert tally.notes[0] == "gallery: 2 names, 4 recordings"
        table = pl.read_csv(home / "out.csv")
        assert table["id"].to_list() == ["x.wav", "x.wav", "y.wav", "y.wav", "z.wav"]
        assert table["rank"].to_list() == [1, 2, 1, 2, None]
        assert table["error"][4].startswith("is not audio")
        for row in table.filter(pl.col("id") == "x.wav").to_dicts():
            files = [r for r in known.recordings if r.name == row["known"]]
            prints = [embedder.embed_file(r.path) for r in files]
            score = embedder.compare(prints, embedder.embed_file(home / "asked" / "x.wav"))
            assert row["score"] == pytest.approx(score, abs=1e-3)
            assert row["llr_best_of_n"] == pytest.approx(row["llr"] - np.log(2))
            assert row["llr_low"] <= row["llr"] <= row["llr_high"]
            assert (row["known_recordings"], row["known_names"]) == (2, 2)
        llrs = table.filter(pl.col("id") == "x.wav")["llr"].to_numpy()
        one_at_most = np.log((np.exp(4) + np.exp(-3)) / 2)  # the model's bounds are -3 and 4
        assert table["llr_one_of"][0] == pytest.approx(min(np.log(np.exp(llrs).mean()), one_at_most), abs=1e-6)
        score_known(read_input(home / "asked"), known, home / "one.csv", candidates=1)
        assert pl.read_csv(home / "one.csv")["rank"].to_list() == [1, 1, None]

    def test_a_recording_of_the_gallery_is_not_compared_with_itself(self, home: Path, embedder: Embedder) -> None:
        (home / "asked" / "x.wav").write_bytes((home / "known" / "anna" / "one.wav").read_bytes())
        known = read_known(home / "known", embedder)
        score_known(read_input(home / "asked" / "x.wav"), known, home / "out.csv")
        table = pl.read_csv(home / "out.csv")
        assert set(table["note"]) == {"it is itself in the gallery, as anna, and was left out of it"}
        assert table.filter(pl.col("known") == "anna")["known_recordings"].to_list() == [1]
        alone = read_known(home / "known" / "anna" / "one.wav", embedder)
        score_known(read_input(home / "asked" / "x.wav"), alone, home / "out.csv")
        assert pl.read_csv(home / "out.csv")["error"].to_list() == ["is all that the gallery holds"]

    def test_interrupted_and_resumed(self, home: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
        known, asked = read_known(home / "known", embedder), read_input(home / "asked")
        score_known(asked, known, home / "whole.csv")

        def interruption() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            score_known(asked, known, home / "out.csv", progress=interruption)
        with pytest.raises(UsageError, match="an unfinished run"):
            score_known(asked, known, home / "out.csv")
        heard: list[str] = []
        stream = scorers.stream
        monkeypatch.setattr(scorers, "stream", lambda path, *how: heard.append(path.name) or stream(path, *how))
        score_known(asked, known, home / "out.csv", resume=True)
        assert "x.wav" not in heard
        assert (home / "out.csv").read_bytes() == (home / "whole.csv").read_bytes()


class TestClusters:
    def test_rows_and_figures(self, home: Path, embedder: Embedder) -> None:
        lines = ["path,speaker", "known/bert-1.wav,bert", "known/bert-2.wav,bert", "asked/x.wav,carl", "asked/z.wav,z"]
        (home / "list.csv").write_text("\n".join([*lines, "known/anna/one.wav,"]) + "\n")
        tally, found = score_clusters(read_input(home / "list.csv"), embedder, home / "out.csv", threshold=-99)
        assert (tally.done, tally.failed) == (5, 1)
        assert found is not None
        assert found.clusters.count == 1
        assert tally.notes[0] == "1 voices in 4 recordings, joined down to a mean log ratio of -99"
        assert "3 recordings of 2 voices in 1 clusters; purity 0.667, coverage 1.000" in tally.notes[1]
        table = pl.read_csv(home / "out.csv")
        assert table["cluster"].to_list() == [1, 1, 1, None, 1]
        assert table["cluster_size"][0] == 4
        assert table["error"][3].startswith("is not audio")
        apart, _ = score_clusters(read_input(home / "list.csv"), embedder, home / "out.csv", threshold=99)
        table = pl.read_csv(home / "out.csv")
        assert sorted(table["cluster"].drop_nulls()) == [1, 2, 3, 4]
        assert table["llr_within"].is_null().all()
        assert apart.notes[0].startswith("4 voices in 4 recordings")

    def test_nothing_can_be_heard(self, home: Path, embedder: Embedder) -> None:
        tally, found = score_clusters(read_input(home / "asked" / "z.wav"), embedder, home / "out.csv")
        assert (tally.failed, found) == (1, None)
        assert pl.read_csv(home / "out.csv")["cluster"].is_null().all()

    def test_a_model_without_calibration_is_refused(self, home: Path, embedder: Embedder) -> None:
        bare = embedder.compared_by(embedder.comparator)
        with pytest.raises(UsageError, match="no calibration"):
            score_clusters(read_input(home / "asked"), bare, home / "out.csv")
        with pytest.raises(UsageError, match="no calibration"):
            score_known(read_input(home / "asked"), read_known(home / "known", bare), home / "out.csv")


class TestExport:
    def test_prints_are_those_of_the_embedder(self, home: Path, embedder: Embedder) -> None:
        asked = read_input(home / "asked")
        tally = export_prints(asked, embedder, home / "out.csv", embeddings=home / "out.npz")
        assert (tally.done, tally.failed) == (3, 1)
        with np.load(home / "out.npz", allow_pickle=False) as arrays:
            assert set(arrays) == {"id", "vector"}
            assert arrays["id"].tolist() == ["x.wav", "y.wav"]
            expected = [embedder.embed_file(home / "asked" / name).vector for name in ("x.wav", "y.wav")]
            assert arrays["vector"] == pytest.approx(np.stack(expected), abs=1e-5)
        assert pl.read_csv(home / "out.csv")["error"].is_null().to_list() == [True, True, False]
        export_prints(asked, embedder, home / "out.csv", embeddings=home / "out.parquet")
        table = pl.read_parquet(home / "out.parquet")
        assert table["id"].to_list() == ["x.wav", "y.wav"]
        assert np.stack(table["vector"].to_list()) == pytest.approx(np.stack(expected), abs=1e-5)

    def test_other_forms_and_nothing_to_export(self, home: Path, embedder: Embedder) -> None:
        with pytest.raises(UsageError, match=r"'\.pkl' is no form of voice prints"):
            export_prints(read_input(home / "asked"), embedder, home / "out.csv", embeddings=home / "out.pkl")
        with pytest.raises(UsageError, match="no recording can be heard"):
            export_prints(
                read_input(home / "asked" / "z.wav"), embedder, home / "o.csv", embeddings=home / "o.npz", resume=True
            )
