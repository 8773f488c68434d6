"""The genuine recordings of an index that sound most like the examined one, beside the answer: something to listen to,
not a verdict (retrieval as in RAD, arXiv 2404.13892)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from earwitness.audio.recording import Recording
from earwitness.core.errors import AudioError, DataError
from earwitness.corpora.manifest import Row
from earwitness.deepfake.retrieval.index import Index
from earwitness.deepfake.retrieval.nearest import Answer, Neighbour
from earwitness.examine.finding import Finding, GenuineNeighbour

SHOWN = 5  # recordings
NO_VERDICT = (
    "Similarity says how alike two stretches sound to the index's encoder. It does not say whether this recording is "
    "genuine: a good imitation is like genuine speech too. Compare it with other similarities of the same index only."
)


def beside_genuine_speech(finding: Finding, index: Index, path: str | Path, channel: int | None) -> Finding:
    """The finding with its genuine neighbours, the recording itself left out; where there are none, it says why."""
    row = Row(id=str(path), path=str(path), channel=channel)
    try:
        answer = index.nearest(path, SHOWN, row)
    except (AudioError, DataError) as error:
        return replace(finding, evidence=(*finding.evidence, f"No genuine speech to compare with: it {error.what}."))
    return replace(
        finding,
        neighbours=tuple(_of(index, neighbour) for neighbour in answer.neighbours),
        evidence=(*finding.evidence, *_evidence(answer, index)),
    )


def clip_of(index: Index, neighbour: GenuineNeighbour) -> Recording:
    """What a neighbour sounds like. Raises `AudioError` where its recording is gone or is another by now."""
    origins = (o for o in index.database.origins if (o.id, o.start_s) == (neighbour.id, neighbour.start_s))
    origin = next(origins, None)
    if origin is None:
        raise AudioError("is not in the index", where=neighbour.id)
    return index.clip(origin)


def _of(index: Index, found: Neighbour) -> GenuineNeighbour:
    origin = found.origin
    return GenuineNeighbour(
        id=origin.id,
        path=str(index.place(origin)),
        sha256=origin.sha256,
        speaker=origin.speaker,
        start_s=origin.start_s,
        end_s=origin.end_s,
        similarity=found.similarity,
        layers=found.layers,
        like_start_s=found.start_s,
        like_end_s=found.end_s,
    )


def _evidence(answer: Answer, index: Index) -> Iterator[str]:
    count = len(answer.neighbours)
    recipe = index.hearing.recipe
    yield (
        f"{count} genuine recording(s) that sound most like this one, out of {answer.candidates} segments of the index "
        f"{index.folder.name} (recipe {recipe.sha256[:16]}, {recipe.similarity} similarity, mean over {recipe.layers} "
        f"layer(s)). {NO_VERDICT}"
    )
    yield f"{answer.excluded}."
    yield from _speakers([neighbour.origin.speaker for neighbour in answer.neighbours])


def _speakers(speakers: Sequence[str | None]) -> Iterator[str]:
    """Whether the neighbours agree on who speaks."""
    named = Counter(speaker for speaker in speakers if speaker)
    if not named:
        return
    name, most = named.most_common(1)[0]
    if most > 1:
        yield f"Of these {len(speakers)}, {most} are of the speaker {name}."
    else:
        yield f"These {len(speakers)} are of {len(named)} named speaker(s), none of them twice."
