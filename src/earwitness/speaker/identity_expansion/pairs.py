"""Which two speakers a new one stands between: nearby ones of one sex (INSIDE, 2.3), or those of a control arm.

How many neighbours, which distances and how often a speaker may serve is not published; the values here are ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from earwitness.core.config import Config
from earwitness.core.errors import DataError
from earwitness.core.writing import write_atomically
from earwitness.metrics.scores import Floats
from earwitness.speaker.comparison import Vectors, unit
from earwitness.speaker.identities import speaker_key
from earwitness.speaker.identity_expansion.interpolation import angle, lerp, slerp
from earwitness.speaker.identity_expansion.vectors import SpeakerVectors, table_of

Control = Literal["none", "resynthesis", "random-pairs", "lerp", "cross-sex"]
PREFIX: Mapping[Control, str] = {
    "none": "ins",
    "resynthesis": "res",
    "random-pairs": "ran",
    "lerp": "lrp",
    "cross-sex": "crs",
}
LERP_ALPHA = 0.3
COLUMNS = ("new_id", "parent_a", "parent_b", "gender", "cos_parents", "alpha", "theta_deg")
Candidate = tuple[float, str, str]  # cosine, and the two speakers


class PairConfig(Config):
    """Pairs (i, j) where either is among the `neighbours` nearest of the other, with a cosine from `lowest` to
    `highest`, the nearest first, no speaker in more than `uses` of them."""

    neighbours: int = Field(5, ge=1)
    lowest: float = Field(0.3, ge=-1, le=1)  # below, the middle lies where there are no voices
    highest: float = Field(0.9, ge=-1, le=1)  # above, it is one voice under two names
    uses: int = Field(4, ge=1)

    @model_validator(mode="after")
    def _window(self) -> PairConfig:
        if self.lowest > self.highest:
            raise ValueError("`lowest` is above `highest`: no pair can lie between")
        return self


@dataclass(frozen=True)
class Pair:
    """Two parents and the new identity between them. `sex` is m or f; None for parents of both.

    The id holds hashes of the parents' names, so that no file of the new voice carries a name.
    """

    new_id: str
    parent_a: str
    parent_b: str
    sex: str | None
    cosine: float
    alpha: float
    theta_deg: float

    @property
    def is_new(self) -> bool:
        """False for a real speaker who was made anew: no new identity, and no new class."""
        return self.parent_a != self.parent_b


def select_pairs(
    speakers: SpeakerVectors,
    sexes: Mapping[str, str],
    wanted: int,
    config: PairConfig,
    control: Control = "none",
    alpha: float = 0.5,
    seed: int = 0,
) -> list[Pair]:
    """At most `wanted` pairs of speakers whose sex is known (m or f), each sex in proportion to its speakers.

    `control` chooses others on purpose: `random-pairs` of one sex at any distance; `lerp`, the same pairs, mixed
    linearly at 0.3; `cross-sex`, nearest speakers of different sex at any distance; `resynthesis`, real speakers as
    they are. The same arguments give the same pairs; ties go by the ids. Raises `DataError` for unknown sexes.
    """
    if wrong := sorted({sexes[name] for name in speakers.ids if name in sexes} - {"m", "f"}):
        raise DataError(f"a speaker's sex is m or f here, not '{wrong[0]}'")
    groups = {sex: [name for name in speakers.ids if sexes.get(name) == sex] for sex in "fm"}
    shares = _shares(wanted, {sex: len(names) for sex, names in groups.items()})
    if control == "resynthesis":
        chosen = [(1.0, name, name) for sex, names in groups.items() for name in _drawn(names, seed)[: shares[sex]]]
    elif control == "cross-sex":
        chosen = _taken(_across(speakers, groups, config), wanted, config.uses)
    else:
        listed = {sex: list(_candidates(speakers.only(names), config, control, seed)) for sex, names in groups.items()}
        chosen = _in_shares(listed, shares, wanted, config.uses)
    share = {"lerp": LERP_ALPHA, "resynthesis": 0.0}.get(control, alpha)
    return [_pair(speakers, sexes, candidate, control, share) for candidate in chosen]


def new_vectors(speakers: SpeakerVectors, pairs: Sequence[Pair], control: Control = "none") -> SpeakerVectors:
    """The vectors of the new identities: directions between the parents, at the mean of the parents' lengths.

    `lerp` mixes vectors at their full lengths, and takes the length that comes out.
    """
    place = {name: number for number, name in enumerate(speakers.ids)}
    rows: dict[str, tuple[Vectors, float, int, float]] = {}
    for pair in pairs:
        a, b = place[pair.parent_a], place[pair.parent_b]
        norm = float(speakers.norm[a] + speakers.norm[b]) / 2
        if control == "lerp":
            mixed = lerp(speakers.scaled(pair.parent_a), speakers.scaled(pair.parent_b), pair.alpha)
            norm = float(np.linalg.norm(mixed))
        else:
            mixed = slerp(speakers.vectors[a], speakers.vectors[b], pair.alpha)
        rows[pair.new_id] = (unit(mixed.astype(np.float32)), norm, 0, 1.0)
    return table_of(rows)


def write_pairs(path: str | Path, pairs: Iterable[Pair]) -> None:
    """Tab separated with a header line, whole or not at all. Parents are named here and nowhere else."""
    lines = ["\t".join(COLUMNS)]
    for pair in pairs:
        for name in (pair.parent_a, pair.parent_b):
            if any(c in name for c in "\t\r\n"):
                raise DataError(f"the speaker's name {name!r} holds a tab or a line break", fix="Rename the speaker.")
        numbers = (f"{pair.cosine:.6f}", f"{pair.alpha:g}", f"{pair.theta_deg:.4f}")
        lines.append("\t".join((pair.new_id, pair.parent_a, pair.parent_b, pair.sex or "", *numbers)))
    write_atomically(path, "\n".join(lines) + "\n")


def read_pairs(path: str | Path) -> list[Pair]:
    """The table that `write_pairs` made. Raises `DataError`."""
    try:
        header, *lines = Path(path).read_text(encoding="utf-8").splitlines()
        if tuple(header.split("\t")) != COLUMNS:
            raise ValueError(f"its header is not {' '.join(COLUMNS)}")
        rows = [line.split("\t") for line in lines]
        return [Pair(n, a, b, s or None, float(c), float(al), float(t)) for n, a, b, s, c, al, t in rows]
    except (OSError, ValueError) as error:
        raise DataError(f"is no table of pairs ({error})", where=path) from None


def _candidates(speakers: SpeakerVectors, config: PairConfig, control: Control, seed: int) -> Iterator[Candidate]:
    """Pairs of one group in the order in which they are taken."""
    if control == "random-pairs":
        count = len(speakers)
        first, second = np.triu_indices(count, k=1)
        cosine = np.einsum("nd,nd->n", speakers.vectors[first], speakers.vectors[second]) if count > 1 else []
        for number in np.random.default_rng([seed, count]).permutation(len(first)):
            yield float(cosine[number]), speakers.ids[first[number]], speakers.ids[second[number]]
        return
    found = neighbours(speakers.vectors, config.neighbours)
    within = [(c, i, j) for (i, j), c in found.items() if config.lowest <= c <= config.highest]
    for cosine, i, j in sorted(within, key=lambda row: (-row[0], row[1], row[2])):
        yield cosine, speakers.ids[i], speakers.ids[j]


def neighbours(vectors: Vectors, count: int) -> dict[tuple[int, int], float]:
    """Pairs (i, j), i < j, of rows of unit vectors [n, D] where j is among the `count` nearest of i or i among those of
    j, with their cosines. Among equally near ones the first rows count."""
    cosines = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    np.fill_diagonal(cosines, -np.inf)
    nearest = _nearest(cosines, min(count, max(0, len(vectors) - 1)))
    pairs = {(min(i, int(j)), max(i, int(j))) for i, row in enumerate(nearest) for j in row}
    return {(i, j): float(cosines[i, j]) for i, j in sorted(pairs)}


def _across(speakers: SpeakerVectors, groups: Mapping[str, list[str]], config: PairConfig) -> Iterator[Candidate]:
    """Pairs of an f and an m, either among the nearest of the other, the nearest first."""
    f, m = (speakers.only(groups[sex]) for sex in "fm")
    if not len(f) or not len(m):
        return
    cosines = f.vectors.astype(np.float64) @ m.vectors.astype(np.float64).T
    pairs = {(i, int(j)) for i, row in enumerate(_nearest(cosines, config.neighbours)) for j in row}
    pairs |= {(int(i), j) for j, row in enumerate(_nearest(cosines.T, config.neighbours)) for i in row}
    for i, j in sorted(pairs, key=lambda pair: (-cosines[pair], pair)):
        yield float(cosines[i, j]), f.ids[i], m.ids[j]


def _nearest(cosines: Floats, count: int) -> NDArray[np.intp]:
    """The places [n, count] of the highest cosines of each row [n, m]; among equal ones the first."""
    return np.argsort(-cosines, axis=1, kind="stable")[:, :count]


def _in_shares(
    listed: Mapping[str, list[Candidate]], shares: Mapping[str, int], wanted: int, uses: int
) -> list[Candidate]:
    """Each group's share, and what one group lacks from the others."""
    all_of = {sex: _taken(candidates, wanted, uses) for sex, candidates in listed.items()}
    chosen = {sex: found[: shares[sex]] for sex, found in all_of.items()}
    for sex, found in all_of.items():
        lacking = wanted - sum(map(len, chosen.values()))
        chosen[sex] = found[: len(chosen[sex]) + lacking]
    return [candidate for found in chosen.values() for candidate in found]


