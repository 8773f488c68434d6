"""What a verifier makes of an expansion: are the identities new to it, and does their synthesis show?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.metrics.detection import auc, eer
from earwitness.metrics.scores import Floats
from earwitness.speaker.comparison import Vectors, enrol, unit
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.identity_expansion.files import MANIFEST, PAIRS, read_description
from earwitness.speaker.identity_expansion.filters import require_other_model
from earwitness.speaker.identity_expansion.pairs import Pair, read_pairs
from earwitness.speaker.identity_expansion.second_space import prints_by_speaker, rank_correlation
from earwitness.speaker.identity_expansion.vectors import AveragingConfig, SpeakerVectors, averaged

BINS = np.linspace(-0.2, 1.0, 13)
WARN_AUC = 0.9
FOLDS = 5
ANYBODY = AveragingConfig(least=1, purity=0.0)


@dataclass(frozen=True)
class Identities:
    """How new the identities are to a verifier. `nearest` [n] is each one's cosine with the nearest real speaker;
    `accepted` is the share taken for one of the parents at the verifier's threshold of equal error, `threshold`, which
    lies at `eer` on the real speakers. `parents_eer` and `others_eer` are the errors among speakers who are parents and
    among those who are not (None: too few)."""

    nearest: Floats
    accepted: float
    threshold: float
    eer: float
    parents_eer: float | None
    others_eer: float | None


@dataclass(frozen=True)
class Report:
    """All of it, and the probe's AUC between real and synthetic utterances. `rank_correlation` is that of the distances
    between real speakers in the synthesiser's space and the verifier's (None: not to be told)."""

    identities: Identities
    artefact_auc: float
    rank_correlation: float | None

    @property
    def vocoder_heard(self) -> bool:
        """The probe tells real from synthetic too well."""
        return self.artefact_auc > WARN_AUC

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def plain(self) -> dict[str, object]:
        """For JSON."""
        found = self.identities
        return {
            "nearest_real_cosine": [round(float(value), 6) for value in found.nearest],
            "accepted_as_parent": found.accepted,
            "eer_threshold": found.threshold,
            "eer": found.eer,
            "eer_parents": found.parents_eer,
            "eer_others": found.others_eer,
            "artefact_auc": self.artefact_auc,
            "vocoder_heard": self.vocoder_heard,
            "rank_correlation": self.rank_correlation,
        }


def report_on(
    folder: str | Path, real_rows: Manifest, verifier: Embedder, verifier_sha256: str, speakers: SpeakerVectors | None
) -> Report:
    """Of an expansion in `folder` and the real recordings that it came from, heard by a verifier.

    Raises `LeakError` where the verifier was the filter, `DataError` where it can hear too little.
    """
    description = read_description(folder)
    require_other_model(description.get("filter_sha256"), verifier_sha256)
    rows = Manifest.read(Path(folder) / MANIFEST)
    real, synthetic = prints_by_speaker(verifier, real_rows), prints_by_speaker(verifier, rows)
    pairs = read_pairs(Path(folder) / PAIRS)
    own = averaged(real, ANYBODY).speakers
    ranks = None
    if speakers is not None and len(set(speakers.ids) & set(own.ids)) >= 3:
        ranks = rank_correlation(speakers, own)
    return Report(new_identities(real, synthetic, pairs), artefact_auc(real, synthetic), ranks)


def new_identities(real: Mapping[str, Vectors], synthetic: Mapping[str, Vectors], pairs: Sequence[Pair]) -> Identities:
    """From voice prints [n, D] by speaker. Raises `DataError` with fewer than two real speakers of two utterances, or
    without synthetic ones."""
    if not synthetic:
        raise DataError("the verifier hears nobody in the synthetic recordings")
    same, different = leave_one_out(real)
    if not len(same) or not len(different):
        raise DataError("the real recordings give no trials", fix="Two speakers with two recordings each are needed.")
    point = eer(same, different)
    models = {name: enrol(prints) for name, prints in real.items()}
    stack = np.stack(list(models.values()))
    nearest = np.array([float((stack @ enrol(prints)).max()) for _, prints in sorted(synthetic.items())])
    parents = {pair.new_id: {pair.parent_a, pair.parent_b} & set(models) for pair in pairs}
    judged = [
        max(float((unit(prints) @ models[parent]).mean()) for parent in parents[name]) >= point.threshold
        for name, prints in sorted(synthetic.items())
        if parents.get(name)
    ]
    accepted = float(np.mean(judged)) if judged else float("nan")
    used = {name for names in parents.values() for name in names}
    groups = [{n: p for n, p in real.items() if (n in used) is wanted} for wanted in (True, False)]
    return Identities(nearest, accepted, point.threshold, point.value, *map(_eer_among, groups))


def leave_one_out(prints: Mapping[str, Vectors]) -> tuple[Floats, Floats]:
    """Cosines of every utterance with the mean of its speaker's others, and with the means of all other speakers."""
    units = {name: unit(vectors) for name, vectors in prints.items()}
    models = {name: enrol(vectors) for name, vectors in units.items()}
    same, different = [], []
    for name, vectors in units.items():
        if len(vectors) > 1:
            same += [float(enrol(np.delete(vectors, place, axis=0)) @ vectors[place]) for place in range(len(vectors))]
        others = [model for other, model in models.items() if other != name]
        if others:
            different.append((vectors @ np.stack(others).T).ravel())
    return np.array(same), np.concatenate(different) if different else np.empty(0)


