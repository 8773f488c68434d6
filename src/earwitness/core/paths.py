"""Names from tables and lists lead into one folder and nowhere else: the one place where that rule is kept."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from earwitness.core.errors import AudioError, UsageError

_confined: list[Path] = []


def matches(pattern: str) -> list[Path]:
    """What a glob names, in the order of the names. `**` is folders at any depth but hidden ones; links to folders are
    not followed there, or two that lead round in a circle would name every file without end."""
    parts = Path(pattern).parts
    if "**" not in parts:
        return [Path(name) for name in sorted(glob.glob(pattern))]  # noqa: PTH207 - patterns may be absolute
    at = parts.index("**")
    rest = os.path.join(*parts[at + 1 :]) if parts[at + 1 :] else "*"  # noqa: PTH118 - a pattern is no path
    found: set[Path] = set()
    for start in matches(str(Path(*parts[:at]))) if at else [Path()]:
        for folder, subfolders, _ in os.walk(start):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            found.update(matches(os.path.join(glob.escape(folder), rest)))  # noqa: PTH118
    return sorted(found)


def inside(root: Path, name: str | Path, where: object = None) -> Path:
    """Where `name` leads from the folder `root`, links followed; it need not exist.

    Raises `AudioError` where it leads out of the root, or is no possible name; it names `where`, else `name`.
    """
    where = name if where is None else where
    try:
        home = root.resolve()
        path = (home / name).resolve()
    except (OSError, ValueError, RuntimeError):  # a null byte, too long a name, links in a circle
        raise AudioError("is not a possible file name", where=where) from None
    if not path.is_relative_to(home):
        fix = "Correct the path, or choose another --data-root."
        raise AudioError(f"leads outside of the data root {root}", where=where, fix=fix)
    return path


@contextmanager
def confined_to(folder: str | Path | None) -> Iterator[None]:
    """While it lasts, every manifest that is made refuses paths outside of `folder` (None: as before).

    It stands around a whole command, as one recording that is read by another way would be one too many. Raises
    `UsageError` where there is no such folder.
    """
    if folder is None:
        yield
        return
    if not Path(folder).is_dir():
        raise UsageError("there is no such folder", where=folder, fix="Give --data-root the folder of the recordings.")
    _confined.append(Path(folder))
    try:
        yield
    finally:
        _confined.pop()


def data_root() -> Path | None:
    """The folder that `confined_to` names now."""
    return _confined[-1] if _confined else None
