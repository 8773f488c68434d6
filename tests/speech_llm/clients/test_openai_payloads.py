"""What is sent, to the byte: WAV, base64, the style of the part for each server."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sounds import sixteen_bit

from earwitness.audio.recording import Recording
from earwitness.core.errors import RecipeError, UsageError
from earwitness.speech_llm.clients import ClientConfig, read_client
from earwitness.speech_llm.clients.fake_server import FakeServer
from earwitness.speech_llm.clients.interface import Params, SpeechLLM
from earwitness.speech_llm.clients.openai import OpenAIClient, OpenAIConfig
from earwitness.speech_llm.clients.sound import wav_bytes

QUESTION = "Wie klingt „sie“?"


def sent(server: FakeServer, audios: list[Recording], params: Params = Params(), /, **settings: Any) -> dict[str, Any]:
    """The body that arrives."""
    client = OpenAIClient(OpenAIConfig(base_url=server.base_url, **{"model": "m", "max_audios": 2} | settings))
    answer = client.answer(audios, QUESTION, system="Be brief.", params=params)
    assert answer.status == "ok", answer.error
    return server.requests[-1].body


def sound_parts(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for part in body["messages"][-1]["content"] if part["type"] != "text"]


def by_hand(recording: Recording) -> bytes:
    """RIFF header and samples, byte by byte."""
    data = np.rint(recording.samples.astype(np.float64) * 32768).astype("<i2").tobytes()
    numbers = (16, 1, 1, 16_000, 32_000, 2, 16)
    widths = (4, 2, 2, 4, 4, 2, 2)
    form = b"".join(number.to_bytes(width, "little") for number, width in zip(numbers, widths, strict=True))
    head = b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt " + form
    return head + b"data" + len(data).to_bytes(4, "little") + data


@pytest.mark.shows("speech-llm-landscape:7.2")
@pytest.mark.parametrize(
    ("server_kind", "style"),
    [
        ("openai", "input_audio"),
        ("azure", "input_audio"),
        ("llama.cpp", "input_audio"),
        ("ollama", "input_audio"),
        ("vllm", "input_audio"),
        ("vllm", "audio_url_data"),
        ("vllm", "audio_url_file"),
    ],
)
def test_payloads_are_exact_and_give_back_the_samples(server_kind: str, style: str, tmp_path: Path) -> None:
    recordings = [sixteen_bit(0.5), sixteen_bit(1.0, seed=2)]
    folder = tmp_path / "média files" if style == "audio_url_file" else None
    with FakeServer() as server:
        body = sent(server, recordings, server=server_kind, audio=style, media_folder=folder)
        assert [len(sound) for sound in server.requests[0].sounds] == [8000, 16_000]
    for part, recording in zip(sound_parts(body), recordings, strict=True):
        wav = by_hand(recording)
        text = base64.b64encode(wav).decode()
        assert "\n" not in text
        digest = hashlib.sha256(wav).hexdigest()
        named = {"uuid": digest} if server_kind == "vllm" else {}
        assert part == {
            "input_audio": {"type": "input_audio", "input_audio": {"data": text, "format": "wav"}, **named},
            "audio_url_data": {
                "type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{text}"}, **named,
            },
            "audio_url_file": {
                "type": "audio_url", "audio_url": {"url": f"{(tmp_path / 'média files').as_uri()}/{digest}.wav"},
                **named,
            },
        }[style]  # fmt: skip
        with wave.open(io.BytesIO(wav_bytes(recording))) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(32768)
        np.testing.assert_array_equal(samples, recording.samples)
    if folder is not None:
        assert sorted(path.read_bytes() for path in folder.iterdir()) == sorted(by_hand(r) for r in recordings)


@pytest.mark.parametrize("style", ["input_audio", "audio_url_data", "audio_url_file"])
def test_pasted_base64_makes_the_bytes_of_json(style: str, tmp_path: Path) -> None:
    folder = tmp_path if style == "audio_url_file" else None
    config = OpenAIConfig(
        base_url="http://localhost:1", model="m", server="vllm", audio=style, media_folder=folder, max_audios=2
    )
    client = OpenAIClient(config)
    for audios in ([], [sixteen_bit(0.1)], [sixteen_bit(0.1), sixteen_bit(0.2, seed=2)]):
        for prompt in (QUESTION, '"\\\x00\ud83d\ude00', ""):
            asked = (audios, prompt, 'A "system"', Params(schema='{"type": "object"}'))
            assert client.payload(*asked) == json.dumps(client.body(*asked)).encode("ascii")


def test_the_body_is_the_one_of_the_documentation() -> None:
    with FakeServer() as server:
        body = sent(server, [sixteen_bit(0.1)])
        assert "authorization" not in server.requests[0].headers
        assert server.requests[0].headers["content-type"] == "application/json"
    content = body.pop("messages")
    assert body == {
        "model": "m", "max_tokens": 256, "temperature": 0.0, "top_p": 1.0, "seed": 1, "modalities": ["text"],
    }  # fmt: skip
    assert content[0] == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in content[1]["content"]] == ["input_audio", "text"]
    assert content[1]["content"][1] == {"type": "text", "text": QUESTION}


def test_an_address_may_have_a_query() -> None:
    with FakeServer() as server:
        config = OpenAIConfig(server="azure", base_url=f"{server.base_url}/?api-version=2025-01-01", model="fake-1")
        assert OpenAIClient(config).answer([], "How?").status == "ok"
        assert OpenAIClient(config).models() == ["fake-1"]


def test_samples_between_the_steps_are_rounded_and_those_above_full_scale_clipped() -> None:
    recording = Recording(np.array([0.4 / 32768, 0.6 / 32768, 1.5, -1.5], np.float32), 16_000)
    with wave.open(io.BytesIO(wav_bytes(recording))) as file:
        assert np.frombuffer(file.readframes(4), "<i2").tolist() == [0, 1, 32767, -32768]


@pytest.mark.parametrize("model", ["gpt-5-mini", "o1", "o3-mini", "o4-mini", "openai/gpt-5.1"])
def test_reasoning_models_get_no_temperature(model: str) -> None:
    with FakeServer() as server:
        body = sent(server, [], model=model)
        assert body["max_completion_tokens"] == 256
        assert not {"max_tokens", "temperature", "top_p"} & set(body)
        assert "max_tokens" in sent(server, [], model=model, server="vllm")
        assert "max_tokens" in sent(server, [], model=model, reasoning=False)
        assert "max_tokens" in sent(server, [], model="gpt-4o-audio-preview")


@pytest.mark.parametrize(
    ("form", "where"),
    [
        ("json_schema", ["response_format", "json_schema", "schema"]),
        ("json_object", ["response_format", "schema"]),
        ("structured_outputs", ["structured_outputs", "json"]),
    ],
)
def test_a_schema_goes_where_the_server_looks_for_it(form: str, where: list[str]) -> None:
    schema = {"type": "object", "properties": {"a": {"const": "b"}}, "required": ["a"]}
    with FakeServer(schemas="enforced") as server:
        body: Any = sent(server, [], Params(schema=json.dumps(schema)), schema_form=form)
    for name in where:
        body = body[name]
    assert body == schema


def test_seed_none_order_and_further_servers() -> None:
    with FakeServer() as server:
        body = sent(server, [sixteen_bit(0.1)], Params(seed=None), server="llama.cpp", audio_first=False)
        assert "seed" not in body
        assert "modalities" not in body
        assert [part["type"] for part in body["messages"][-1]["content"]] == ["text", "input_audio"]


def test_the_id_has_all_that_changes_a_reply_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "sk-secret")
    base = {"base_url": "http://localhost:1/v1", "model": "Qwen/Qwen2-Audio"}
    one = OpenAIClient(OpenAIConfig(**base)).id
    assert one.startswith("Qwen-Qwen2-Audio-")
    assert one == OpenAIClient(OpenAIConfig(**base, key_env="A_KEY", timeout_s=5, tries=1)).id
    joined = {"length": "chunk:30", "merge": {**base, "tries": 1}}
    assert OpenAIConfig(**base | joined).build().id == OpenAIConfig(**base, length="chunk:30", merge=base).build().id
    others: list[dict[str, Any]] = [
        {"length": "first:30"}, {"length": "chunk:30"}, {"audio_first": False}, {"server": "vllm"},
        {"max_seconds": 30}, {"schema_form": "json_object"}, {"base_url": "http://localhost:2/v1"},
    ]  # fmt: skip
    assert len({one, *(OpenAIConfig(**base | other).build().id for other in others)}) == 1 + len(others)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ("{kind: opnai}", "unknown kind 'opnai'.*Did you mean 'openai'"),
        ("{kind: openai, base_url: 'http://x/v1', model: m, lenght: full}", "did you mean 'length'"),
        ("{kind: openai, base_url: 'http://x/v1', model: m, length: 30}", "length"),
        ("{kind: openai, base_url: 'http://x/v1', model: m, length: 'last:30'}", "use `full`, `first:SECONDS`"),
        ("{kind: openai, base_url: 'http://x/v1', model: m, audio: audio_url_data}", "takes `audio: input_audio` only"),
        ("{kind: openai, server: vllm, base_url: 'http://x', model: m, audio: audio_url_file}", "media_folder"),
        ("{kind: openai, base_url: 'http://x', model: m, merge: {base_url: 'http://x', model: m}}", "chunk"),
    ],
)
def test_settings_that_are_wrong_are_refused_with_a_sentence(tmp_path: Path, settings: str, what: str) -> None:
    path = tmp_path / "client.yaml"
    path.write_text(settings)
    with pytest.raises(RecipeError, match=what):
        read_client(path)


@pytest.mark.parametrize(
    "address",
    [
        "localhost:8000",
        "ftp://x/v1",
        "http://:80",
        "http://x:99999999/v1",
        "file:///x",
        "http://[",
        "http://ü/",
        "http://a b/",
    ],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is no address of a server"):
        OpenAIConfig(base_url=address, model="m").build()


def test_to_have_a_client_loads_no_model_library() -> None:
    code = "import sys, earwitness.speech_llm.clients; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "polars", "faster_whisper", "ctranslate2"} & set(done.stdout.split())


def test_every_kind_has_the_contract_of_clients(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    kinds = {
        "openai": "base_url: http://localhost:1/v1\nmodel: m",
        "cascade": "llm: {base_url: 'http://localhost:1/v1', model: m}",
        "command": "command: [cat]",
        "transformers": f"model: {tmp_path / 'model'}\nfamily: qwen2_audio",
        "fake": "reply: calm",
    }
    union: Any = ClientConfig
    named = {kind.model_fields["kind"].default for kind in union.__args__[0].__args__}
    assert named - {"taught"} == set(kinds)  # tests of training build that one
    for kind, text in kinds.items():
        path = tmp_path / f"{kind}.yaml"
        for length in ("full", "first:30", "chunk:30"):
            path.write_text(f"kind: {kind}\n{text}\nlength: {length}\n")
            client = read_client(path)
            assert isinstance(client, SpeechLLM)
            assert client.max_audios == 1
        assert client.id == read_client(path).id
