"""The options that say where the work is done; `core.engines.engine_named` makes an engine of both."""

from __future__ import annotations

from typing import Annotated

import typer

EngineName = Annotated[
    str,
    typer.Option("--engine", help="Where the work is done: local, or ray (here, or on the cluster in RAY_ADDRESS)."),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Threads that read ahead [1], or processes of ray [one a core]."),
]
