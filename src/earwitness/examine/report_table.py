"""A finding's table in the page: cells as text, and the numbers of one column as bars from a neutral value, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

from markupsafe import Markup

from earwitness.examine import wording
from earwitness.examine.finding import Cell, Table
from earwitness.examine.svg import element, join

WIDTH, HEIGHT = 160, 14


@dataclass(frozen=True)
class CellView:
    """A cell of the page: its text, whether it is a number, and a bar where its column is drawn."""

    text: str
    is_number: bool
    bar: Markup | str = ""


@dataclass(frozen=True)
class TableView:
    """A table as the page shows it."""

    table: Table

    @property
    def rows(self) -> Iterator[tuple[CellView, ...]]:
        """One view a cell."""
        numeric, reach = wording.numeric_columns(self.table), self._reach()
        for row in self.table.rows:
            yield tuple(
                CellView(wording.cell(value), name in numeric, self._bar(value, reach) if self._draws(name) else "")
                for name, value in zip(self.table.columns, row, strict=True)
            )

    def _draws(self, name: str) -> bool:
        return name == self.table.drawn

    def _reach(self) -> float:
        """How far the longest bar goes from the neutral value."""
        if self.table.drawn is None:
            return 1.0
        place = self.table.columns.index(self.table.drawn)
        values = (row[place] for row in self.table.rows)
        return max((abs(value - self.table.neutral) for value in values if _drawable(value)), default=0.0) or 1.0

    def _bar(self, value: Cell, reach: float) -> Markup | str:
        if not _drawable(value):
            return ""
        middle = WIDTH / 2
        length = (value - self.table.neutral) / reach * (middle - 2)
        side = "first" if length >= 0 else "second"
        bar = element(
            "rect", x=middle + min(length, 0.0), y=2, width=abs(length), height=HEIGHT - 4, class_=f"bar {side}"
        )
        zero = element("path", d=f"M{middle:g} 0V{HEIGHT}", class_="zero")
        return element("svg", join([bar, zero]), class_="bars", viewBox=f"0 0 {WIDTH} {HEIGHT}", aria_hidden="true")


def _drawable(value: Cell) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
