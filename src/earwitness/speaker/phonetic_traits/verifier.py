"""A trained phone-by-phone verifier: recordings become prints of their traits, and prints are compared."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from earwitness.audio.audible import SHORTEST_S, is_audible
from earwitness.audio.perturb.base import item_rng
from earwitness.audio.windows import Sliding, Window, heard_seconds, stream_windows, total_seconds
from earwitness.core.config import Config, parse_config
from earwitness.core.errors import AudioError, ModelError, RecipeError
from earwitness.speaker.phones import (
    Inventory,
    Maker,
    PhonesConfig,
    PhoneSource,
    PseudoConfig,
    PseudoPhones,
    frame_labels,
    in_random_order,
)
from earwitness.speaker.phones.source import PIECE_S
from earwitness.speaker.phones.track import Labels
from earwitness.speaker.phonetic_traits.comparing import Floats, Similarities, TraitPrint, similarities
from earwitness.speaker.phonetic_traits.discriminability import PhoneDiscriminability
from earwitness.speaker.phonetic_traits.layers import Traits, means_of, sums_of
from earwitness.speaker.phonetic_traits.network import HeardTraits, TraitNetwork, TraitNetworkConfig
from earwitness.speaker.phonetic_traits.scoring import print_of, scores_of
from earwitness.training.model_folder import (
    DESCRIPTION,
    WEIGHTS,
    ModelInfo,
    load_arrays,
    load_weights,
    read_model_info,
)
from earwitness.training.tensors import load_trained_state

TASK = "speaker-traits"
EXTRA = "traits"  # where `ModelInfo.extra` holds a `TraitInfo`
CLUSTERS_FILE = "pseudo_phones.safetensors"
FEW_PHONES = 8  # shared ones, below which an answer hangs on too little (ours)


class TraitFigures(Config):
    """On `trials` of dev, as shares: EER of the score and of the evidence score, the latter also with the phone labels
    put in random order (the control: unless it is worse, the phones say nothing), and Spearman's correlation."""

    trials: int
    score_eer: float
    evidence_eer: float
    evidence_eer_random_labels: float
    spearman: float | None

    @property
    def phones_matter(self) -> bool:
        """Whether the evidence gets worse when labels are random."""
        return self.evidence_eer_random_labels > self.evidence_eer


class TraitInfo(Config):
    """What `model.json` says of a verifier's phones, and what its dev trials found."""

    phones: PhonesConfig = Field(discriminator="kind")
    maker: str
    language: str
    inventory: str
    names: tuple[str, ...]
    silence: str | None
    are_phones: bool
    discriminability: tuple[PhoneDiscriminability, ...] = ()
    figures: TraitFigures | None = None

    @classmethod
    def of(cls, config: PhonesConfig, maker: Maker, inventory: Inventory) -> TraitInfo:
        """Before any trial."""
        return cls(
            phones=config,
            maker=maker.words,
            language=maker.language,
            inventory=inventory.name,
            names=inventory.phones,
            silence=inventory.silence,
            are_phones=inventory.are_phones,
        )

    def of_phone(self, name: str) -> PhoneDiscriminability | None:
        """What is known of a phone."""
        return next((one for one in self.discriminability if one.phone == name), None)


