"""Trials within a corpus, their error rates by group, and the paired difference of a candidate to its peer.

A trial of two speakers is within a corpus and, where both are known, within a sex. Intervals resample speakers. Several
seeds of one candidate count as the mean of their error rates, on the same resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from material import Clip
from numpy.typing import NDArray

from earwitness.metrics.bootstrap import Interval, Units, bootstrap
from earwitness.metrics.scores import Floats
from earwitness.metrics.trials import Trials
from earwitness.speaker.comparison import Comparator, Vectors

Prints = Mapping[str, Vectors]  # condition -> voice prints [N, D] of the tested clips
Scores = dict[str, Floats]  # condition -> scores of the pairs

MOST_DIFFERENT = 12_000
RESAMPLES = 400
FEWEST = 3  # speakers with trials of their own, for a group to be judged
_TOGETHER = {"speechocean762_more": "speechocean762", "real-copysynth-sources": "librispeech_excerpt"}


@dataclass(frozen=True)
class Pairs:
    """Places of both sides among the tested clips, [T] each, and whether they are of one speaker."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    same: NDArray[np.bool_]


def corpus_of(clip: Clip) -> str:
    """The corpus; two folders of the same recordings are one."""
    return _TOGETHER.get(clip.corpus, clip.corpus)


def pairs_of(clips: Sequence[Clip]) -> Pairs:
    """All pairs of one speaker, and of two at most 12,000, drawn once; which side is the reference is drawn too."""
    found = [(a, b) for a, b in combinations(range(len(clips)), 2) if _comparable(clips[a], clips[b])]
    same = np.array([clips[a].speaker == clips[b].speaker for a, b in found])
    rng = np.random.default_rng(0)
    others = np.flatnonzero(~same)
    if len(others) > MOST_DIFFERENT:
        others = np.sort(rng.choice(others, MOST_DIFFERENT, replace=False))
    chosen = np.concatenate([np.flatnonzero(same), others])
    sides = np.array(found, np.int64)[chosen]
    turned = rng.random(len(sides)) < 0.5
    sides[turned] = sides[turned, ::-1]
    return Pairs(sides[:, 0].copy(), sides[:, 1].copy(), same[chosen])


def _comparable(a: Clip, b: Clip) -> bool:
    if corpus_of(a) != corpus_of(b) or (a.source is not None and a.source == b.source):
        return False
    return a.speaker == b.speaker or a.sex is None or b.sex is None or a.sex == b.sex


def scored(prints: Prints, pairs: Pairs, comparator: Comparator) -> Scores:
    """Scores under each condition, both sides alike; `across`, the reference is as it was recorded."""
    count = len(prints["full"])
    found = {name: comparator.trials(v, pairs.first, pairs.second) for name, v in prints.items() if name != "across"}
    both = np.concatenate([prints["full"], prints["across"]])
    return {**found, "across": comparator.trials(both, pairs.first, pairs.second + count)}


def groups_of(clips: Sequence[Clip], pairs: Pairs) -> dict[str, NDArray[np.bool_]]:
    """Which pairs are of each group: all, adults, children, two emotions, and each corpus where there are several."""
    child = np.array([clip.child for clip in clips])
    aged = np.array([clip.age is not None for clip in clips])
    corpus = np.array([corpus_of(clip) for clip in clips])
    emotion = np.array([clip.emotion or "" for clip in clips])
    both_aged = aged[pairs.first] & aged[pairs.second]
    groups = {
        "all": np.ones(len(pairs.same), np.bool_),
        "adults": both_aged & ~child[pairs.first] & ~child[pairs.second],
        "children": child[pairs.first] & child[pairs.second],
        "across emotions": (emotion[pairs.first] != emotion[pairs.second])
        & (emotion[pairs.first] != "")
        & (emotion[pairs.second] != ""),
    }
    names = sorted(set(corpus))
    groups |= {name: corpus[pairs.first] == name for name in names if len(names) > 1}
    speakers = np.array([clip.speaker for clip in clips])
    return {name: rows for name, rows in groups.items() if len(set(speakers[pairs.first[rows & pairs.same]])) >= FEWEST}


@dataclass(frozen=True)
class Against:
    """EERs in % with 95 % intervals: a candidate's (mean of its seeds), its peer's, and candidate minus peer."""

    eer: Interval
    peer_eer: Interval
    difference: Interval


def against(
    clips: Sequence[Clip], pairs: Pairs, rows: NDArray[np.bool_], seeds: Sequence[Floats], peer: Floats
) -> Against:
    """The paired comparison on the pairs `rows`: scores [T] of each of the candidate's seeds, and of its peer."""
    places = np.concatenate([np.flatnonzero(rows & pairs.same), np.flatnonzero(rows & ~pairs.same)])
    speakers = np.array([clip.speaker for clip in clips])
    units = Units.pairs(speakers[pairs.first[places]].tolist(), speakers[pairs.second[places]].tolist(), "speaker")
    rates = [_rate(scores[places], pairs.same[places], units) for scores in (*seeds, peer)]

    def all_three(counts: Floats) -> tuple[float, float, float]:
        *ours, theirs = (rate(counts) for rate in rates)
        own = sum(ours) / len(ours)
        return own, theirs, own - theirs

    return Against(*bootstrap(all_three, units, RESAMPLES))


def _rate(scores: Floats, same: NDArray[np.bool_], units: Units) -> Callable[[Floats], float]:
    trials = Trials(scores[same], scores[~same], units)
    return lambda counts: 100 * trials.resample(counts).eer()
