"""The claim of contextual-paralinguistic training (arXiv 2508.07273, a reconstruction): questions that need words and
manner teach a model to answer such questions, where direct labels alone do not; and what metadata in the prompt does.

A decoder that was pretrained here on text answers; it reasons in words already, and is frozen. Only an adapter learns,
between it and the frozen encoder of Whisper tiny.en.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earwitness.claims.asked import AskedMaterial, Frames
from earwitness.claims.detected import NAME, detected_lines
from earwitness.claims.plan import Arm, ArmRun, Expected, Figure, Plan
from earwitness.core.config import parse_config
from earwitness.core.hashing import sha256_data
from earwitness.nn.frontends import KeptConfig
from earwitness.speech_llm.label_extraction import extract_label, with_aliases
from earwitness.speech_llm.training.decoder import TextDecoder
from earwitness.speech_llm.training.model import SpeechLanguageModel
from earwitness.speech_llm.training.prompt import make_prompt, worded
from earwitness.speech_llm.training.prompt_reader import read_label
from earwitness.speech_llm.training.recipe import SpeechLlmRecipe
from earwitness.speech_llm.training.records import Record
from earwitness.speech_llm.training.sentences import EMOTION, HELPING, QUESTIONS, WORDS, Question, answer_to
from earwitness.speech_llm.training.tasks import QuestionsInOrder
from earwitness.speech_llm.training.teaching import learn
from earwitness.speech_llm.training.text_decoder import TextDecoderRecipe, pretrain_decoder
from earwitness.training.loop import seed_run

AT_ONCE = 64
LONGEST = 16  # tokens of an answer
Audio = Literal["heard", "exchanged", "silent"]

DECODER: dict[str, Any] = {
    "name": "claim-decoder",
    "task": "text-decoder",
    "seed": 1,
    "text": {"kind": "sentences", "count": 8000},
    "decoder": {"width": 64, "layers": 3},
    "draws": 3200,
    "optimiser": {"kind": "adamw", "lr": 0.003},
    "schedule": {"kind": "warmup_cosine", "warmup": 0.05},
    "loop": {"epochs": 6, "batch_size": 32, "clip_norm": 1.0, "accelerator": "cpu"},
}
"""The frozen decoder, the same in every arm and with every seed: 600 steps of 32 texts."""

RECIPE: dict[str, Any] = {
    "name": "claim",
    "task": "speech-llm",
    "data": {"manifests": ["kept frames"]},
    "network": {
        "encoder": {"kind": "kept", "dim": 384},
        "adapter": {"kind": "small", "hidden": [96, 192], "layer_norm": True, "rest": "trim", "dropout": 0.3},
        "decoder": "decoder",
    },
    "draws": 1600,
    "optimiser": {"kind": "adamw", "lr": 0.001, "weight_decay": 0.01},
    "schedule": {"kind": "warmup_cosine", "warmup": 0.03},
    "loop": {"epochs": 5, "batch_size": 16, "clip_norm": 1.0, "accelerator": "cpu"},
}
"""500 steps of 16 questions in every arm; the last weights are judged."""


@dataclass(frozen=True)
class Way:
    """How an arm is taught and asked: questions it learns from, what it hears meanwhile, and whether a line of detected
    emotion stands before each question in training and at inference."""

    questions: tuple[Question, ...] = QUESTIONS
    audio: Audio = "heard"
    metadata_in_training: bool = False
    metadata_at_inference: bool = False


@dataclass(frozen=True)
class TeachingClaim:
    """`ways`: of each arm of the plan."""

    plan: Plan
    recipe: dict[str, Any]
    decoder: dict[str, Any]
    ways: Mapping[str, Way]

    read = AskedMaterial.read

    def run(self, arm: str, seed: int, material: AskedMaterial, folder: Path) -> ArmRun:
        """Teach the adapter, then ask every question about the test rows."""
        way = self.ways[arm]
        data = {**self.recipe, "seed": seed}
        source = self.kept_decoder(material.folder)
        data["network"] = {**data["network"], "decoder": str(source), "metadata": way.metadata_in_training}
        recipe: SpeechLlmRecipe = parse_config(SpeechLlmRecipe, data)
        kept = material.kept()
        frames = Frames(np.asarray(kept.frames), kept.counts)
        needed = way.metadata_in_training or way.metadata_at_inference
        lines = detected_lines(material, frames, seed) if needed else None
        model = taught(recipe, way, material, frames, lines, folder)
        asking = _Asking(model, recipe, material, lines if way.metadata_at_inference else None, seed)
        return asking.run(frames.silent() if way.audio == "silent" else frames)

    def kept_decoder(self, folder: Path) -> Path:
        """The frozen decoder, pretrained where it is not there yet."""
        recipe: TextDecoderRecipe = parse_config(TextDecoderRecipe, self.decoder)
        place = folder / f"decoder-{sha256_data(recipe.model_dump(mode='json'))[:16]}"
        if not (place / "decoder" / "config.json").is_file():
            pretrain_decoder(recipe, place, resume=place.exists())
        return place / "decoder"


def taught(
    recipe: SpeechLlmRecipe,
    way: Way,
    material: AskedMaterial,
    frames: Frames,
    lines: Sequence[str] | None,
    folder: Path,
) -> SpeechLanguageModel:
    """The model after its training on the sides of the recipe's seed."""
    train = material.sides(recipe.seed).train
    heard = {"heard": frames, "silent": frames.silent(), "exchanged": frames.exchanged(train, recipe.seed)}[way.audio]
    records = [_record(material, row, one, lines, way) for row in train for one in way.questions]
    rows = [int(row) for row in train for _ in way.questions]
    seed_run(recipe.seed, "init")
    decoder = TextDecoder.load(recipe.network.decoder)
    frontend = KeptConfig(dim=frames.values.shape[2]).build()
    model = SpeechLanguageModel(frontend, recipe.network.adapter.build(frontend.dim, decoder.width), decoder)
    ear = _RowEar(heard, rows)
    learn(recipe, model, records, [], [ear, ear], folder, resume=folder.exists())
    return model.eval()


