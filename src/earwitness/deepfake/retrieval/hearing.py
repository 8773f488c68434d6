"""Segments become what an index keeps of them: an embedding a layer, and the short features of all layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.audio.audible import is_audible
from earwitness.audio.windows import Window, equal_groups, stream_windows
from earwitness.core.errors import AudioError, ModelError
from earwitness.core.hashing import sha256_samples
from earwitness.deepfake.retrieval.layers import LayersConfig, LayerSource
from earwitness.deepfake.retrieval.recipe import IndexRecipe, Similarity
from earwitness.nn.layers.speed_up import speed_up
from earwitness.nn.types import Frames

AT_ONCE = 8  # segments a pass: a fixed number, so that what is heard beside a segment does not matter

Halves = NDArray[np.float16]


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording that was heard as one; seconds in the file. `sound` is the sha256 of its samples."""

    start_s: float
    end_s: float
    sound: str


@dataclass(frozen=True)
class Features:
    """Of n segments: `embeddings` [n, L, F], the mean over the long time axis, and `shorts` [n, L, T, F]; float16."""

    segments: tuple[Segment, ...]
    embeddings: Halves
    shorts: Halves

    def __len__(self) -> int:
        return len(self.segments)

    @property
    def sounds(self) -> frozenset[str]:
        """The hashes of all segments."""
        return frozenset(segment.sound for segment in self.segments)

    @classmethod
    def joined(cls, parts: Iterable[Features]) -> Features:
        """One after the other; at least one part."""
        every = list(parts)
        return cls(
            tuple(segment for part in every for segment in part.segments),
            np.concatenate([part.embeddings for part in every]),
            np.concatenate([part.shorts for part in every]),
        )


class Hearing:
    """An encoder as a recipe uses it."""

    def __init__(self, source: LayerSource, recipe: IndexRecipe) -> None:
        self.source, self.recipe = source, recipe

    @classmethod
    def begin(
        cls, encoder: LayersConfig, tau: int = 10, segment_s: float = 4.0, similarity: Similarity = "cosine"
    ) -> Hearing:
        """For a new index. Raises `ModelError` where the encoder cannot be loaded, `AudioError` for segments that are
        too short for it."""
        source = encoder.load()
        known = IndexRecipe(
            encoder=encoder,
            weights=source.weights,
            hearing=dict(source.hearing),
            layers=1,
            frames=1,
            width=1,
            tau=tau,
            segment_s=segment_s,
            similarity=similarity,
        )
        hearing = cls(source, known)
        _, layers, frames, width = hearing.of(torch.zeros(1, known.samples))[1].shape
        sizes = {"layers": layers, "frames": frames, "width": width}
        return cls(source, known.model_copy(update=sizes))

    @classmethod
    def again(cls, recipe: IndexRecipe, where: object) -> Hearing:
        """As an index at `where` was made. Raises `ModelError` where the encoder's weights are others by now."""
        hearing = cls.begin(recipe.encoder, recipe.tau, recipe.segment_s, recipe.similarity)
        recipe.require_same(hearing.recipe, where)
        return hearing

    def file(
        self, path: str | Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> Iterator[Features]:
        """A file, streamed, at most `AT_ONCE` segments at a time. Raises `AudioError` as `reading.load` does."""
        recipe = self.recipe
        yield from self.windows(stream_windows(path, recipe.windows, recipe.rate, channel, start_s, end_s))

    def windows(self, windows: Iterable[Window]) -> Iterator[Features]:
        """Segments without sound are left out. Raises `ModelError` for features that float16 cannot hold."""
        for group in equal_groups(windows, AT_ONCE):
            audible = [window for window in group if is_audible(window.samples)]
            if not audible:
                continue
            waveforms = torch.stack([torch.from_numpy(window.samples) for window in audible])
            segments = tuple(Segment(w.start_s, w.end_s, sha256_samples(w.samples)) for w in audible)
            embeddings, shorts = self.of(waveforms)
            yield Features(segments, embeddings, shorts)

    def first(
        self, path: str | Path, channel: int | None, start_s: float = 0.0, end_s: float | None = None
    ) -> Features:
        """The first segment with sound: what the published detector hears. Raises `AudioError` where there is none."""
        recipe = self.recipe
        for window in stream_windows(path, recipe.windows, recipe.rate, channel, start_s, end_s):
            if is_audible(window.samples):
                return next(self.windows([window]))
        raise AudioError("holds no sound", where=path)

    @torch.inference_mode()
    def of(self, waveforms: torch.Tensor) -> tuple[Halves, Halves]:
        """Waveforms [B, N] -> embeddings [B, L, F] and short features [B, L, T, F]."""
        long = self.source.features(waveforms)
        flat = Frames(long.flatten(0, 1))
        batch, layers, _, width = long.shape
        shorts = speed_up(flat, self.recipe.tau).values.reshape(batch, layers, -1, width).half()
        embeddings = long.mean(2).half()
        if not bool(shorts.isfinite().all()):
            raise ModelError("the encoder gives features that float16 cannot hold")
        return embeddings.cpu().numpy(), shorts.cpu().numpy()