def _eer_among(prints: Mapping[str, Vectors]) -> float | None:
    same, different = leave_one_out(prints)
    return eer(same, different).value if len(same) and len(different) else None


def artefact_auc(real: Mapping[str, Vectors], synthetic: Mapping[str, Vectors]) -> float:
    """AUC of a linear probe, real against synthetic, on speakers that it did not learn from; 0.5: it hears nothing.

    Scores of all folds are pooled. Raises `DataError` with fewer than two speakers of either kind.
    """
    from sklearn.linear_model import LogisticRegression

    folds = min(FOLDS, len(real), len(synthetic))
    if folds < 2:
        raise DataError("a probe needs two real and two synthetic speakers", fix="Make more identities.")
    parts = [
        (kind, name, unit(prints))
        for kind, side in ((0, real), (1, synthetic))
        for name, prints in sorted(side.items())
    ]
    vectors = np.concatenate([prints for *_, prints in parts]).astype(np.float64)
    labels = np.concatenate([np.full(len(prints), kind) for kind, _, prints in parts])
    # speakers of both kinds are dealt out in turn, so that every fold holds both
    places = [place for side in (real, synthetic) for place in range(len(side))]
    fold = np.concatenate([np.full(len(part[2]), place % folds) for part, place in zip(parts, places, strict=True)])
    scores = np.zeros(len(vectors))
    for test in range(folds):
        learn = fold != test
        probe = LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000)
        scores[~learn] = probe.fit(vectors[learn], labels[learn]).decision_function(vectors[~learn])
    return auc(scores[labels == 1], scores[labels == 0])


def _lines(report: Report) -> list[str]:
    found = report.identities
    counts, _ = np.histogram(np.clip(found.nearest, BINS[0], BINS[-1]), BINS)
    lines = ["cosine of each synthetic identity with the nearest real speaker:"]
    lines += [
        f"  {low:5.2f} to {high:5.2f} {count:5d} {'#' * round(40 * count / max(1, counts.max()))}"
        for low, high, count in zip(BINS, BINS[1:], counts, strict=False)
        if count
    ]
    lines.append(
        f"accepted as one of the parents: {100 * found.accepted:.1f} % of {len(found.nearest)} identities "
        f"(threshold {found.threshold:.3f}, EER {100 * found.eer:.2f} % on the real speakers)"
    )
    among = [
        f"{name} {100 * value:.2f} %"
        for name, value in (("parents", found.parents_eer), ("others", found.others_eer))
        if value is not None
    ]
    lines.append(
        f"EER among {' and among '.join(among)}" if among else "EER among parents and others: too few of either"
    )
    if report.rank_correlation is not None:
        lines.append(
            f"rank correlation of distances, synthesiser's space and verifier's: {report.rank_correlation:.2f}"
        )
    lines.append(f"linear probe real against synthetic: AUC {report.artefact_auc:.3f}")
    if report.vocoder_heard:
        lines.append(
            f"WARNING: above {WARN_AUC}: to this verifier synthesis sounds of itself; perturb more, or use another"
        )
    return lines
