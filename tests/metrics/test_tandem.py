"""Tandem metrics against the figures of the official packages, brute force, and published score files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from earwitness.core.errors import MetricError
from earwitness.metrics import (
    ADCF_PACKAGE,
    ASVSPOOF5,
    ASVSPOOF5_ASV,
    ASVSPOOF_TANDEM,
    AsvRates,
    SasvScores,
    SasvTrials,
    Tandem,
    TandemCost,
    Trials,
    Units,
    act_dcf,
    asv_rates,
    bootstrap,
    cllr,
    eer,
    min_adcf,
    min_dcf,
    min_tdcf,
    sasv_eer,
    t_eer,
)
from earwitness.metrics.tandem import TdcfForm, min_adcf_at


def official(threshold: float, *scores: np.ndarray) -> float:
    """The same threshold under the official rule, which rejects up to and including it: the next lower score."""
    pooled = np.concatenate(scores)
    return float(pooled[pooled < threshold].max())


@pytest.fixture(scope="module")
def list_b(sequence) -> SasvScores:
    return SasvScores(
        sequence(150, 7919, 31, 1.5, 1), sequence(300, 10473, 17, -1.5, 1), sequence(400, 6553, 23, -0.2, 1)
    )


@pytest.fixture(scope="module")
def list_c(sequence) -> SasvScores:
    """Scores of a countermeasure on the trials of list B."""
    return SasvScores(sequence(150, 4050, 11, 1, 1), sequence(300, 5002, 13, 1, 1), sequence(400, 6001, 7, -1, 1))


class TestGolden:
    @pytest.mark.shows("detection-metrics:9.A")
    def test_list_a(self, list_a) -> None:
        pos, neg = list_a
        # every score is a multiple of 1/65521; two figures of the sheet are misprints of such multiples: it prints
        # -0.0577830069 for the second score and 0.0418796927 for the threshold of the EER
        assert pos[:3] == pytest.approx([-1.2717754613, -3786 / 65521, -0.3580226187], abs=1e-10)
        assert neg[:3] == pytest.approx([-3.0391782787, -1.4375238473, -1.1950367058], abs=1e-10)
        found = eer(pos, neg, "asvspoof")
        assert found.value == pytest.approx(0.16, abs=1e-12)
        assert found.threshold == pytest.approx(2744 / 65521, abs=1e-12)
        assert eer(pos, neg).value == pytest.approx(0.16, abs=1e-12)
        lowest = min_dcf(pos, neg, ASVSPOOF5)
        assert lowest.value == pytest.approx(0.38825, abs=1e-10)
        assert official(lowest.threshold, pos, neg) == pytest.approx(-0.0870560584, abs=1e-10)
        assert act_dcf(pos, neg, ASVSPOOF5) == pytest.approx(0.448, abs=1e-10)
        assert cllr(pos, neg) == pytest.approx(0.5734145531, abs=1e-10)
        revised = min_tdcf(pos, neg, ASVSPOOF_TANDEM.tandem(ASVSPOOF5_ASV, "revised"))
        legacy = min_tdcf(pos, neg, ASVSPOOF_TANDEM.tandem(ASVSPOOF5_ASV, "legacy"))
        assert revised.value == pytest.approx(0.5504230926, abs=1e-10)
        assert legacy.value == pytest.approx(0.5124245409, abs=1e-10)
        assert official(revised.threshold, pos, neg) == pytest.approx(-0.5709009325, abs=1e-10)
        assert official(legacy.threshold, pos, neg) == pytest.approx(-0.5709009325, abs=1e-10)

    @pytest.mark.shows("detection-metrics:9.A")
    def test_constants_of_asvspoof5(self) -> None:
        tandem = ASVSPOOF_TANDEM.tandem(ASVSPOOF5_ASV, "revised")
        assert (tandem.c0, tandem.c1, tandem.c2) == pytest.approx((0.019469691934, 0.921030308066, 0.230354145380))
        assert tandem.default == pytest.approx(0.249823837314, abs=1e-12)
        assert tandem.floor == pytest.approx(0.077933683765, abs=1e-12)
        legacy = ASVSPOOF_TANDEM.tandem(ASVSPOOF5_ASV, "legacy")
        assert (legacy.c0, legacy.c1, legacy.c2, legacy.floor) == (0, tandem.c1, tandem.c2, 0)

    @pytest.mark.shows("detection-metrics:9.B")
    def test_list_b(self, list_a, list_b: SasvScores) -> None:
        classes = (list_b.target, list_b.nontarget, list_b.spoof)
        ours = min_adcf(list_b)
        assert ours.value == pytest.approx(0.4040056022, abs=1e-10)
        assert official(ours.threshold, *classes) == pytest.approx(0.4136811099, abs=1e-10)
        package = min_adcf(list_b, ADCF_PACKAGE)
        assert package.value == pytest.approx(0.3937037037, abs=1e-10)
        assert official(package.threshold, *classes) == pytest.approx(0.7527784985, abs=1e-10)
        assert eer(list_b.target, list_b.nontarget, "asvspoof").value == pytest.approx(0.08, abs=1e-12)
        rates = asv_rates(list_b)
        assert rates.threshold == pytest.approx(0.2500190779, abs=1e-10)
        assert (rates.p_fa, rates.p_miss) == pytest.approx((0.0833333333, 0.08), abs=1e-10)
        assert (1 - rates.p_fa_spoof, rates.p_fa_spoof) == pytest.approx((0.6725, 0.3275), abs=1e-12)
        revised, legacy = (min_tdcf(*list_a, ASVSPOOF_TANDEM.tandem(rates, form)) for form in ("revised", "legacy"))
        assert revised.value == pytest.approx(0.7135651461, abs=1e-10)
        assert legacy.value == pytest.approx(0.5681058015, abs=1e-10)

    @pytest.mark.shows("detection-metrics:9.C")
    def test_list_c(self, list_b: SasvScores, list_c: SasvScores) -> None:
        assert t_eer(list_b, list_c).value == pytest.approx(0.15684375, abs=1e-12)


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Keys and scores: the last two columns."""
    with gzip.open(path, "rt") as lines:
        rows = [line.split()[-2:] for line in lines]
    return np.array([key for key, _ in rows]), np.array([float(score) for _, score in rows])


