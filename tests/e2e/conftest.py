"""The command line as a person runs it, with models that are made in a moment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forked_commands import Forked, forked_commands

from tiny_models import make_detector, make_embedder

Runner = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models `detector` and `embedder`."""
    folder = tmp_path_factory.mktemp("models")
    make_detector(folder / "detector")
    make_embedder(folder / "embedder")
    return folder


@pytest.fixture(scope="session")
def earwitness() -> Runner:
    """earwitness(*words, cwd=None): a process of its own, its output kept."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "earwitness", *map(str, words)],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def forked() -> Iterator[Forked]:
    """forked(*words, cwd=..., **faults): as `earwitness`, without its start-up, and under faults."""
    with forked_commands() as commands:
        yield commands
