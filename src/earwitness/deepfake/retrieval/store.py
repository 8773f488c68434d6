"""An index on disk: a folder that is appended to, recording by recording, and never left half written.

    index.json        how it was made (`IndexInfo`)
    embeddings.f16    [N, L, F] float16, little-endian, segment after segment
    shorts.f16        [N, L, T, F] float16
    segments.jsonl    one line a segment (`Origin`), in the same order: what has no line here is not in the index
    problems.jsonl    what the last build could not read

A recording's features are written first and its lines last, so a build that is killed leaves bytes without lines, which
the next one overwrites. Nothing here is executed or unpickled: plain numbers and JSON, of which the search structures
are made anew in memory. (The file formats of search libraries are not made for files from strangers.)
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from earwitness.core.config import Config, parse_config
from earwitness.core.errors import DataError, RecipeError, UsageError
from earwitness.core.writing import write_atomically
from earwitness.deepfake.retrieval.hearing import Features, Halves, Segment
from earwitness.deepfake.retrieval.recipe import IndexRecipe

INFO, EMBEDDINGS, SHORTS, SEGMENTS, PROBLEMS = (
    "index.json",
    "embeddings.f16",
    "shorts.f16",
    "segments.jsonl",
    "problems.jsonl",
)
FLOAT16 = np.dtype("<f2")


class IndexInfo(Config):
    """`index.json`. With `approximate` the search visits a part of the segments only."""

    format: Literal[1] = 1
    recipe: IndexRecipe
    approximate: bool = False
    package_version: str = ""


@dataclass(frozen=True)
class Origin:
    """Where a segment comes from: row `id` of a manifest, `path` against the index's folder, seconds in that file.

    `source` is the recording behind the row; `sha256` that of the file; `sound` that of the segment's samples. The
    segment is number `segment` of `segments` that the recording has in the index.
    """

    id: str
    path: str
    start_s: float
    end_s: float
    channel: int | None
    speaker: str | None
    source: str | None
    sha256: str
    sound: str
    segment: int
    segments: int


_ORIGIN = TypeAdapter(Origin)


@dataclass(frozen=True)
class Recording:
    """What is known of a recording that is added."""

    id: str
    path: str
    channel: int | None
    speaker: str | None
    source: str | None
    sha256: str


def read_info(folder: str | Path) -> IndexInfo:
    """Raises `DataError` where there is no index."""
    path = Path(folder) / INFO
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"is no index: it has no {INFO}", where=folder, fix="Make one with `earwitness index build`."
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read as JSON ({str(error).splitlines()[0]})", where=path) from None
    try:
        info: IndexInfo = parse_config(IndexInfo, data, where=path)
    except RecipeError as error:
        raise DataError(error.what, where=path, fix="Was it made by a newer version of earwitness?") from None
    return info


def read_origins(folder: str | Path, recipe: IndexRecipe) -> tuple[Origin, ...]:
    """The segments of whole recordings. Raises `DataError` where lines are wrong or the features are cut short."""
    origins, _ = _whole_recordings(Path(folder))
    for name, size in _sizes(recipe).items():
        path = Path(folder) / name
        if len(origins) and (not path.is_file() or path.stat().st_size < len(origins) * size):
            what = f"holds fewer segments than the {len(origins)} of {SEGMENTS}"
            raise DataError(what, where=path, fix="Copy the whole folder again, or build the index anew.")
    return origins


def read_features(folder: str | Path, recipe: IndexRecipe, count: int) -> tuple[Halves, Halves]:
    """`count` embeddings and short features, mapped into memory, not read."""
    shapes = {EMBEDDINGS: (recipe.layers, recipe.width), SHORTS: (recipe.layers, recipe.frames, recipe.width)}
    embeddings, shorts = (
        np.memmap(Path(folder) / name, FLOAT16, "r", shape=(count, *shape)) if count else np.empty((0, *shape), FLOAT16)
        for name, shape in shapes.items()
    )
    return embeddings, shorts


class IndexWriter:
    """Adds recordings to an index; one process at a time.

    Raises `UsageError` where it cannot be written or another process adds to it, `ModelError` where the index was made
    by another recipe.
    """

    def __init__(self, folder: str | Path, info: IndexInfo) -> None:
        self.folder = Path(folder)
        self.recipe = info.recipe
        if (self.folder / INFO).exists():
            read_info(self.folder).recipe.require_same(info.recipe, self.folder)
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise UsageError("is there already and is no index", where=self.folder, fix="Choose another place.")
        named = info.model_copy(update={"package_version": version("earwitness")})
        write_atomically(self.folder / INFO, json.dumps(named.model_dump(mode="json"), indent=2) + "\n")
        self._lines = _opened(self.folder / SEGMENTS)
        _lock(self._lines, self.folder)
        origins, kept = _whole_recordings(self.folder)
        self.count = self._whole(origins)
        self._known = {origin.id: (origin.path, origin.sha256) for origin in origins[: self.count]}
        self._lines.truncate(kept if self.count == len(origins) else _bytes_of(self.folder, self.count))
        self._lines.seek(0, os.SEEK_END)
        self._files = {name: _opened(self.folder / name) for name in (EMBEDDINGS, SHORTS)}

    def _whole(self, origins: tuple[Origin, ...]) -> int:
        """How many segments have their features, up to the end of a recording: a cut file loses its last ones."""
        held = len(origins)
        for name, size in _sizes(self.recipe).items():
            path = self.folder / name
            held = min(held, path.stat().st_size // size if path.exists() else 0)
        while held < len(origins) and held and origins[held - 1].segment != origins[held - 1].segments - 1:
            held -= 1
        return held

    def holds(self, id_: str, path: str, sha256: Callable[[], str]) -> bool:
        """Whether a recording is there; its file is hashed only where the one of that id lay elsewhere.

        Raises `DataError` where the index has another recording of that id.
        """
        if id_ not in self._known:
            return False
        known_path, known_sha256 = self._known[id_]
        if known_path != path and known_sha256 != sha256():
            what = f"the index has another recording of the id '{id_}': {known_path}"
            raise DataError(what, where=path, fix="Give the rows ids of their own, in a manifest.")
        return True

    def add(self, recording: Recording, parts: Iterable[Features]) -> int:
        """Add all segments of a recording, or none; gives their number. What `parts` raises is raised, and `UsageError`
        where the disk is full."""
        for name, size in _sizes(self.recipe).items():
            self._files[name].seek(self.count * size)
        segments: list[Segment] = []
        for part in parts:
            segments += part.segments
            with self._told():
                self._files[EMBEDDINGS].write(np.ascontiguousarray(part.embeddings, FLOAT16).tobytes())
                self._files[SHORTS].write(np.ascontiguousarray(part.shorts, FLOAT16).tobytes())
        with self._told():
            for file in self._files.values():
                file.flush()
        known = asdict(recording)
        lines = [
            Origin(**known, start_s=s.start_s, end_s=s.end_s, sound=s.sound, segment=number, segments=len(segments))
            for number, s in enumerate(segments)
        ]
        with self._told():
            self._lines.write("".join(_line(origin) for origin in lines).encode("utf-8", "replace"))
            self._lines.flush()
        self.count += len(lines)
        self._known[recording.id] = recording.path, recording.sha256
        return len(lines)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What the system refuses, in one line."""
        try:
            yield
        except OSError as error:
            fix = "Free space and give the command again: it goes on after the recordings that are there."
            raise UsageError(f"cannot be written ({error.strerror})", where=self.folder, fix=fix) from None

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, size in _sizes(self.recipe).items():
            with contextlib.suppress(OSError):
                self._files[name].truncate(self.count * size)  # bytes of a recording that failed half-way
        for file in (*self._files.values(), self._lines):
            with contextlib.suppress(OSError):
                file.flush()
                os.fsync(file.fileno())
                file.close()


