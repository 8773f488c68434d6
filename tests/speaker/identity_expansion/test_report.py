"""What a verifier makes of an expansion: new identities or their parents, and whether synthesis shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from earwitness.cli.corpus import app
from earwitness.core.errors import DataError, LeakError
from earwitness.core.hashing import sha256_file
from earwitness.corpora.manifest import Manifest
from earwitness.speaker.comparison import Vectors, unit
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.identity_expansion import ExpansionConfig, Judges, expand_identities
from earwitness.speaker.identity_expansion.pairs import Pair
from earwitness.speaker.identity_expansion.report import Report, artefact_auc, leave_one_out, new_identities, report_on
from earwitness.speaker.identity_expansion.second_space import rank_correlation
from earwitness.speaker.identity_expansion.vectors import SpeakerVectors, table_of


def around(centre: np.ndarray, count: int, seed: int, spread: float = 0.1) -> Vectors:
    noise = np.random.default_rng(seed).standard_normal((count, len(centre)))
    return unit((centre + spread * noise).astype(np.float32))


def speakers(names: str, dim: int = 12, seed: int = 0, count: int = 6) -> dict[str, Vectors]:
    centres = np.random.default_rng(seed).standard_normal((len(names), dim))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    return {name: around(centres[place], count, seed * 100 + place) for place, name in enumerate(names)}


@pytest.mark.shows("inside:6.7")
def test_new_identities_and_copies_of_parents() -> None:
    real = speakers("abcdefgh")
    means = {name: unit(prints.mean(axis=0)) for name, prints in real.items()}
    pairs = [Pair("copy", "a", "b", "f", 0.5, 0.5, 60.0), Pair("new", "c", "d", "f", 0.5, 0.5, 60.0)]
    synthetic = {
        "copy": around(means["a"], 5, 1),  # the synthesiser collapsed to a parent
        "new": around(unit(np.random.default_rng(9).standard_normal(12).astype(np.float32)), 5, 2),
    }
    found = new_identities(real, synthetic, pairs)
    assert found.accepted == 0.5
    assert found.nearest[0] > 0.95 > 0.8 > found.nearest[1]
    stack = np.stack(list(means.values()))
    for value, name in zip(found.nearest, ("copy", "new"), strict=True):
        assert value == pytest.approx(float((stack @ unit(synthetic[name].mean(axis=0))).max()), abs=1e-5)
    same, different = leave_one_out(real)
    assert len(same) == 8 * 6
    assert len(different) == 8 * 6 * 7
    assert different.max() < found.threshold <= same.min() or found.eer > 0
    text = str(Report(found, 0.5, 0.4))
    assert "accepted as one of the parents: 50.0 % of 2 identities" in text
    assert text.count("#") > 0
    assert "rank correlation of distances" in text
    assert "WARNING" not in text
    everybody = new_identities(
        real,
        {"copy": synthetic["copy"], "two": around(means["c"], 5, 3)},
        [pairs[0], Pair("two", "c", "d", "f", 0.5, 0.5, 60.0)],
    )
    assert everybody.accepted == 1


def test_errors_among_parents_and_others() -> None:
    real = speakers("abcd") | speakers("wxyz", seed=4)
    blurred = {
        name: around(prints.mean(axis=0), 6, place, 0.6)
        for place, (name, prints) in enumerate(real.items())
        if name in "abcd"
    }
    pairs = [Pair("n", "a", "b", "f", 0.5, 0.5, 60.0), Pair("m", "c", "d", "f", 0.5, 0.5, 60.0)]
    synthetic = {"n": real["a"], "m": real["c"]}
    found = new_identities(real | blurred, synthetic, pairs)
    assert found.parents_eer is not None
    assert found.others_eer is not None
    assert found.parents_eer > found.others_eer + 0.05
    assert new_identities({name: real[name] for name in "abcd"}, synthetic, pairs).others_eer is None


@pytest.mark.shows("inside:6.8")
def test_the_probe_hears_a_vocoder_and_nothing_where_there_is_none() -> None:
    real, more = speakers("abcdefghij", seed=1), speakers("klmnopqrst", seed=2)
    clean = artefact_auc(real, more)
    assert 0.2 < clean < 0.8
    mark = np.zeros(12, np.float32)
    mark[3] = 2.0
    marked = {name: unit(prints + mark) for name, prints in more.items()}
    heard = artefact_auc(real, marked)
    assert heard > 0.9
    pairs = [Pair(name, "a", "b", "f", 0.5, 0.5, 60.0) for name in more]
    warned = Report(new_identities(real, marked, pairs), heard, None)
    assert warned.vocoder_heard
    assert "WARNING" in str(warned)
    quiet = Report(warned.identities, clean, None)
    assert not quiet.vocoder_heard
    assert "WARNING" not in str(quiet)
    assert quiet.plain()["artefact_auc"] == clean
    with pytest.raises(DataError, match="two real and two synthetic"):
        artefact_auc(real, {"k": more["k"]})


def test_the_probe_judges_speakers_that_it_did_not_learn() -> None:
    # every voice has a direction of its own: a probe that knew the speakers would tell the sides apart
    rng = np.random.default_rng(0)
    far = {f"s{k}": around(np.eye(40)[k], 20, k, 0.02) for k in rng.permutation(40)}
    names = sorted(far)
    auc = artefact_auc({n: far[n] for n in names[:20]}, {n: far[n] for n in names[20:]})
    assert auc < 0.75


def test_ranks_of_distances() -> None:
    def table(vectors: np.ndarray) -> SpeakerVectors:
        return table_of({f"s{k}": (unit(row), 1.0, 1, 1.0) for k, row in enumerate(vectors.astype(np.float32))})

    rng = np.random.default_rng(0)
    first = rng.standard_normal((10, 5))
    turned, _ = np.linalg.qr(rng.standard_normal((5, 5)))
    assert rank_correlation(table(first), table(first @ turned)) == pytest.approx(1, abs=1e-3)
    assert abs(rank_correlation(table(first), table(rng.standard_normal((10, 5))))) < 0.6
    with pytest.raises(DataError, match=r"2 speaker\(s\) are in both"):
        rank_correlation(table(first), table(first[:2]))


@pytest.mark.shows("inside:6.7")
def test_the_command_prints_and_keeps_the_report(
    toy_corpus: Manifest, config: ExpansionConfig, run: Path, tmp_path: Path
) -> None:
    model, out = run / "model", tmp_path / "out"
    expand_identities(toy_corpus, out, config)
    words: list[Any] = [
        "expand",
        toy_corpus.root / "manifest.csv",
        "--identities",
        4,
        "--synthesiser",
        "toy",
        "--resume",
    ]
    for name, value in config.model_dump(
        mode="json", include={"averaging", "pairs", "filters", "length_s", "utterances"}
    ).items():
        words += ["--set", f"{name}={json.dumps(value)}"]
    words += ["--verifier", model, "-o", out]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    for text in (
        "cosine of each synthetic identity",
        "accepted as one of the parents",
        "linear probe",
        "rank correlation",
    ):
        assert text in result.output
    kept = json.loads((out / "report.json").read_text())
    assert len(kept["nearest_real_cosine"]) == 4
    assert 0 <= kept["accepted_as_parent"] <= 1
    assert kept["vocoder_heard"] is (kept["artefact_auc"] > 0.9)


@pytest.mark.shows("inside:6.4")
def test_a_filter_model_is_no_verifier(
    toy_corpus: Manifest, config: ExpansionConfig, run: Path, tmp_path: Path
) -> None:
    model, sha256 = Embedder.load(run / "model"), sha256_file(run / "model" / "weights.safetensors")
    judged = ExpansionConfig.model_validate(
        {**config.model_dump(), "filters": {**config.filters.model_dump(), "likeness": -1.0}}
    )
    made = expand_identities(toy_corpus, tmp_path, judged, judges=Judges(model, sha256))
    assert made.judged.not_applied.keys() == {"speech", "nearest", "words"}
    described = json.loads((tmp_path / "manifest.json").read_text())
    assert described["filter_sha256"] == sha256
    with pytest.raises(LeakError, match="is the filter of the expanded set"):
        report_on(tmp_path, toy_corpus, model, sha256, None)
    words = ["expand", str(toy_corpus.root / "manifest.csv"), "--identities", "2", "--synthesiser", "toy"]
    both = ["--filter-model", str(run / "model"), "--verifier", str(run / "model"), "-o", str(tmp_path / "x")]
    error = CliRunner().invoke(app, [*words, *both]).exception
    assert isinstance(error, LeakError)
    assert not (tmp_path / "x").exists()
