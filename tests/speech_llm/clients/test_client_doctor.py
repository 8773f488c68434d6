"""The doctor in front of each kind of server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from earwitness.cli.bench_doctor import doctor
from earwitness.core.errors import RecipeError
from earwitness.speech_llm.clients import read_client_config
from earwitness.speech_llm.clients.doctor import Diagnosis, diagnose
from earwitness.speech_llm.clients.fake_server import MODES, Asked, FakeServer, Reply, hearing
from earwitness.speech_llm.clients.openai import OpenAIConfig

# mode: what is said of hearing, of a schema, whether it is usable, and words that a person will look for
FOUND: dict[str, tuple[str, str, bool, str]] = {
    "hears": ("heard", "enforced", True, "told tones from silence"),
    "deaf": ("ignored", "prompt-only", False, "recordings seem to be ignored"),
    "text_only": ("refused", "enforced", False, "not taken: HTTP 400: this model takes no audio"),
    "ignores_schema": ("heard", "prompt-only", True, "accepted and not enforced"),
    "rejects_schema": ("heard", "rejected", True, "rejected: HTTP 400"),
    "rate_limited": ("unknown", "unknown", False, "limits its rate"),
    "error": ("unknown", "unknown", False, "HTTP 500: the model has crashed"),
    "no_mmproj": ("refused", "prompt-only", False, "--mmproj FILE.gguf"),
    "slow": ("unknown", "unknown", False, "raise `timeout_s`"),
    "not_json": ("unknown", "unknown", False, "no server of chat completions"),
    "refusal": ("reached", "unknown", False, "refused: 'I'm sorry"),
    "content_filter": ("unknown", "unknown", False, "blocked by the policy"),
    "empty": ("reached", "unknown", False, "the reply is empty"),
    "truncated": ("reached", "prompt-only", False, "cut at its length limit"),
    "unauthorised": ("unknown", "unknown", False, "check the key"),
    "hangs_up": ("unknown", "unknown", False, "closed the connection"),
}


def found(server: FakeServer, **settings: Any) -> Diagnosis:
    config = OpenAIConfig(base_url=server.base_url, **{"model": "fake-1", "timeout_s": 5.0} | settings)
    return diagnose(config.build(), config)


def said(diagnosis: Diagnosis, what: str = "") -> str:
    return "\n".join(check.words for check in diagnosis.checks if what in check.what)


@pytest.mark.shows("speech-llm-landscape:7.6")
def test_the_doctor_and_the_enforcement_probe_in_each_mode_of_the_fake() -> None:
    assert set(FOUND) == set(MODES)
    for mode, wanted in FOUND.items():
        with MODES[mode]() as server:
            diagnosis = found(server, timeout_s=0.3 if mode == "slow" else 5.0)
            assert server.count <= 14
        assert (diagnosis.hearing, diagnosis.schema, diagnosis.usable) == wanted[:3], mode
        assert wanted[3] in said(diagnosis), mode


def test_a_server_that_is_not_there() -> None:
    with FakeServer() as server:
        url = server.base_url
    config = OpenAIConfig(base_url=url, model="m")
    diagnosis = diagnose(config.build(), config)
    assert not diagnosis.usable
    assert "start the server, and check `base_url`" in said(diagnosis)


def test_sound_that_costs_tokens_reaches_the_model_though_it_says_nothing_of_it() -> None:
    with FakeServer("It sounds calm.") as server:
        assert found(server).hearing == "reached"
    with FakeServer(lambda asked: Reply("tone" if asked.number % 2 else "silence", prompt_tokens=9)) as server:
        assert found(server).hearing == "ignored"


def test_a_guess_is_not_taken_for_hearing() -> None:
    """Right twice by chance without any more tokens, or always the same word."""
    for words in ("tone", "silence", "a tone in silence"):
        with FakeServer(words, hears=False) as server:
            assert found(server).hearing == "ignored"


def test_names_seeds_and_refusals() -> None:
    def drawn(asked: Asked) -> Reply | str:
        if "man or a woman" in asked.text:
            return "I\u2019m sorry, I can't tell."
        return f"words {asked.body['seed']}" if "random" in asked.text else hearing(asked)

    with FakeServer(drawn, model="other-2") as server:
        diagnosis = found(server, model="mine")
        assert "asked for 'mine', replies name 'other-2'" in said(diagnosis, "name")
        assert "'mine' is not among the models" in said(diagnosis, "models")
        assert "a seed repeats its reply, another gives another" in said(diagnosis, "seeds")
        assert "perhaps refused in words" in said(diagnosis, "speaker")
    with FakeServer(lambda asked: f"{hearing(asked)} {asked.number}") as server:
        assert "does not repeat" in said(found(server), "seeds")


def test_recordings_that_are_cut_in_silence_are_found_by_their_tokens() -> None:
    def thirty(asked: Asked) -> Reply:
        heard = sum(min(30.0, len(sound) / 16_000) for sound in asked.sounds)
        return Reply(hearing(asked), prompt_tokens=20 + round(25 * heard))

    with FakeServer(thirty) as server:
        assert "Set `max_seconds: 30`" in said(found(server), "long")
        assert "keep to 30 s already" in said(found(server, max_seconds=30), "long")
    with FakeServer(
        lambda asked: Reply("x" * 9, status=413) if sum(map(len, asked.sounds)) > 5e5 else hearing(asked)
    ) as server:
        assert "60 s are not: HTTP 413" in said(found(server), "long")
    with FakeServer(lambda asked: Reply("one only", status=400) if len(asked.sounds) > 1 else hearing(asked)) as server:
        assert found(server).usable
        two = found(server, max_audios=2)
        assert not two.usable
        assert "two in one question are not taken" in said(two, "several")


def test_clients_without_a_server(tmp_path: Path) -> None:
    path = tmp_path / "client.yaml"
    path.write_text("kind: fake\nreply: tone\n")
    config = read_client_config(path)
    assert diagnose(config.build(), config).hearing == "ignored"
    with FakeServer("yes") as server:
        path.write_text(f"kind: cascade\nllm: {{base_url: '{server.base_url}', model: text, max_audios: 0}}\n")
        config = read_client_config(path)
        cascade = diagnose(config.build(), config)
        assert (cascade.hearing, cascade.schema) == ("unknown", "prompt-only")
        assert "a cascade hears words alone" in said(cascade)
        text = found(server, max_audios=0)
        assert (text.hearing, text.usable) == (None, True)
        assert server.requests[-1].wavs == ()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    app = typer.Typer()
    app.command()(doctor)
    run, path = CliRunner(), tmp_path / "client.yaml"
    with FakeServer(hearing, schemas="enforced") as server:
        path.write_text(f"kind: openai\nbase_url: {server.base_url}\nmodel: fake-1\n")
        good = run.invoke(app, [str(path)])
        assert good.exit_code == 0, good.output
        assert re.search(r"JSON schema +good +enforced", good.output)
        data = json.loads(run.invoke(app, [str(path), "--json"]).output)
        assert (data["hearing"], data["schema"], data["usable"]) == ("heard", "enforced", True)
    with FakeServer(Reply("\x1b[31m<b>", status=500)) as server:
        path.write_text(f"kind: openai\nbase_url: {server.base_url}\nmodel: fake-1\n")
        bad = run.invoke(app, [str(path)])
        assert bad.exit_code == 1
        assert "\x1b" not in bad.output
    path.write_text("kind: nothing\n")
    with pytest.raises(RecipeError):
        run.invoke(app, [str(path)], catch_exceptions=False)
