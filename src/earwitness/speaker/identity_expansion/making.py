"""From a manifest of real speakers to recordings of speakers who do not exist: embedded, paired, spoken, filtered.

Work is kept row by row in `embeddings.csv` and `utterances.csv`; a run that was killed goes on with `resume`, and a
finished one is not done again. Filters are applied to what was measured, so they can be changed without new synthesis.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from earwitness.audio.reading import load, probe
from earwitness.core.errors import DataError, EarwitnessError, UsageError
from earwitness.core.hashing import sha256_data
from earwitness.core.writing import ResumableRows, read_rows
from earwitness.corpora.inspection import Problem
from earwitness.corpora.making import FAILURES, in_words, worked, write_flac
from earwitness.corpora.manifest import Manifest
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.identity_expansion.config import ExpansionConfig
from earwitness.speaker.identity_expansion.embedding import Progress, built, embed_sources, packed, unpacked
from earwitness.speaker.identity_expansion.files import Contents, write_files
from earwitness.speaker.identity_expansion.filters import (
    Aim,
    Judged,
    Measured,
    Recogniser,
    judge,
    measure,
    word_error_rate,
)
from earwitness.speaker.identity_expansion.pairs import Pair, new_vectors, select_pairs
from earwitness.speaker.identity_expansion.planning import Task, plan
from earwitness.speaker.identity_expansion.second_space import aim_of, print_of
from earwitness.speaker.identity_expansion.sources import Sources, require_apart, sources_of
from earwitness.speaker.identity_expansion.synthesisers import Prompt, Speech, Synthesiser
from earwitness.speaker.identity_expansion.vectors import SpeakerVectors, averaged

TABLE = "utterances.csv"
_COLUMNS = {
    "path": str, "new_id": str, "text": str, "seed": int, "source": str, "duration_s": float, "sample_rate": int,
    "clipped": float, "speech": float, "vector": str, "words": float, "drawn": str, "error": str,
}  # fmt: skip


@dataclass(frozen=True)
class Guards:
    """Who may be a parent: these `speakers` (None: all of the training side), and nobody of those `held_out`."""

    speakers: Collection[str] | None = None
    held_out: Collection[str] = ()


@dataclass(frozen=True)
class Judges:
    """What else hears the new recordings: a model that filters in place of the synthesiser's own encoder, and a
    recogniser for the rule of word errors. The verifier under test must be neither."""

    model: Embedder | None = None
    model_sha256: str | None = None
    recogniser: Recogniser | None = None


@dataclass(frozen=True)
class Expanded:
    """The kept recordings, the pairs they come from, what the filters dropped, and what was left out, in words."""

    manifest: Manifest
    pairs: tuple[Pair, ...]
    speakers: SpeakerVectors
    judged: Judged
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def expand_identities(
    manifest: Manifest,
    folder: str | Path,
    config: ExpansionConfig,
    *,
    guards: Guards = Guards(),
    judges: Judges = Judges(),
    resume: bool = False,
    workers: int = 1,
    progress: Callable[[str], Progress] = lambda what: lambda total: lambda: None,
) -> Expanded:
    """Make recordings of new identities under `folder`, as spoofs, with the files that the docs list.

    `progress(what)(total)` gives a function that is called after each utterance. Raises `LeakError` where a parent is
    tested on, `DataError` where there are no pairs or nothing is left, `MissingPartError` where the synthesiser cannot
    run, and `UsageError` as `ResumableRows` does.
    """
    folder = Path(folder)
    synthesiser = config.synthesiser.build()
    parents = _parents(manifest, folder, config, synthesiser, guards, resume, workers, progress)
    speakers, sexes = parents.speakers, parents.sources.sexes
    wanted = config.identities or max(1, len(speakers) // 2)
    pairs = select_pairs(speakers, sexes, wanted, config.pairs, config.control, config.alpha, config.seed)
    if not pairs:
        fix = "Widen pairs.lowest and pairs.highest, or give more speakers."
        raise DataError(f"no two of {len(speakers)} speakers are a pair by the rules", fix=fix)
    vectors = new_vectors(speakers, pairs, config.control)
    notes = list(parents.notes)
    if len(pairs) < wanted:
        notes.append(f"{len(pairs)} of {wanted} identities: there are no further pairs by the rules")
    tasks = plan(pairs, vectors, speakers, parents.sources.rows, config, synthesiser.converts)
    rows = _made(tasks, folder, config, manifest, judges, resume, workers, progress("making utterances"))
    failed = tuple(Problem(row["path"], row["error"]) for row in rows if row["error"])
    aim = _aim(vectors, speakers, pairs, parents.sources, config, judges, synthesiser)
    judged = judge([_measured(row) for row in rows if not row["error"]], pairs, aim, config.filters)
    if not judged.kept:
        counts = ", ".join(f"{rule} {count}" for rule, count in judged.dropped.items() if count) or "nothing was made"
        raise DataError(f"no utterance is left: {counts}", where=folder, fix="Look at utterances.csv and the filters.")
    kept = [pair for pair in pairs if pair.new_id in judged.identities]
    contents = Contents(
        manifest, config, synthesiser, parents.sources, speakers, vectors, tuple(kept), judged, tuple(tasks)
    )
    made = write_files(folder, contents, {row["path"]: row for row in rows}, judges.model_sha256, len(failed))
    return Expanded(made, tuple(kept), speakers, judged, (*parents.problems, *failed), tuple(notes))


@dataclass(frozen=True)
class _Parents:
    sources: Sources
    speakers: SpeakerVectors
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def _parents(
    manifest: Manifest,
    folder: Path,
    config: ExpansionConfig,
    synthesiser: Synthesiser,
    guards: Guards,
    resume: bool,
    workers: int,
    progress: Callable[[str], Progress],
) -> _Parents:
    """The speakers between whom new ones lie: those of the manifest, or the synthesiser's own."""
    if own := synthesiser.voices():
        require_apart(own.speakers.ids, dict.fromkeys(guards.held_out, "test"))
        note = f"the parents are {len(own.speakers)} voices of {synthesiser.made_with}: it has no place for recordings"
        return _Parents(Sources(manifest, dict(own.sexes), ()), own.speakers, (), (note,))
    sources = sources_of(manifest, guards.speakers, guards.held_out)
    step = progress("embedding recordings")
    heard = embed_sources(
        sources.rows, folder, config.synthesiser, config.averaging, resume=resume, workers=workers, progress=step
    )
    none = dict.fromkeys(set(sources.sexes) - set(heard.vectors), "no utterance of the right length can be embedded")
    found = averaged(heard.vectors, config.averaging)
    reasons = [*none.values(), *found.refused.values()]
    notes = [f"{reasons.count(reason)} speaker(s) left out: {reason}" for reason in sorted(set(reasons))]
    if len(found.speakers) < 2 and config.control != "resynthesis":
        raise DataError(
            f"{len(found.speakers)} speaker(s) can be parents: {'; '.join(notes) or 'too few'}", where=folder
        )
    return _Parents(sources, found.speakers, heard.problems, (*sources.notes, *notes))


