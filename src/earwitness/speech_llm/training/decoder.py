"""The frozen language model: any causal one of transformers, from a folder, with its tokeniser.

Read from safetensors alone; code that lies in the folder is never run, nothing is fetched. transformers is imported
where it is used, since that takes seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from earwitness.core.errors import ModelError
from earwitness.core.hashing import sha256_data
from earwitness.nn.layers.frozen import freeze


@dataclass(frozen=True)
class TextDecoder:
    """A causal language model (`model`, frozen) and its `tokenizer`, both of transformers; `source` is their folder."""

    model: Any
    tokenizer: Any
    source: str

    @classmethod
    def load(cls, source: str | Path) -> TextDecoder:
        """From a folder in transformers' form. Raises `ModelError` for what is none, or lacks weights or tokeniser."""
        if not (Path(source) / "config.json").is_file():
            raise ModelError(
                "is no folder of a language model", where=source, fix="Give one in transformers' form (config.json)."
            )
        import transformers
        from safetensors import SafetensorError

        transformers.utils.logging.disable_progress_bar()
        given: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            model, report = transformers.AutoModelForCausalLM.from_pretrained(
                str(source), use_safetensors=True, output_loading_info=True, dtype="auto", **given
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(source), **given)
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"the language model cannot be read ({reason})", where=source) from None
        if lacking := [*sorted(report["missing_keys"]), *map(str, report["mismatched_keys"])]:
            raise ModelError(f"{len(lacking)} weights are missing or of another shape: {lacking[0]}", where=source)
        if tokenizer.eos_token_id is None:
            raise ModelError("its tokeniser has no token that ends an answer (eos)", where=source)
        end = tokenizer.eos_token_id
        model.generation_config = transformers.GenerationConfig(do_sample=False, eos_token_id=end, pad_token_id=end)
        return cls(freeze(model), tokenizer, str(source))

    @property
    def width(self) -> int:
        """Values a token."""
        return int(self.model.get_input_embeddings().weight.shape[1])

    @property
    def end(self) -> int:
        """The token that ends an answer."""
        return int(self.tokenizer.eos_token_id)

    @property
    def placeholder(self) -> int:
        """A token to stand where audio will: its own vector is never read."""
        return self.end

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """The tokens of a text. Names of special tokens in it are words like others, unless `special` says so."""
        found = self.tokenizer(text, add_special_tokens=False, split_special_tokens=not special)
        return [int(token) for token in found["input_ids"]]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of an answer, without special tokens."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()

    def embed(self, tokens: Tensor) -> Tensor:
        """Tokens [...] int64 -> vectors [..., E]."""
        vectors: Tensor = self.model.get_input_embeddings()(tokens)
        return vectors

    @property
    def sha256(self) -> str:
        """Of all weights and of the vocabulary: what an adapter was taught beside."""
        words = sha256_data(sorted(self.tokenizer.get_vocab().items()))
        return hashlib.sha256(f"{state_sha256(self.model.state_dict())} {words}".encode()).hexdigest()


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """Of named tensors: names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
