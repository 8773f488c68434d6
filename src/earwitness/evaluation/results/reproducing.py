"""A result is run again from its record; what differs is printed, and nothing else counts as reproduced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.core.config import parse_config
from earwitness.core.errors import DataError, RecipeError
from earwitness.core.records import versions
from earwitness.evaluation.results.calibrating import calibrate
from earwitness.evaluation.results.comparing import compare_files
from earwitness.evaluation.results.evaluating import evaluate
from earwitness.evaluation.results.files import Result, figures, read_result
from earwitness.evaluation.results.localising import localise
from earwitness.evaluation.results.requests import (
    AnyRequest,
    CompareRequest,
    EvaluateRequest,
    LocaliseRequest,
    Request,
    moved,
)


@dataclass(frozen=True)
class Difference:
    """One value that came out otherwise; None where one of the two runs has no such value."""

    place: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Reproduction:
    """What running a result again gave; `inputs` and `versions` say what was not the same to begin with."""

    compared: int
    differences: tuple[Difference, ...]
    inputs: tuple[Difference, ...]
    versions: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        """Difference 0: every value of the result is the same."""
        return not self.differences

    @property
    def largest(self) -> float | None:
        """The largest difference of two numbers; None where none of what differs are numbers."""
        return max((gap for found in self.differences if (gap := _distance(found)) is not None), default=None)


def reproduce(path: str | Path, data_root: str | Path | None = None) -> Reproduction:
    """Run a result again; its paths resolve against its folder, or against `data_root`.

    Raises `DataError` for a file that is no result, and whatever its command raises today.
    """
    path = Path(path)
    before = read_result(path)
    request = _request(before, path)
    after = run(moved(request, data_root or path.parent, Path()))
    old, new = figures(before), figures(after)
    return Reproduction(
        len(old),
        tuple(differences(old, new)),
        tuple(differences(before.record.inputs, after.record.inputs)),
        tuple(differences(before.record.versions, versions())),
    )


def run(request: AnyRequest) -> Result:
    """The result of a request."""
    if isinstance(request, EvaluateRequest):
        return evaluate(request)
    if isinstance(request, CompareRequest):
        return compare_files(request)
    return localise(request) if isinstance(request, LocaliseRequest) else calibrate(request)


def _request(result: Result, path: Path) -> AnyRequest:
    try:
        request: AnyRequest = parse_config(Request, result.record.settings)
    except RecipeError as error:
        raise DataError(f"its record cannot be run: {error.what}", where=path) from None
    return request


def differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Difference]:
    """Every place of two flat sets of values at which they are not the same."""
    for place in dict.fromkeys([*before, *after]):
        if (one := before.get(place)) != (two := after.get(place)):
            yield Difference(place, one, two)


def _distance(found: Difference) -> float | None:
    if isinstance(found.before, int | float) and isinstance(found.after, int | float):
        return abs(float(found.after) - float(found.before))
    return None