def _made(
    tasks: Sequence[Task],
    folder: Path,
    config: ExpansionConfig,
    manifest: Manifest,
    judges: Judges,
    resume: bool,
    workers: int,
    progress: Progress,
) -> list[dict[str, Any]]:
    """The rows of all utterances, made where they are not there yet."""
    what = {
        **config.model_dump(mode="json", exclude={"filters"}),
        "rows": manifest.sha256,
        "filter": judges.model_sha256,
    }
    drawn = sha256_data(what)[:16]
    step = progress(len(tasks))
    with ResumableRows(folder / TABLE, "path", _COLUMNS, resume=resume, same={"drawn": drawn}) as table:
        todo = [task for task in tasks if task.path not in table.done]
        for _ in range(len(tasks) - len(todo)):
            step()
        work = partial(make_utterance, folder=folder, synthesiser=config.synthesiser.model_dump_json())
        for task, row in zip(todo, worked(todo, work, workers, folder), strict=True):
            table.add({**row, **_heard_again(task, row, folder, judges), "drawn": drawn})
            step()
    wanted = {task.path for task in tasks}
    return [row for row in read_rows(folder / TABLE, _COLUMNS).iter_rows(named=True) if row["path"] in wanted]


def make_utterance(task: Task, folder: Path, synthesiser: str) -> dict[str, Any]:
    """Make one utterance and its row; what cannot be made is a row with an error."""
    told: dict[str, Any] = {"path": task.path, "new_id": task.new_id, "text": task.text, "seed": task.seed}
    told["source"] = task.source.id if task.source else None
    speaker = built(synthesiser)
    try:
        made = speaker.speak(_prompt(task), task.vector, task.seed)
        duration_s, clipped, speech = measure(made.samples, made.rate)
        if speaker.voices() is None:
            told["vector"] = packed(speaker.embed(made.samples, made.rate))
        write_flac(folder / task.path, made.samples, made.rate, synthetic_by=speaker.made_with)
    except UsageError:
        raise
    except FAILURES as error:
        return told | {"vector": None, "error": in_words(error, "cannot be spoken")}
    facts = {
        "duration_s": round(duration_s, 4),
        "sample_rate": made.rate,
        "clipped": clipped,
        "speech": round(speech, 4),
    }
    return told | facts


def _prompt(task: Task) -> Prompt:
    speech = Speech(*task.original.load()) if task.original else None
    return Prompt(task.text, speech, task.source_vector)


def _heard_again(task: Task, row: dict[str, Any], folder: Path, judges: Judges) -> dict[str, Any]:
    """What the judges make of a finished recording."""
    found: dict[str, Any] = {}
    if row.get("error"):
        return found
    if judges.model is not None:
        print_ = print_of(judges.model, folder / task.path)
        found["vector"] = None if print_ is None else packed(print_)
    if judges.recogniser is not None and task.text:
        recording = load(folder / task.path, probe(folder / task.path).rate)
        try:
            found["words"] = word_error_rate(task.text, judges.recogniser(recording.samples, recording.rate))
        except EarwitnessError as error:
            found["error"] = in_words(error, "cannot be recognised")
    return found


def _aim(
    vectors: SpeakerVectors,
    speakers: SpeakerVectors,
    pairs: Sequence[Pair],
    sources: Sources,
    config: ExpansionConfig,
    judges: Judges,
    synthesiser: Synthesiser,
) -> Aim | None:
    """Where identities should lie, in the space that filters hear in; None without an encoder."""
    if synthesiser.voices() is not None:
        return None
    if judges.model is None:
        return Aim(vectors, speakers)
    return aim_of(judges.model, sources.rows, pairs, config)


def _measured(row: dict[str, Any]) -> Measured:
    vector = None if row["vector"] is None else unpacked(row["vector"])
    return Measured(row["path"], row["new_id"], row["duration_s"], row["clipped"], row["speech"], vector, row["words"])
