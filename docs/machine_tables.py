"""Tables of what was timed and measured on a machine: speed, memory and faults, out of benchmarks/results/."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
SPEEDS = (  # benchmark, what is timed, parts with a target
    ("metrics_speed", "a resample of EER, minDCF and Cllr", {"speaker x system": ">= 10", "utterance": ">= 10"}),
    (
        "speaker_speed",
        "voices: a million cosine trials with AS-norm, and voice prints of 10 s",
        {"loop over trials": ">= 50"},
    ),
    ("gallery_speed", "one voice against 1e5 known ones", {}),
    ("rawboost_speed", "RawBoost", {"LnL": ">= 3"}),
    (
        "retrieval_speed",
        "10 neighbours in each of 4 layers, of 1e5 segments",
        {"loop, similarity anew": ">= 5", "loop, unit vectors": ">= 5"},
    ),
)


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown; bars in cells are escaped."""
    lines = [list(heads)]
    lines += [["---"] * len(lines[0]), *([str(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def kept(name: str) -> Any:
    """The recorded run of a benchmark."""
    return json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8"))


def speeds() -> str:
    """The ratios of the recorded benchmark runs."""
    sys.path.insert(0, str(BENCHMARKS))
    from run_all import ratios

    rows: list[tuple[object, ...]] = []
    for name, words, targets in SPEEDS:
        data = kept(name)
        for place, value in ratios(data["result"]):
            part = place.split(":")[0]
            command = f"`python benchmarks/run_all.py {name}`"
            rows.append((words, part, f"{value:.1f}", targets.get(part, "-"), command))
    return table(("what", "beside, or part", "times faster", "target", "command"), rows)


def scoring() -> str:
    """`score` beside the network alone and a loop over files, of the recorded benchmark run."""
    result = kept("score_speed")["result"]
    heads = (
        "model",
        "of the network's own speed (target 0.90)",
        "times a loop over files (2)",
        "times a loop on one thread",
        "times real time (50)",
    )
    keys = ("share_of_forward_speed", "times_faster_than_loop", "times_faster_than_loop_on_one_thread")
    rows = [
        (f"`{row['model']}`", *(f"{row[key]:.2f}" for key in keys), f"{row['times_faster_than_real_time']:.0f}")
        for row in result["rows"]
    ]
    return table(heads, rows)


def listening() -> str:
    """What layout and allocator are worth to networks of convolutions, of the recorded benchmark run."""
    result = kept("listening_speed")["result"]
    heads = (
        "published settings",
        "core-s a second of sound",
        "channels-last, times",
        "memory kept, times",
        "both, times",
    )
    keys = ("times_faster_channels_last", "times_faster_keeping_memory", "times_faster_with_both")
    rows = [
        (f"`{row['name']}`", row["processor_s_a_second_of_sound"], *(f"{row[key]:.1f}" for key in keys))
        for row in result["rows"]
    ]
    return table(heads, rows)


def onnx() -> str:
    """Networks through ONNX Runtime beside torch, of the recorded benchmark run."""
    heads = ("model or published settings", "torch, core-s a second of sound", "ONNX Runtime, times faster")
    rows = [
        (f"`{row['name']}`", row["processor_s_a_second_of_sound"], f"{row['times_faster_by_onnxruntime']:.2f}")
        for row in kept("onnx_speed")["result"]["rows"]
    ]
    return table(heads, rows)


def alignment() -> str:
    """What an aligned step costs, of the recorded benchmark run."""
    result = kept("alignment_speed")["result"]
    targets = {"separate forward": "<= 1.15 times", "lean": "at least 16 bytes below `full`"}
    found = {row["name"]: f"{row['ratio']:.2f} times a plain step" for row in result["step"]}
    found |= {row["name"]: f"{row['bytes_a_parameter']:.1f} bytes a parameter" for row in result["memory"]}
    rows = [(name, value, targets.get(name, "-")) for name, value in found.items()]
    return table(("form or algorithm", "time, or peak memory beyond weights and optimiser", "target"), rows)


def scale() -> str:
    """What the engines of `score` cost, of the recorded benchmark run."""
    result = kept("scale_speed")["result"]
    heads = ("engine", "workers", "start, s", "core-s a second of audio", "core-hours of 10 million files of 10 s")
    rows = [
        (
            row["name"].partition("_")[0],
            row["workers"],
            f"{row['start_s']:.1f}",
            f"{row['core_s_per_audio_s']:.4f}",
            f"{row['core_hours_of_ten_million_files_of_10_s']:.0f}",
        )
        for row in result["engines"]
    ]
    return table(heads, rows)


def time_profile() -> str:
    """Where the time of `examine` and `score` goes."""
    result = kept("time_profile")["result"]
    rows = ((row["of"], row["stage"], row["processor_s"], f"{row['share']:.0%}") for row in result["rows"])
    return table(("of", "stage", "processor time, s", "share"), rows)


def memory_lengths() -> str:
    """Peak memory of whole commands over longer and longer recordings."""
    rows = kept("memory")["recordings"]
    short = {row["way"]: row["peak_mb"] for row in rows if row["length_s"] == 10}
    cells = (
        (
            f"`{row['way']}`",
            f"{row['length_s'] / 60:.4g}",
            f"{row['peak_mb']:.0f}",
            f"{row['peak_mb'] - short[row['way']]:+.0f}",
            f"{row['cpu_s']:.0f}" if "cpu_s" in row else "-",
        )
        for row in rows
        if row["way"] in short
    )
    return table(("command", "minutes of audio", "peak, MB", "above 10 s of audio, MB", "processor time, s"), cells)


def memory_rows() -> str:
    """Peak memory and time of commands over manifests of many rows."""
    rows = kept("memory")["tables"]
    cells = ((f"`{r['way']}`", r["rows"], f"{r['peak_mb']:.0f}", f"{r['cpu_s']:.0f}") for r in rows)
    return table(("command", "rows", "peak, MB", "processor time, s"), cells)


def damaged_files() -> str:
    """What became of damaged audio files, by format."""
    found = kept("soak")["damaged_files"]
    names = ("refused", "unharmed", "noted", "altered", "redeclared", "shortened", "other error", "crashed", "hung")
    rows = [(name, *(counts.get(outcome, 0) for outcome in names)) for name, counts in found["outcomes"].items()]
    return table(("format", *names), rows)


def soak_tests() -> str:
    """The long tests of the recorded run."""
    tests = kept("soak")["tests"]
    return table(("test", "outcome"), ((test["test"].split("::")[1], test["outcome"]) for test in tests))


TABLES: dict[str, Callable[[], str]] = {
    "alignment": alignment,
    "damaged-files": damaged_files,
    "listening": listening,
    "memory-lengths": memory_lengths,
    "memory-rows": memory_rows,
    "onnx": onnx,
    "scale": scale,
    "scoring": scoring,
    "soak-tests": soak_tests,
    "speeds": speeds,
    "time-profile": time_profile,
}