class TraitVerifier:
    """A network with where its phone labels come from. Recordings are heard in pieces of 20 s, whose frames add up."""

    def __init__(self, network: TraitNetwork, info: ModelInfo, phones: PhoneSource) -> None:
        self.network = network.eval()
        self.info = info
        self.phones = phones
        self._shuffled_by: int | None = None
        self._removed: int | None = None
        known = traits_info(info)
        if known.names != phones.inventory.phones:
            what = f"the model knows {known.inventory}, the labels are {phones.inventory.name}"
            raise ModelError(what, where=info.name, fix="Use the phones that it was trained with.")

    @classmethod
    def load(cls, folder: str | Path, phones: PhoneSource | None = None) -> TraitVerifier:
        """From a model folder; `phones` in place of those that it was trained with.

        Raises `ModelError` for an altered folder, another task or another inventory, `MissingPartError` where its
        recogniser is not installed.
        """
        info = read_model_info(folder)
        if info.task != TASK:
            raise ModelError(f"this model answers '{info.task}', not '{TASK}'", where=folder)
        weights = load_weights(folder)  # verifies every file of the folder
        try:
            config: TraitNetworkConfig = parse_config(TraitNetworkConfig, info.network)
            network = config.build()
        except RecipeError as error:
            raise ModelError(f"its network cannot be built: {error}", where=Path(folder) / DESCRIPTION) from None
        load_trained_state(network, weights, where=Path(folder) / WEIGHTS)
        return cls(network, info, phones or own_phones(folder, info))

    @property
    def known(self) -> TraitInfo:
        """What it says of its phones."""
        return traits_info(self.info)

    def with_random_labels(self, seed: int = 0) -> TraitVerifier:
        """The same verifier with the labels of each recording in random order: the control of the phones."""
        other = copy(self)
        other._shuffled_by = seed
        return other

    def with_phone_removed(self, phone: str) -> TraitVerifier:
        """The same verifier, hearing recordings with a phone's samples cut out. Raises `DataError`."""
        other = copy(self)
        other._removed = self.phones.inventory.index(phone)
        return other

    @torch.inference_mode()
    def hear_file(
        self, path: str | Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> TraitPrint:
        """The print of a stretch of a file, streamed.

        Raises `AudioError` for what cannot be read, too little sound, or none of the model's phones in it, and
        `DataError` for a missing track or one of another recording.
        """
        path = Path(path)
        track = self.phones.of_file(path, channel, start_s, end_s)
        total = total_seconds(path, start_s, end_s)
        if total is not None:
            track.require_length(total, where=path)
        heard = _Sums(self.network)
        used: list[Window] = []
        until_s = start_s
        policy = Sliding(length_s=PIECE_S, hop_s=PIECE_S, repeat=False)
        for window in stream_windows(path, policy, self.info.rate, channel, start_s, end_s):
            if is_audible(window.samples):
                part = track.cut(window.start_s - start_s, window.end_s - start_s)
                labels = part.sample_labels(len(window.samples), self.info.rate)
                fresh = round((until_s - window.start_s) * self.info.rate)
                left = labels != self._removed if self._removed is not None else np.ones(len(labels), np.bool_)
                if left.sum() >= self.network.window:
                    framed = self._framed(labels[left], f"{path.name} {window.start_s}")
                    heard.add(window.samples[left], framed, int(left[: max(fresh, 0)].sum()))
                    used.append(window)
            until_s = window.end_s
        seconds = heard_seconds(used)
        if seconds < SHORTEST_S:
            raise AudioError(f"holds {seconds:.2f} s of sound; a voice needs at least {SHORTEST_S} s", where=path)
        return heard.print(seconds, until_s - start_s if total is None else total, path)

    def compare(
        self, prints: Sequence[TraitPrint], enrol: NDArray[np.int64], test: NDArray[np.int64]
    ) -> tuple[Floats, Similarities]:
        """Scores [n] of trials between prints, higher = same speaker, and their similarities phone by phone."""
        found = similarities(prints, enrol, test)
        return scores_of(self.network, prints, enrol, test, found), found

    def _framed(self, labels: Labels, name: str) -> Labels:
        framed = frame_labels(labels, self.network.window, self.network.hop)
        if self._shuffled_by is None:
            return framed
        return in_random_order(framed, item_rng(self._shuffled_by, 0, name))


class _Sums:
    """Sums over the frames of a recording, piece by piece."""

    def __init__(self, network: TraitNetwork) -> None:
        self._network = network
        self._sums: Tensor | None = None
        self._counts: Tensor | None = None
        self._frames = 0
        self._moments: tuple[Tensor, Tensor] | None = None

    def add(self, samples: NDArray[np.float32], labels: Labels, fresh: int) -> None:
        """Frames that begin before sample `fresh` were counted with the piece before."""
        network = self._network
        first = -(-max(fresh, 0) // network.hop)
        frames = network.frames(torch.from_numpy(samples)[None])[:, first:].double()
        sums, counts = sums_of(frames, torch.from_numpy(labels)[None, first:], network.config.phones)
        self._sums = sums if self._sums is None else self._sums + sums
        self._counts = counts if self._counts is None else self._counts + counts
        own = frames.sum(1), frames.square().sum(1)
        self._moments = own if self._moments is None else (self._moments[0] + own[0], self._moments[1] + own[1])
        self._frames += frames.shape[1]

    def print(self, used: float, total: float, where: Path) -> TraitPrint:
        """Raises `AudioError` where no phone was heard."""
        network = self._network
        assert self._sums is not None
        assert self._counts is not None
        assert self._moments is not None
        traits = means_of(self._sums, self._counts)
        if not bool(traits.present.any()):
            raise AudioError("none of the sounds that the model knows is heard in it", where=where)
        traits = Traits(traits.values.float(), traits.present)
        if network.config.pooling == "frames":
            mean = self._moments[0] / self._frames
            deviation = torch.sqrt((self._moments[1] / self._frames - mean.square()).clamp_min(0) + 1e-8)
            pooled = torch.cat([mean, deviation], -1).float()
        else:
            pooled = network.pooled(traits)
        seconds = self._counts[0].numpy() * network.hop / network.config.frontend.rate
        return print_of(HeardTraits(network.embed(pooled), *traits), 0, seconds, used, total)


def traits_info(info: ModelInfo) -> TraitInfo:
    """Raises `ModelError` where a model does not say what its phones are."""
    try:
        found: TraitInfo = parse_config(TraitInfo, info.extra.get(EXTRA))
    except RecipeError as error:
        raise ModelError(f"does not say what its phones are: {error.what}", where=info.name) from None
    return found


def own_phones(folder: str | Path, info: ModelInfo) -> PhoneSource:
    """The source of phones that a model was trained with. Raises `ModelError`, `MissingPartError`."""
    config = traits_info(info).phones
    if not isinstance(config, PseudoConfig):
        return config.build()
    return PseudoPhones(load_arrays(Path(folder) / CLUSTERS_FILE)["centres"])
