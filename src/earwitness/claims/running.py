"""Running a claim: every arm with every seed, kept as it comes; judged and written once all are there."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from earwitness.claims.judging import Judgement, judge
from earwitness.claims.material import PER_SPEAKER, SPLIT, Material
from earwitness.claims.plan import ArmRun, Claim, Figure
from earwitness.core.errors import DataError, UsageError
from earwitness.core.hashing import sha256_data
from earwitness.core.records import RunRecord
from earwitness.core.writing import write_atomically

FEWEST_SEEDS = 3
Told = Callable[[str, int], None]
"""Hears of each arm and seed that is done."""


@dataclass(frozen=True)
class Result:
    """A judged claim with its run record; `minutes` is what the runs took, without hearing the recordings."""

    name: str
    source: str
    statement: str
    notes: tuple[str, ...]
    seeds: tuple[int, ...]
    judgement: Judgement
    minutes: float
    record: RunRecord

    def write(self, path: str | Path) -> None:
        """As JSON, whole or not at all."""
        write_atomically(path, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")


def run_claim(
    claim: Claim, seeds: Sequence[int], material: Material, folder: Path, told: Told = lambda *_: None
) -> Result:
    """Run what is missing of a claim, and judge it. A run that was killed goes on in the same folder.

    Sums depend on the number of threads in their last digits, so that is recorded too.

    Raises `UsageError` for fewer than `FEWEST_SEEDS` different seeds, and `DataError` where an arm's scores are not
    finite numbers for all test rows.
    """
    plan = claim.plan
    if len(set(seeds)) < FEWEST_SEEDS:
        raise UsageError(f"{len(set(seeds))} seed(s) show nothing", fix=f"Give at least {FEWEST_SEEDS}.")
    data = sha256_data([list(material.hashes), material.rows.table["id"].to_list(), SPLIT.model_dump(mode="json")])
    known = sha256_data([data, asdict(plan)])[:16]
    runs: dict[str, list[ArmRun]] = {arm.name: [] for arm in plan.arms}
    seconds = 0.0
    for seed in seeds:
        for arm in plan.arms:
            place = folder / f"{known}-{arm.name}-{seed}"
            run, took = _kept_run(claim, arm.name, seed, material, place)
            runs[arm.name].append(run)
            seconds += took
            told(arm.name, seed)
    record = RunRecord.make(
        f"earwitness claim run {plan.name} --seeds {len(seeds)}",
        {
            "claim": plan.name,
            "seeds": list(seeds),
            "threads": torch.get_num_threads(),
            "data": material.source,
            "per_speaker": PER_SPEAKER,
            "split": SPLIT.model_dump(mode="json"),
        },
        seed=seeds[0],
        inputs={"rows": material.rows.sha256, "audio": data},
        definitions={"EER": "interpolated, in per cent; mean over seeds"},
        licences=sorted(set(material.rows.table["licence"].drop_nulls())),
    )
    judgement = judge(plan, runs, seeds, material)
    minutes = round(seconds / 60, 1)
    return Result(plan.name, plan.source, plan.statement, plan.notes, tuple(seeds), judgement, minutes, record)


def _kept_run(claim: Claim, arm: str, seed: int, material: Material, place: Path) -> tuple[ArmRun, float]:
    """A run and the seconds it took; read where it was done before."""
    done = place.with_suffix(".json")
    if done.is_file():
        return _read(done)
    started = time.monotonic()
    torch.manual_seed(seed)
    run = claim.run(arm, seed, material, place)
    took = time.monotonic() - started
    expected = len(material.sides(seed).test)
    if run.scores.shape != (expected,) or not np.isfinite(run.scores).all():
        raise DataError(f"arm '{arm}' of '{claim.plan.name}' did not score all {expected} test rows with seed {seed}")
    content = {"scores": run.scores.tolist(), "figures": [asdict(figure) for figure in run.figures], "seconds": took}
    write_atomically(done, json.dumps(content))
    shutil.rmtree(place, ignore_errors=True)  # its checkpoints: the scores are what is kept
    return run, took


def _read(path: Path) -> tuple[ArmRun, float]:
    data = json.loads(path.read_text(encoding="utf-8"))
    figures = tuple(Figure(**figure) for figure in data["figures"])
    return ArmRun(np.array(data["scores"]), figures), float(data["seconds"])
