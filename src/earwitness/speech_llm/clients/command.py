"""Any program as a client: JSON in on its standard input, JSON out on its standard output.

In: `{"audios": [paths of WAV files], "prompt", "system", "params": {temperature, top_p, max_tokens, seed, schema}}`.
Out: `{"text": "..."}`, or `{"error": "..."}`, or `{"refusal": "..."}`; besides `seconds_heard`, `model`,
`finish_reason`, `prompt_tokens`, `completion_tokens` where it knows them. The files are gone when it has answered.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import Field

from earwitness.audio.recording import Recording
from earwitness.speech_llm.clients.answers import client_id, failed
from earwitness.speech_llm.clients.hearing import HearingConfig
from earwitness.speech_llm.clients.interface import Answer, Params, SpeechLLM, Usage
from earwitness.speech_llm.clients.openai import PASSING
from earwitness.speech_llm.clients.sound import unanswerable, wav_bytes

LONGEST_OUTPUT = 16 * 1024 * 1024  # bytes


class CommandConfig(HearingConfig):
    """`command` is the program and its arguments; no shell is between. `name` is what the client is called."""

    kind: Literal["command"] = "command"
    command: tuple[str, ...] = Field(min_length=1)
    name: str = "command"
    max_audios: int = Field(1, ge=0)
    timeout_s: float = Field(300.0, gt=0)

    def build(self) -> SpeechLLM:
        """Whether the program exists is told by its first answer."""
        return self.heard_by(CommandClient(self))


class CommandClient:
    """Starts the program once a question."""

    def __init__(self, config: CommandConfig) -> None:
        self.config = config
        self.id = client_id(config.name, config, passing=PASSING)
        self.max_audios = config.max_audios
        self.max_seconds = config.max_seconds

    def answer(
        self, audios: Sequence[Recording], prompt: str, *, system: str | None = None, params: Params = Params()
    ) -> Answer:
        """What the program says; what goes wrong with it is a status."""
        refused = unanswerable(audios, self.max_audios, self.max_seconds)
        if refused is not None:
            return refused
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
            paths = [_written(audio, Path(folder) / f"{number}.wav") for number, audio in enumerate(audios)]
            question = {"audios": paths, "prompt": prompt, "system": system, "params": asdict(params)}
            out, problem, status = self._run(json.dumps(question), Path(folder))
        latency_s = time.monotonic() - began
        if problem is not None:
            return failed(problem, "timeout" if status == "timeout" else "error", latency_s=latency_s, raw=out or None)
        return _told(out, sum(audio.duration_s for audio in audios), latency_s)

    def _run(self, question: str, folder: Path) -> tuple[str, str | None, str]:
        """Standard output, what went wrong, and its status. Output goes to files: no program can fill memory."""
        with (folder / "out").open("w+b") as out, (folder / "err").open("w+b") as err:
            try:
                process = subprocess.Popen(
                    self.config.command, stdin=subprocess.PIPE, stdout=out, stderr=err, start_new_session=True
                )
            except OSError as error:
                return "", f"'{self.config.command[0]}' cannot be started ({error.strerror})", "error"
            try:
                process.communicate(question.encode(), timeout=self.config.timeout_s)
            except subprocess.TimeoutExpired:
                _end(process)
                return _start_of(out), f"no answer within {self.config.timeout_s:g} s", "timeout"
            except BaseException:
                _end(process)
                raise
            if process.returncode != 0:
                last = (_start_of(err).strip().splitlines() or ["no reason given"])[-1]
                return _start_of(out), f"the program ended with code {process.returncode}: {last}", "error"
            return _start_of(out), None, "ok"


def _written(recording: Recording, path: Path) -> str:
    path.write_bytes(wav_bytes(recording))
    return str(path)


def _start_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(LONGEST_OUTPUT).decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """The program and what it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _told(out: str, seconds: float, latency_s: float) -> Answer:
    """The program's JSON as an answer."""
    try:
        said = json.loads(out)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        return failed(f"the program's output is no JSON object: {out[:80]!r}", latency_s=latency_s, raw=out)
    if said.get("error"):
        return failed(str(said["error"]), latency_s=latency_s, raw=out)
    heard = _number(said.get("seconds_heard"), seconds)
    usage = Usage(_count(said.get("prompt_tokens")), _count(said.get("completion_tokens")))
    finish, model = (said.get(name) if isinstance(said.get(name), str) else None for name in ("finish_reason", "model"))
    refusal, text = said.get("refusal"), said.get("text")
    if isinstance(refusal, str) and refusal:
        return Answer(refusal, "refused", None, finish, heard, latency_s, usage, model, out)
    if isinstance(text, str) and text.strip():
        return Answer(text, "ok", None, finish, heard, latency_s, usage, model, out)
    if text is None or text == "" or isinstance(text, str):
        return Answer(None, "empty", "the reply holds no text", finish, heard, latency_s, usage, model, out)
    return failed("the program's 'text' is no text", latency_s=latency_s, raw=out)


def _number(value: Any, otherwise: float) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return float(value) if good else otherwise


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
