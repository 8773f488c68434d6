"""Runs the benchmarks one after the other, keeps each one's output with machine and versions, and prints the ratios.

    python benchmarks/run_all.py [NAME ...]        # e.g. audio_speed; all but the long ones without a name

Each is a module with a `main()` that prints one JSON document. It runs in a process of its own, so that none warms up
another. A result is written to benchmarks/results/NAME.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from earwitness.core.records import RunRecord
from earwitness.core.writing import write_atomically

HERE = Path(__file__).resolve().parent
BENCHMARKS: dict[str, tuple[str, ...]] = {
    "alignment_speed": (),
    "audio_speed": (),
    "flan_validate": (),
    "condense_speed": (),
    "bench_runner": (),
    "gallery_speed": (),
    "interval_coverage": (),
    "listening_speed": (),
    "metrics_speed": (),
    "onnx_speed": (),
    "rawboost_speed": ("--json",),
    "retrieval_speed": (),
    "scale_speed": (),
    "score_speed": (),
    "speaker_speed": (),
    "speech_llm_throughput": (),
    "time_profile": (),
}
LONG: dict[str, tuple[str, ...]] = {"data_free_shipped": (), "sex_balance": ("data/all.csv",)}
"""Run where they are named alone: half an hour of a core and more, and they need recordings of people."""
_NAMES = ("name", "unit", "step", "model")  # what a row of results calls itself


def run(name: str) -> dict[str, Any]:
    """What a benchmark prints, beside the record of its run. Raises `CalledProcessError` where it fails."""
    options = (BENCHMARKS | LONG)[name]
    command = [sys.executable, str(HERE / f"{name}.py"), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    record = RunRecord.make(f"python benchmarks/{name}.py {' '.join(options)}".rstrip(), {}).plain()
    record["machine"] |= {"cores": str(len(os.sched_getaffinity(0))), "load": f"{os.getloadavg()[0]:.1f}"}
    return {"result": json.loads(done.stdout), "record": record}


def ratios(data: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Every figure of a result that is a ratio: its key starts with `times_` or `share_`, or is `ratio`."""
    if isinstance(data, list):
        for item in data:
            yield from ratios(item, place)
    elif isinstance(data, dict):
        own = next((str(data[key]) for key in _NAMES if isinstance(data.get(key), str)), "")
        inner = f"{place} {own}".strip()
        for key, value in data.items():
            if isinstance(value, list | dict):
                yield from ratios(value, inner)
            elif key.startswith(("times_", "share_")) or key == "ratio":
                yield f"{inner}: {key.replace('_', ' ')}", float(value)


def main() -> None:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(description="Run the benchmarks and print their ratios.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS | LONG))
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS | LONG]:
        parser.error(f"there is no benchmark '{unknown[0]}'; there are {', '.join(BENCHMARKS | LONG)}")
    for name in names:
        document = run(name)
        write_atomically(HERE / "results" / f"{name}.json", json.dumps(document, indent=2) + "\n")
        print(name)
        for what, value in ratios(document["result"]):
            print(f"  {what:60} {value:8.2f}")


if __name__ == "__main__":
    main()
