"""The option that confines a command to a folder. Declaring it is enough: it holds for all that the command reads by a
manifest, a list or a folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from earwitness.core.paths import confined_to


def _confine(context: typer.Context, folder: Path | None) -> Path | None:
    context.with_resource(confined_to(folder))
    return folder


DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        metavar="DIR",
        callback=_confine,
        help="Refuse every recording outside of this folder, links followed.",
    ),
]
