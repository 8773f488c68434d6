"""What must change a metric and what must not: maps of the scores, order, duplication, constants, separation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from earwitness.metrics import (
    ADCF_PACKAGE,
    ASVSPOOF5,
    ASVSPOOF5_ASV,
    ASVSPOOF_TANDEM,
    EER_DEFINITIONS,
    SRE16,
    VOX01,
    SasvScores,
    act_dcf,
    auc,
    cllr,
    eer,
    min_adcf,
    min_cllr,
    min_dcf,
    min_tdcf,
)

Metric = Callable[[np.ndarray, np.ndarray], float]

TANDEM = ASVSPOOF_TANDEM.tandem(ASVSPOOF5_ASV)


def joint(positive: np.ndarray, negative: np.ndarray) -> float:
    """a-DCF where every third negative is human."""
    return min_adcf(SasvScores(positive, negative[::3], np.delete(negative, np.s_[::3])), ADCF_PACKAGE).value


EERS: dict[str, Metric] = {f"EER {m}": lambda p, n, m=m: eer(p, n, m).value for m in EER_DEFINITIONS}
RANKS: dict[str, Metric] = {
    **EERS,
    "AUC": auc,
    "minDCF": lambda p, n: min_dcf(p, n, VOX01).value,
    "minDCF of ASVspoof 5": lambda p, n: min_dcf(p, n, ASVSPOOF5).value,
    "C_primary": lambda p, n: min_dcf(p, n, SRE16).value,
    "minCllr": min_cllr,
    "t-DCF": lambda p, n: min_tdcf(p, n, TANDEM).value,
    "a-DCF": joint,
}
RATIOS: dict[str, Metric] = {
    "actDCF": lambda p, n: act_dcf(p, n, ASVSPOOF5),
    "actual C_primary": lambda p, n: act_dcf(p, n, SRE16),
    "Cllr": cllr,
}
ALL = {**RANKS, **RATIOS}
MAPS = [np.exp, np.arctan, lambda s: s**3 + s, lambda s: 1e6 * s - 3]


@pytest.mark.shows("speaker-metrics:9.2")
@pytest.mark.parametrize("name", RANKS)
def test_ranks_are_unchanged_by_rising_maps(list_a, tied_sets, name: str) -> None:
    for pos, neg in [list_a, *tied_sets[:40]]:
        if len({*pos, *neg}) < 3 or len(neg) < 2:
            continue
        for rising in MAPS:
            assert RANKS[name](rising(pos), rising(neg)) == pytest.approx(RANKS[name](pos, neg), abs=1e-12)


@pytest.mark.shows("speaker-metrics:9.2")
@pytest.mark.parametrize("name", RATIOS)
def test_likelihood_ratios_are_changed_by_rising_maps(list_a, name: str) -> None:
    pos, neg = 3 * list_a[0], 3 * list_a[1]  # far enough for the high thresholds of C_primary
    for rising in MAPS:
        assert abs(RATIOS[name](rising(pos), rising(neg)) - RATIOS[name](pos, neg)) > 0.01


@pytest.mark.parametrize("name", [name for name in ALL if name != "a-DCF"])
def test_order_does_not_matter(list_a, name: str) -> None:
    rng = np.random.default_rng(0)
    pos, neg = list_a
    assert ALL[name](rng.permutation(pos), rng.permutation(neg)) == pytest.approx(ALL[name](pos, neg), abs=1e-12)


@pytest.mark.parametrize(
    "name", [name for name in ALL if name != "EER asvspoof"]
)  # it treats tied trials one after the other
@pytest.mark.parametrize("times", [2, 5])
def test_duplication_of_the_whole_set_does_not_matter(list_a, tied_sets, name: str, times: int) -> None:
    for pos, neg in [list_a, *tied_sets[:40]]:
        if len({*pos, *neg}) < 3 or len(neg) < 2:
            continue
        negatives = np.tile(neg, times)
        if name == "a-DCF":  # keep every trial's class
            human, spoof = np.tile(neg[::3], times), np.tile(np.delete(neg, np.s_[::3]), times)
            found = min_adcf(SasvScores(np.tile(pos, times), human, spoof), ADCF_PACKAGE).value
        else:
            found = ALL[name](np.tile(pos, times), negatives)
        assert found == pytest.approx(ALL[name](pos, neg), abs=1e-12)


@pytest.mark.shows("speaker-metrics:9.2")
def test_constant_scores() -> None:
    pos, neg = np.full(7, 0.3), np.full(11, 0.3)
    for method in set(EER_DEFINITIONS) - {"asvspoof", "nearest_max"}:
        assert eer(pos, neg, method).value == pytest.approx(0.5, abs=1e-12)
    for cost in (VOX01, ASVSPOOF5, SRE16):
        assert min_dcf(pos, neg, cost).value == 1
    assert min_cllr(pos, neg) == pytest.approx(1, abs=1e-12)
    assert auc(pos, neg) == 0.5


@pytest.mark.shows("speaker-metrics:9.2")
def test_perfect_separation() -> None:
    pos, neg = np.array([2.0, 3, 4]), np.array([-1.0, 0, 1, 1])
    for metric in (*EERS.values(), RANKS["minDCF"], RANKS["C_primary"], min_cllr):
        assert metric(pos, neg) == 0
    assert auc(pos, neg) == 1


@pytest.mark.shows("speaker-metrics:9.2")
def test_hull_below_line_and_minimum_below_actual(list_a, tied_sets) -> None:
    for pos, neg in [list_a, *tied_sets]:
        assert eer(pos, neg, "rocch").value <= eer(pos, neg).value + 1e-12
        assert min_cllr(pos, neg) <= cllr(pos, neg) + 1e-12
        for cost in (VOX01, ASVSPOOF5, SRE16):
            assert min_dcf(pos, neg, cost).value <= act_dcf(pos, neg, cost) + 1e-12
