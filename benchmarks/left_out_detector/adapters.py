"""One more view: an encoder layer with low-rank adapters (LoRA, arXiv 2106.09685) that learns with its classifier.

For every fold and seed an own adapter is trained, from the kept frames of the layer below, so that the left-out scores
are those of somebody who never heard their like. The arm without adapters takes the same steps with the layer as it is.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from frames import kept_frames
from material import Heard
from numpy.typing import NDArray
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.corpora.samplers import BalancedSampler
from earwitness.deepfake.committee import Prepared, labels_of
from earwitness.nn.pretrained.whisper import TINY_EN, load_whisper_encoder
from earwitness.training.loop import seed_run

LAYER = 1  # the second of the encoder; the kept frames are the output of the first
RANK, STEPS, BATCH, CROP = 8, 200, 32, 75  # CROP in frames of 20 ms
RATES = {"adapters": 1e-3, "classifier": 2e-3}
HIDDEN = 48
VIEWS = ("clean", "narrow_band")  # that are judged; they stand first in `Frames`


@dataclass(frozen=True)
class Frames:
    """Kept frames of the first layer, float16 [R, V, T, D], of all rows and views of the recipe."""

    values: NDArray[np.float16]

    def read(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """float32 [B, T, D]."""
        chosen = [self.values[row, view] for row, view in zip(rows, views, strict=True)]
        return torch.from_numpy(np.stack(chosen).astype(np.float32))


class AdaptedLayer(nn.Module):
    """Frames of the first layer [B, T, D] -> logits [B, 2], by mean and deviation of both layers."""

    def __init__(self, adapted: bool) -> None:
        super().__init__()
        encoder = load_whisper_encoder(TINY_EN)
        self.layer: Any = copy.deepcopy(encoder.layers[LAYER]).requires_grad_(False)
        if adapted:
            config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=["q_proj", "v_proj", "fc1", "fc2"])
            inject_adapter_in_model(config, self.layer)
        dim = 4 * encoder.width
        self.norm = nn.BatchNorm1d(dim, affine=False)
        self.classifier = nn.Sequential(nn.Linear(dim, HIDDEN), nn.GELU(), nn.Dropout(0.3), nn.Linear(HIDDEN, 2))

    def forward(self, frames: Tensor) -> Tensor:
        """[B, T, D] -> [B, 2]."""
        states = (frames, self.layer(frames))
        pooled = self.norm(torch.cat([torch.cat([s.mean(1), s.std(1, unbiased=False)], 1) for s in states], 1))
        if self.training:
            pooled = pooled * (torch.rand(pooled.shape[1]) >= 0.3) / 0.7
        logits: Tensor = self.classifier(pooled)
        return logits


def adapted_scores(heard: Heard, prepared: Prepared, seed: int, work: Path, *, adapted: bool) -> NDArray[np.float64]:
    """Left-out scores of the judged rows as they are and in a telephone band, [2, R]; NaN for rows that are not judged.

    The scores of a finished fold are kept in `work`.
    """
    frames, found = Frames(kept_frames(heard, work / "frames")), np.full((len(VIEWS), len(heard.rows)), np.nan)
    for fold in range(prepared.folds.heard.shape[1]):
        kept = work / ("adapters" if adapted else "no-adapters") / f"{seed}-{fold}.npy"
        judged = np.flatnonzero(prepared.folds.judged & (prepared.folds.fold == fold))
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            model = _trained(heard, prepared, frames, (seed, fold), adapted=adapted)
            part = kept.with_suffix(".part.npy")
            np.save(part, _scored(model, frames, judged))
            part.replace(kept)
        found[:, judged] = np.load(kept, allow_pickle=False)
    return found


def _trained(heard: Heard, prepared: Prepared, frames: Frames, run: tuple[int, int], *, adapted: bool) -> AdaptedLayer:
    """Trained on what the fold leaves."""
    seed, fold = run
    seed_run(seed, f"fold {fold}")
    model = AdaptedLayer(adapted).train()
    rng = np.random.default_rng([seed, fold])
    learnt = np.flatnonzero(prepared.folds.heard[:, fold])
    part = prepared.rows.with_table(prepared.rows.table[learnt])
    order = BalancedSampler(part, heard.recipe.balance, BATCH, seed, STEPS * BATCH)
    labels = labels_of(part)
    adapters = [p for name, p in model.named_parameters() if p.requires_grad and name.startswith("layer")]
    classifier = list(model.classifier.parameters())
    groups = [{"params": p, "lr": RATES[name]} for name, p in (("adapters", adapters), ("classifier", classifier)) if p]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.1)
    pace = torch.optim.lr_scheduler.LambdaLR(optimiser, _pace)
    for rows in order.batches(0):
        places = np.array(rows)
        x = frames.read(learnt[places], rng.integers(frames.values.shape[1], size=len(places)))
        start = int(rng.integers(0, x.shape[1] - CROP + 1))
        logits = model(x[:, start : start + CROP])
        loss = F.cross_entropy(logits, torch.from_numpy(labels[places]), label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([*adapters, *classifier], 5.0)
        optimiser.step()
        pace.step()
    return model.eval()


def _pace(step: int) -> float:
    """The learning rate's factor: up over 20 steps, then down by a cosine."""
    return min(1.0, (step + 1) / 20) * (0.5 + 0.5 * math.cos(math.pi * step / STEPS))


@torch.inference_mode()
def _scored(model: AdaptedLayer, frames: Frames, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """[2, rows]: bona fide logit minus spoof logit, over all kept frames."""
    found = np.empty((len(VIEWS), len(rows)))
    for view in range(len(VIEWS)):
        for start in range(0, len(rows), BATCH):
            chosen = rows[start : start + BATCH]
            logits = model(frames.read(chosen, np.full(len(chosen), view)))
            found[view, start : start + BATCH] = (logits[:, 1] - logits[:, 0]).numpy()
    return found
