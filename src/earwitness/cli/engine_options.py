"""The options that say where the work is done, and by how many at once."""

from __future__ import annotations

from typing import Annotated

import typer

EngineName = Annotated[
    str,
    typer.Option("--engine", help="Where the work is done: local, or ray (here, or on the cluster in RAY_ADDRESS)."),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Recordings at once: threads, or processes of ray [one a core]."),
]


def shared_cores(workers: int | None, recordings: int) -> int:
    """How many recordings threads of this process work on at once: many by a core each, a single one by all cores, as
    torch's own threads get those that are left over. From here on freed memory is kept."""
    import torch

    from earwitness.core.allocator import keep_freed_memory
    from earwitness.core.engines.local import threads_by_default, usable_cores

    at_once = max(1, min(workers or threads_by_default(), recordings))
    torch.set_num_threads(max(1, usable_cores() // at_once))
    keep_freed_memory()
    return at_once
