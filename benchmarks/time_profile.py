"""Where the time of `examine` and of `score` goes, and what the least of it is: one thread, processor time.

    python benchmarks/time_profile.py [--rounds 3]

Every row is measured in a fresh process, the stages of one row one after the other, the best of the rounds. `share` is
of all stages of the row. The floor of a start is Python and torch; that of a recording is each network on windows that
lie in memory. Rates of the parts that every sound passes through (decoding, resampling, features) are in
`benchmarks/audio_speed.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLOCK = "from earwitness.core.allocator import keep_freed_memory; keep_freed_memory()  # as the command line does\n"
CLOCK += "import json, time; marks = [('', 0.0)]; mark = lambda name: marks.append((name, time.process_time()))\n"
TOLD = "\nprint(json.dumps(marks))"

EXAMINE = """
mark('Python')
import torch; torch.set_num_threads(1)
mark('import of torch')
from earwitness.examine.examiner import Examiner
mark('import of the rest')
examiner = Examiner.load()
mark('models')
examiner.examine('samples/caller.flac')
mark('a first recording of 7 s')
import numpy, soundfile, tempfile, pathlib
sound, rate = soundfile.read('samples/caller.flac', dtype='float32')
folder = pathlib.Path(tempfile.mkdtemp())
soundfile.write(folder / 'long.wav', numpy.resize(sound, 60 * rate), rate)
mark('-')
examiner.examine(folder / 'long.wav')
mark('a recording of 60 s')
"""

QUESTIONS = """
import numpy, soundfile, tempfile, pathlib, torch
torch.set_num_threads(1)
from earwitness.audio.facts import file_facts
from earwitness.examine.examiner import Examiner
from earwitness.examine.questions import Channel
examiner = Examiner.load()
examiner.examine('samples/caller.flac')
sound, rate = soundfile.read('samples/caller.flac', dtype='float32')
path = pathlib.Path(tempfile.mkdtemp()) / 'long.wav'
soundfile.write(path, numpy.resize(sound, 60 * rate), rate)
mark('-')
channel = Channel(path, None, file_facts(path, None))
mark('facts of the file')
from earwitness.nn.frontends.encoder import keeping_states
with keeping_states():
    for question in examiner.questions:
        list(question.answer(channel, None))
        mark(type(question).__name__)
"""

SCORE = """
mark('Python')
import torch; torch.set_num_threads(1)
mark('import of torch')
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.loading import load
from earwitness.evaluation.scoring.scorers import score_detection
import polars, pathlib, tempfile
mark('import of the rest')
detector = load('deepfake')
mark('the model')
folder = pathlib.Path(tempfile.mkdtemp())
detector.score_file('samples/caller.flac')
mark('-')
from earwitness.audio import cut, load
sound = [load('samples/caller.flac') for _ in range(FILES)]
mark('decoding, hashing')
windows = [cut(one.samples, one.rate, detector.info.windows) for one in sound]
mark('windows')
for prepared in windows:
    detector.score_windows(prepared)
mark('the network')
table = polars.DataFrame({'id': [str(n) for n in range(FILES)], 'path': ['caller.flac'] * FILES})
manifest = Manifest.from_table(table, pathlib.Path('samples').resolve())
mark('-')
score_detection(manifest, detector, folder / 'scores.parquet')
mark('all of it, from files to a table')
"""
FILES = 40


def stages(code: str) -> list[tuple[str, float]]:
    """Seconds of the processor by stage, in a process of its own; stages called '-' are left out."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CLOCK + f"FILES = {FILES}" + code + TOLD],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    marks = json.loads(done.stdout.splitlines()[-1])
    spans = [(name, after - before) for (_, before), (name, after) in pairwise(marks)]
    return [span for span in spans if span[0] != "-"]


def profile(name: str, code: str, rounds: int) -> list[dict[str, object]]:
    """One row a stage: the best of the rounds, and its share of all stages."""
    found = [stages(code) for _ in range(rounds)]
    best = [(found[0][place][0], min(one[place][1] for one in found)) for place in range(len(found[0]))]
    whole = sum(seconds for _, seconds in best)
    return [
        {"of": name, "stage": stage, "processor_s": round(seconds, 2), "share": round(seconds / whole, 2)}
        for stage, seconds in best
    ]


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    ways = {"examine": EXAMINE, "examine, 60 s, by question": QUESTIONS, f"score, {FILES} recordings of 7 s": SCORE}
    rows = [row for name, code in ways.items() for row in profile(name, code, rounds)]
    print(json.dumps({"rows": rows}, indent=2))


if __name__ == "__main__":
    main()
