"""Which class is which speaker: real ones 0 to R - 1, then each further speed, then the synthetic ones (2.7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from earwitness.core.errors import DataError
from earwitness.core.writing import write_atomically

Kind = Literal["real", "speed", "synthetic"]


@dataclass(frozen=True)
class ClassMap:
    """R real speakers at S speeds, of which the first is 1, and N synthetic identities: R S + N classes.

    Raises `DataError` where names repeat, or stand in both lists.
    """

    real: tuple[str, ...]
    speeds: tuple[float, ...] = (1.0,)
    synthetic: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = (*self.real, *self.synthetic)
        if len(set(names)) < len(names):
            again = min(name for name in names if names.count(name) > 1)
            raise DataError(f"'{again}' would be two classes", fix="Give every identity its own name.")

    def __len__(self) -> int:
        return len(self.real) * len(self.speeds) + len(self.synthetic)

    def index(self, name: str) -> int:
        """The class of a real speaker at speed 1, or of a synthetic identity. Raises `DataError`."""
        try:
            return self._places[name]
        except KeyError:
            raise DataError(f"'{name}' is no class") from None

    @cached_property
    def _places(self) -> dict[str, int]:
        first = len(self.real) * len(self.speeds)
        places = {name: place for place, name in enumerate(self.real)}
        return places | {name: first + place for place, name in enumerate(self.synthetic)}

    def rows(self) -> list[tuple[int, Kind, str, float]]:
        """(class, kind, speaker, speed) of every class, in order."""
        heard: list[tuple[Kind, str, float]] = [
            ("real" if number == 0 else "speed", name, speed)
            for number, speed in enumerate(self.speeds)
            for name in self.real
        ]
        heard += [("synthetic", name, 1.0) for name in self.synthetic]
        return [(number, *row) for number, row in enumerate(heard)]

    def __str__(self) -> str:
        perturbed = len(self.real) * (len(self.speeds) - 1)
        return (
            f"{len(self)} classes: {len(self.real)} real (0 to {len(self.real) - 1}), {perturbed} speed-perturbed, "
            f"{len(self.synthetic)} synthetic"
        )

    def write(self, path: str | Path) -> None:
        """Tab separated with a header line, whole or not at all."""
        lines = ["class\tkind\tspeaker\tspeed"]
        lines += [f"{number}\t{kind}\t{name}\t{speed:g}" for number, kind, name, speed in self.rows()]
        write_atomically(path, "\n".join(lines) + "\n")


def class_map(real: Sequence[str], speeds: Sequence[float] = (1.0,), synthetic: Sequence[str] = ()) -> ClassMap:
    """The map of sorted speakers and sorted identities."""
    return ClassMap(tuple(sorted(real)), tuple(speeds), tuple(sorted(synthetic)))
