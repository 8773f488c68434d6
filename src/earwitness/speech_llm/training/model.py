"""A language model that hears: frozen speech encoder, trained adapter, frozen decoder (arXiv 2508.07273, section 2).

    waveforms -> frames [T, D] -> adapter -> tokens [T / 15, E] -> in the prompt's place for audio -> decoder -> answer

The loss is the next-token cross-entropy of the answer alone; its gradient flows through the frozen decoder into the
adapter. Audio is never padded beside other audio: recordings of equal length run together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.core.errors import RecipeError
from earwitness.nn.frontends import EncoderFrontend, Frontend
from earwitness.speech_llm.training.adapters import Adapter
from earwitness.speech_llm.training.decoder import TextDecoder, state_sha256
from earwitness.speech_llm.training.prompt import Prompt

IGNORED = -100


@dataclass(frozen=True)
class Asked:
    """A prompt and the tokens of its answer, with the token that ends it (none: nothing is learnt from it)."""

    prompt: Prompt
    answer: tuple[int, ...] = ()


@dataclass(frozen=True)
class Reply:
    """What the decoder wrote; `finished`: it ended by itself. `read` and `written` count tokens."""

    text: str
    finished: bool
    read: int
    written: int


@dataclass(frozen=True)
class Sequences:
    """Vectors [B, L, E] with zeros after the end of each row, `mask` int64 [B, L] of what is real, the `tokens` int64
    [B, L] (placeholders where the audio is), and which of them are the `answer`, bool [B, L]."""

    vectors: Tensor
    mask: Tensor
    tokens: Tensor
    answer: Tensor


class SpeechLanguageModel(nn.Module):
    """`frontend` and `decoder` are frozen; `adapter` is all that learns. `pad_to_s`: audio is filled up with silence to
    whole windows of so many seconds, as Whisper was trained (None: heard as long as it is).

    Raises `RecipeError` for a front-end with weights that learn.
    """

    def __init__(
        self, frontend: Frontend, adapter: Adapter, decoder: TextDecoder, *, pad_to_s: float | None = None
    ) -> None:
        super().__init__()
        if any(parameter.requires_grad for parameter in frontend.parameters()):
            raise RecipeError(
                "the speech encoder has weights that learn", fix="Set frozen: true, and aggregation: last or layer."
            )
        self.frontend, self.adapter = frontend, adapter
        self.decoder = decoder
        self.language_model = decoder.model  # registered, so that it moves with the rest; marked as frozen
        self.pad_to_s = pad_to_s

    @property
    def trainable_names(self) -> list[str]:
        """The parameters that learn."""
        return [name for name, parameter in self.named_parameters() if parameter.requires_grad]

    def frozen_hashes(self) -> dict[str, str]:
        """sha256 of the weights of the encoder and of the decoder (with its vocabulary)."""
        held = self.frontend.speech_encoder if isinstance(self.frontend, EncoderFrontend) else self.frontend
        return {"encoder": state_sha256(held.state_dict()), "decoder": self.decoder.sha256}

    def heard(self, waveforms: Tensor, lengths: Tensor) -> list[Tensor]:
        """The audio tokens [S, E] of each of [B, N], of which `lengths` [B] samples count."""
        sizes = lengths.tolist()
        found: list[Tensor | None] = [None] * len(sizes)
        for size in sorted(set(sizes)):
            rows = [row for row, own in enumerate(sizes) if own == size]
            frames = self.frontend(self._filled(waveforms[rows, :size])).values
            for row, tokens in zip(rows, self.adapter(frames), strict=True):
                found[row] = tokens
        return [tokens for tokens in found if tokens is not None]

    def _filled(self, waveforms: Tensor) -> Tensor:
        if self.pad_to_s is None:
            return waveforms
        window = round(self.pad_to_s * 16_000)
        return F.pad(waveforms, (0, -waveforms.shape[1] % window))

    def sequences(self, audio: Sequence[Tensor], asked: Sequence[Asked]) -> Sequences:
        """Each row: before, audio, after, answer. The places of the audio hold its tokens instead of placeholders."""
        device = audio[0].device
        vectors, words, answers = [], [], []
        for heard, one in zip(audio, asked, strict=True):
            start, end = len(one.prompt.before), len(one.prompt.before) + len(heard)
            places = [self.decoder.placeholder] * len(heard)
            row = torch.tensor([*one.prompt.before, *places, *one.prompt.after, *one.answer], device=device)
            text = self.decoder.embed(row)
            vectors.append(torch.cat([text[:start], heard.to(text.dtype), text[end:]]))
            words.append(row)
            answers.append(torch.arange(len(row), device=device) >= len(row) - len(one.answer))
        mask = [torch.ones_like(row) for row in words]
        return Sequences(_stacked(vectors), _stacked(mask), _stacked(words), _stacked(answers))

    def forward(self, waveforms: Tensor, lengths: Tensor, asked: Sequence[Asked]) -> tuple[Tensor, Tensor]:
        """For each row of [B, N] the summed cross-entropy of its answer, and how many tokens that is; [B] each."""
        rows = self.sequences(self.heard(waveforms, lengths), asked)
        logits = self.language_model(inputs_embeds=rows.vectors, attention_mask=rows.mask).logits
        return answer_losses(logits, rows.tokens, rows.answer)

    @torch.inference_mode()
    def reply(self, waveforms: Tensor, lengths: Tensor, prompts: Sequence[Prompt], most: int = 256) -> list[Reply]:
        """The greedy answer to each prompt about its audio, of at most `most` tokens; rows of equal length together."""
        rows = [
            self.sequences([tokens], [Asked(prompt)]).vectors
            for tokens, prompt in zip(self.heard(waveforms, lengths), prompts, strict=True)
        ]
        found: list[Reply | None] = [None] * len(rows)
        for size in sorted({row.shape[1] for row in rows}):
            places = [place for place, row in enumerate(rows) if row.shape[1] == size]
            written = self._continued(torch.cat([rows[place] for place in places]), most)
            for place, tokens in zip(places, written, strict=True):
                ended = self.decoder.end in tokens
                kept = tokens[: tokens.index(self.decoder.end)] if ended else tokens
                found[place] = Reply(self.decoder.decode(kept), ended, size, len(kept))
        return [reply for reply in found if reply is not None]

    def _continued(self, vectors: Tensor, most: int) -> list[list[int]]:
        """[B, L, E] -> the likeliest next tokens, one after the other, until all rows have ended, or `most`."""
        mask = torch.ones(vectors.shape[:2], dtype=torch.int64, device=vectors.device)
        written = self.language_model.generate(inputs_embeds=vectors, attention_mask=mask, max_new_tokens=most)
        tokens: list[list[int]] = written.tolist()
        return tokens


def answer_losses(logits: Tensor, tokens: Tensor, answer: Tensor) -> tuple[Tensor, Tensor]:
    """Summed next-token cross-entropy of each row's answer, and how many tokens that is, [B] each.

    `logits` [B, L, V], `tokens` int64 [B, L], `answer` bool [B, L]; a row without an answer gives 0.
    """
    labels = tokens.masked_fill(~answer, IGNORED)[:, 1:]
    losses = F.cross_entropy(logits[:, :-1].float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
    return losses.sum(dim=1), (labels != IGNORED).sum(dim=1)


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    """Rows of different lengths, zeros after their ends."""
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
