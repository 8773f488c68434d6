"""Peak memory and time of whole commands over longer and longer recordings, and over tables of a million rows.

    python benchmarks/memory.py [--seconds 10 600 3600] [--ways "score deepfake" examine ...] [--output FILE]
    python benchmarks/memory.py --seconds --rows 1000000

Each measurement is one command in a process of its own, as a person runs it; its peak is what the system tells of it
when it has ended (`wait4`: the most that was resident at once). The recordings are 16-bit WAV files of real speech, the
samples of this repository one after the other, written block by block. `above_short_mb` is the peak less that of the
same command over 10 seconds, which has loaded all that it loads: what the length costs. A row that is measured again
takes the place of the one before; other rows of the record stay. Threads: OMP_NUM_THREADS, 1 unless set.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ("caller", "other-voice", "synthetic", "reference-1")
REFERENCE = ROOT / "samples" / "reference-2.flac"
RATE = 16_000
SHORT_S = 10.0
TARGET_MB = 700.0  # above the short recording, of ten hours


# --- commands -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Peak:
    """Of one command that has ended."""

    seconds: float
    cpu_s: float
    peak_mb: float
    exit_code: int
    said: str


def measured(words: list[str], folder: Path) -> Peak:
    """What `earwitness WORDS` took. This process must stay small: its size is the child's at first."""
    environment = {"OMP_NUM_THREADS": "1"} | os.environ | {"EARWITNESS_CACHE": str(_cache(folder))}
    with (folder / "said.txt").open("w+b") as said:
        before = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "earwitness", *words], stdout=subprocess.DEVNULL, stderr=said, env=environment
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - before
        said.seek(0)
        told = said.read().decode("utf-8", "replace").strip()
    unit = 1 if sys.platform == "darwin" else 1024  # bytes that ru_maxrss counts in
    cpu_s = round(used.ru_utime + used.ru_stime, 1)
    failure = told[-300:] if process.returncode else ""
    return Peak(round(seconds, 1), cpu_s, round(used.ru_maxrss * unit / 1e6, 1), process.returncode, failure)


def _cache(folder: Path) -> Path:
    """Empty but for the encoder: what an earlier run has heard must be heard again."""
    from earwitness.core.cache import cache_folder

    cache, encoders = Path(tempfile.mkdtemp(dir=folder)), cache_folder() / "encoders"
    if encoders.is_dir():
        (cache / "encoders").symlink_to(encoders)
    return cache


# --- long recordings ------------------------------------------------------------------------------


def _score(*more: str) -> Callable[[Path, Path], list[str]]:
    return lambda recording, out: ["score", str(recording), *more, "-o", str(out / "out.jsonl")]


def _examine(*more: str) -> Callable[[Path, Path], list[str]]:
    def words(recording: Path, out: Path) -> list[str]:
        return ["examine", str(recording), *(word.replace("OUT", str(out)) for word in more)]

    return words


WAYS: dict[str, Callable[[Path, Path], list[str]]] = {
    "score deepfake": _score("--task", "deepfake"),
    "score deepfake-small": _score("--task", "deepfake", "--model", "deepfake-small"),
    "score deepfake --segments": _score("--task", "deepfake", "--model", "deepfake-small", "--segments", "1"),
    "score speaker": _score("--task", "speaker", "--reference", str(REFERENCE)),
    "score age": _score("--task", "age"),
    "score emotion": _score("--task", "emotion"),
    "score quality": _score("--task", "quality"),
    "examine": _examine("--reference", str(REFERENCE), "--json", "OUT/report.json"),
    "examine --html": _examine("--no-manner", "--html", "OUT/report.html"),
}


