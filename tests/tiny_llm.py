"""Tiny frozen parts: an encoder and a decoder with random weights, in the forms that the real ones have."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

from earwitness.speech_llm.training.adapters import SmallAdapterConfig
from earwitness.speech_llm.training.sentences import QUESTIONS, told_clips
from earwitness.speech_llm.training.text_decoder import GptConfig, build_network, make_tokenizer, write_decoder

ADAPTER = SmallAdapterConfig(hidden=(8, 12), rest="trim")


def make_decoder(folder: Path, seed: int = 0, width: int = 16) -> Path:
    """A folder with a small GPT of random weights, whose words are those of the questions."""
    torch.manual_seed(seed)
    texts = [
        f"Listen to the audio: {one.described} {one.instruction} Answer: {one.answer}" for one in told_clips(300, 1)
    ]
    tokenizer = make_tokenizer([*texts, *(question.text for question in QUESTIONS)], 400)
    network = build_network(GptConfig(width=width, layers=2, heads=2), tokenizer)
    with torch.no_grad():
        for weight in network.parameters():
            weight *= 8 if weight.ndim > 1 else 1  # so that what is read makes a difference
    return write_decoder(network, tokenizer, folder)


def make_whisper(folder: Path, mels: int = 80) -> Path:
    """A folder with a Whisper of random weights, in transformers' form."""
    torch.manual_seed(1)
    config = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        num_mel_bins=mels,
        vocab_size=20,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    transformers.WhisperModel(config).save_pretrained(folder)
    return folder
