"""The runner of the benchmark at 32 questions at once and 50 ms a reply, beside what the server can give.

    python benchmarks/bench_runner.py

The server is the fake one, in a process of its own; its own throughput is measured as in `speech_llm_throughput`. The
runner reads, decodes and encodes the recordings and keeps every answer on the disk: one question a clip, or seven. Also
the time that a report of 10,000 answers with five judgements each takes. Prints one JSON document.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
from speech_llm_throughput import AT_ONCE, LATENCY_S, ROUNDS, bare, serve

from earwitness.audio.recording import Recording
from earwitness.core.hashing import sha256_text
from earwitness.speech_llm.bench.asking import Asked, Asking, settings_of
from earwitness.speech_llm.bench.recordings import Recordings
from earwitness.speech_llm.bench.records import JUDGEMENTS, Judgement, plain, read_answers
from earwitness.speech_llm.bench.report import make_report
from earwitness.speech_llm.bench.selfcheck import write_tone
from earwitness.speech_llm.bench.stand_ins import audio_blind
from earwitness.speech_llm.clients.openai import OpenAIClient, OpenAIConfig
from earwitness.speech_llm.items import QUESTION_TYPES, Item, json_line

QUESTIONS = 2100
ANSWERS, RUNS = 10_000, 5


def made_up(folder: Path, questions: int, each: int) -> list[Item]:
    """Questions about clips of one second, `each` a clip."""
    folder.mkdir(parents=True, exist_ok=True)
    for clip in range(-(-questions // each)):
        if not (folder / f"{clip}.wav").exists():
            write_tone(folder / f"{clip}.wav", 200 + clip % 1000, 1.0)
    kinds = QUESTION_TYPES
    return [
        Item(f"i{n}", f"c{n // each}", f"{n // each}.wav", f"Question {n}?", f"answer {n}", kinds[n % len(kinds)])
        for n in range(questions)
    ]


def runner(url: str, folder: Path, each: int) -> float:
    """Answers a second, kept."""
    client = OpenAIClient(OpenAIConfig(base_url=url, model="m"))
    items = made_up(folder / "audio", QUESTIONS, each)
    run = Path(tempfile.mkdtemp(dir=folder))
    asking = Asking(
        run, client, items, Recordings(folder / "audio"), settings_of(client, items), Asked(concurrency=AT_ONCE)
    )
    cells = asking.cells()
    began = time.monotonic()
    outcome = asking.ask(cells)
    took = time.monotonic() - began
    assert (outcome.asked, outcome.failed) == (QUESTIONS, 0)
    return QUESTIONS / took


def throughput(url: str, folder: Path, each: int) -> dict[str, object]:
    """One row: both rates in turns, the best of the rounds."""
    second = [Recording(np.zeros(16_000, np.float32), 16_000)]
    rounds = [(bare(url, second), runner(url, folder, each)) for _ in range(ROUNDS)]
    own, ours = max(rate for rate, _ in rounds), max(rate for _, rate in rounds)
    return {
        "name": f"{each} question(s) a clip",
        "server_per_s": round(own, 1),
        "runner_per_s": round(ours, 1),
        "share_of_server": round(ours / own, 3),
        "share_of_latency_bound": round(ours * LATENCY_S / AT_ONCE, 3),
    }


def report_s(folder: Path) -> dict[str, float]:
    """Seconds, of the clock and of the processor, of a report."""
    items = made_up(folder / "audio", ANSWERS, 7)
    model = audio_blind()
    asked = Asked(concurrency=AT_ONCE)
    asking = Asking(folder / "run", model, items, Recordings(folder / "audio"), settings_of(model, items), asked)
    asking.ask(asking.cells())
    rng = np.random.default_rng(0)
    lines = []
    for answer in read_answers(folder / "run"):
        text = sha256_text(answer.text or "")
        for run, rating in enumerate(rng.integers(0, 6, RUNS).tolist()):
            key = sha256_text(f"{answer.key} {run}")
            one = Judgement(key, answer.key, text, "judge", "wording", 0.7, run, rating, "so", "ok", None, 1, "m", "{}")
            lines.append(json_line(plain(one)))
    (folder / "run" / JUDGEMENTS).write_text("".join(lines), encoding="utf-8")
    clock, processor = time.monotonic(), time.process_time()
    make_report(folder / "run")
    return {"clock_s": round(time.monotonic() - clock, 2), "processor_s": round(time.process_time() - processor, 2)}


def main() -> None:
    """Measure the rows and the report."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    stop, stopper = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(sender, stop), daemon=True)
    process.start()
    url = receiver.recv()
    with tempfile.TemporaryDirectory() as name:
        rows = [throughput(url, Path(name) / str(each), each) for each in (1, 7)]
        stopper.send(None)
        process.join(10)
        report = report_s(Path(name) / "report")
    said = {"at_once": AT_ONCE, "latency_s": LATENCY_S, "questions": QUESTIONS, "rows": rows}
    print(json.dumps({**said, "report_of_10000_answers_judged_5_times": report}, indent=2))


if __name__ == "__main__":
    main()
