"""The main job: one recording, all questions, one report (terminal, JSON, HTML).

The room is also the function: `earwitness.examine("call.m4a")` examines a recording.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earwitness.examine.finding import Report


class _Room(types.ModuleType):
    """A module that can be called, because the package's main function bears the room's name."""

    def __call__(
        self, path: str | Path, references: Sequence[str | Path] = (), models: Mapping[str, str] | None = None
    ) -> list[Report]:
        from earwitness.examine.examiner import examine

        return examine(path, references, models)


sys.modules[__name__].__class__ = _Room
