"""Speech language models of transformers' own classes with random weights, small enough to make in a test."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

AUDIO, BOS, EOS = "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"
CONTROLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", AUDIO, BOS, EOS, "<|IMAGE|>", "<|VIDEO|>"]
OMNI_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, and the control tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=CONTROLS,
    )


def tiny_ears() -> WhisperFeatureExtractor:
    """16 mel bands, 30 s."""
    return WhisperFeatureExtractor(feature_size=16, return_attention_mask=True)


def _text_settings(vocabulary: int) -> dict[str, object]:
    return {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": vocabulary,
        "max_position_embeddings": 4096,
    }


def save_qwen2_audio(folder: Path) -> None:
    """Processor and model of Qwen2-Audio."""
    tokenizer = tiny_tokenizer()
    torch.manual_seed(1)
    config = Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder",
            "num_mel_bins": 16,
            "d_model": 16,
            "encoder_layers": 1,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 16,
        },
        text_config={"model_type": "qwen2", **_text_settings(len(tokenizer))},
        audio_token_index=tokenizer.convert_tokens_to_ids(AUDIO),
    )
    model = Qwen2AudioForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    Qwen2AudioProcessor(tiny_ears(), tokenizer).save_pretrained(folder)


def save_qwen2_5_omni(folder: Path) -> None:
    """Tokenizer, ears and Thinker of Qwen2.5-Omni, in a folder like the published ones: the whole model's settings and
    names, of which the Thinker's are a part."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = OMNI_TEMPLATE
    tokenizer.save_pretrained(folder)
    tiny_ears().save_pretrained(folder)
    torch.manual_seed(1)
    text = _text_settings(len(tokenizer)) | {
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    }
    config = Qwen2_5OmniThinkerConfig(
        audio_config={
            "num_mel_bins": 16,
            "d_model": 16,
            "encoder_layers": 1,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 16,
            "n_window": 50,
            "output_dim": 16,
        },
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16},
        text_config=text,
        audio_token_index=tokenizer.convert_tokens_to_ids(AUDIO),
        image_token_index=tokenizer.convert_tokens_to_ids("<|IMAGE|>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<|VIDEO|>"),
        audio_start_token_id=tokenizer.convert_tokens_to_ids(BOS),
        audio_end_token_id=tokenizer.convert_tokens_to_ids(EOS),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|VIDEO|>"),
    )
    model = Qwen2_5OmniThinkerForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    settings = json.loads((folder / "config.json").read_text())
    whole = {"model_type": "qwen2_5_omni", "architectures": ["Qwen2_5OmniModel"], "thinker_config": settings}
    (folder / "config.json").write_text(json.dumps(whole))
    weights = load_file(folder / "model.safetensors")
    save_file(
        {f"thinker.{name}": value for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )
