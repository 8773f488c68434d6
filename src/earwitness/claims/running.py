"""Running a claim: every arm with every seed, kept as it comes; judged and written once all are there."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from earwitness.claims.judging import Judgement, judge
from earwitness.claims.plan import ArmRun, Claim, Figure, M
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


def run_claim(claim: Claim[M], seeds: Sequence[int], material: M, folder: Path, told: Told = lambda *_: None) -> Result:
    """Run what is missing of a claim, and judge it. A run that was killed goes on in the same folder.

    Sums depend on the number of threads in their last digits, so that is recorded too.

    Raises `UsageError` for fewer than `FEWEST_SEEDS` different seeds, and `DataError` where an arm's scores are not
    finite numbers for all that is tested.
    """
    plan = claim.plan
    if len(set(seeds)) < FEWEST_SEEDS:
        raise UsageError(f"{len(set(seeds))} seed(s) show nothing", fix=f"Give at least {FEWEST_SEEDS}.")
    known = sha256_data([material.key, asdict(plan)])[:16]
    tested = material.tested(seeds)
    runs: dict[str, list[ArmRun]] = {arm.name: [] for arm in plan.arms}
    seconds = 0.0
    for number, seed in enumerate(seeds):
        for arm in plan.arms:
            place = folder / f"{known}-{arm.name}-{seed}"
            torch.manual_seed(seed)
            run, took = _kept(partial(claim.run, arm.name, seed, material, place), place, tested.count(number))
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
            **material.settings,
        },
        seed=seeds[0],
        inputs=material.inputs,
        definitions={tested.measure: tested.definition},
        licences=list(material.licences),
    )
    judgement = judge(plan, runs, tested)
    minutes = round(seconds / 60, 1)
    return Result(plan.name, plan.source, plan.statement, plan.notes, tuple(seeds), judgement, minutes, record)


def _kept(run: Callable[[], ArmRun], place: Path, count: int) -> tuple[ArmRun, float]:
    """What a run gives and the seconds it took; read where it was done before. Raises `DataError` where it does not
    give `count` finite scores."""
    done = place.parent / f"{place.name}.json"  # an arm's name may hold a dot
    if done.is_file():
        return _read(done)
    started = time.monotonic()
    found = run()
    took = time.monotonic() - started
    if found.scores.shape != (count,) or not np.isfinite(found.scores).all():
        raise DataError(f"did not score all that its seed tests: {count} finite numbers are needed", where=place.name)
    told = [asdict(figure) for figure in found.figures]
    content = {"scores": found.scores.tolist(), "figures": told, "seconds": took}
    write_atomically(done, json.dumps(content))
    shutil.rmtree(place, ignore_errors=True)  # its checkpoints: the scores are what is kept
    return found, took


def _read(path: Path) -> tuple[ArmRun, float]:
    data = json.loads(path.read_text(encoding="utf-8"))
    figures = tuple(Figure(**figure) for figure in data["figures"])
    return ArmRun(np.array(data["scores"]), figures), float(data["seconds"])
