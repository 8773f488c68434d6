"""What does each loss of an age say of its own uncertainty? `python benchmarks/age_losses.py` (minutes of one core).

2 000 made-up people of 20 to 80 years, whose label scatters with a standard deviation of 2 or of 8 years, and whose
input says which. A network of two hidden layers learns 40 epochs by each loss, two seeds each. On 2 000 others:

    mae         of the distribution's mean, years
    sd          the predicted standard deviation, mean over those with noise 2 / with noise 8
    selected    the width that SVLDL's selection prefers for them, mean over those with noise 2 / with noise 8
    spearman    of the predicted standard deviation with the absolute error
    nll, crps   of the distribution as it was learnt, and recalibrated by one temperature on a third such set
    changes     how often the first differences of a distribution change sign: 1 says one mode

The design is that of SVLDL's sheet. Nothing is selected: whatever comes out is printed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.core.config import parse_config
from earwitness.core.records import RunRecord
from earwitness.core.writing import write_atomically
from earwitness.metrics.distribution import GridDistributions, crps, nll
from earwitness.metrics.regression import mae, spearman
from earwitness.nn.losses.label_distribution import CandidateTargets, ValueLossConfig, ValueLossConfigBase
from earwitness.nn.losses.label_distribution.svldl import CANDIDATES
from earwitness.paralinguistic.age import fitted_temperature, tempered
from earwitness.training.loop import seed_run

RESULT = Path(__file__).resolve().parent / "results" / "age_losses.json"
NOISES = (2.0, 8.0)
ARMS: dict[str, dict[str, Any]] = {
    "ce": {"kind": "ce"},
    "ldl, s = 2": {"kind": "dldl"},
    "svldl, w_var = 0": {"kind": "svldl", "variance_weight": 0.0},
    "svldl, w_var = .005": {"kind": "svldl", "variance_weight": 0.005},
    "svldl, w_var = .02": {"kind": "svldl", "variance_weight": 0.02},
    "svldl, w_var = .1": {"kind": "svldl", "variance_weight": 0.1},
    "svldl, w_var = .02, no differences": {"kind": "svldl", "variance_weight": 0.02, "difference_weight": 0.0},
    "svldl, predicted": {"kind": "svldl", "variance": "predicted", "variance_weight": 0.02},
    "mean-variance": {"kind": "mean_variance"},
    "dldl-v2": {"kind": "dldl_v2"},
    "sord": {"kind": "sord"},
    "or-cnn": {"kind": "or_cnn"},
    "coral": {"kind": "coral"},
    "unimodal": {"kind": "unimodal"},
    "l1": {"kind": "regression"},
}


@dataclass(frozen=True)
class Toy:
    """How large the experiment is."""

    people: int = 2000
    epochs: int = 40
    batch: int = 50
    hidden: int = 64
    lr: float = 1e-3


@dataclass(frozen=True)
class Figures:
    """What a loss said of people it did not learn from; see the module."""

    mae: float
    sd_2: float
    sd_8: float
    selected_2: float
    selected_8: float
    spearman: float
    nll: float
    crps: float
    temperature: float
    nll_recalibrated: float
    crps_recalibrated: float
    changes: float


@dataclass(frozen=True)
class People:
    """`inputs` [N, 2]: the age about 0, and the noise; `ages` [N] whole years; `noisy` bool [N]."""

    inputs: Tensor
    ages: Tensor
    noisy: Tensor


def people(count: int, seed: int) -> People:
    """Half with each noise; labels are whole years from 20 to 80."""
    rng = np.random.default_rng([seed, 61])
    true, noisy = rng.uniform(20, 80, count), rng.random(count) < 0.5
    labels = true + np.where(noisy, NOISES[1], NOISES[0]) * rng.standard_normal(count)
    inputs = np.stack([(true - 50) / 15, noisy * 2.0 - 1], axis=1)
    ages = np.clip(np.rint(labels), 20, 80)
    return People(torch.tensor(inputs).float(), torch.tensor(ages).float(), torch.tensor(noisy))


def figures(loss: dict[str, Any], toy: Toy, seed: int) -> Figures:
    """Train by one loss, and judge on others."""
    config: ValueLossConfigBase = parse_config(ValueLossConfig, loss)
    train, dev, test = (people(toy.people, 3 * seed + part) for part in range(3))
    seed_run(seed, "age-losses", json.dumps(loss))
    network = nn.Sequential(
        nn.Linear(2, toy.hidden),
        nn.ReLU(),
        nn.Linear(toy.hidden, toy.hidden),
        nn.ReLU(),
        nn.Linear(toy.hidden, config.outputs),
    )
    criterion = config.build()
    with torch.no_grad():
        network[-1].bias.copy_(criterion.start(train.ages))
    learning = torch.optim.Adam([*network.parameters(), *criterion.parameters()], lr=toy.lr)
    for epoch in range(toy.epochs):
        criterion.set_progress(epoch)
        for part in torch.randperm(toy.people).split(toy.batch):
            learning.zero_grad()
            sum(criterion(network(train.inputs[part]), train.ages[part]).values()).backward()  # type: ignore[union-attr]
            learning.step()
    criterion.eval()
    with torch.no_grad():
        logs = [criterion.log_distribution(network(side.inputs)).double() for side in (dev, test)]
    return judged(config, logs, dev, test)


def judged(config: ValueLossConfigBase, logs: Sequence[Tensor], dev: People, test: People) -> Figures:
    """From the log-distributions of dev and test."""
    grid, ages, noisy = config.grid.values, test.ages.double().numpy(), test.noisy.numpy()
    tuned, bare = (log_p.exp().numpy() for log_p in logs)
    said = GridDistributions.of(grid, bare)
    temperature = fitted_temperature(dev.ages.double().numpy(), grid, tuned, "nll")
    better = GridDistributions.of(grid, tempered(bare, temperature))
    width = CandidateTargets(config.grid, CANDIDATES).select(logs[1].float(), test.ages).width.numpy()
    turns = np.diff(np.sign(np.diff(bare, axis=1)), axis=1) != 0
    return Figures(
        mae=mae(ages, said.mean),
        sd_2=float(said.sd[~noisy].mean()),
        sd_8=float(said.sd[noisy].mean()),
        selected_2=float(width[~noisy].mean()),
        selected_8=float(width[noisy].mean()),
        spearman=spearman(said.sd, np.abs(said.mean - ages)),
        nll=nll(ages, said),
        crps=crps(ages, said),
        temperature=temperature,
        nll_recalibrated=nll(ages, better),
        crps_recalibrated=crps(ages, better),
        changes=float(turns.sum(axis=1).mean()),
    )


def main() -> None:
    """Print the mean over seeds of every arm, and keep every seed's; what is there already is not run again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    options = parser.parse_args()
    toy = Toy()
    found: list[dict[str, Any]] = []
    if options.output.is_file():
        before = json.loads(options.output.read_text(encoding="utf-8"))
        found = before["arms"] if before["toy"] == asdict(toy) else []
    for name in options.arms:
        for seed in options.seeds:
            if not any((row["arm"], row["seed"]) == (name, seed) for row in found):
                found.append({"arm": name, "seed": seed, **asdict(figures(ARMS[name], toy, seed))})
                record = RunRecord.make("python benchmarks/age_losses.py", {"toy": asdict(toy)}, seed=0).plain()
                write_atomically(
                    options.output, json.dumps({"record": record, "toy": asdict(toy), "arms": found}, indent=2) + "\n"
                )
    for line in table(found):
        print(line)


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown, a row an arm: means over its seeds."""
    names = [field.name for field in fields(Figures)]
    lines = [f"| loss | {' | '.join(names)} |", f"|{' --- |' * (len(names) + 1)}"]
    for arm in dict.fromkeys(row["arm"] for row in rows):
        mine = [row for row in rows if row["arm"] == arm]
        means = [f"{np.mean([row[name] for row in mine]):.2f}" for name in names]
        lines.append(f"| {arm} | {' | '.join(means)} |")
    return lines


if __name__ == "__main__":
    main()
