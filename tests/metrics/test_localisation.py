"""Segments and durations: coarsening, references, and error rates against counting by hand and bisection."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from earwitness.core.errors import MetricError
from earwitness.metrics import (
    Region,
    Track,
    eer,
    range_eer,
    reference_labels,
    segment_eer,
    segment_eer_matrix,
    training_labels,
    utterance_scores,
)
from earwitness.metrics.localisation import RESOLUTIONS_MS, coarsen, pool_segments, regions_of


def made_up(seed: int, utterances: int, step_ms: int = 20) -> tuple[Track, list[tuple[Region, ...]]]:
    """Spliced utterances of 1 to 3 s with cuts on a grid of 1 ms, and scores that see them through noise."""
    rng = np.random.default_rng(seed)
    scores, references = [], []
    for _ in range(utterances):
        end = int(rng.integers(1000, 3000))
        cuts = np.sort(rng.choice(np.arange(100, end - 100, 150), 3, replace=False))
        edges = [0, *cuts.tolist(), end]
        regions = tuple(Region(a / 1000, b / 1000, k % 2 == 0) for k, (a, b) in enumerate(pairwise(edges)))
        middles = (np.arange(-(-end // step_ms)) + 0.5) * step_ms
        truth = np.searchsorted(cuts, np.minimum(middles, end - 1), "right") % 2 == 0
        scores.append(np.where(truth, 1.0, -1.0) + rng.standard_normal(len(truth)))
        references.append(regions)
    return Track.of_scores(step_ms, scores), references


class TestCoarsening:
    def test_minimum_with_a_shorter_last_window(self) -> None:
        assert coarsen(np.array([5.0, 3, 4, 9, 7]), 2).tolist() == [3, 4, 7]
        assert Track.of_labels(10, [[1, 1, 0, 1, 1]]).at(20).utterances[0].tolist() == [True, False, True]
        assert Track.of_labels(10, [[1, 1, 0, 1, 1]]).at(640).utterances[0].tolist() == [False]

    def test_repeated_when_finer(self) -> None:
        assert Track.of_scores(40, [[1.0, 2.0]]).at(20).utterances[0].tolist() == [1, 1, 2, 2]

    def test_steps_must_fit(self) -> None:
        with pytest.raises(MetricError, match="20 ms do not fit into 30 ms"):
            Track.of_scores(20, [[1.0]]).at(30)

    def test_labels_of_training(self) -> None:
        """floor(length / shift) segments, at least one."""
        assert training_labels([1, 1, 1, 0, 1], 2).tolist() == [True, False]
        assert training_labels([1, 1, 1], 4).tolist() == [True]
        assert training_labels([1, 0, 1], 4).tolist() == [False]
        for length in range(1, 30):
            for factor in (1, 2, 4, 8, 16):
                assert len(training_labels(np.ones(length), factor)) == max(1, length // factor)

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda: Track.of_labels(10, [[1, 2]]), "neither bool nor 0 and 1"),
            (lambda: Track.of_labels(10, [["0", "spoof"]]), "are not numbers"),
            (lambda: Track.of_scores(10, [[1.0], [np.nan]]), "utterance 1: .*nan at index 0"),
            (lambda: Track.of_scores(10, [[]]), "there are none"),
            (lambda: Track.of_scores(10, []), "no utterances"),
            (lambda: Track.of_scores(0, [[1.0]]), "lasts 0 ms"),
            (lambda: Track(10, (np.array([0, 1]),)), "Use Track.of_scores"),
        ],
    )
    def test_refusals(self, make, said: str) -> None:
        with pytest.raises(MetricError, match=said):
            make()


class TestReference:
    def test_round_and_ceil(self) -> None:
        """ceil(0.107 / 0.01) = 11 segments; the border at 0.034 is round(3.4) = 3, that at 0.058 is round(5.8) = 6."""
        regions = [Region(0, 0.034, True), Region(0.034, 0.058, False), Region(0.058, 0.107, True)]
        assert reference_labels(regions, 0.107, 10).astype(int).tolist() == [1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1]

    def test_a_real_recording_has_no_spoofed_end(self) -> None:
        """round(10.4) leaves segment 10 to no region: it keeps the last label."""
        assert reference_labels([Region(0, 0.104, True)], 0.104, 10).all()
        assert len(reference_labels([Region(0, 0.104, True)], 0.104, 10)) == 11

    def test_binary_fractions_add_no_segment(self) -> None:
        assert len(reference_labels([Region(0, 0.07, True)], 0.07, 10)) == 7

    @pytest.mark.parametrize(
        ("regions", "said"),
        [
            ([Region(0, 0.5, True), Region(0.6, 1, False)], "0.5 s to 0.6 s is covered by no region"),
            ([Region(0.1, 1, True)], "0 s to 0.1 s is covered by no region"),
            ([Region(0, 0.9, True)], "0.9 s to 1 s is covered by no region"),
            ([Region(0, 0.5, True), Region(0.3, 1, False)], "0.3 s to 0.5 s is covered twice"),
            ([Region(0, 1.2, True)], "covered twice"),
            ([], "0 regions"),
        ],
    )
    def test_coverage(self, regions: list[Region], said: str) -> None:
        with pytest.raises(MetricError, match=said):
            reference_labels(regions, 1.0, 10)

    def test_runs_back_to_regions(self) -> None:
        labels = np.array([1, 1, 0, 1, 0, 0])
        assert reference_labels(regions_of(labels, 10), 0.06, 10).tolist() == (labels == 1).tolist()


class TestSegmentEer:
    def test_pooled_by_hand(self) -> None:
        """Two utterances, scored at 20 ms and labelled at 10 ms, measured at 20, 40 and 10 ms."""
        scores = Track.of_scores(20, [[0.9, 0.1, 0.8], [0.2, 0.7]])
        labels = Track.of_labels(10, [[1, 1, 1, 0, 1, 1], [0, 0, 1, 1]])
        at_20 = pool_segments(scores, labels, 20)
        assert (at_20.bonafide.tolist(), at_20.spoof.tolist()) == ([0.9, 0.8, 0.7], [0.1, 0.2])
        assert (at_20.bonafide_utterance.tolist(), at_20.spoof_utterance.tolist()) == ([0, 0, 1], [0, 1])
        at_40 = pool_segments(scores, labels, 40)
        assert (at_40.bonafide.tolist(), at_40.spoof.tolist()) == ([0.8], [0.1, 0.2])
        at_10 = pool_segments(scores, labels, 10)
        assert at_10.bonafide.tolist() == [0.9, 0.9, 0.1, 0.8, 0.8, 0.7, 0.7]
        assert at_10.spoof.tolist() == [0.1, 0.2, 0.2]

    def test_equal_to_the_eer_of_the_pool(self) -> None:
        scores, references = made_up(0, 40)
        labels = Track.of_labels(10, [reference_labels(each, each[-1].end, 10) for each in references])
        found = segment_eer(scores, labels, 20, "asvspoof")
        pooled = pool_segments(scores, labels, 20)
        assert found == eer(pooled.bonafide, pooled.spoof, "asvspoof")
        assert 0.1 < found.value < 0.25

    def test_matrix(self) -> None:
        scores, references = made_up(0, 40)
        labels = Track.of_labels(10, [reference_labels(each, each[-1].end, 10) for each in references])
        tracks = [scores, scores.at(40), scores.at(160)]
        found = segment_eer_matrix(tracks, labels)
        assert found.shape == (3, len(RESOLUTIONS_MS))
        for row, track in enumerate(tracks):
            for column, step in enumerate(RESOLUTIONS_MS):
                assert found[row, column] == segment_eer(track, labels, step).value
        assert found[0, 2] == found[1, 2]  # the minimum of minima
        assert found[0, 1] != found[0, 3]

    def test_lengths(self) -> None:
        """A model may leave out or add up to one of its own segments, not more."""
        labels = Track.of_labels(10, [[1, 1, 1, 1, 0, 0, 0]])
        assert len(pool_segments(Track.of_scores(20, [[1, 2, 3]]), labels, 10).spoof) == 2
        assert len(pool_segments(Track.of_scores(20, [[1, 2, 3, 4]]), labels, 10).spoof) == 3
        with pytest.raises(MetricError, match="utterance 0: 2 scores and 4 labels at 20 ms"):
            pool_segments(Track.of_scores(20, [[1, 2]]), labels, 20)
        with pytest.raises(MetricError, match="2 utterances are scored, 1 labelled"):
            pool_segments(Track.of_scores(20, [[1.0], [2.0]]), labels, 20)
        with pytest.raises(MetricError, match="labels of 40 ms cannot be measured at 20 ms"):
            pool_segments(Track.of_scores(20, [[1.0, 1.0]]), Track.of_labels(40, [[1]]), 20)

    def test_one_class(self) -> None:
        with pytest.raises(MetricError, match="negative scores: there are none"):
            segment_eer(Track.of_scores(10, [[1.0]]), Track.of_labels(10, [[1]]), 10)

    def test_utterances_are_as_bad_as_their_worst_segment(self) -> None:
        assert utterance_scores(Track.of_scores(20, [[3.0, -1.0], [2.0]])).tolist() == [-1, 2]


def bisected(scores: Track, references: list[tuple[Region, ...]]) -> float:
    """Range EER as published: the threshold by bisection over percentiles of the scores, durations in milliseconds."""
    pooled, real = [], []
    for values, regions in zip(scores.utterances, references, strict=True):
        ends = np.array([round(region.end * 1000) for region in regions])
        moments = np.arange(ends[-1])
        pooled.append(values[np.minimum(moments // scores.step_ms, len(values) - 1)])
        real.append(np.searchsorted(ends, moments, "right") % 2 == 0)
    score, bonafide = np.concatenate(pooled), np.concatenate(real)
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        called_real = score > np.percentile(score, middle)
        fpr, fnr = np.mean(~called_real[bonafide]), np.mean(called_real[~bonafide])
        if abs(fpr - fnr) <= 1e-5:
            break
        low, high = (middle, high) if fnr > fpr else (low, middle)
    return float(fpr + fnr) / 2


class TestRangeEer:
    def test_by_hand(self) -> None:
        """One second; the segment from 0.4 s, with the score 2, holds 0.15 s bona fide and 0.05 s spoof.

        (bona fide called spoof, spoof missed) by rising threshold: (0, 1), (0, 25/45), (15/55, 20/45), (15/55, 0).
        """
        scores = Track.of_scores(200, [[5, 4, 2, 1, 3]])
        regions = [(Region(0, 0.55, True), Region(0.55, 1, False))]
        assert range_eer(scores, regions).value == pytest.approx(15 / 55)

    @pytest.mark.parametrize("step_ms", [10, 20, 160])
    def test_equal_to_bisection(self, step_ms: int) -> None:
        """As far as the jumps of the curve let bisection come: to one segment's share of the time."""
        scores, references = made_up(step_ms, 300, step_ms)
        found, expected = range_eer(scores, references).value, bisected(scores, references)
        seconds = sum(each[-1].end for each in references)
        assert found == pytest.approx(expected, abs=max(1e-5, 2 * step_ms / 1000 / seconds))

    def test_equal_to_bisection_where_the_curve_is_smooth(self) -> None:
        """So many segments that every step of the curve is below 1e-5."""
        rng = np.random.default_rng(0)
        scores = Track.of_scores(1, [rng.normal(1, 1, 150_000), rng.normal(-1, 1, 150_000)])
        references = [(Region(0, 150, True),), (Region(0, 150, False),)]
        pos, neg = scores.utterances
        low, high = -3.0, 3.0
        while True:
            middle = (low + high) / 2
            fpr, fnr = np.mean(pos <= middle), np.mean(neg > middle)
            if abs(fpr - fnr) <= 1e-5:
                break
            low, high = (middle, high) if fnr > fpr else (low, middle)
        assert range_eer(scores, references).value == pytest.approx((fpr + fnr) / 2, abs=1e-5)

    def test_whole_segments_are_the_segment_eer(self) -> None:
        """With cuts on the grid, durations are counts."""
        rng = np.random.default_rng(2)
        truth = [np.repeat(rng.permutation([True, False, True]), rng.integers(3, 9, 3)) for _ in range(50)]
        scores = Track.of_scores(20, [np.where(t, 1, -1) + rng.standard_normal(len(t)) for t in truth])
        found = range_eer(scores, [regions_of(t, 20) for t in truth])
        assert found.value == pytest.approx(segment_eer(scores, Track.of_labels(20, truth), 20).value)

    def test_refusals(self) -> None:
        scores = Track.of_scores(100, [[1.0, 2.0]])
        with pytest.raises(MetricError, match=r"2 segments of 0.1 s are scored, the regions end at 0.5 s"):
            range_eer(scores, [(Region(0, 0.5, True),)])
        with pytest.raises(MetricError, match="no time is spoof"):
            range_eer(scores, [(Region(0, 0.2, True),)])
        with pytest.raises(MetricError, match="1 utterances are scored, 0 labelled"):
            range_eer(scores, [])
        with pytest.raises(MetricError, match="covered by no region"):
            range_eer(scores, [(Region(0.1, 0.2, True),)])
