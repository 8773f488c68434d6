"""Where many items are worked off: by this process, or by the workers of Ray on one machine or many.

    for item, made in engine.results(work, items): ...

Every engine gives the same results in the order of the items; only who makes them differs. The caller alone writes.
"""

from __future__ import annotations

from earwitness.core.engines.base import Engine, Work
from earwitness.core.engines.local import LocalEngine, threads_by_default
from earwitness.core.engines.ray import RayEngine
from earwitness.core.errors import UsageError

__all__ = ["ENGINES", "Engine", "LocalEngine", "RayEngine", "Work", "engine_named"]

ENGINES = ("local", "ray")


def engine_named(name: str, workers: int | None = None) -> Engine:
    """`local` with so many threads [one a core, up to eight], or `ray` with so many workers [one a core it has].

    Raises `UsageError` for another name and a cluster that cannot be reached, `MissingPartError` without Ray.
    """
    if name not in ENGINES:
        raise UsageError(f"unknown engine '{name}'", where="--engine", fix=f"This version runs: {', '.join(ENGINES)}.")
    return LocalEngine(workers or threads_by_default()) if name == "local" else RayEngine(workers)
