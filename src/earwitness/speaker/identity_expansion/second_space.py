"""The same speakers in the space of another model: nearness in a synthesiser's space need not hold in a verifier's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from earwitness.core.errors import AudioError, DataError
from earwitness.corpora.manifest import Manifest
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.identity_expansion.config import ExpansionConfig
from earwitness.speaker.identity_expansion.embedding import chosen_rows
from earwitness.speaker.identity_expansion.filters import Aim
from earwitness.speaker.identity_expansion.pairs import Pair, new_vectors
from earwitness.speaker.identity_expansion.vectors import SpeakerVectors, averaged


def print_of(model: Embedder, path: Path) -> Vectors | None:
    """The voice print [D] of a file; None for what the model refuses."""
    try:
        return model.embed_file(path).vector
    except AudioError:
        return None


def prints_by_speaker(model: Embedder, rows: Manifest) -> dict[str, Vectors]:
    """The voice prints [n, D] of each speaker's rows; rows that the model refuses are left out."""
    found: dict[str, list[Vectors]] = {}
    for row in rows.rows():
        try:
            print_ = model.embed_file(rows.resolve(row), row.channel, row.start or 0.0, row.end)
        except (AudioError, DataError):
            continue
        found.setdefault(str(row.speaker), []).append(print_.vector)
    return {speaker: np.stack(prints) for speaker, prints in sorted(found.items())}


def aim_of(model: Embedder, rows: Manifest, pairs: Sequence[Pair], config: ExpansionConfig) -> Aim | None:
    """The real speakers in a model's space, and the middles of the parents there; None where no parents are in it."""
    wanted = {row.id for row in chosen_rows(rows, config.averaging)}
    chosen = rows.with_table(rows.table.filter(rows.table["id"].is_in(list(wanted))))
    real = averaged(prints_by_speaker(model, chosen), config.averaging).speakers
    there = [pair for pair in pairs if {pair.parent_a, pair.parent_b} <= set(real.ids)]
    if len(there) < len(pairs):
        missing = next(pair for pair in pairs if pair not in there)
        raise DataError(
            f"the filter model has no voice print of a parent of {missing.new_id}", fix="Use another filter model."
        )
    return Aim(new_vectors(real, there, config.control), real)


def rank_correlation(first: SpeakerVectors, second: SpeakerVectors) -> float:
    """Spearman's correlation of the cosines between the speakers whom both spaces know. Raises `DataError` for fewer
    than three."""
    both = sorted(set(first.ids) & set(second.ids))
    if len(both) < 3:
        raise DataError(f"{len(both)} speaker(s) are in both spaces; three are needed")
    upper = np.triu_indices(len(both), k=1)
    cosines = [(part.only(both).vectors @ part.only(both).vectors.T)[upper] for part in (first, second)]
    return float(spearmanr(*cosines).statistic)
