"""A folder of records from a manifest: what its labels support, and what is simulated, in the released layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from earwitness.corpora.inspection import Problem
from earwitness.speech_llm.flan.converting import MAKERS, Clips, ConvertOptions, converted
from earwitness.speech_llm.flan.leaks import LeakFinder
from earwitness.speech_llm.flan.reading import AudioPlace
from earwitness.speech_llm.flan.records import Record
from earwitness.speech_llm.flan.simulating import SIMULATIONS, Simulated, SimulateOptions, simulated
from earwitness.speech_llm.flan.taxonomy import task_named, tasks
from earwitness.speech_llm.flan.writing import SHARD, Format, LayoutWriter, write_audio_table

AUDIO = "audio_files"


@dataclass(frozen=True)
class BuildOptions:
    """Which tasks (empty: all that the labels support), and `simulate` recordings of each task that is simulated.
    Records of the tasks `unseen` are marked as held out of training."""

    only: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    pairs: int = 200
    simulate: int = 0
    format: Format = "jsonl"
    shard: int = SHARD
    allow_leak: bool = False
    seed: int = 0

    def convert(self) -> ConvertOptions | None:
        """None where only simulated tasks are asked for."""
        names = tuple(name for name in self._names() if name not in SIMULATIONS)
        return None if self.only and not names else ConvertOptions(names, self.pairs, seed=self.seed)

    def simulation(self) -> SimulateOptions | None:
        """None where none is asked for."""
        names = tuple(name for name in self._names() if name not in MAKERS)
        if not self.simulate or (self.only and not names):
            return None
        return SimulateOptions(names, self.simulate, seed=self.seed)

    def _names(self) -> tuple[str, ...]:
        return tuple(task_named(name).minor for name in self.only)


@dataclass
class Built:
    """How many records of each task there are, the files, and what could not be made."""

    counts: dict[str, int] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)


def build_records(
    clips: Clips, folder: Path, options: BuildOptions, progress: Callable[[], object] = lambda: None
) -> Built:
    """Write records, tables of audio and a card; the same again gives the same files. `progress` hears of each record.

    Raises `LeakError` where a clip or speaker stands on several sides (unless `allow_leak`), `UsageError` for tasks
    that are not made here.
    """
    built, places, finder = Built(), dict[str, AudioPlace](), LeakFinder()
    writer = LayoutWriter(folder, options.format, options.shard)
    unseen = {task_named(name).minor for name in options.unseen}
    for record in _all(clips, folder, options, built, places):
        if record.minor in unseen:
            record = replace(record, task_type=replace(record.task_type, unseen=True))
        finder.add(record)
        writer.add(record)
        built.counts[record.minor] = built.counts.get(record.minor, 0) + 1
        places |= {name: clips.places[name] for name in record.audio_ids() if name in clips.places}
        progress()
    if not options.allow_leak:
        finder.require_none()
    built.leaks = [str(leak) for leak in finder.leaks]
    built.files = writer.close()
    write_audio_table(folder, "speech", places)
    return built


def _all(
    clips: Clips, folder: Path, options: BuildOptions, built: Built, places: dict[str, AudioPlace]
) -> Iterator[Record]:
    if (convert := options.convert()) is not None:
        yield from converted(clips, convert)
    if (simulation := options.simulation()) is not None:
        for one in simulated(clips, folder / AUDIO, simulation):
            if isinstance(one, Simulated):
                places |= one.places
                yield one.record
            else:
                built.problems.append(one)


def unmade() -> list[str]:
    """The speech tasks that nothing here makes."""
    return [name for name, task in tasks().items() if task.domain == "speech" and name not in {*MAKERS, *SIMULATIONS}]