@pytest.fixture(scope="module")
def published_asv(shared_data: Path) -> SasvScores:
    key, score = read(shared_data / "score_files" / "asvspoof2019_la_asv_eval_gi.txt.gz")
    return SasvScores(*(score[key == name] for name in ("target", "nontarget", "spoof")))


class TestPublishedScores:
    """Countermeasure and ASV scores of the ASVspoof 2019 LA evaluation set."""

    def test_asv(self, published_asv: SasvScores) -> None:
        assert 100 * eer(published_asv.target, published_asv.nontarget, "asvspoof").value == pytest.approx(
            2.458, abs=5e-4
        )

    @pytest.mark.parametrize(
        ("name", "sign", "percent", "tdcf"),
        [("ocsoftmax", -1, 2.178, 0.05582), ("amsoftmax", 1, 3.166, 0.07715), ("softmax", 1, 5.058, 0.12084)],
    )
    def test_countermeasures(
        self, shared_data: Path, published_asv: SasvScores, name: str, sign: int, percent: float, tdcf: float
    ) -> None:
        key, score = read(shared_data / "score_files" / f"asvspoof2019_la_eval_air_{name}.txt.gz")
        pos, neg = sign * score[key == "bonafide"], sign * score[key == "spoof"]
        assert (len(pos), len(neg)) == (7355, 63_882)
        assert 100 * eer(pos, neg, "asvspoof").value == pytest.approx(percent, abs=5e-4)
        found = min_tdcf(pos, neg, ASVSPOOF_TANDEM.tandem(asv_rates(published_asv), "legacy"))
        assert found.value == pytest.approx(tdcf, abs=5e-6)
        assert found.many_ties  # scores with six decimals, most of them near the ends


