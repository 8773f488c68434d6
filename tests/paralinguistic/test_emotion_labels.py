"""One label scheme for all emotion corpora: what each label means, what is dropped, and what is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.samplers import MixedSampler
from earwitness.paralinguistic.label_checks import manner_problems
from earwitness.paralinguistic.labels import (
    CATEGORIES,
    CORPORA,
    CorpusLabels,
    LabelsConfig,
    label_table,
    named_corpus,
    read_labels,
    require_classes,
)


def rows(*given: tuple[str, str | None], **columns: list[Any]) -> Manifest:
    """Rows of (corpus, emotion)."""
    table = {
        "id": [f"r{place}" for place in range(len(given))],
        "path": [f"{place}.wav" for place in range(len(given))],
    }
    table |= {"corpus": [corpus for corpus, _ in given], "emotion": [emotion for _, emotion in given]}
    return Manifest.from_table(pl.DataFrame({**table, **columns}), ".")


@pytest.mark.parametrize(
    ("corpus", "raw", "category"),
    [
        ("iemocap", "exc", "happy"),
        ("iemocap", "fru", None),
        ("iemocap", "frustrated", None),
        ("iemocap", "surprised", None),
        ("iemocap", "fea", None),
        ("esd", "生气", "angry"),
        ("ESD", "Surprise", "surprise"),
        ("casia", "fear", "fear"),
        ("emodb", "A", "fear"),
        ("emodb", "E", "disgust"),
        ("emodb", "L", None),
        ("emodb", "happiness", "happy"),
        ("ravdess", "03", "happy"),
        ("ravdess", "calm", None),
        ("CREMA_D", "DIS", "disgust"),
        ("nemo_nc", "surprised", "surprise"),
        ("savee", "su", "surprise"),
        ("tess", "ps", "surprise"),
    ],
)
def test_each_corpus_has_its_map(corpus: str, raw: str, category: str | None) -> None:
    labels = read_labels(rows((corpus, raw), (corpus, "neutral")))
    assert labels.manifest.table["emotion"].to_list() == ([category] if category else []) + ["neutral"]
    assert labels.dropped == ({} if category else {(corpus, raw): 1})


def test_what_is_dropped_is_told() -> None:
    labels = read_labels(rows(("emodb", "L"), ("emodb", "boredom"), ("emodb", "N"), ("emodb", None)))
    told = labels.told()
    assert "1 row(s) of emodb dropped: 'L'" in told
    assert "1 row(s) of emodb dropped: 'no label'" in told
    assert told[-1] == "calm: drop; strength known of 0 of 1 rows"


def test_calm_may_be_neutral() -> None:
    given = rows(("ravdess", "calm"), ("ravdess", "happy"))
    merged = read_labels(given, LabelsConfig(calm="neutral")).manifest.table["emotion"].to_list()
    assert merged == ["neutral", "happy"]
    assert read_labels(given).manifest.table["emotion"].to_list() == ["happy"]


def test_classes_that_a_corpus_never_uses_are_masked() -> None:
    config = LabelsConfig()
    used = {name: {c for c, on in zip(CATEGORIES, config.mask(name), strict=True) if on} for name in CORPORA}
    assert used["iemocap"] == {"neutral", "happy", "sad", "angry"}
    assert used["esd"] == {"neutral", "happy", "sad", "angry", "surprise"}
    assert used["emodb"] == set(CATEGORIES) - {"surprise"} == used["crema-d"]
    assert used["ravdess"] == set(CATEGORIES) == used["tess"] == used["savee"]
    assert used["casia"] == set(CATEGORIES) - {"disgust"} == used["nemo"]


def test_levels_and_numbers_become_intervals() -> None:
    level = ["HI", "XX", "LO", None, "MD"]
    given = rows(*[("crema-d", "ANG")] * 5, intensity_level=level, intensity=[None, None, None, 0.4, None])
    found = read_labels(given).intensity
    assert np.allclose(found[[0, 2, 3, 4]], [[2 / 3, 1], [0, 1 / 3], [0.4, 0.4], [1 / 3, 2 / 3]])
    assert np.isnan(found[1]).all()
    ends = rows(("ravdess", "sad"), ("ravdess", "neutral"), intensity_lo=["0.5", "0"], intensity_hi=["1", "0.5"])
    assert np.isnan(read_labels(ends).intensity[1]).all()
    low = read_labels(ends, LabelsConfig(neutral_intensity="low")).intensity
    assert low.tolist() == [[0.5, 1.0], [0.0, 0.1]]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (
            rows(("emodb", "joyful")),
            "row 'r0', column `emotion`: the label 'joyful' is not in the map",
        ),
        (rows(("unknown", "happy")), "no label map for the corpus 'unknown'"),
        (rows(("emodb", "N"), ("emodb", "W"), intensity=[None, 1.2]), "row 'r1': the intensity 1.2 is outside of 0..1"),
        (rows(("emodb", "W"), intensity_lo=["0.7"], intensity_hi=["0.2"]), "row 'r0': the intensity 0.7 to 0.2"),
        (rows(("emodb", "W"), intensity_lo=["0.7"]), "one of `intensity_lo` and `intensity_hi` alone"),
        (rows(("emodb", "W"), intensity_lo=["much"], intensity_hi=["1"]), "'much' is no number"),
        (rows(("ravdess", "sad"), intensity_level=["loud"]), "unknown intensity level 'loud'"),
    ],
)
def test_what_is_wrong_is_refused_by_name(given: Manifest, named: str) -> None:
    with pytest.raises(DataError) as caught:
        read_labels(given)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_corpora_that_disagree_on_a_class_are_refused() -> None:
    own = CorpusLabels(emotions={"excited": "surprise", "neutral": "neutral"})
    config = LabelsConfig(corpora={"mine": own})
    assert len(read_labels(rows(("mine", "excited"), ("mine", "neutral")), config).manifest) == 2
    with pytest.raises(DataError, match="'excited' means happy in 'iemocap' and surprise in 'mine'"):
        read_labels(rows(("mine", "excited"), ("iemocap", "exc")), config)
    with pytest.raises(DataError, match="redefines 'emodb'"):
        read_labels(rows(("emodb", "N")), LabelsConfig(corpora={"EmoDB": own}))


def test_a_check_lists_all_that_a_training_would_refuse() -> None:
    given = rows(
        ("emodb", "W"),
        ("emodb", "joyful"),
        ("emodb", "N"),
        ("crema-d", "HAP"),
        ("unknown", "any"),
        ("emodb", "W"),
        intensity=[None, None, None, 7.0, None, 1.0],
        age=[0.0, 30.0, 140.0, None, 120.0, 0.5],
        split=["train", "train", "train", "dev", "dev", "dev"],
    )
    assert [(found.id, found.what) for found in manner_problems(given)] == [
        ("r0", "an age of 0 years, which no speaker has"),
        ("r2", "an age of 140 years, which no speaker has"),
        ("r1", "the label 'joyful' is not in the map of the corpus 'emodb'"),
        ("r3", "the intensity 7 is outside of 0..1"),
        ("the side 'dev'", "has one category only (angry)"),
    ]
    assert manner_problems(rows(("emodb", "W"), ("emodb", None), (None, "W"))) == []  # type: ignore[arg-type]


def test_a_side_needs_two_classes() -> None:
    one = read_labels(rows(("emodb", "W"), ("emodb", "W")))
    with pytest.raises(DataError, match=r"the side 'dev' has one category only \(angry\)"):
        require_classes(one, "dev")
    require_classes(read_labels(rows(("emodb", "W"), ("emodb", "N"))), "dev")


def test_the_scheme_can_be_printed() -> None:
    table = label_table(LabelsConfig(calm="neutral"))
    assert {row[0] for row in table} == set(CORPORA)
    assert (
        "ravdess",
        "neutral",
        "neutral, 01, calm, 02",
        "normal [0, 0.5], 01 [0, 0.5], strong [0.5, 1], 02 [0.5, 1]",
    ) in table
    assert named_corpus("nEMO") == "nemo"


def test_corpora_are_drawn_by_the_root_of_their_size_and_classes_alike() -> None:
    given = rows(*[("emodb", "W")] * 300, *[("emodb", "N")] * 100, *[("esd", "sad")] * 50, *[("esd", "Happy")] * 50)
    labels = read_labels(given)
    order = MixedSampler(labels.manifest, 50, seed=3, size=3000)
    drawn = np.concatenate(order.batches(0))
    table = labels.manifest.table[drawn]
    cells = table.group_by("corpus", "emotion").len().iter_rows()
    counts = {(corpus, emotion): count / 3000 for corpus, emotion, count in cells}
    assert counts == pytest.approx(  # sqrt 400 : sqrt 100 = 2 : 1
        {("emodb", "angry"): 1 / 3, ("emodb", "neutral"): 1 / 3, ("esd", "sad"): 1 / 6, ("esd", "happy"): 1 / 6},
        abs=0.01,
    )
    assert order.batches(0) != order.batches(1)
    assert order.batches(1) == MixedSampler(labels.manifest, 50, seed=3, size=3000).batches(1)
