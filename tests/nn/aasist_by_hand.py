"""AASIST from its official tensors, written out once more as sums over names: nothing of `earwitness.nn` is used."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


def bank(filters: int = 70, taps: int = 129, rate: int = 16_000) -> Tensor:
    """Differences of two sinc low-passes between mel-spaced edges, under a Hamming window."""
    mel = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), filters + 1)
    edges = 700 * (10 ** (mel / 2595) - 1)
    n = np.arange(taps) - taps // 2
    rows = []
    for low, high in pairwise(edges):
        ideal = [2 * f / rate * np.sinc(2 * f * n / rate) for f in (high, low)]
        rows.append((ideal[0] - ideal[1]) * np.hamming(taps))
    return torch.tensor(np.array(rows), dtype=torch.float32)


def normed(s: State, name: str, x: Tensor) -> Tensor:
    """Batch-norm in eval mode over dimension 1."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    mean, var, weight, bias = (s[f"{name}.{p}"].view(shape) for p in ("running_mean", "running_var", "weight", "bias"))
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def linear(s: State, name: str, x: Tensor) -> Tensor:
    return x @ s[f"{name}.weight"].T + s[f"{name}.bias"]


def block(s: State, place: int, x: Tensor) -> Tensor:
    """The first convolution reads the block's input: the batch-norm in front of it has no effect."""
    p = f"encoder.{place}.0"
    out = F.conv2d(x, s[f"{p}.conv1.weight"], s[f"{p}.conv1.bias"], padding=(1, 1))
    out = F.selu(normed(s, f"{p}.bn2", out))
    out = F.conv2d(out, s[f"{p}.conv2.weight"], s[f"{p}.conv2.bias"], padding=(0, 1))
    if f"{p}.conv_downsample.weight" in s:
        x = F.conv2d(x, s[f"{p}.conv_downsample.weight"], s[f"{p}.conv_downsample.bias"], padding=(0, 1))
    return F.max_pool2d(out + x, (1, 3))


def attended(s: State, p: str, x: Tensor, scores: Tensor, temperature: float) -> Tensor:
    shares = (scores / temperature).exp()
    shares = shares / shares.sum(2, keepdim=True)
    joined = linear(s, f"{p}.proj_with_att", torch.einsum("bij,bjd->bid", shares, x))
    joined = joined + linear(s, f"{p}.proj_without_att", x)
    return F.selu(normed(s, f"{p}.bn", joined.transpose(1, 2)).transpose(1, 2))


def pairs(s: State, p: str, x: Tensor) -> Tensor:
    return torch.tanh(linear(s, f"{p}.att_proj", torch.einsum("bid,bjd->bijd", x, x)))


def graph(s: State, p: str, x: Tensor) -> Tensor:
    return attended(s, p, x, (pairs(s, p, x) @ s[f"{p}.att_weight"]).squeeze(3), 2.0)


def pooled(s: State, name: str, x: Tensor, ratio: float) -> Tensor:
    gates = torch.sigmoid(linear(s, f"{name}.proj", x)).squeeze(2)
    count = max(1, int(x.shape[1] * ratio))
    rows = []
    for nodes, gate in zip(x, gates, strict=True):
        best = sorted(range(len(gate)), key=lambda i: -float(gate[i]))[:count]
        rows.append(torch.stack([nodes[i] * gate[i] for i in best]))
    return torch.stack(rows)


def mixed(s: State, p: str, t: Tensor, f: Tensor, master: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.cat([linear(s, f"{p}.proj_type1", t), linear(s, f"{p}.proj_type2", f)], dim=1)
    related, n = pairs(s, p, x), t.shape[1]
    scores = (related @ s[f"{p}.att_weight12"]).squeeze(3)
    scores[:, :n, :n] = (related[:, :n, :n] @ s[f"{p}.att_weight11"]).squeeze(3)
    scores[:, n:, n:] = (related[:, n:, n:] @ s[f"{p}.att_weight22"]).squeeze(3)
    to_master = (torch.tanh(linear(s, f"{p}.att_projM", x * master)) @ s[f"{p}.att_weightM"]).squeeze(2)
    shares = torch.softmax(to_master / 100.0, dim=1)
    gathered = torch.einsum("bi,bid->bd", shares, x).unsqueeze(1)
    new_master = linear(s, f"{p}.proj_with_attM", gathered) + linear(s, f"{p}.proj_without_attM", master)
    out = attended(s, p, x, scores, 100.0)
    return out[:, :n], out[:, n:], new_master


def aasist_logits(s: State, waveforms: Tensor, ratios: tuple[float, float, float]) -> Tensor:
    """[B, N] -> [B, 2]."""
    x = F.max_pool2d(F.conv1d(waveforms[:, None], bank()[:, None]).abs()[:, None], 3)
    x = F.selu(normed(s, "first_bn", x))
    for place in range(6):
        x = block(s, place, x)
    spectral = graph(s, "GAT_layer_S", x.abs().amax(3).transpose(1, 2) + s["pos_S"])
    temporal = graph(s, "GAT_layer_T", x.abs().amax(2).transpose(1, 2))
    spectral, temporal = pooled(s, "pool_S", spectral, ratios[0]), pooled(s, "pool_T", temporal, ratios[1])
    sides = []
    for number in ("1", "2"):
        t, f, m = mixed(s, f"HtrgGAT_layer_ST{number}1", temporal, spectral, s[f"master{number}"])
        t, f = pooled(s, f"pool_hT{number}", t, ratios[2]), pooled(s, f"pool_hS{number}", f, ratios[2])
        more = mixed(s, f"HtrgGAT_layer_ST{number}2", t, f, m)
        sides.append([a + b for a, b in zip((t, f, m), more, strict=True)])
    t, f, m = (torch.maximum(a, b) for a, b in zip(*sides, strict=True))
    read = [t.abs().amax(1), t.mean(1), f.abs().amax(1), f.mean(1), m[:, 0]]
    return linear(s, "out_layer", torch.cat(read, dim=1))
