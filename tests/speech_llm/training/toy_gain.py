"""A toy on which words and manner are independent: frames with two bits, questions about each, and about both.

The "language model" is a tiny GPT that learns along with the adapter. The joint question has an answer for each of the
four pairs of bits: guessing is right once in four times, and with one of the bits once in two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from earwitness.core.config import parse_config
from earwitness.nn.frontends import KeptConfig
from earwitness.speech_llm.training.adapters import SmallAdapterConfig
from earwitness.speech_llm.training.decoder import TextDecoder
from earwitness.speech_llm.training.mixtures import MixtureOrder
from earwitness.speech_llm.training.model import Asked, SpeechLanguageModel
from earwitness.speech_llm.training.prompt import PromptConfig, make_prompt
from earwitness.speech_llm.training.recipe import SpeechLlmRecipe
from earwitness.speech_llm.training.tasks import AnswerTask, QuestionBatches, QuestionsInOrder
from earwitness.speech_llm.training.text_decoder import GptConfig, build_network, make_tokenizer
from earwitness.training.loop import fit

ANSWERS = {"what": ("paper", "bags"), "how": ("calm", "angry"), "both": ("wait", "ask", "thank", "run")}
PROMPT = PromptConfig(template="<SpeechHere><TextHere>")
WIDTH, FRAMES, BATCH = 8, 6, 16


@dataclass(frozen=True)
class Clips:
    """Frames [N, T, F], and the two bits [N] that they carry in their first two channels."""

    frames: Tensor
    words: np.ndarray
    manner: np.ndarray

    @classmethod
    def drawn(cls, count: int, seed: int) -> Clips:
        rng = np.random.default_rng(seed)
        words, manner = rng.integers(0, 2, count), rng.integers(0, 2, count)
        frames = 0.3 * rng.normal(size=(count, FRAMES, WIDTH))
        frames[:, :, 0] += 2.0 * words[:, None] - 1
        frames[:, :, 1] += 2.0 * manner[:, None] - 1
        return cls(torch.from_numpy(frames.astype(np.float32)), words, manner)

    def answer(self, question: str, row: int) -> str:
        bit = {"what": self.words[row], "how": self.manner[row], "both": 2 * self.words[row] + self.manner[row]}[
            question
        ]
        return ANSWERS[question][int(bit)]

    def ear(self, questions: Sequence[str]) -> Any:
        """Example i is question i % n about clip i // n."""
        return lambda place: self.frames[place // len(questions)].flatten()


def share_right(questions: Sequence[str], seed: int, folder: Path, steps: int) -> float:
    """Teach by some questions, ask the joint one: the share of new clips where the right answer is the likeliest."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer([f"{question} {' '.join(names)}" for question, names in ANSWERS.items()], 40)
    network = build_network(GptConfig(width=24, layers=1, heads=2, positions=16), tokenizer)
    decoder = TextDecoder(network, tokenizer, "toy")
    adapter = SmallAdapterConfig(factor=3, hidden=(48, 48), dropout=0.0).build(WIDTH, 24)
    model = SpeechLanguageModel(KeptConfig(dim=WIDTH).build(), adapter, decoder)
    train, test = Clips.drawn(256, seed), Clips.drawn(200, 1000 + seed)
    prompts = {name: make_prompt(PROMPT, decoder, name) for name in ANSWERS}

    def asked(question: str, answer: str) -> Asked:
        return Asked(prompts[question], (*decoder.encode(answer), decoder.end))

    rows = [(row, question) for row in range(256) for question in questions]
    known = {f"{row}-{question}": asked(question, train.answer(question, row)) for row, question in rows}
    loop = {"epochs": 1, "batch_size": BATCH, "accelerator": "cpu"}
    data = {"name": "toy", "task": "speech-llm", "data": {"manifests": ["none"]}, "network": {"decoder": "none"}}
    recipe = parse_config(SpeechLlmRecipe, {**data, "loop": loop, "optimiser": {"kind": "adamw", "lr": 0.01}})
    order = MixtureOrder([question for _, question in rows], BATCH, seed, BATCH * steps)
    fit(model, AnswerTask(known), QuestionBatches(list(known), train.ear(questions), order), None, recipe, folder)
    model.eval()
    choices = ANSWERS["both"]
    losses = []
    for choice in choices:
        every = QuestionsInOrder([str(row) for row in range(200)], test.ear(("both",)), 200)
        with torch.no_grad():
            batch = next(iter(every))
            losses.append(model(batch.waveforms, batch.lengths, [asked("both", choice)] * 200)[0])
    called = torch.stack(losses).argmin(dim=0).tolist()
    return float(np.mean([choices[call] == test.answer("both", row) for row, call in enumerate(called)]))
