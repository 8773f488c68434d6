"""Long runs: kills, memory, and damaged audio files by the thousand; a JSON record of it all.

    python benchmarks/soak.py --output benchmarks/results/soak.json [--files 10000] [--seed 0] [--no-tests] [TESTS]

The tests are those of `TESTS` that are marked `soak`, and others where their paths are given. The long experiments of
single systems are marked so too: `pytest -m soak tests/training` runs those of that room, for hours.

A damaged file is read in a process of its own, so that a crash or a hang is a finding and not the end of the run. It
must give samples or an `AudioError`, within 10 seconds, and what it gives is compared with the file before the damage:

    refused     an `AudioError`
    unharmed    the samples are those of the whole file
    noted       they are not, and the recording's steps say that something is amiss
    altered     they are not, as many seconds as before or more, and nothing is said: sound without a checksum
    redeclared  there is more than a tenth of a second less than before, as the damaged header itself declares
    shortened   there is less, the header declares more or nothing, and nothing is said: a silent success

Files that crash, hang, raise another error or are shortened are findings and kept beside the record. With --no-tests
the tests of an earlier record stay in it, with the record of their own run (`tests_record`). Exit code 1 where a test
failed or there are findings.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import select
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("tests/core", "tests/e2e")
PATIENCE_S = 10.0
RATE = 16_000
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "m4a": ("MP4", "AAC"),  # by FFmpeg, as libsndfile has none
}
SECONDS = 1.5
SHORTER_S = 0.1  # than before, that must be refused or told
FINE = ("refused", "unharmed", "noted", "altered", "redeclared")


# --- damaged files --------------------------------------------------------------------------------


@dataclass
class Fuzzed:
    """What became of the damaged files; `findings` are those whose outcome is none of `FINE`."""

    files: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)  # by format
    damages: dict[str, dict[str, int]] = field(default_factory=dict)  # by the kind of damage, of files with one kind
    findings: list[dict[str, str]] = field(default_factory=list)


def fuzz(files: int, seed: int, keep: Path) -> Fuzzed:
    """Read `files` damaged files; the same seed gives the same ones."""
    rng = np.random.default_rng(seed)
    whole = {name: _encoded(*form) for name, form in FORMATS.items()}
    found, counts = Fuzzed(), {name: Counter[str]() for name in FORMATS}
    by_damage = {damage.__name__: Counter[str]() for damage in _DAMAGES}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, content in whole.items():
            (Path(folder) / f"whole.{name}").write_bytes(content)
        reader = Reader(Path(folder))
        for number in range(files):
            name = list(FORMATS)[number % len(FORMATS)]
            path = Path(folder) / f"{number}.{name}"
            content, damages = damaged(whole[name], rng)
            path.write_bytes(content)
            before = time.perf_counter()
            outcome, detail = reader.read(path)
            found.slowest_s = max(found.slowest_s, round(time.perf_counter() - before, 3))
            counts[name][outcome] += 1
            if len(damages) == 1:
                by_damage[damages[0]][outcome] += 1
            if outcome not in FINE:
                found.findings.append(
                    {"file": path.name, "outcome": outcome, "detail": detail, "damages": ", ".join(damages)}
                )
                keep.mkdir(parents=True, exist_ok=True)
                (keep / path.name).write_bytes(content)
            path.unlink()
        reader.close()
    found.files, found.seconds = files, round(time.perf_counter() - start, 1)
    found.outcomes = {name: dict(sorted(count.items())) for name, count in counts.items()}
    found.damages = {name.strip("_"): dict(sorted(count.items())) for name, count in by_damage.items()}
    return found


def _encoded(container: str, subtype: str) -> bytes:
    """A second and a half of harmonics under noise."""
    time_s = np.arange(round(SECONDS * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * 120 * k * time_s) / k for k in range(1, 12))
    sound = 0.1 * voice + 0.01 * np.random.default_rng(0).standard_normal(len(time_s))
    file = io.BytesIO()
    if container == "MP4":
        return _encoded_m4a(sound.astype(np.float32), file)
    soundfile.write(file, sound.astype(np.float32), RATE, format=container, subtype=subtype)
    return file.getvalue()


def _encoded_m4a(sound: Any, file: io.BytesIO) -> bytes:
    import av

    with av.open(file, "w", format="mp4") as container:
        track = container.add_stream("aac", rate=RATE, layout="mono")
        for start in range(0, len(sound), 1024):
            frame = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], "fltp", "mono")
            frame.rate, frame.pts = RATE, start
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return file.getvalue()


def damaged(content: bytes, rng: np.random.Generator) -> tuple[bytes, list[str]]:
    """One to three kinds of damage, one after the other, and their names."""
    names = []
    for _ in range(rng.integers(1, 4)):
        damage = _DAMAGES[rng.integers(len(_DAMAGES))]
        names.append(damage.__name__)
        content = damage(content or b"\0", rng)
    return content, names


def _bytes_anywhere(content: bytes, rng: np.random.Generator) -> bytes:
    return _overwritten(content, rng.integers(0, len(content), rng.integers(1, 40)), rng)


def _bytes_in_the_header(content: bytes, rng: np.random.Generator) -> bytes:
    return _overwritten(content, rng.integers(0, min(len(content), 128), rng.integers(1, 8)), rng)


def _extreme_numbers(content: bytes, rng: np.random.Generator) -> bytes:
    """A field of four bytes in the header becomes 0, the largest or the most negative number."""
    at = int(rng.integers(0, min(len(content), 128)))
    value = (b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\x80")[rng.integers(4)]
    return content[:at] + value + content[at + 4 :]


def _cut_short(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(0, len(content))]


def _piece_lost(content: bytes, rng: np.random.Generator) -> bytes:
    first, last = _stretch(content, rng)
    return content[:first] + content[last:]


def _piece_doubled(content: bytes, rng: np.random.Generator) -> bytes:
    first, last = _stretch(content, rng)
    return content[:last] + content[first:]


def _piece_blank(content: bytes, rng: np.random.Generator) -> bytes:
    first, last = _stretch(content, rng)
    return content[:first] + bytes(last - first) + content[last:]


def _noise_between(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(0, len(content)))
    return content[:at] + rng.bytes(int(rng.integers(1, 2_000))) + content[at:]


_DAMAGES = (
    _bytes_anywhere,
    _bytes_in_the_header,
    _extreme_numbers,
    _cut_short,
    _piece_lost,
    _piece_doubled,
    _piece_blank,
    _noise_between,
)


def _overwritten(content: bytes, places: Any, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in places:
        changed[place] = rng.integers(256)
    return bytes(changed)


def _stretch(content: bytes, rng: np.random.Generator) -> tuple[int, int]:
    first = int(rng.integers(0, len(content)))
    return first, min(len(content), first + int(rng.integers(1, 3_000)))


class Reader:
    """A process that reads one file after the other, replaced when it crashes or hangs; `folder` has the whole ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def read(self, path: Path) -> tuple[str, str]:
        """Outcome (those of `FINE`, shortened, other error, crashed, hung) and detail."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], PATIENCE_S)[0]:
            self.close()
            return "hung", f"no answer within {PATIENCE_S:g} s"
        outcome, _, detail = process.stdout.readline().rstrip("\n").partition("\t")
        if not outcome:
            code = process.wait()
            self.close()
            return "crashed", f"exit code {code}"
        return outcome, detail

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, __file__, "--worker", str(self._folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"  # the time of imports is not that of a file
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def work(folder: Path) -> None:
    """The reading process: a path a line in, an outcome a line out."""
    from earwitness.audio import load, probe
    from earwitness.core.errors import AudioError, printable

    whole = {name: load(folder / f"whole.{name}") for name in FORMATS}
    print("ready", flush=True)
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        try:
            outcome, detail = compared(load(path), whole[path.name.split(".", 1)[1]], probe(path).duration_s)
        except AudioError as error:
            outcome, detail = "refused", str(error)
        except Exception as error:  # whatever it is, it is a finding
            outcome, detail = "other error", f"{type(error).__name__}: {error}"
        print(f"{outcome}\t{printable(detail)}", flush=True)


def compared(recording: Any, whole: Any, declared_s: float | None) -> tuple[str, str]:
    """What a damaged file was read as, beside the whole one; `declared_s` is what its header says now."""
    samples, before = recording.samples, whole.samples
    if not len(samples) or not np.isfinite(samples).all():
        return "other error", "samples that are none, or not finite"
    if len(samples) == len(before) and np.abs(samples - before).max() < 1e-4:
        return "unharmed", ""
    said = [step for step in recording.source.steps if step not in whole.source.steps]
    if said:
        return "noted", "; ".join(said)
    if whole.duration_s - recording.duration_s > SHORTER_S:
        if declared_s is not None and declared_s <= recording.duration_s + SHORTER_S:
            return "redeclared", ""
        return "shortened", f"{recording.duration_s:.3f} s of {whole.duration_s:.3f} s, and nothing is said"
    return "altered", ""


# --- tests ----------------------------------------------------------------------------------------


def run_tests(more: list[str]) -> list[dict[str, Any]]:
    """Those of `more` that are marked `soak`: name, outcome, seconds, and what was said where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "soak", f"--junitxml={report}", *more]
        subprocess.run(command, cwd=ROOT, check=False)
        cases = ElementTree.parse(report).getroot().iter("testcase")  # pytest has just written it
        return [_told(case) for case in cases]