def _taken(candidates: Iterable[Candidate], wanted: int, uses: int) -> list[Candidate]:
    """The first candidates that leave no speaker above her uses."""
    used: Counter[str] = Counter()
    chosen: list[Candidate] = []
    for cosine, a, b in candidates:
        if len(chosen) == wanted:
            break
        if used[a] < uses and used[b] < uses:
            used.update((a, b))
            chosen.append((cosine, a, b))
    return chosen


def _shares(wanted: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """`wanted` in proportion to the sizes, by largest remainders."""
    total = max(1, sum(sizes.values()))
    exact = {name: wanted * size / total for name, size in sizes.items()}
    shares = {name: int(value) for name, value in exact.items()}
    left = min(wanted, wanted * sum(sizes.values())) - sum(shares.values())
    for name in sorted(exact, key=lambda name: (shares[name] - exact[name], name))[: max(0, left)]:
        shares[name] += 1
    return shares


def _drawn(names: Sequence[str], seed: int) -> list[str]:
    order = np.random.default_rng([seed, len(names), 7]).permutation(len(names))
    return [names[place] for place in order]


def _pair(speakers: SpeakerVectors, sexes: Mapping[str, str], found: Candidate, control: Control, alpha: float) -> Pair:
    cosine, a, b = found
    a, b = (a, b) if a <= b else (b, a)
    sex = sexes[a] if sexes[a] == sexes[b] else None
    keys = f"{speaker_key(a)}" if a == b else f"{speaker_key(a)}_{speaker_key(b)}"
    new_id = f"{PREFIX[control]}_{keys}_{round(alpha * 100):02d}"
    theta = angle(speakers.vectors[speakers.ids.index(a)], speakers.vectors[speakers.ids.index(b)])
    return Pair(new_id, a, b, sex, cosine, alpha, float(np.degrees(theta)))