class TestTandemCost:
    def test_brute_force(self, tied_sets) -> None:
        """The formula with both error rates counted at every threshold, in both forms."""
        asv = AsvRates(0.1, 0.05, 0.6)
        c1 = 0.9405 * (1 - 0.1) - 0.0095 * 10 * 0.05
        c2, c0 = 0.05 * 10 * 0.6, 0.9405 * 0.1 + 0.0095 * 10 * 0.05
        for pos, neg in tied_sets[::3]:
            if len(set(pos) | set(neg)) < 3:
                continue
            points = [(np.mean(pos < t), np.mean(neg >= t)) for t in [*pos, *neg, np.inf]]
            legacy = min(c1 * m + c2 * f for m, f in points) / min(c1, c2)
            revised = min(c0 + c1 * m + c2 * f for m, f in points) / (c0 + min(c1, c2))
            assert min_tdcf(pos, neg, ASVSPOOF_TANDEM.tandem(asv, "legacy")).value == pytest.approx(legacy)
            assert min_tdcf(pos, neg, ASVSPOOF_TANDEM.tandem(asv, "revised")).value == pytest.approx(revised)

    def test_perfect_and_useless(self) -> None:
        tandem = ASVSPOOF_TANDEM.tandem(ASVSPOOF5_ASV, "revised")
        assert min_tdcf([2, 3, 4], [-1, 0, 1], tandem).value == pytest.approx(tandem.floor, abs=1e-12)
        assert min_tdcf([-1, 0, 1], [2, 3, 4], tandem).value == pytest.approx(1, abs=1e-12)
        legacy = ASVSPOOF_TANDEM.tandem(ASVSPOOF5_ASV, "legacy")
        assert min_tdcf([2, 3, 4], [-1, 0, 1], legacy).value == 0

    def test_ties_are_flagged(self) -> None:
        tandem = ASVSPOOF_TANDEM.tandem(ASVSPOOF5_ASV)
        assert tandem.form == "revised"
        assert min_tdcf([1, 1, 2], [1, 0, 3], tandem).many_ties
        assert not min_tdcf([2, 3, 4], [-1, 0, 1], tandem).many_ties

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            ({"p_spoof": 0.06}, "priors sum to 1.01"),
            ({"p_target": 0.9405 + 2e-10}, "must sum to 1"),
            ({"p_target": 1.2, "p_nontarget": -0.25}, "must sum to 1"),
            ({"c_fa": -1.0}, "price is negative"),
            ({"c_miss": np.nan}, "not finite"),
        ],
    )
    def test_no_cost_model(self, values: dict[str, float], said: str) -> None:
        with pytest.raises(MetricError, match=said):
            TandemCost(**values)

    def test_rounded_priors_sum_to_one(self) -> None:
        assert "P_spoof 0.05" in str(TandemCost(0.95 * 0.99, 0.95 * 0.01, 0.05))

    @pytest.mark.parametrize("asv", [AsvRates(1, 1, 0.5), AsvRates(0.1, 0.1, 0)])
    def test_an_asv_that_leaves_nothing_to_win(self, asv: AsvRates) -> None:
        with pytest.raises(MetricError, match="no t-DCF with"):
            ASVSPOOF_TANDEM.tandem(asv)

    def test_negative_constants(self) -> None:
        with pytest.raises(MetricError, match=r"C2 -0\.1"):
            Tandem(0.1, 0.5, -0.1, "revised")
        with pytest.raises(MetricError, match="lies between 0 and 1"):
            AsvRates(1.5, 0, 0)

    @pytest.mark.parametrize(
        ("pos", "neg", "said"),
        [
            ([1.0, 1.0], [0.0, 0.0, 1.0], "fewer than 3 distinct scores"),
            ([1.0, 2.0, np.nan], [0.0], "nan at index 2"),
            ([1.0, 2.0, 3.0], [np.inf], "inf at index 0"),
            ([], [0.0], "there are none"),
        ],
    )
    def test_refused_scores(self, pos: list[float], neg: list[float], said: str) -> None:
        tandem = ASVSPOOF_TANDEM.tandem(ASVSPOOF5_ASV)
        with pytest.raises(MetricError, match=said):
            min_tdcf(pos, neg, tandem)

    def test_decisions_are_refused_on_resamples_too(self) -> None:
        trials = Trials([1.0, 1.0], [0.0, 1.0], Units.each(4))
        with pytest.raises(MetricError, match="decisions"):
            trials.resample(np.ones(4)).min_tdcf(ASVSPOOF_TANDEM.tandem(ASVSPOOF5_ASV))

    def test_unknown_form(self) -> None:
        with pytest.raises(MetricError, match="'legacy' or 'revised'"):
            ASVSPOOF_TANDEM.tandem(ASVSPOOF5_ASV, "2019")  # type: ignore[arg-type]

    @pytest.mark.parametrize("form", ["legacy", "revised"])
    def test_interval(self, list_a, form: TdcfForm) -> None:
        """Resamples equal copied trials, and the value is that of the whole set."""
        pos, neg = list_a
        tandem = ASVSPOOF_TANDEM.tandem(ASVSPOOF5_ASV, form)
        units = Units.stacked(Units.of(np.arange(200) // 5, "speaker"), Units.of(np.arange(800) // 20, "system"))
        trials = Trials(pos, neg, units)
        counts = units.draw(np.random.default_rng(0))
        copied = [
            np.repeat(side, weights.astype(int))
            for side, weights in zip(list_a, np.split(units.weights(counts), [200]), strict=True)
        ]
        assert trials.resample(counts).min_tdcf(tandem) == pytest.approx(min_tdcf(*copied, tandem).value, abs=1e-12)
        found = bootstrap(lambda drawn: [trials.resample(drawn).min_tdcf(tandem)], units, 100)[0]
        assert found.value == pytest.approx(min_tdcf(pos, neg, tandem).value, abs=1e-12)
        assert 0.3 < found.low < found.value < found.high < 0.8


class TestAsvRates:
    def test_at_a_given_threshold(self, list_b: SasvScores) -> None:
        rates = asv_rates(list_b, threshold=1.0)
        assert rates.threshold == 1.0
        assert rates.p_miss == np.mean(list_b.target < 1)
        assert rates.p_fa == np.mean(list_b.nontarget >= 1)
        assert rates.p_fa_spoof == np.mean(list_b.spoof >= 1)

    def test_a_score_at_the_threshold_is_accepted(self) -> None:
        rates = asv_rates(SasvScores([1, 2, 3, 4], [0, 1, 2, -1], [2, 3, 0, 1]), threshold=2)
        assert (rates.p_miss, rates.p_fa, rates.p_fa_spoof) == (0.25, 0.25, 0.5)

    def test_defect_of_the_package(self, list_b: SasvScores) -> None:
        right, wrong = asv_rates(list_b), asv_rates(list_b, compat="asvspoof5-full")
        assert wrong.p_fa_spoof == pytest.approx(1 - right.p_fa_spoof) == pytest.approx(0.6725)
        assert (wrong.p_miss, wrong.p_fa, wrong.threshold) == (right.p_miss, right.p_fa, right.threshold)

    def test_refusals(self, list_b: SasvScores) -> None:
        with pytest.raises(MetricError, match="unknown compat"):
            asv_rates(list_b, compat="2021")  # type: ignore[arg-type]
        with pytest.raises(MetricError, match="threshold is nan"):
            asv_rates(list_b, threshold=np.nan)
        with pytest.raises(MetricError, match="spoof scores: there are none"):
            SasvScores([1.0], [0.0], [])
        with pytest.raises(MetricError, match=r"nontarget scores: .*nan at index 1"):
            SasvScores([1.0], [0.0, np.nan], [0.0])


def tied_scores(seed: int) -> SasvScores:
    rng = np.random.default_rng(seed)
    levels = int(rng.integers(3, 12))
    return SasvScores(
        *(rng.integers(0, levels, rng.integers(2, 25)) + shift for shift in (int(rng.integers(0, 4)), 0, 1))
    )


class TestArchitectureAgnosticCost:
    def test_brute_force(self) -> None:
        for seed in range(100):
            scores = tied_scores(seed)
            cuts = [*scores.target, *scores.nontarget, *scores.spoof, np.inf]
            costs = [
                0.9 * np.mean(scores.target < t) + 0.5 * np.mean(scores.nontarget >= t) + np.mean(scores.spoof >= t)
                for t in cuts
            ]
            assert min_adcf(scores, ADCF_PACKAGE).value == pytest.approx(min(costs) / 0.9, abs=1e-12)

    def test_normalisers(self) -> None:
        """Accept-all costs 0.595 under the model of ASVspoof 5 and reject-all 0.9 under the package's."""
        useless = SasvScores([0.0], [0.0], [0.0])
        assert min_adcf(useless).value == pytest.approx(1)
        assert min_adcf(useless, ADCF_PACKAGE).value == pytest.approx(1)
        assert "C_fa_spoof 20" in str(ADCF_PACKAGE)

    def test_resamples_equal_copied_trials(self) -> None:
        rng = np.random.default_rng(0)
        for seed in range(20):
            scores = tied_scores(seed)
            classes = (scores.target, scores.nontarget, scores.spoof)
            copies = rng.integers(0, 3, sum(map(len, classes)))
            starts = np.cumsum([len(one) for one in classes])
            copies[[0, starts[0], starts[1]]] += 1
            copied = SasvScores(
                *(np.repeat(one, n) for one, n in zip(classes, np.split(copies, starts[:-1]), strict=True))
            )
            rates = SasvTrials(scores).rates(copies.astype(float))
            assert min_adcf_at(rates, ADCF_PACKAGE).value == pytest.approx(min_adcf(copied, ADCF_PACKAGE).value)

    def test_refusals(self, list_b: SasvScores) -> None:
        with pytest.raises(MetricError, match="3 rows have a unit, 850 have a score"):
            SasvTrials(list_b, Units.each(3))
        with pytest.raises(MetricError, match="costs nothing"):
            min_adcf(list_b, TandemCost(c_fa=0, c_fa_spoof=0))
        counts = np.ones(850)
        counts[:150] = 0
        with pytest.raises(MetricError, match="one class is empty"):
            SasvTrials(list_b).rates(counts)


class TestTandemEer:
    def brute(self, asv: SasvScores, cm: SasvScores) -> float:
        """Every pair of thresholds, counted trial by trial."""
        best = (np.inf, np.nan)
        cm_cuts = [*np.unique(np.concatenate([cm.bonafide, cm.spoof])), np.inf]
        curve = [(np.mean(cm.bonafide < t), np.mean(cm.spoof >= t)) for t in cm_cuts]
        for cut in [*np.unique(np.concatenate([asv.target, asv.impostors])), np.inf]:
            miss, fa, fa_spoof = (
                np.mean(asv.target < cut),
                np.mean(asv.nontarget >= cut),
                np.mean(asv.spoof >= cut),
            )
            if not miss < (fa + fa_spoof) / 2 - 1e-12:
                continue
            gaps = [abs(m + (1 - m) * miss - ((1 - m) * fa + f * fa_spoof) / 2) for m, f in curve]
            m, f = curve[int(np.argmin(np.round(gaps, 12)))]  # the first of equal ones, as far as numbers can say
            gap = abs(fa / fa_spoof - f / (1 - m)) if fa_spoof else np.inf
            if gap < best[0] - 1e-12:
                best = (gap, float(fa_spoof * f))
        return best[1]

    def test_brute_force(self) -> None:
        compared = 0
        for seed in range(60):
            asv, cm = tied_scores(seed), tied_scores(1000 + seed)
            expected = self.brute(asv, cm)
            if np.isfinite(expected):
                assert t_eer(asv, cm).value == pytest.approx(expected, abs=1e-9), seed
                compared += 1
        assert compared > 40

    def test_many_trials(self) -> None:
        """A perfect ASV against humans and a useless one against spoofs: the countermeasure's EER is what is left."""
        rng = np.random.default_rng(0)
        asv = SasvScores(rng.normal(2, 1, 50_000), rng.normal(-2, 1, 50_000), rng.normal(2, 1, 50_000))
        cm = SasvScores(rng.normal(1, 1, 50_000), rng.normal(1, 1, 50_000), rng.normal(-1, 1, 50_000))
        found = t_eer(asv, cm)
        assert eer(cm.bonafide, cm.spoof).value < found.value < 0.2

    def test_wrong_polarity(self) -> None:
        asv = SasvScores([0.0, 1.0], [2.0, 3.0], [2.0, 3.0])
        assert 0 <= t_eer(asv, SasvScores([1.0], [1.0], [0.0])).value <= 1
        nothing = SasvScores([0.0], [0.0], [0.0])
        assert t_eer(nothing, nothing).value == pytest.approx(1)


def test_sasv_eer(list_b: SasvScores) -> None:
    pooled = np.concatenate([list_b.nontarget, list_b.spoof])
    assert sasv_eer(list_b).value == eer(list_b.target, pooled).value
    assert sasv_eer(list_b, "asvspoof").method == "asvspoof"
