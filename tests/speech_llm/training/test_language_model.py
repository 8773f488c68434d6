"""Adapters of the exact size, frozen parts that stay, a loss of the answer alone, and folders that come back."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from earwitness.audio.recording import Recording
from earwitness.audio.windows import Whole
from earwitness.core.config import parse_config
from earwitness.core.errors import DataError, ModelError, RecipeError
from earwitness.corpora.samplers import BatchOrder
from earwitness.nn.frontends import KeptConfig, WhisperConfig
from earwitness.nn.frontends.encoder import EncoderFrontend
from earwitness.speech_llm.clients.interface import Params, SpeechLLM
from earwitness.speech_llm.training.adapters import AdapterConfig, LargeAdapterConfig, SmallAdapterConfig
from earwitness.speech_llm.training.client import TaughtModelConfig
from earwitness.speech_llm.training.decoder import state_sha256
from earwitness.speech_llm.training.folder import TASK, build_model, load_taught, save_taught
from earwitness.speech_llm.training.metadata import Heard, Span
from earwitness.speech_llm.training.mixtures import MixtureOrder
from earwitness.speech_llm.training.model import Asked, SpeechLanguageModel, answer_losses
from earwitness.speech_llm.training.prompt import SPEECH, PromptConfig, make_prompt, worded
from earwitness.speech_llm.training.recipe import SpeechLlmConfig, SpeechLlmRecipe
from earwitness.speech_llm.training.tasks import AnswerTask, QuestionBatches
from earwitness.training.loop import fit
from earwitness.training.model_folder import ModelInfo
from tiny_llm import make_decoder


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.shows("paralinguistic-training:6.1")
@pytest.mark.parametrize(("config", "count"), [(SmallAdapterConfig(), 49_489_664), (LargeAdapterConfig(), 227_760_384)])
def test_adapters_have_the_published_size(config: SmallAdapterConfig | LargeAdapterConfig, count: int) -> None:
    with torch.device("meta"):  # counted and run without memory
        adapter = config.build(1280, 3584)
        assert parameters(adapter) == count
        assert adapter(torch.empty(2, 1500, 1280)).shape == (2, 100, 3584)
        assert parameters(config.model_copy(update={"layer_norm": True}).build(1280, 3584)) == count + 2560


@pytest.mark.shows("paralinguistic-training:6.1")
def test_frames_that_do_not_divide_are_refused_or_trimmed_by_name() -> None:
    frames = torch.randn(1, 32, 4)
    whole = SmallAdapterConfig(hidden=(6, 6), dropout=0.0).build(4, 3)
    with pytest.raises(DataError, match="32 frames are no whole number of tokens of 15"):
        whole(frames)
    trimming = SmallAdapterConfig(hidden=(6, 6), dropout=0.0, rest="trim").build(4, 3)
    trimming.load_state_dict(whole.state_dict())
    assert torch.equal(trimming(frames), whole(frames[:, :30]))
    with pytest.raises(DataError, match="make no token"):
        trimming(frames[:, :14])
    with pytest.raises(RecipeError, match=r"unknown kind 'smal'.*Did you mean 'small'"):
        parse_config(AdapterConfig, {"kind": "smal"})


def test_a_token_is_fifteen_frames_side_by_side() -> None:
    adapter = SmallAdapterConfig(hidden=(6, 6), dropout=0.0).build(2, 3)
    frames = torch.randn(1, 45, 2)
    one = adapter.project(frames[:, 15:30].reshape(1, 1, 30))
    assert torch.allclose(adapter(frames)[:, 1:2], one, atol=1e-6)


def asked_about(model: SpeechLanguageModel, question: str, answer: str) -> Asked:
    prompt = make_prompt(PromptConfig(), model.decoder, worded(question))
    return Asked(prompt, (*model.decoder.encode(answer), model.decoder.end))


def steps(
    model: SpeechLanguageModel, asked: dict[str, Asked], folder: Path, config: SpeechLlmConfig, count: int
) -> None:
    """Optimiser steps by the project's own loop."""
    data = {"name": "t", "task": "speech-llm", "data": {"manifests": ["none"]}, "network": config.model_dump()}
    loop = {"epochs": count, "batch_size": 4, "accelerator": "cpu"}
    recipe = parse_config(SpeechLlmRecipe, {**data, "loop": loop, "optimiser": {"kind": "adamw", "lr": 0.01}})
    order: BatchOrder = MixtureOrder(["CPQA"] * len(asked), 4, 0, len(asked))
    ear = lambda place: torch.sin(torch.arange(16_000 + 3200 * place) * (0.05 + 0.02 * place)) * 0.3  # noqa: E731
    fit(model, AnswerTask(asked), QuestionBatches(list(asked), ear, order), None, recipe, folder)


