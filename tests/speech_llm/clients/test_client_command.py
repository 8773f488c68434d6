"""Any program as a client."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from sounds import sixteen_bit

from earwitness.speech_llm.clients.command import CommandConfig
from earwitness.speech_llm.clients.interface import Answer, Params

LISTENS = """
import json, sys, wave
asked = json.load(sys.stdin)
with wave.open(asked["audios"][0]) as file:
    seconds = file.getnframes() / file.getframerate()
print(json.dumps({"text": f"{asked['prompt']} {asked['system']} {seconds:g} s {asked['params']['max_tokens']}",
                  "model": "mine", "prompt_tokens": 7}))
"""


def run(code: str, audios: int = 1, **settings: object) -> Answer:
    config = CommandConfig.model_validate({"command": (sys.executable, "-S", "-c", code), **settings})
    return config.build().answer([sixteen_bit(1.5)] * audios, "Wie?", system="kurz", params=Params(max_tokens=9))


def test_a_program_gets_files_and_the_question_and_its_json_is_the_answer() -> None:
    answer = run(LISTENS)
    assert (answer.status, answer.text) == ("ok", "Wie? kurz 1.5 s 9")
    assert (answer.seconds_heard, answer.model, answer.usage.prompt_tokens) == (1.5, "mine", 7)


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("import sys; sys.exit('no model here')", "error", "code 1: no model here"),
        ("raise ValueError('broken')", "error", "ValueError: broken"),
        ("print('calm')", "error", "no JSON object"),
        ("print('[1]')", "error", "no JSON object"),
        ("print('{\"text\": 5}')", "error", "'text' is no text"),
        ('print(\'{"error": "out of memory"}\')', "error", "out of memory"),
        ('print(\'{"text": "  "}\')', "empty", "holds no text"),
        ("print('{}')", "empty", "holds no text"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "error", "code -9"),
    ],
)
def test_what_goes_wrong_with_a_program_is_a_status(code: str, status: str, words: str) -> None:
    answer = run(code)
    assert (answer.status, answer.text) == (status, None)
    assert words in (answer.error or "")
    assert "\n" not in (answer.error or "")


def test_a_refusal_and_seconds_that_a_program_states() -> None:
    refused = run('print(\'{"refusal": "I will not", "seconds_heard": 0.5}\')')
    assert (refused.status, refused.text, refused.seconds_heard) == ("refused", "I will not", 0.5)
    assert run('print(\'{"text": "x", "seconds_heard": -1}\')').seconds_heard == 1.5


def test_a_program_that_does_not_end_is_ended_with_what_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    child = f"import time, pathlib; time.sleep(1.2); pathlib.Path({str(mark)!r}).touch()"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-S', '-c', {child!r}]); time.sleep(60)"
    began = time.monotonic()
    answer = run(code, timeout_s=0.5)
    assert (answer.status, answer.text) == ("timeout", None)
    assert time.monotonic() - began < 10
    time.sleep(1.3)
    assert not mark.exists()


def test_a_program_that_is_not_there_and_recordings_it_does_not_take() -> None:
    nothing = CommandConfig(command=("no-such-program-of-mine",)).build().answer([], "How?")
    assert (nothing.status, nothing.text) == ("error", None)
    assert "cannot be started" in (nothing.error or "")
    assert run(LISTENS, audios=2).status == "error"
    assert run(LISTENS, max_seconds=1.0).status == "too_long"
    assert run('print(\'{"text": "deaf"}\')', audios=0).text == "deaf"


def test_the_files_are_gone_afterwards() -> None:
    path = run("import json, sys; print(json.dumps({'text': json.load(sys.stdin)['audios'][0]}))").text
    assert path is not None
    assert not Path(path).exists()
