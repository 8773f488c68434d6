"""Learning to hear a voice through a bad channel as it was heard without: a network teaches its own copy.

The teacher is the network as it began (published weights). It hears each training utterance whole and clean; its unit
voice print, drawn towards the mean of the speaker's prints, is the goal. The learner hears a short crop, perturbed; it
is rewarded for the cosine with the goal and for picking its speaker among all training speakers' mean prints. These
means do not learn, so that a few hundred speakers cannot bend the space of voices to themselves, as class weights of a
margin loss do. Teacher and learner: arXiv 1503.02531.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import DataError
from earwitness.corpora.batch import Batch
from earwitness.nn.network import Network
from earwitness.speaker.comparison import Vectors, enrol, unit
from earwitness.speaker.task import SpeakerTask
from earwitness.training.task import Losses


class DistillationConfig(Config):
    """Loss: 1 - cosine with the goal + `contrast` x cross-entropy over training speakers (cosines x `scale`).

    A goal is the unit vector of (1 - `speaker_share`) x the utterance's print + `speaker_share` x its speaker's mean.
    Crops of a batch are cut to a length drawn between `shortest_s` and the recipe's `crop_s`. `first_layers`: only so
    many LSTM layers learn, from the input on (None: the whole network); what a channel does to sound, it does before
    that is a voice.
    """

    speaker_share: float = Field(0.5, ge=0, le=1)
    contrast: float = Field(0.5, ge=0)
    scale: float = Field(20.0, gt=0)
    shortest_s: float = Field(1.0, gt=0)
    first_layers: int | None = Field(None, ge=1)


@dataclass(frozen=True)
class Goals:
    """What the learner is to reach: `prints` [S, N, D] of N utterances at S speeds, and `voices` [S, K, D], the mean
    of each of K speakers; all of unit length. `places` says which of the N an utterance is."""

    prints: Vectors
    voices: Vectors
    places: Mapping[str, int]


def goals(heard: Sequence[Mapping[str, Vectors]], speaker_of: Mapping[str, int], config: DistillationConfig) -> Goals:
    """From the teacher's prints [D] by utterance, one mapping a speed; what it could not hear takes its speaker's mean.

    Raises `DataError` where a speaker cannot be heard at all.
    """
    places = {name: place for place, name in enumerate(speaker_of)}
    members: dict[int, list[str]] = {}
    for name, speaker in speaker_of.items():
        members.setdefault(speaker, []).append(name)
    prints, voices = [], []
    for at_speed in heard:
        means = np.stack([_mean(at_speed, members[speaker]) for speaker in range(len(members))])
        own = np.stack([at_speed.get(name, means[speaker]) for name, speaker in speaker_of.items()])
        theirs = means[list(speaker_of.values())]
        prints.append(unit((1 - config.speaker_share) * own + config.speaker_share * theirs))
        voices.append(means)
    return Goals(np.stack(prints), np.stack(voices), places)


def _mean(heard: Mapping[str, Vectors], names: Sequence[str]) -> Vectors:
    found = [heard[name] for name in names if name in heard]
    if not found:
        raise DataError(
            f"no recording of the speaker of '{names[0]}' is long enough to be heard",
            fix="Leave this speaker out of the training data.",
        )
    return enrol(np.stack(found))


class Imitation(nn.Module):
    """The loss of a batch of embeddings against the goals; nothing in it learns, and nothing of it is stored."""

    prints: Tensor
    voices: Tensor

    def __init__(self, config: DistillationConfig, aims: Goals) -> None:
        super().__init__()
        self.config = config
        self._places = aims.places
        self._speakers = aims.voices.shape[1]
        self.register_buffer("prints", torch.from_numpy(aims.prints), persistent=False)
        self.register_buffer(
            "voices", torch.from_numpy(aims.voices.reshape(-1, aims.voices.shape[-1])), persistent=False
        )

    def forward(self, embeddings: Tensor, ids: Sequence[str], classes: Tensor) -> dict[str, Tensor]:
        """Embeddings [B, D], ids of their utterances, classes [B] (speaker + speed x speakers) -> the loss's terms."""
        unit_length = F.normalize(embeddings)
        places = torch.tensor([self._places[name] for name in ids], device=classes.device)
        goal = self.prints[classes // self._speakers, places]
        terms = {"distance": 1 - (unit_length * goal).sum(dim=1).mean()}
        if self.config.contrast:
            logits = self.config.scale * unit_length @ self.voices.T
            terms["contrast"] = self.config.contrast * F.cross_entropy(logits, classes)
        return terms


class DistillationTask(SpeakerTask):
    """Imitation of the teacher in training; verification on dev as for every speaker model."""

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """Terms `distance` and `contrast`. Raises `DataError` for a batch without speakers."""
        classes = self.classes(batch)
        head = model.head
        assert isinstance(head, Imitation)
        longest = batch.waveforms.shape[1]
        shortest = min(longest, round(head.config.shortest_s * batch.rate))
        length = int(torch.randint(shortest, longest + 1, ()))
        embeddings = model(batch.waveforms[:, :length], batch.lengths.clamp(max=length))
        return Losses(head(embeddings, batch.ids, classes))


def freeze_all_but(network: Network, layers: int) -> None:
    """Let nothing learn but the first `layers` LSTM layers of each branch."""
    learning = tuple(f"_l{layer}" for layer in range(layers))
    for name, weight in network.named_parameters():
        weight.requires_grad_(".lstm." in name and name.endswith(learning))
