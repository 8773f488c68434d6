"""What of a test has been learnt from: the same clip, or the same speaker, in records of several splits.

The same clip appears under many tasks, so records are split by clip and speaker, never one by one.
"""

from __future__ import annotations

from collections.abc import Iterable

from earwitness.core.errors import LeakError
from earwitness.corpora.leaks import Leak
from earwitness.speech_llm.flan.fields import SPLITS
from earwitness.speech_llm.flan.records import Record
from earwitness.speech_llm.flan.spans import PLACEHOLDER


class LeakFinder:
    """Counts clips and speakers by split, as records come."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], dict[str, int]] = {}

    def add(self, record: Record) -> None:
        """Count one record."""
        for key in dict.fromkeys(_keys(record)):
            for split in record.split:
                found = self._counts.setdefault(key, {})
                found[split] = found.get(split, 0) + 1

    @property
    def leaks(self) -> list[Leak]:
        """Clips (audio ids, files of the sister format, and what a clip was made from) and speakers (as far as `other`
        names them) in several splits."""
        return [
            Leak(kind, value, tuple((split, found[split]) for split in SPLITS if split in found))
            for (kind, value), found in self._counts.items()
            if len(found) > 1
        ]

    def require_none(self) -> None:
        """Raises `LeakError` naming the first leaks."""
        if leaks := self.leaks:
            first = "; ".join(str(leak) for leak in leaks[:3])
            fix = "Split by clip and speaker, not by record, or allow the leak by name (--allow-leak)."
            raise LeakError(f"{len(leaks)} leak(s) between splits: {first}", fix=fix)


def find_record_leaks(records: Iterable[Record]) -> list[Leak]:
    """The leaks of a set of records."""
    finder = LeakFinder()
    for record in records:
        finder.add(record)
    return finder.leaks


def _keys(record: Record) -> Iterable[tuple[str, str]]:
    for name in record.audio_ids():
        if name != PLACEHOLDER:
            yield "clip", name
    for path in record.audio_path or ():
        yield "clip", path
    facts = record.facts()
    for kind, name in (("speaker", "speakers"), ("clip", "made_from")):
        values = facts.get(name)
        for value in values if isinstance(values, list) else ():
            if isinstance(value, str):
                yield kind, value
