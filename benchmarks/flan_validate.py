"""How long 100 000 instruction records take to validate, against reading their JSON alone, which nobody can save;
processor time of one thread.

    python benchmarks/flan_validate.py

Prints one JSON document; `ratio` is validation over `json.loads`, each the best of three runs over the same file.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from earwitness.speech_llm.flan.records import line_of, made
from earwitness.speech_llm.flan.spans import span
from earwitness.speech_llm.flan.taxonomy import tasks
from earwitness.speech_llm.flan.validation import validate_files

RECORDS, RUNS = 100_000, 3


def write(path: Path) -> None:
    """Records of all tasks in turn, with one to three recordings each."""
    every = list(tasks().values())
    with path.open("w", encoding="utf-8") as file:
        for number in range(RECORDS):
            task = every[number % len(every)]
            parts = [f"audio sample {part + 1}: {span(f'13_Corpus_{number}_{part}')}" for part in range(1 + number % 3)]
            output = span(f"13_Corpus_{number}_out") if task.answer == "audio" else "Answer: „ja“"
            facts = {"speakers": [f"speaker {number % 500}"], "choices": ["ja", "nein"]}
            record = made(
                task, "Say what is asked about the recording.", "\n".join(parts), output, "train", ["x"], facts
            )
            file.write(line_of(record))


def best(work: Callable[[], object]) -> float:
    """Seconds of the fastest run."""
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def read_json(path: Path) -> int:
    """Parse every line and keep none."""
    with path.open(encoding="utf-8") as file:
        return sum(isinstance(json.loads(line), dict) for line in file)


def main() -> None:
    """Write, validate, print."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.jsonl"
        write(path)
        report = validate_files([path])
        if (report.records, report.faulty) != (RECORDS, 0):
            raise SystemExit(f"{report.faulty} of {report.records} records are at fault: {report.listed[:3]}")
        json_s = best(lambda: read_json(path))
        validate_s = best(lambda: validate_files([path]))
    result = {
        "name": "flan_validate",
        "records": RECORDS,
        "json_seconds": round(json_s, 3),
        "validate_seconds": round(validate_s, 3),
        "ratio": round(validate_s / json_s, 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