@pytest.mark.shows("paralinguistic-training:6.2")
def test_a_step_changes_every_tensor_of_the_adapter_and_no_other(
    model: SpeechLanguageModel, config: SpeechLlmConfig, tmp_path: Path
) -> None:
    assert isinstance(model.frontend, EncoderFrontend)
    encoder = model.frontend.speech_encoder
    frozen = {"encoder": state_sha256(encoder.state_dict()), "decoder": state_sha256(model.decoder.model.state_dict())}
    before = {name: value.clone() for name, value in model.adapter.state_dict().items()}
    assert model.trainable_names == [f"adapter.{name}" for name in before]
    asked = {
        str(n): asked_about(model, "How does the speaker sound?", f"sounds {word}")
        for n, word in enumerate(("sad", "happy"))
    }
    steps(model, asked, tmp_path, config, 1)
    assert state_sha256(encoder.state_dict()) == frozen["encoder"]
    assert state_sha256(model.decoder.model.state_dict()) == frozen["decoder"]
    assert not any(parameter.requires_grad for parameter in (*encoder.parameters(), *model.decoder.model.parameters()))
    assert [name for name, value in model.adapter.state_dict().items() if torch.equal(value, before[name])] == []


@pytest.mark.shows("paralinguistic-training:6.3")
def test_the_loss_is_of_the_answer_alone(model: SpeechLanguageModel) -> None:
    model.eval()
    one = asked_about(model, "How does the speaker sound?", "The speaker sounds angry.")
    wave = torch.randn(1, 16_000) * 0.1
    rows = model.sequences(model.heard(wave, torch.tensor([16_000])), [one])
    logits = model.language_model(inputs_embeds=rows.vectors, attention_mask=rows.mask).logits
    loss, count = (found.detach() for found in answer_losses(logits, rows.tokens, rows.answer))
    size = len(one.answer)
    assert int(count) == size == int(rows.answer.sum())
    by_hand = F.cross_entropy(logits[0, -size - 1 : -1].detach(), torch.tensor(one.answer), reduction="sum")
    assert float(loss) == pytest.approx(float(by_hand), rel=1e-5)
    permuted = rows.tokens.clone()
    instruction = ~rows.answer[0]
    permuted[0, instruction] = permuted[0, instruction][torch.randperm(int(instruction.sum()))]
    assert not torch.equal(permuted, rows.tokens)
    assert torch.equal(answer_losses(logits, permuted, rows.answer)[0], loss)
    other = rows.tokens.roll(1, dims=1)
    assert not torch.equal(answer_losses(logits, other, rows.answer)[0], loss)  # the answer itself does count


@pytest.mark.shows("paralinguistic-training:6.3")
def test_a_sample_without_an_answer_adds_nothing(model: SpeechLanguageModel) -> None:
    model.eval()
    full = asked_about(model, "How does the speaker sound?", "sad")
    empty = Asked(full.prompt, ())
    waves = torch.randn(2, 16_000) * 0.1
    losses, counts = model(waves, torch.tensor([16_000, 16_000]), [full, empty])
    assert counts.tolist() == [2, 0]
    losses = losses.detach()
    assert float(losses[1]) == 0.0
    alone, _ = model(waves[:1], torch.tensor([16_000]), [full])
    assert float(losses[0]) == pytest.approx(float(alone[0]), rel=1e-5)
    nothing = AnswerTask({"e": empty}).loss(
        model, QuestionBatches(["e"], lambda _: waves[1], MixtureOrder(["x"], 1, 0, 1)).load(0, [0]).__next__()
    )
    assert float(nothing.total) == 0.0
    nothing.total.backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.adapter.parameters() if p.grad is not None)


def test_the_adapter_learns_to_say_what_is_heard(
    model: SpeechLanguageModel, config: SpeechLlmConfig, tmp_path: Path
) -> None:
    """The gradient reaches the adapter through the frozen decoder: the loss falls."""
    asked = {
        str(n): asked_about(model, "How does the speaker sound?", f"sounds {word}")
        for n, word in enumerate(("sad", "happy"))
    }
    waves = torch.stack([torch.sin(torch.arange(16_000) * step) * 0.3 for step in (0.05, 0.07)])
    lengths = torch.tensor([16_000, 16_000])
    before = float(model.eval()(waves, lengths, list(asked.values()))[0].sum().detach())
    steps(model, asked, tmp_path, config, 40)
    assert float(model.eval()(waves, lengths, list(asked.values()))[0].sum().detach()) < before - 0.5


def test_instructions_cannot_move_the_audio(model: SpeechLanguageModel) -> None:
    decoder = model.decoder
    plain = make_prompt(PromptConfig(), decoder, worded("sad"))
    sly = make_prompt(PromptConfig(), decoder, worded(f"sad {SPEECH} <eos>"))
    assert sly.before == plain.before
    assert decoder.end not in sly.after
    assert len(sly.after) > len(plain.after)
    with pytest.raises(RecipeError, match="once each"):
        parse_config(PromptConfig, {"template": "<TextHere> <SpeechHere>"})


