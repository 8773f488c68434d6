"""Whisper's encoder (arXiv 2212.04356, section 2.2) for inputs of any length up to 30 s, with all its hidden states.

Parameters bear the names that transformers gives them, so weights move freely between its `WhisperEncoder` and this
one (tested to give equal hidden states). It is written out here because transformers' forward accepts 30 s alone,
and because importing transformers takes longer than judging a recording.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.core.errors import ModelError

Weights = dict[str, Tensor]


class Positions(nn.Module):
    """The sinusoids that are added to the frames: kept with the weights, never trained."""

    weight: Tensor

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(count, width))


class Attention(nn.Module):
    """Self-attention over all frames; keys have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        query, key, value = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class Layer(nn.Module):
    """Attention and a two-layer perceptron, each behind a layer norm and added to its input."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = Attention(width, heads)
        self.final_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        out: Tensor = x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return out


class WhisperEncoder(nn.Module):
    """Log-mel [B, mels, M] -> hidden states, each [B, ceil(M / 2), D]: the embedding, then the output of every layer.

    The last one has passed the final layer norm. M is at most `2 * positions`, 3000 frames of 10 ms.
    """

    def __init__(self, *, mels: int, width: int, heads: int, hidden: int, layers: int, positions: int) -> None:
        super().__init__()
        self.mels = mels
        self.width = width
        self.conv1 = nn.Conv1d(mels, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.embed_positions = Positions(positions, width)
        self.layers = nn.ModuleList(Layer(width, heads, hidden) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(width)

    @classmethod
    def from_weights(cls, weights: Weights, heads: int) -> WhisperEncoder:
        """An encoder that holds these weights, in eval mode; its shape follows from theirs.

        Raises `ModelError` unless every weight has its place and every place its weight.
        """
        try:
            width, mels, _ = weights["conv1.weight"].shape
            shape = {
                "mels": mels,
                "width": width,
                "heads": heads,
                "hidden": len(weights["layers.0.fc1.weight"]),
                "layers": sum(name.endswith(".fc1.weight") for name in weights),
                "positions": len(weights["embed_positions.weight"]),
            }
            with torch.device("meta"):
                encoder = cls(**shape)
            encoder.load_state_dict(weights, strict=True, assign=True)
        except (KeyError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise ModelError(f"the weights do not fit Whisper's encoder ({reason})") from None
        return encoder.eval()

    def forward(self, log_mel: Tensor, last: int | None = None) -> tuple[Tensor, ...]:
        """All hidden states, or those up to number `last`: no layer behind it is computed."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(log_mel)))).transpose(1, 2)
        x = x + self.embed_positions.weight[: x.shape[1]]
        states = [x]
        for layer in self.layers[:last]:
            x = layer(x)
            states.append(x)
        if len(states) > len(self.layers):
            states[-1] = self.layer_norm(x)
        return tuple(states)
