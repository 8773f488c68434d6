"""Open-set identification: all names at once, the best of many, doubts about a gallery, and its prints in the cache."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from earwitness.core.errors import DataError, MetricError
from earwitness.speaker.comparison import Cohort, Comparator, enrol, unit
from earwitness.speaker.gallery import Gallery, KnownVoice, apart_llr, largest_gallery, one_of, shares
from earwitness.speaker.kept_prints import KeptPrint, KeptPrints
from earwitness.training.calibration import Calibration, ConditionCalibration, Ratios
from earwitness.training.model_folder import ModelInfo
from tiny_models import make_embedder

DIM = 32
RNG = np.random.default_rng(3)
CLEAN = ConditionCalibration(
    condition="clean",
    scale=10.0,
    offset=-4.0,
    low=-6.0,
    high=6.0,
    spread=((9.0, -4.0), (11.0, -4.0)),
    positives=9,
    negatives=9,
)
SHORT = CLEAN.model_copy(update={"condition": "short", "scale": 2.0, "spread": ((2.0, -4.0),)})
CALIBRATION = Calibration(fitted_on="nothing", conditions=(CLEAN, SHORT))
DIRECTIONS = unit(RNG.standard_normal((40, DIM)).astype(np.float32))


def spoken(person: int, takes: int, spread: float = 0.08) -> np.ndarray:
    noise = spread * np.random.default_rng(person).standard_normal((takes, DIM))
    return unit((DIRECTIONS[person] + noise).astype(np.float32))


def gallery(count: int, comparator: Comparator | None = None, takes: int = 3) -> Gallery:
    return Gallery([KnownVoice(f"p{n}", spoken(n, takes)) for n in range(count)], comparator or Comparator())


@pytest.mark.parametrize("normalised", [False, True])
def test_scores_are_those_of_single_comparisons(normalised: bool) -> None:
    comparator = Comparator(Cohort(DIRECTIONS[20:], top=7) if normalised else None)
    known = gallery(12, comparator)
    test = spoken(4, 5)[4]
    expected = [comparator.pairs(enrol(voice.prints)[None], test[None])[0] for voice in known.voices]
    assert known.scores(test[None])[0] == pytest.approx(expected, abs=2e-4)
    found = known.candidates(test, CALIBRATION)
    assert known.voices[found.order[0]].name == "p4"
    assert list(found.ratios.llr[found.order]) == sorted(found.ratios.llr, reverse=True)


def test_each_name_is_judged_under_the_conditions_of_both_sides() -> None:
    voices = [KnownVoice("clean", spoken(1, 2)), KnownVoice("short", spoken(1, 2), ("short",))]
    found = Gallery(voices, Comparator()).candidates(spoken(1, 3)[2], CALIBRATION)
    for place, conditions in ((0, ()), (1, ("short",))):
        one = CALIBRATION.ratio(float(found.scores[place]), conditions)
        assert found.ratios.at(place).llr == pytest.approx(one.llr)
        assert (found.ratios.at(place).low, found.ratios.at(place).high) == pytest.approx((one.low, one.high))
    assert found.ratios.llr[1] < found.ratios.llr[0]


def test_intervals_of_many_scores_are_those_of_single_ones() -> None:
    scores = np.random.default_rng(0).uniform(-1, 1, 2_000)
    many = CALIBRATION.ratios(scores, ("short",))
    for place in range(0, 2_000, 97):
        one = CALIBRATION.ratio(float(scores[place]), ("short",))
        assert many.llr[place] == pytest.approx(one.llr)
        assert (many.low[place], many.high[place]) == pytest.approx((one.low, one.high), abs=0.02)


class TestTheBestOfMany:
    def ratios(self, *llrs: float) -> Ratios:
        values = np.array(llrs)
        limits = np.full(len(values), 6.0)
        return Ratios(values, np.clip(values - 1, -6, 6), np.clip(values + 1, -6, 6), -limits, limits)

    def test_one_name_is_an_ordinary_comparison(self) -> None:
        found = one_of(self.ratios(3.0))
        assert (found.llr, found.low, found.high, *found.bounds) == pytest.approx((3, 2, 4, -6, 6))

    def test_it_is_the_mean_of_the_ratios(self) -> None:
        found = one_of(self.ratios(3.0, -2.0, 0.0))
        assert found.llr == pytest.approx(math.log((math.exp(3) + math.exp(-2) + 1) / 3))
        assert found.llr >= 3 - math.log(3)  # each candidate's own share is a lower bound
        assert found.bounds[1] == pytest.approx(math.log((math.exp(6) + 2 * math.exp(-6)) / 3))

    def test_no_strength_is_claimed_beyond_one_voice_at_the_bound(self) -> None:
        found = one_of(self.ratios(*[6.0] * 4))
        assert found.llr == found.bounds[1] < 6 - math.log(3.9)

    def test_strangers_are_taken_for_known_ones_no_more_often_in_large_galleries(self) -> None:
        """Calibrated ratios of strangers (normal, mean -s/2 and variance s): the best alone passes a ratio of 20 far
        more often among 200 names than in 1 of 20 cases, the mean of them does not."""
        rng = np.random.default_rng(1)
        llrs = rng.normal(-3.0, math.sqrt(6.0), (2_000, 200))
        best = np.mean(llrs.max(axis=1) >= math.log(20))
        mean = np.mean(np.log(np.exp(llrs).mean(axis=1)) >= math.log(20))
        corrected = np.mean(llrs.max(axis=1) - math.log(200) >= math.log(20))
        assert best > 0.5
        assert mean <= 0.05
        assert corrected <= 0.05

    def test_shares_and_the_largest_gallery(self) -> None:
        assert shares(self.ratios(math.log(3), 0.0)).tolist() == pytest.approx([0.75, 0.25])
        assert largest_gallery(CALIBRATION, math.log(2)) == int(math.exp(6) / 2)


class TestDoubts:
    def test_a_name_on_two_voices_and_two_names_on_one(self) -> None:
        mixed = np.concatenate([spoken(5, 2), spoken(6, 2)])
        voices = [*gallery(3).voices, KnownVoice("mixed", mixed), KnownVoice("alias", spoken(2, 2))]
        found = Gallery(voices, Comparator()).doubts(CALIBRATION.model_copy(update={"conditions": (STEEP,)}))
        assert [name for name, _ in found.split] == ["mixed"]
        assert [pair[:2] for pair in found.twins] == [("p2", "alias")]
        assert not found.unpaired

    def test_the_more_pairs_the_stronger_a_doubt_must_be(self) -> None:
        assert [math.exp(-apart_llr(count)) for count in (2, 3, 4, 5, 50)] == pytest.approx([10, 30, 60, 100, 100])

    def test_none_in_an_orderly_gallery(self) -> None:
        found = gallery(20).doubts(CALIBRATION.model_copy(update={"conditions": (STEEP,)}))
        assert (found.split, found.twins) == ((), ())


STEEP = CLEAN.model_copy(update={"scale": 20.0, "offset": -10.0, "low": -8.0, "high": 8.0})


def test_what_is_no_gallery() -> None:
    with pytest.raises(DataError):
        Gallery([], Comparator())
    with pytest.raises(DataError, match="Give each name once"):
        Gallery([KnownVoice("a", spoken(0, 1))] * 2, Comparator())
    with pytest.raises(MetricError, match="without their variances"):
        gallery(2, Comparator(use="conservative"))


class TestKeptPrints:
    @pytest.fixture
    def info(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelInfo:
        from earwitness.training.model_folder import read_model_info

        monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
        return read_model_info(make_embedder(tmp_path / "model"))

    def test_kept_and_found_again(self, info: ModelInfo) -> None:
        print_ = KeptPrint(spoken(1, 1)[0], ("short", "noisy"), ("it holds only 1.2 s of speech",))
        KeptPrints(info).add("key", print_)
        KeptPrints(info).add("other", KeptPrint(spoken(2, 1)[0], (), ()))
        found = KeptPrints(info).known
        assert sorted(found) == ["key", "other"]
        assert np.array_equal(found["key"].vector, print_.vector)
        assert (found["key"].conditions, found["key"].doubts) == (print_.conditions, print_.doubts)
        other = info.model_copy(update={"extra": {**info.extra, "one_voice": 0.3}})
        assert KeptPrints(other).known == {}  # what a limit decided is not taken over by another one

    def test_torn_and_foreign_lines_are_no_prints(self, info: ModelInfo) -> None:
        kept = KeptPrints(info)
        kept.add("key", KeptPrint(spoken(1, 1)[0], (), ()))
        whole = kept.path.read_bytes()
        foreign = b'[1]\n{"audio": "x"}\nnull\n{"audio":"y","print":"AAAA","conditions":["odd"],"doubts":[]}\n'
        kept.path.write_bytes(foreign + b"\xff\xfe\n" + whole + whole.replace(b'"key"', b'"torn"')[:90])
        again = KeptPrints(info)
        assert list(again.known) == ["key"]
        again.add("after", KeptPrint(spoken(3, 1)[0], (), ()))
        assert sorted(KeptPrints(info).known) == ["after", "key"]