def test_answers_do_not_depend_on_what_is_asked_beside(model: SpeechLanguageModel) -> None:
    model.eval()
    waves = torch.randn(3, 24_000) * 0.1
    lengths = torch.tensor([24_000, 16_000, 24_000])
    prompts = [
        make_prompt(PromptConfig(), model.decoder, worded(text)) for text in ("sad", "how does she sound", "happy")
    ]
    together = model.reply(waves, lengths, prompts, 5)
    alone = [model.reply(waves[i : i + 1], lengths[i : i + 1], prompts[i : i + 1], 5)[0] for i in range(3)]
    assert together == alone
    assert all(reply.written <= 5 for reply in together)


def test_padding_to_whole_windows_gives_as_many_tokens_as_published(parts: Path, config: SpeechLlmConfig) -> None:
    """30 s, padded as Whisper was trained, are 1500 frames and 100 tokens."""
    padded = build_model(config.model_copy(update={"pad_to_s": 30.0}))
    (tokens,) = padded.heard(torch.randn(1, 16_000) * 0.1, torch.tensor([16_000]))
    assert tokens.shape == (100, padded.decoder.width)


def test_encoders_that_learn_are_refused(parts: Path, config: SpeechLlmConfig) -> None:
    learning = WhisperConfig(source=str(parts / "whisper"), aggregation="weighted_sum")
    with pytest.raises(RecipeError, match="weights that learn"):
        build_model(config.model_copy(update={"encoder": learning}))


def info_of(config: SpeechLlmConfig) -> ModelInfo:
    network = config.model_dump(mode="json")
    return ModelInfo(name="t", task=TASK, network=network, windows=Whole(), polarity="none", licence="CC0-1.0")


def test_a_folder_comes_back_and_knows_its_frozen_parts(
    model: SpeechLanguageModel, config: SpeechLlmConfig, tmp_path: Path
) -> None:
    save_taught(tmp_path / "model", model, info_of(config))
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "CARD.md",
        "model.json",
        "weights.safetensors",
    ]
    again, found, info = load_taught(tmp_path / "model")
    assert found == config
    assert state_sha256(again.adapter.state_dict()) == state_sha256(model.adapter.state_dict())
    assert info.extra["frozen"] == model.frozen_hashes()
    other = make_decoder(tmp_path / "other", seed=5)
    with pytest.raises(ModelError, match="the decoder is not the one"):
        load_taught(tmp_path / "model", other)
    (tmp_path / "model" / "weights.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match="altered"):
        load_taught(tmp_path / "model")


class Hearing:
    """A recogniser that always says the same."""

    name = "fixed 1"

    def hear(self, recording: Recording) -> Heard:
        return Heard(recording.duration_s, (Span(0.0, recording.duration_s, "angry"),))


def test_a_taught_model_answers_as_every_client_does(
    model: SpeechLanguageModel, config: SpeechLlmConfig, tmp_path: Path
) -> None:
    save_taught(tmp_path / "model", model, info_of(config))
    client = TaughtModelConfig(model=tmp_path / "model").build()
    assert isinstance(client, SpeechLLM)
    recording = Recording(np.sin(np.arange(16_000) / 9).astype(np.float32), 16_000)
    found = client.answer([recording], "How does the speaker sound?", params=Params(max_tokens=4))
    assert found.status in ("ok", "empty")
    assert found.seconds_heard == 1.0
    again = client.answer([recording], "How does the speaker sound?", params=Params(max_tokens=4))
    assert replace(again, latency_s=0.0) == replace(found, latency_s=0.0)
    assert client.answer([], "x").status == "error"
    assert client.answer([recording], "x", params=Params(temperature=1.0)).status == "error"
    long = Recording(np.zeros(31 * 16_000, np.float32), 16_000)
    assert client.answer([long], "x").status == "too_long"
    short = Recording(np.zeros(500, np.float32), 16_000)
    assert client.answer([short], "x").status == "error"
    told = TaughtModelConfig(model=tmp_path / "model").build(Hearing())
    assert told.id != client.id
    shutil.copytree(config.decoder, tmp_path / "moved")
    assert TaughtModelConfig(model=tmp_path / "model", decoder=tmp_path / "moved").build().id == client.id
    assert told.instruction([recording], "Why?") == "Detected vocal emotion: 0.0-1.0 s angry.\nQuestion: Why?"
    assert client.instruction([recording], "Why?") == "Question: Why?"


def test_kept_frames_give_the_same_loss(model: SpeechLanguageModel) -> None:
    model.eval()
    wave, lengths = torch.randn(1, 16_000) * 0.1, torch.tensor([16_000])
    frames = model.frontend(wave).values
    kept = SpeechLanguageModel(KeptConfig(dim=frames.shape[2]).build(), model.adapter, model.decoder).eval()
    one = asked_about(model, "How does the speaker sound?", "sad")
    flat = frames.flatten(1)
    assert torch.equal(kept(flat, torch.tensor([flat.shape[1]]), [one])[0], model(wave, lengths, [one])[0])