def write_long(path: Path, seconds: float) -> Path:
    """Speech of several voices for so long, in a few megabytes of memory."""
    voices = [soundfile.read(ROOT / "samples" / f"{name}.flac", dtype="int16")[0] for name in SAMPLES]
    once = np.concatenate(voices)
    left = round(seconds * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16", format="WAV") as file:
        while left:
            block = once[:left]
            file.write(block)
            left -= len(block)
    return path


def long_recordings(lengths: list[float], ways: list[str], keep: Callable[[dict[str, Any]], None]) -> None:
    """Each way over each length, told as it ends."""
    for length in sorted(lengths):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            recording = write_long(folder / "long.wav", length)
            for way in ways:
                out = folder / way.replace(" ", "-")
                out.mkdir()
                peak = measured(WAYS[way](recording, out), folder)
                keep({"way": way, "length_s": length} | vars(peak))


def slopes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What an hour costs a way, from its two longest recordings."""
    told = []
    for way in WAYS:
        found = sorted((row["length_s"], row["peak_mb"]) for row in rows if row["way"] == way)
        if len(found) < 3 or found[0][0] > SHORT_S:
            continue
        (_, short_mb), (less_s, less_mb), (most_s, most_mb) = found[0], *found[-2:]
        hours = (most_s - less_s) / 3600
        told.append(
            {
                "way": way,
                "longest_h": round(most_s / 3600, 3),
                "short_mb": short_mb,
                "above_short_mb": round(most_mb - short_mb, 1),
                "mb_an_hour": round((most_mb - less_mb) / hours, 1),
            }
        )
    return told


# --- tables of a million rows ---------------------------------------------------------------------


def write_manifest(path: Path, rows: int) -> Path:
    """Rows of one recording under names of their own: two classes, speakers of 100 rows, 50 systems, three sides."""
    import polars as pl

    n = pl.int_range(pl.len())
    human = n % 2 == 0
    columns = {
        "path": pl.lit("one.wav"),
        "duration_s": pl.lit(1.0),
        "sample_rate": pl.lit(RATE),
        "label": pl.when(human).then(pl.lit("bonafide")).otherwise(pl.lit("spoof")),
        "speaker": pl.when(human).then(pl.format("s{}", n // 200)),
        "system": pl.when(~human).then(pl.format("tts{}", (n // 2) % 50)),
        "family": pl.when(~human).then(pl.format("f{}", (n // 2) % 10)),
        "corpus": pl.lit("c"),
        "licence": pl.lit("CC0-1.0"),
    }
    ids = pl.DataFrame({"id": pl.int_range(rows, eager=True)}).select(pl.format("row-{}", pl.col("id")).alias("id"))
    table = ids.with_columns(**columns)
    table.write_csv(path)
    return path


def write_nearly_done(table: Path, part: Path, rows: int) -> None:
    """The part file of a run over `rows` rows that was killed shortly before its end, from the one row of `table`."""
    import polars as pl

    one = pl.read_ndjson(table)
    ids = pl.select(pl.format("row-{}", pl.int_range(rows - 10)).alias("id")).to_series()
    others = [pl.lit(one[name][0], dtype=one.schema[name]).alias(name) for name in one.columns if name != "id"]
    pl.DataFrame({"id": ids}).select("id", *others).write_ndjson(part)


SPLIT = "detection"


def tables(rows: int, keep: Callable[[dict[str, Any]], None]) -> None:
    """Commands over a manifest of so many rows, and of a tenth of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_long(folder / "one.wav", 1.0)
        steps: dict[str, list[str]] = {
            "corpus describe": ["corpus", "describe", "m.csv", "--json"],
            "corpus split": ["corpus", "split", "m.csv", "--rule", SPLIT, "-o", "split.parquet"],
            "corpus import": ["corpus", "import", "manifest", "m.csv", "-o", "again.parquet"],
            "corpus check": ["corpus", "check", "m.csv"],
        }
        score = ["score", "m.csv", "--task", "deepfake", "--model", "deepfake-small", "--resume", "-o"]
        for suffix in ("csv", "parquet"):
            steps[f"score --resume, {suffix}"] = [*score, f"out.{suffix}"]
        measured([*_inside(["score", "one.wav", *score[2:]], folder), str(folder / "one.jsonl")], folder)
        for step, words in steps.items():
            for count in (rows // 10, rows):
                write = [sys.executable, __file__, "--write", str(folder), str(count), words[-1].strip("-")]
                subprocess.run(write, check=True)  # in a process of its own, as this one must stay small
                peak = measured(_inside(words, folder), folder)
                keep({"way": step, "rows": count} | vars(peak))


def _inside(words: list[str], folder: Path) -> list[str]:
    """Files of the folder by their whole names."""
    return [str(folder / word) if "." in word and "/" not in word else word for word in words]


def write_for(folder: Path, rows: int, output: str) -> None:
    """What a command over `rows` rows finds: the manifest, and for scores what an earlier run has left."""
    for old in folder.glob("out.*"):
        old.unlink()
    write_manifest(folder / "m.csv", rows)
    if output.startswith("out."):
        write_nearly_done(folder / "one.jsonl", folder / f"{output}.part.jsonl", rows)


# --- the record -----------------------------------------------------------------------------------


class Record:
    """The rows so far in one JSON file, written anew after each measurement."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path, self.settings = path, settings
        self.data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def rows(self, part: str) -> list[dict[str, Any]]:
        """Of `recordings` or `tables`."""
        found: list[dict[str, Any]] = self.data.setdefault(part, [])
        return found

    def keep(self, part: str, row: dict[str, Any], *key: str) -> None:
        """In the place of an earlier row with these values."""
        from earwitness.core.records import RunRecord
        from earwitness.core.writing import write_atomically

        record = RunRecord.make("python benchmarks/memory.py", self.settings).plain()
        row = row | {"code": record["versions"]["code"], "created": record["created"]}
        others = [old for old in self.rows(part) if any(old[name] != row[name] for name in key)]
        self.data[part] = sorted([*others, row], key=lambda old: tuple(old[name] for name in key))
        self.data["slopes"], self.data["record"] = slopes(self.rows("recordings")), record
        write_atomically(self.path, json.dumps(self.data, indent=2, ensure_ascii=False) + "\n")
        print(json.dumps(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="*", default=[SHORT_S, 600.0, 3600.0], help="lengths")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--rows", type=int, default=0, help="of a manifest: 1000000 measures the tables")
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "memory.json")
    asked = parser.parse_args()
    if asked.write:
        folder, rows, output = asked.write
        write_for(Path(folder), int(rows), output)
        return
    record = Record(asked.output, {"seconds": asked.seconds, "ways": asked.ways})
    long_recordings(asked.seconds, asked.ways, lambda row: record.keep("recordings", row, "way", "length_s"))
    if asked.rows:
        tables(asked.rows, lambda row: record.keep("tables", row, "way", "rows"))
    print(json.dumps(record.data.get("slopes", []), indent=2))


if __name__ == "__main__":
    main()
