"""Fixtures that every room's tests share, and the count of sheet items that were shown."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
OFFLINE = Path(__file__).resolve().parent / "offline"
Maker = Callable[..., NDArray[np.float32]]


def pytest_configure(config: pytest.Config) -> None:
    keep_byte_code()
    refuse_networks()
    read_commands_once()
    os.fsync = in_memory  # thousands of files a run, each to be waited for; processes that tests start do wait
    import torch
    from hypothesis import settings

    torch.set_num_threads(1)  # xdist already uses the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of what its workers load, and of processes that tests start
    settings.register_profile("earwitness", deadline=None)  # no test is a stopwatch
    settings.load_profile("earwitness")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Without a search for garbage: what is imported and collected stays. Later searches leave it out."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.enable()
    return found


def keep_byte_code() -> None:
    """Here and in every process that tests start, also where PYTHONDONTWRITEBYTECODE is set, as containers like to.

    Without it, each worker rewrites the asserts of all tests, and each process compiles the package, every time anew.
    """
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def read_commands_once() -> None:
    """Typer reads the signature of every command for each command line, and the tests have hundreds of these."""
    import typer.main

    typer.main.get_params_from_function = cache(typer.main.get_params_from_function)  # type: ignore[attr-defined]


def in_memory(descriptor: int) -> None:
    """`os.fsync` without waiting for the disk: no test is about a power cut, and a kill loses nothing without it."""
    os.fstat(descriptor)  # an `OSError` for what is no open file, as from `fsync`


def refuse_networks() -> None:
    """Here and in every process that tests start (`offline/sitecustomize.py`)."""
    if "offline_hook" not in sys.modules:
        spec = importlib.util.spec_from_file_location("offline_hook", OFFLINE / "sitecustomize.py")
        assert spec
        assert spec.loader
        sys.modules["offline_hook"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    paths = [str(OFFLINE), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("EARWITNESS_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the real recordings are not here (set EARWITNESS_DATA)")
    return folder


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of official checkpoints of others; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("EARWITNESS_MODELS", ROOT.parent / "shared" / "models"))
    if not folder.is_dir():
        pytest.skip("the official checkpoints are not here (set EARWITNESS_MODELS)")
    return folder


@pytest.fixture(scope="session")
def samples_folder() -> Path:
    """The recordings that ship with the project."""
    return ROOT / "samples"


@pytest.fixture(scope="session")
def tone() -> Maker:
    """tone(seconds, rate=16000, hz=440, level=0.5): a sine, float32."""

    def make(seconds: float, rate: int = 16_000, hz: float = 440.0, level: float = 0.5) -> NDArray[np.float32]:
        time = np.arange(round(seconds * rate)) / rate
        return (level * np.sin(2 * np.pi * hz * time)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def speechlike() -> Maker:
    """speechlike(seconds, rate=16000, seed=0): a harmonic, syllabic signal with pauses, float32; no two seeds alike."""

    def make(seconds: float, rate: int = 16_000, seed: int = 0) -> NDArray[np.float32]:
        rng = np.random.default_rng(seed)
        n = round(seconds * rate)
        time = np.arange(n) / rate
        pitch = 100 + 60 * rng.random() + 10 * np.sin(2 * np.pi * (0.5 + rng.random()) * time)
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        voice = sum(np.sin(k * phase + rng.random() * 6) / k for k in range(1, 20) if k * 160 < rate / 2)
        syllables = np.clip(np.sin(2 * np.pi * (3 + rng.random()) * time + rng.random() * 6), 0, 1)
        sound = 0.1 * voice * syllables + 0.002 * rng.standard_normal(n)
        return np.asarray(sound / max(1e-9, np.abs(sound).max()) * 0.5, np.float32)

    return make


_SHOWN: dict[str, str] = {}


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.when not in ("setup", "call"):
        return
    for marker in item.iter_markers("shows"):
        name = str(marker.args[0])
        if call.excinfo is not None and call.excinfo.errisinstance(pytest.skip.Exception):
            _SHOWN.setdefault(name, "skipped")
        elif call.excinfo is not None:
            _SHOWN[name] = "failed"
        elif call.when == "call" and _SHOWN.get(name) != "failed":
            _SHOWN[name] = "shown"
        item.user_properties.append(("shows", (name, _SHOWN.get(name, "skipped"))))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the sheet items over all workers: an item counts as shown when none of its tests failed."""
    items: dict[str, set[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for key, value in getattr(report, "user_properties", ()):
                if key == "shows":
                    items.setdefault(value[0], set()).add(value[1])
    if items:
        states = ["failed" if "failed" in s else "shown" if "shown" in s else "skipped" for s in items.values()]
        counts = ", ".join(f"{states.count(state)} {state}" for state in ("shown", "skipped", "failed"))
        terminalreporter.write_line(f"sheet items: {counts}")


@pytest.fixture(scope="session")
def toy_voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of eight synthetic voices with their phone tracks (see `toy_voices.py`)."""
    from toy_voices import write_corpus

    return write_corpus(tmp_path_factory.mktemp("toy-voices"))


@pytest.fixture(scope="session")
def trait_run(toy_voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of ExPO on them."""
    from earwitness.speaker.phonetic_traits.training import train_traits
    from toy_voices import recipe

    folder = tmp_path_factory.mktemp("trait-run")
    train_traits(recipe(toy_voices, steps=25), folder, allow_leak=True)  # the voices stand on both sides, as is meant
    return folder