def _told(case: ElementTree.Element) -> dict[str, Any]:
    told = {"test": f"{case.get('classname')}::{case.get('name')}", "seconds": round(float(case.get("time", 0)), 1)}
    for outcome in ("failure", "error", "skipped"):
        if (said := case.find(outcome)) is not None:
            return told | {"outcome": outcome, "said": (said.get("message") or "")[:1_000]}
    return told | {"outcome": "passed"}


def main() -> int:
    """Run what is asked for, and write the record."""
    parser = argparse.ArgumentParser(description="Long runs: kills, memory, damaged audio files.")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "soak.json")
    parser.add_argument("--files", type=int, default=10_000, help="damaged files to read")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-tests", action="store_true", help="only the damaged files")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options, more = parser.parse_known_args()  # what is left goes to pytest
    if options.worker:
        work(options.worker)
        return 0
    return _soak(options, more or list(TESTS))


def _kept_tests(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The tests of an earlier record, and what that record says of its run."""
    if not path.exists():
        return [], None
    before = json.loads(path.read_text(encoding="utf-8"))
    return before["tests"], before.get("tests_record", before["record"])


def _soak(options: argparse.Namespace, more: list[str]) -> int:
    from earwitness.core.records import RunRecord
    from earwitness.core.writing import write_atomically

    start = time.perf_counter()
    fuzzed = fuzz(options.files, options.seed, options.output.with_name(f"{options.output.stem}-findings"))
    tests, of = _kept_tests(options.output) if options.no_tests else (run_tests(more), None)
    outcomes = Counter(test["outcome"] for test in tests)
    settings = {"files": options.files, "tests": [] if options.no_tests else more, "patience_s": PATIENCE_S}
    record = RunRecord.make("python benchmarks/soak.py", settings, seed=options.seed).plain()
    record["machine"]["cores"] = str(os.cpu_count())
    summary = {"tests": dict(outcomes), "damaged files": fuzzed.files, "findings": len(fuzzed.findings)}
    summary["seconds"] = round(time.perf_counter() - start, 1)
    told = {"summary": summary, "damaged_files": asdict(fuzzed), "tests": tests}
    told |= {"tests_record": of or record, "record": record}
    write_atomically(options.output, json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(summary, indent=2))
    return 1 if fuzzed.findings or outcomes["failure"] or outcomes["error"] else 0


if __name__ == "__main__":
    sys.exit(main())
