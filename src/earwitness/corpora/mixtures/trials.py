"""Trial lists of mixtures: tab-separated, a line a trial, from which its recording is made again, the same.

    label  enrol_wav  target_wav  other_wavs  rho  mode  sir_db  snr_db  seed  seconds

`label` 1: the test holds the enrolled speaker, by `target_wav`; 0: it holds others alone, `target_wav` is `-` and the
first of `other_wavs` (joined by `;`) leads in its place. `-` stands for what there is none of. Paths are relative to
the list. `seconds` may be missing: then 4 to 8 are drawn by the seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from earwitness.audio.reading import RATE, load
from earwitness.audio.recording import Samples
from earwitness.core.errors import DataError, EarwitnessError
from earwitness.core.writing import write_atomically
from earwitness.corpora.mixtures.signal import Mixture, Mode, Scene, mix

COLUMNS = ("label", "enrol_wav", "target_wav", "other_wavs", "rho", "mode", "sir_db", "snr_db", "seed", "seconds")
SECONDS = (4.0, 8.0)
SILENCE = (0.1, 0.3)


@dataclass(frozen=True)
class MixtureTrial:
    """One line of a list; `sir_db` and `snr_db` None: no overlap, no noise."""

    label: bool
    enrol: str
    target: str | None
    others: tuple[str, ...]
    rho: float
    mode: Mode
    sir_db: float | None
    snr_db: float | None
    seed: int
    seconds: float

    @property
    def voices(self) -> tuple[str, ...]:
        """The recordings in the mixture, the leading one first."""
        return self.others if self.target is None else (self.target, *self.others)

    @property
    def cell(self) -> tuple[Mode, float, float | None]:
        """Where it stands in the grid: mode, rho, SNR."""
        return self.mode, self.rho, self.snr_db

    def scene(self) -> Scene:
        """How it is mixed; the share of silence is drawn by the seed."""
        silence = float(np.random.default_rng([self.seed, 1]).uniform(*SILENCE))
        return Scene(self.mode, self.rho, self.seconds, self.sir_db, self.snr_db, silence)


def mixed_trial(trial: MixtureTrial, root: str | Path, rate: int = RATE) -> Mixture:
    """The recording of a trial, the same each time; its leading voice is the target, or who stands in for it.

    Raises `AudioError` for a voice that cannot be read or is silent.
    """
    lead, *others = (_voice(Path(root) / name, rate) for name in trial.voices)
    return mix(lead, others, trial.scene(), rate, np.random.default_rng([trial.seed, 2]))


def _voice(path: Path, rate: int) -> Samples:
    return load(path, rate).samples


def write_trials(path: str | Path, trials: Iterable[MixtureTrial]) -> None:
    """Whole or not at all. Raises `DataError` for a name that a list cannot hold."""
    lines = ["\t".join(COLUMNS)]
    for trial in trials:
        for name in (trial.enrol, *trial.voices):
            if any(bad in name for bad in "\t\n\r;") or name == "-":
                raise DataError(f"'{name}' cannot stand in a trial list", fix="Rename the file.")
        numbers = (_text(trial.sir_db), _text(trial.snr_db), str(trial.seed), _text(trial.seconds))
        others = ";".join(trial.others) or "-"
        head = (str(int(trial.label)), trial.enrol, trial.target or "-", others, _text(trial.rho), trial.mode)
        lines.append("\t".join((*head, *numbers)))
    write_atomically(path, "\n".join(lines) + "\n")


def read_trials(path: str | Path) -> tuple[MixtureTrial, ...]:
    """The trials of a list. Raises `DataError` naming the line."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise DataError("cannot be read as a trial list", where=path, fix="Check the path.") from None
    head = tuple(lines[0].split("\t")) if lines else ()
    if head not in (COLUMNS, COLUMNS[:-1]):
        raise DataError("is no list of mixture trials", where=path, fix=f"Its header is: {' '.join(COLUMNS)}.")
    return tuple(
        _read(line.split("\t"), f"{path}, line {number}") for number, line in enumerate(lines[1:], 2) if line.strip()
    )


def _read(values: Sequence[str], where: str) -> MixtureTrial:
    if len(values) not in (len(COLUMNS), len(COLUMNS) - 1):
        raise DataError(f"has {len(values)} columns", where=where, fix=f"It needs {len(COLUMNS)}.")
    row = dict(zip(COLUMNS, values, strict=False))
    if row["label"] not in ("0", "1") or row["mode"] not in ("concat", "overlap"):
        fix = "label is 0 or 1, mode concat or overlap."
        raise DataError(f"label '{row['label']}', mode '{row['mode']}'", where=where, fix=fix)
    target = None if row["target_wav"] == "-" else row["target_wav"]
    others = () if row["other_wavs"] == "-" else tuple(row["other_wavs"].split(";"))
    if (target is None) == (row["label"] == "1") or not (target or others):
        fix = "A target trial has a target_wav, a non-target trial has `-` and others."
        raise DataError("label and target_wav contradict each other", where=where, fix=fix)
    seed = _number(row, "seed", where)
    if seed is None or seed < 0 or seed != int(seed):
        raise DataError(f"seed '{row['seed']}'", where=where, fix="Give a whole number, 0 or more.")
    rho, seconds = _number(row, "rho", where), _number(row, "seconds", where)
    trial = MixtureTrial(
        label=row["label"] == "1",
        enrol=row["enrol_wav"],
        target=target,
        others=others,
        rho=math.nan if rho is None else rho,
        mode=cast("Mode", row["mode"]),
        sir_db=_number(row, "sir_db", where),
        snr_db=_number(row, "snr_db", where),
        seed=int(seed),
        seconds=drawn_seconds(int(seed), SECONDS) if seconds is None else seconds,
    )
    try:
        trial.scene()
    except EarwitnessError as error:
        raise DataError(error.what, where=where, fix=error.fix) from None
    if trial.rho < 1 and len(trial.voices) < 2:
        raise DataError(f"rho {trial.rho:g} needs another voice", where=where)
    return trial


def drawn_seconds(seed: int, limits: tuple[float, float]) -> float:
    """How long a mixture is, by its seed, to a tenth of a second."""
    return round(float(np.random.default_rng([seed, 0]).uniform(*limits)), 1)


def _number(row: dict[str, str], name: str, where: str) -> float | None:
    text = row.get(name, "-")
    if text == "-":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{name} '{text}' is no number", where=where)
    return value


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