@dataclass(frozen=True)
class _RowEar:
    """`Ear`: example i hears row `rows[i]`."""

    frames: Frames
    rows: Sequence[int]

    def __call__(self, place: int) -> Tensor:
        return torch.from_numpy(self.frames.of(self.rows[place]).reshape(-1))


@dataclass(frozen=True)
class _Asking:
    """Asks a taught model about the test rows of a seed; with `lines` each question has its row's before it."""

    model: SpeechLanguageModel
    recipe: SpeechLlmRecipe
    material: AskedMaterial
    lines: Sequence[str] | None
    seed: int

    @property
    def rows(self) -> list[int]:
        return [int(row) for row in self.material.sides(self.seed).test]

    def run(self, frames: Frames) -> ArmRun:
        """Scores of the contextual question; what the direct ones came to, and what others' recordings did."""
        contextual, others = self.right(HELPING, frames), frames.exchanged(np.array(self.rows), self.seed)
        figures = [
            Figure("contextual, right %", 100 * float(contextual.mean())),
            Figure("direct: words, right %", 100 * float(self.right(WORDS, frames).mean())),
            Figure("direct: emotion, right %", 100 * float(self.right(EMOTION, frames).mean())),
            Figure("contextual with another's recording, right %", 100 * float(self.right(HELPING, others).mean())),
        ]
        if self.lines is not None:
            read = [read_label(self.lines[row]) == self.material.emotions[row] for row in self.rows]
            figures.append(Figure("direct: emotion, by reading the prompt alone, right %", 100 * float(np.mean(read))))
        return ArmRun(contextual, tuple(figures))

    def right(self, question: Question, frames: Frames) -> NDArray[np.float64]:
        """1 where the answer names the right label, [N]."""
        ids = [str(row) for row in self.rows]
        words = with_aliases(question.labels)
        found = []
        for batch in QuestionsInOrder(ids, _RowEar(frames, self.rows), AT_ONCE):
            prompts = [
                make_prompt(
                    self.recipe.network.prompt,
                    self.model.decoder,
                    worded(question.text, None if self.lines is None else self.lines[int(row)]),
                )
                for row in batch.ids
            ]
            for row, reply in zip(
                batch.ids, self.model.reply(batch.waveforms, batch.lengths, prompts, LONGEST), strict=True
            ):
                truth = answer_to(question, self.material.topics[int(row)], self.material.emotions[int(row)])[1]
                found.append(extract_label(reply.text, words).label == truth)
        return np.array(found, np.float64)