def _line(origin: Origin) -> str:
    return json.dumps(asdict(origin), ensure_ascii=False) + "\n"


def _sizes(recipe: IndexRecipe) -> dict[str, int]:
    """Bytes of a segment in each file."""
    embedding = recipe.layers * recipe.width * FLOAT16.itemsize
    return {EMBEDDINGS: embedding, SHORTS: embedding * recipe.frames}


def _whole_recordings(folder: Path) -> tuple[tuple[Origin, ...], int]:
    """The segments of all recordings whose last line is there, and how many bytes of lines that is."""
    origins: list[Origin] = []
    whole = kept = at = 0
    for number, line in enumerate(_lines_of(folder / SEGMENTS), 1):
        at += len(line)
        if not line.endswith(b"\n"):
            break  # torn by a kill
        origin = _parsed(line, number, folder / SEGMENTS)
        origins.append(origin)
        if origin.segment == origin.segments - 1:
            whole, kept = len(origins), at
    return tuple(origins[:whole]), kept


def _parsed(line: bytes, number: int, path: Path) -> Origin:
    try:
        return _ORIGIN.validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or ", ".join(field.name for field in fields(Origin))
        raise DataError(f"line {number} is no segment: {place}: {first['msg']}", where=path) from None


def _lines_of(path: Path) -> Iterator[bytes]:
    if path.exists():
        with path.open("rb") as file:
            yield from file


def _bytes_of(folder: Path, count: int) -> int:
    """Of the first `count` lines."""
    return sum(len(line) for _, line in zip(range(count), _lines_of(folder / SEGMENTS), strict=False))


def _opened(path: Path) -> IO[bytes]:
    try:
        path.touch(exist_ok=True)
        return path.open("r+b")
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror})", where=path, fix="Choose another place.") from None


def _lock(file: IO[Any], folder: Path) -> None:
    """Held until the file is closed, also by a kill. Systems without such locks go without."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UsageError("another process adds to this index", where=folder, fix="Wait until it is done.") from None
