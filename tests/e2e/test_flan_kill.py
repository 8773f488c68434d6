"""`earwitness flan vary` killed in the middle and started again: nothing is asked twice, and the result is the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from earwitness.speech_llm.clients.fake_server import Asked, FakeServer
from earwitness.speech_llm.flan.records import made
from earwitness.speech_llm.flan.spans import span
from earwitness.speech_llm.flan.taxonomy import task_named
from earwitness.speech_llm.flan.writing import write_records

SOURCE = Path(__file__).resolve().parents[2] / "src"
RECORDS, TOGETHER = 48, 4


def rewrite(asked: Asked) -> str:
    part = asked.text[asked.text.index("Records:") : asked.text.index("Answer in this form")]
    lines = [json.loads(line) for line in part.splitlines() if line.startswith("{")]
    return json.dumps({"records": [line | {"instruction": f"Kindly tell: {line['instruction']}"} for line in lines]})


def started(folder: Path, name: str) -> subprocess.Popen[bytes]:
    words = [
        "flan",
        "vary",
        str(folder / "records.jsonl"),
        "-o",
        str(folder / name),
        "--client",
        str(folder / "c.yaml"),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), os.environ["PYTHONPATH"]])}
    command = [sys.executable, "-m", "earwitness", *words, "--threads", "1"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.soak
def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    task = task_named("Emotion Recognition")
    records = [
        made(task, "Say which emotion is heard.", f"audio: {span(f'1_a_{n}')}", "Emotion: sad", "train", ["x"], {})
        for n in range(RECORDS)
    ]
    write_records(tmp_path / "records.jsonl", records)
    with FakeServer(rewrite, latency_s=0.3) as server:
        (tmp_path / "c.yaml").write_text(
            f"kind: openai\nserver: vllm\nbase_url: {server.base_url}\nmodel: fake-1\nmax_audios: 0\n", encoding="utf-8"
        )
        assert started(tmp_path, "whole.jsonl").wait() == 0
        whole = server.count
        process = started(tmp_path, "killed.jsonl")
        kept = tmp_path / "killed.replies.jsonl"
        while not kept.exists() or kept.read_bytes().count(b"\n") < 3:
            assert process.poll() is None, process.stderr
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "killed.jsonl").exists()
        assert started(tmp_path, "killed.jsonl").wait() == 0
        assert whole == RECORDS // TOGETHER
        assert server.count - whole <= whole + 1  # what was on its way when it died
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