def _record(material: AskedMaterial, row: int, question: Question, lines: Sequence[str] | None, way: Way) -> Record:
    output, label = answer_to(question, material.topics[row], material.emotions[row])
    line = lines[row] if lines is not None and way.metadata_in_training else None
    return Record(
        id=f"{row}-{question.type}",
        audio=str(row),
        instruction=question.text,
        output=output,
        task=question.kind,
        qtype=question.type,
        split="train",
        metadata_text=line,
        label=label,
    )


DIRECT, JOINT = "direct", "joint"
WAYS: dict[str, tuple[str, Way]] = {
    DIRECT: ("direct questions alone: words and emotion", Way((WORDS, EMOTION))),
    JOINT: ("direct and contextual questions (the implicit method)", Way()),
    "joint-exchanged": ("the same, taught with another's recording each", Way(audio="exchanged")),
    "joint-silent": ("the same, taught and asked without sound: text alone", Way(audio="silent")),
    "joint-asked-with": (
        "joint, the detected emotion in the prompt at inference only",
        Way(metadata_at_inference=True),
    ),
    "joint-taught-with": ("joint, the detected emotion in the prompt in training only", Way(metadata_in_training=True)),
    "joint-with": (
        "joint, in both (implicit and explicit)",
        Way(metadata_in_training=True, metadata_at_inference=True),
    ),
    "direct-with": (
        "direct questions alone, in both (explicit)",
        Way((WORDS, EMOTION), metadata_in_training=True, metadata_at_inference=True),
    ),
}

CLAIM = TeachingClaim(
    Plan(
        name="paralinguistic-training",
        source="arXiv 2508.07273, a reconstruction",
        statement="Questions that need words and manner together teach a model to answer such questions better than "
        "direct questions alone; detected emotions in the prompt help further.",
        arms=tuple(Arm(name, words) for name, (words, _) in WAYS.items()),
        expected=(
            Expected(JOINT, DIRECT, "contextual questions in training help"),
            Expected(JOINT, "joint-exchanged", "the gain comes from the sound of the recording"),
            Expected(JOINT, "joint-silent", "the gain is not that of text alone"),
            Expected("joint-with", JOINT, "detected emotions in the prompt help, in training and at inference"),
            Expected("direct-with", DIRECT, "they help a model that was taught direct questions alone"),
            Expected("joint-asked-with", JOINT, "they help at inference alone"),
        ),
        notes=(
            "A reconstruction in small: Whisper tiny.en instead of large-v3, a decoder of 0.2 million parameters that "
            "was pretrained here on invented clips in words, and answers questions about them, instead of Gemma-2 9B.",
            "The questions are made by rule, not written by a language model; the contextual one has four answers, of "
            "which words alone, or the manner alone, leave two. No judge is needed: answers are read by keyword.",
            "EmoDB: ten sentences, cut at 2 s, boredom left out; two speakers are tested by a seed, six learnt from.",
            "Every arm takes as many steps; an arm of more kinds of question sees fewer of each.",
            f"Detected emotions: {NAME}. Where they stand in the prompt, direct questions about the emotion can be "
            "answered by reading it: that figure stands beside the model's own.",
        ),
    ),
    recipe=RECIPE,
    decoder=DECODER,
    ways={name: way for name, (_, way) in WAYS.items()},
)
