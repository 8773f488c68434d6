"""Questions in the forms of other benchmarks, from local files. One table names the readers.

Each gives items whose audio is a path relative to the data root. Sound that stands in the rows themselves is written to
files there, named by its content. The type of a question is told by the names of tasks, and is "C" where they say
nothing. What is not of a form is refused with what was expected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from earwitness.core.config import nearest
from earwitness.core.errors import DataError, UsageError
from earwitness.speech_llm.bench.readers.air_bench import read_air_bench
from earwitness.speech_llm.bench.readers.audio_bench import read_audio_bench
from earwitness.speech_llm.bench.readers.lmms_eval import read_lmms_eval
from earwitness.speech_llm.bench.readers.mmau import read_mmau
from earwitness.speech_llm.bench.readers.voice_bench import read_voice_bench
from earwitness.speech_llm.items import Item, read_items


def read_own(path: Path, root: Path) -> list[Item]:
    """Earwitness' own items: one JSON object a line."""
    return read_items(path)


QuestionReader = Callable[[Path, Path], list[Item]]  # of a file and the data root

READERS: Mapping[str, QuestionReader] = {
    "items": read_own,
    "audio-bench": read_audio_bench,
    "voice-bench": read_voice_bench,
    "mmau": read_mmau,
    "air-bench": read_air_bench,
    "lmms-eval": read_lmms_eval,
}


def read_questions(reader: str, path: str | Path, root: str | Path) -> list[Item]:
    """The items of a file in a form by its name. Raises `UsageError` for an unknown name, `DataError` for bad data."""
    if reader not in READERS:
        guess = nearest(reader, READERS)
        hint = f" Did you mean '{guess}'?" if guess else ""
        raise UsageError(f"there is no reader '{reader}'", fix=f"Readers: {', '.join(READERS)}.{hint}")
    if not Path(path).is_file():
        raise DataError("there is no such file", where=path, fix="Check the path.")
    return READERS[reader](Path(path), Path(root))
