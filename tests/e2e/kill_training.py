"""Trains to the end, then again with `kill -9` at random moments and resumption: `kill_training.py FOLDER POINTS SEED`.

Prints one line a point: the steps at which the run was killed. Children are forked from this process, which has
imported everything and trained nothing, so a point costs no start-up.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "training"))

import lightning_fabric  # noqa: F401 - what a child would import, once for all
import torch
import torch._dynamo  # likewise: a second
from tiny_training import TinyData, TinyTask, tiny_dev, tiny_network, tiny_recipe

from earwitness.corpora.batch import Batch
from earwitness.training.loop import fit

EPOCHS, BATCHES = 4, 12


class SlowData(TinyData):
    """Takes long enough for a kill to hit any moment of a step."""

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        for batch in super().load(epoch, places):
            time.sleep(0.002)
            yield batch


def train(folder: Path) -> None:
    torch.set_num_threads(1)
    recipe = tiny_recipe(
        epochs=EPOCHS,
        accumulate=2,
        clip_norm=1.0,
        log_every=1,
        checkpoint_every_steps=4,
        average={"of": "best", "count": 2},
        early_stop=3,
    )
    fit(tiny_network(), TinyTask(), SlowData(2 * BATCHES), tiny_dev(), recipe, folder, resume=True)


def forked_training(folder: Path) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            train(folder)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return pid


def finish(folder: Path) -> None:
    _, status = os.waitpid(forked_training(folder), 0)
    assert status == 0, f"training failed in {folder}"


def kill_at(folder: Path, line: int, pause_s: float) -> bool:
    """Kill a training once its log has `line` lines; whether it still ran."""
    pid = forked_training(folder)
    log = folder / "log.jsonl"
    while not log.exists() or log.read_bytes().count(b"\n") < line:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        time.sleep(0.0005)
    time.sleep(pause_s)
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def main(home: Path, points: int, seed: int) -> None:
    chance = random.Random(seed)
    finish(home / "whole")
    lines = EPOCHS * BATCHES
    for point in range(points):
        folder = home / f"killed-{point}"
        kills = sorted(chance.sample(range(1, lines), 2))
        died = [kill_at(folder, line, chance.uniform(0, 0.006)) for line in kills]
        finish(folder)
        print(*(line for line, hit in zip(kills, died, strict=True) if hit), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
