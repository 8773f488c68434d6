"""Voices that do not exist, for claims: made between the training speakers of a seed, and kept (INSIDE, 2508.19210).

As `speaker.identity_expansion` makes them, by its rules for pairs and utterances, but without its filters, which would
leave some arms with fewer identities than others. An identity says the same in every seed in which it comes up, so it
is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch
from rich.console import Console
from rich.progress import Progress

from earwitness.audio.perturb.chain import SeriesConfig
from earwitness.claims.material import Sides
from earwitness.claims.speakers import SpeakerMaterial
from earwitness.claims.spectra import AUGMENTATION, spectra
from earwitness.claims.store import Halves, shown
from earwitness.claims.views import View
from earwitness.core.errors import DataError, UsageError
from earwitness.core.hashing import sha256_data
from earwitness.corpora.leaks import audio_hashes
from earwitness.corpora.making import FAILURES, worked, write_flac
from earwitness.corpora.manifest import Manifest
from earwitness.speaker.identity_expansion.config import ExpansionConfig
from earwitness.speaker.identity_expansion.embedding import built, embed_sources
from earwitness.speaker.identity_expansion.pairs import Control, Pair, new_vectors, select_pairs
from earwitness.speaker.identity_expansion.planning import Task, plan
from earwitness.speaker.identity_expansion.sources import sources_of
from earwitness.speaker.identity_expansion.synthesisers import Prompt, Speech, Synthesiser
from earwitness.speaker.identity_expansion.vectors import AveragingConfig, averaged

CONFIG = ExpansionConfig(utterances=3, averaging=AveragingConfig(least=2, seconds=(1.0, 12.0)))
"""Converted by WORLD; as many utterances as a real speaker has on average, and vectors of the few that parents have."""
ALWAYS = SeriesConfig(
    components=tuple(
        part.model_copy(update={"p": 1.0}) if part.kind in ("reverb", "coloured_noise") else part
        for part in AUGMENTATION.components
    )
)
"""How synthetic speech is perturbed: never without a room and noise, which would give it away."""


@dataclass(frozen=True)
class Invented:
    """Utterances as `rows` whose `speaker` is an identity of `pairs`, the sha256 of their audio, how many could not be
    made, and the folder in which spectra are kept."""

    rows: Manifest
    hashes: tuple[str, ...]
    pairs: tuple[Pair, ...]
    failed: int
    folder: Path

    def spectra(self, view: View = "clean") -> Halves:
        """Filterbank energies of all rows, [R, T, 80]; a view with a number has a room and noise in every row."""
        return spectra(self.rows, self.hashes, view, self.folder, augmentation=ALWAYS)


def invented(material: SpeakerMaterial, seed: int, control: Control, config: ExpansionConfig = CONFIG) -> Invented:
    """Half as many identities as there are training speakers whose sex is known, or those of a control.

    Raises `LeakError` where a parent is chosen on or tested, `DataError` where nothing can be made, and
    `MissingPartError` where the synthesiser cannot run.
    """
    synthesiser = config.synthesiser.build()
    told = config.model_dump(mode="json", include={"synthesiser", "utterances", "alpha", "averaging", "seed"})
    folder = material.folder / f"voices-{sha256_data([material.key, told])[:16]}"
    sources = sources_of(_on_sides(material, material.sides(seed)))
    heard = _embedded(sources_of(material.rows).rows, folder, config)
    own = {name: vectors for name, vectors in heard.items() if name in sources.sexes}
    speakers = averaged(own, config.averaging).speakers
    wanted = config.identities or len(speakers) // 2
    pairs = select_pairs(speakers, sources.sexes, wanted, config.pairs, control, config.alpha, config.seed)
    tasks = plan(
        pairs, new_vectors(speakers, pairs, control), speakers, sources.rows, config, converts=synthesiser.converts
    )
    _make(tasks, folder, config, f"new voices ({control})")
    made = [task for task in tasks if (folder / task.path).is_file()]
    if not made:
        raise DataError(f"no utterance of {len(pairs)} new voices could be made", where=folder)
    rows = _manifest(made, folder, synthesiser)
    return Invented(rows, tuple(audio_hashes(rows)), tuple(pairs), len(tasks) - len(made), material.folder)


def _on_sides(material: SpeakerMaterial, sides: Sides) -> Manifest:
    """The rows with their side as `split`: whoever is chosen on or tested becomes no parent."""
    name_of = {place: name for name in ("train", "dev", "test") for place in getattr(sides, name).tolist()}
    split = pl.Series([name_of[place] for place in range(len(material.rows))])
    return material.rows.with_table(material.rows.table.with_columns(split=split))


def _embedded(rows: Manifest, folder: Path, config: ExpansionConfig) -> dict[str, Any]:
    """The vectors [n, D] of each speaker's utterances, in the space of the synthesiser."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:

        def progress(total: int) -> Callable[[], None]:
            bar = bars.add_task("embedding parents", total=total)
            return lambda: bars.advance(bar)

        threads = torch.get_num_threads()
        kept = embed_sources(
            rows, folder, config.synthesiser, config.averaging, resume=True, workers=threads, progress=progress
        )
    return kept.vectors


def _make(tasks: Sequence[Task], folder: Path, config: ExpansionConfig, what: str) -> None:
    """Make the files that are not there yet; what cannot be spoken has none."""
    missing = [task for task in tasks if not (folder / task.path).is_file()]
    work = partial(_speak, folder=folder, synthesiser=config.synthesiser.model_dump_json())
    for _ in shown(worked(missing, work, torch.get_num_threads(), folder), len(missing), what):
        pass


def _speak(task: Task, folder: Path, synthesiser: str) -> dict[str, Any]:
    """Nothing is told: the file is there afterwards, or it is not. Raises `UsageError` where it cannot be written."""
    speaker = built(synthesiser)
    try:
        speech = None if task.original is None else Speech(*task.original.load())
        made = speaker.speak(Prompt(task.text, speech, task.source_vector), task.vector, task.seed)
        write_flac(folder / task.path, made.samples, made.rate, synthetic_by=speaker.made_with)
    except UsageError:
        raise
    except FAILURES:  # counted as failed, since its file is not there
        pass
    return {}


def _manifest(made: Sequence[Task], folder: Path, by: Synthesiser) -> Manifest:
    columns = {"id": [task.path for task in made], "speaker": [task.new_id for task in made]}
    table = pl.DataFrame(columns).with_columns(path=pl.col("id"), label=pl.lit("spoof"), system=pl.lit(by.system))
    return Manifest.from_table(table, folder)
