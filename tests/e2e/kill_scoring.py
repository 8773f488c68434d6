"""Scores to the end, then again with `kill -9` at random moments and `--resume`: `kill_scoring.py FOLDER POINTS SEED`.

Prints one line a point: the task, and after how many rows the run was killed. Children are forked from this process,
which has imported everything and scored nothing, so a point costs no start-up.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import soundfile
import torch

from earwitness.cli.main import exit_code
from earwitness.evaluation import loading  # noqa: F401 - what a child would import, once for all
from earwitness.evaluation.scoring import scorers  # noqa: F401 - likewise
from tiny_models import make_detector, make_embedder

RECORDINGS = 40
BAD = 7  # every so many is no recording


def prepare(home: Path) -> None:
    """Recordings (some bad), two models and a list of trials."""
    rng = np.random.default_rng(0)
    (home / "calls").mkdir(parents=True)
    for number in range(RECORDINGS):
        path = home / "calls" / f"{number:02}.wav"
        if number % BAD == BAD - 1:
            path.write_text("no sound")
        else:
            soundfile.write(path, 0.1 * rng.standard_normal(16_000), 16_000)
    make_detector(home / "detector")
    make_embedder(home / "embedder")
    trials = [f"{n % 2} {n:02}.wav {(n * 7 + 1) % RECORDINGS:02}.wav" for n in range(RECORDINGS) if (n * 6 + 1) % 40]
    (home / "trials.txt").write_text("\n".join(trials))


def command(home: Path, task: str, output: Path) -> list[str]:
    words = ["score", str(home / "calls"), "--task", task, "-o", str(output), "--resume"]
    if task == "speaker":
        return [*words, "--model", str(home / "embedder"), "--trials", str(home / "trials.txt")]
    return [*words, "--model", str(home / "detector"), "--workers", "2"]


def forked(work: Callable[[], int]) -> int:
    pid = os.fork()
    if pid == 0:
        torch.set_num_threads(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the failures that `score` lists
        os._exit(work())
    return pid


def finish(words: list[str]) -> None:
    """To the end; exit code 1, since some recordings are bad."""
    status = os.waitpid(forked(lambda: exit_code(words)), 0)[1]
    assert os.waitstatus_to_exitcode(status) == 1, words


def kill_at(words: list[str], part: Path, rows: int, pause_s: float) -> bool:
    """Kill a run once its part file has so many rows; whether it still ran."""
    pid = forked(lambda: exit_code(words))
    while not part.exists() or part.read_bytes().count(b"\n") < rows:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        time.sleep(0.0005)
    time.sleep(pause_s)
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def main(home: Path, points: int, seed: int) -> None:
    chance = random.Random(seed)
    prepare(home)
    for task, suffix in (("deepfake", ".csv"), ("speaker", ".csv.prints.jsonl")):
        finish(command(home, task, home / f"{task}-whole.csv"))
        for point in range(points):
            words = command(home, task, home / f"{task}-{point}.csv")
            part = home / f"{task}-{point}{suffix}.part.jsonl"
            kills = sorted(chance.sample(range(1, RECORDINGS - 2), 2))
            died = [kill_at(words, part, rows, chance.uniform(0, 0.004)) for rows in kills]
            finish(words)
            print(task, *(rows for rows, hit in zip(kills, died, strict=True) if hit), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
