"""Learning to hear through bad channels what published weights hear without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from earwitness.core.errors import DataError, RecipeError, UsageError
from earwitness.corpora.batch import Batch, Targets
from earwitness.nn.network import Network
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.distillation import DistillationConfig, DistillationTask, Imitation, goals
from earwitness.speaker.identities import TRAINING_SPEAKERS
from earwitness.speaker.published import DVECTOR, LOSS_PARAMETERS, ORIGINS, Published
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.training import train_embedder
from earwitness.training.model_folder import load_weights, read_model_info

SPEAKERS = {"a1": 0, "a2": 0, "b1": 1}
PRINTS: dict[str, Vectors] = {
    "a1": np.array([1.0, 0.0], np.float32),
    "a2": np.array([0.0, 1.0], np.float32),
    "b1": np.array([0.6, 0.8], np.float32),
}


def test_a_goal_lies_between_the_utterance_and_its_speaker() -> None:
    aims = goals([PRINTS], SPEAKERS, DistillationConfig(speaker_share=0.5))
    mean = np.sqrt([0.5, 0.5])
    assert aims.voices[0, 0] == pytest.approx(mean)
    between = 0.5 * PRINTS["a1"] + 0.5 * mean
    assert aims.prints[0, aims.places["a1"]] == pytest.approx(between / np.linalg.norm(between))
    assert aims.prints[0, aims.places["b1"]] == pytest.approx(PRINTS["b1"])
    own = goals([PRINTS], SPEAKERS, DistillationConfig(speaker_share=0.0))
    assert own.prints[0, own.places["a1"]] == pytest.approx(PRINTS["a1"])


def test_what_the_teacher_cannot_hear_takes_its_speakers_mean() -> None:
    heard = {"a1": PRINTS["a1"], "b1": PRINTS["b1"]}
    aims = goals([heard], SPEAKERS, DistillationConfig(speaker_share=0.0))
    assert aims.prints[0, aims.places["a2"]] == pytest.approx(PRINTS["a1"])
    with pytest.raises(DataError, match="no recording of the speaker of 'b1'"):
        goals([{"a1": PRINTS["a1"]}], SPEAKERS, DistillationConfig())


def test_the_loss_is_the_distance_and_the_choice_among_voices_at_the_played_speed() -> None:
    slow = {name: print_[::-1].copy() for name, print_ in PRINTS.items()}
    config = DistillationConfig(speaker_share=0.0, contrast=0.5, scale=10.0)
    loss = Imitation(config, goals([PRINTS, slow], SPEAKERS, config))
    heard = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    terms = loss(heard, ["b1", "a1"], torch.tensor([1, 2]))  # b1 as it is; a1 slowed, whose goal is (0, 1)
    assert float(terms["distance"]) == pytest.approx((0.4 + 0.0) / 2)
    voices = torch.tensor([[0.5**0.5, 0.5**0.5], [0.6, 0.8], [0.5**0.5, 0.5**0.5], [0.8, 0.6]])
    expected = 0.5 * F.cross_entropy(10 * F.normalize(heard) @ voices.T, torch.tensor([1, 2]))
    assert float(terms["contrast"]) == pytest.approx(float(expected))
    assert not list(loss.parameters())
    assert not loss.state_dict()


def test_crops_of_a_batch_are_cut_to_one_drawn_length() -> None:
    config = DistillationConfig(shortest_s=0.5)
    trainee = _Length(Imitation(config, goals([PRINTS], SPEAKERS, config)))
    batch = Batch(torch.ones(1, 16_000), torch.tensor([16_000]), Targets(speaker=torch.tensor([0])), ("a1",))
    torch.manual_seed(0)
    for _ in range(40):
        DistillationTask().loss(trainee, batch)
    assert 8_000 <= min(trainee.seen) < 9_000
    assert 15_000 < max(trainee.seen) <= 16_000


class _Length(torch.nn.Module):
    """Notes how long a crop it was given."""

    def __init__(self, head: Imitation) -> None:
        super().__init__()
        self.head = head
        self.seen: list[int] = []

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        self.seen.append(waveforms.shape[1])
        assert int(lengths.max()) == waveforms.shape[1]
        return torch.ones(1, 2)


def test_weights_are_drawn_back_to_where_they_began() -> None:
    network = DVECTOR.build()
    start = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    with torch.no_grad():
        for weight in network.parameters():
            weight += 1
    Published(ORIGINS["resemblyzer"], start, "a test", "0" * 64).draw_back(network, keep=0.25)
    for name, weight in network.named_parameters():
        assert torch.allclose(weight, start[name] + 0.25, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"distillation": {}}, "either `margin` or `distillation`"),
        ({"margin": None}, "nothing to learn and nothing to start from"),
        ({"margin": None, "start_from": "camplus", "keep": 0.5}, "keep weighs what was learnt"),
        ({"margin": None, "distillation": {}}, "needs a teacher"),
        ({"keep": 0.5}, "draws back to published weights"),
    ],
)
def test_a_recipe_says_one_way_to_learn(recipe: SpeakerRecipe, changes: dict[str, object], says: str) -> None:
    with pytest.raises((RecipeError, ValueError), match=says):
        SpeakerRecipe.model_validate({**recipe.model_dump(), **changes})


def published_dvector(path: Path) -> Network:
    """A d-vector network of random weights, and its file as published."""
    torch.manual_seed(0)
    network = DVECTOR.build()
    theirs = {
        name.replace("branches.0.encoder.", "").replace("embedding.", ""): weight
        for name, weight in network.state_dict().items()
    }
    left_behind = {name: torch.zeros(1) for name in LOSS_PARAMETERS}
    torch.save({"model_state": {**theirs, **left_behind}}, path)
    return network


def test_published_weights_as_they_are_make_a_model(recipe: SpeakerRecipe, tmp_path: Path) -> None:
    network = published_dvector(tmp_path / "published.pt")
    plain = {**recipe.model_dump(), "margin": None, "network": DVECTOR.model_dump()}
    plain |= {"start_from": "resemblyzer", "start_file": tmp_path / "published.pt"}
    model = train_embedder(SpeakerRecipe.model_validate(plain), tmp_path / "run")
    weights, info = load_weights(model), read_model_info(model)
    assert all(torch.equal(weights[name], weight.half().float()) for name, weight in network.state_dict().items())
    assert info.cohort is not None
    assert info.calibration is not None
    assert TRAINING_SPEAKERS not in info.extra
    assert [source.use for source in info.data] == ["training of the published weights", "cohort and calibration"]
    assert not (tmp_path / "run" / "fit").exists()
    with pytest.raises(UsageError, match="holds a run already"):
        train_embedder(SpeakerRecipe.model_validate(plain), tmp_path / "run")


def test_a_model_is_distilled_from_published_weights(recipe: SpeakerRecipe, tmp_path: Path) -> None:
    network = published_dvector(tmp_path / "published.pt")
    plain = {**recipe.model_dump(), "margin": None, "distillation": {"shortest_s": 0.4, "first_layers": 1}}
    plain |= {"network": DVECTOR.model_dump(), "speeds": (1.0, 0.9), "keep": 0.5}
    plain |= {"start_from": "resemblyzer", "start_file": tmp_path / "published.pt"}
    model = train_embedder(SpeakerRecipe.model_validate(plain), tmp_path / "run")
    weights = load_weights(model)
    moved = {name: float((weights[name] - weight.half()).abs().max()) for name, weight in network.state_dict().items()}
    assert 0 < max(moved.values()) < 0.1
    assert {name for name, distance in moved.items() if distance} == {name for name in moved if name.endswith("_l0")}
    assert read_model_info(model).extra["started_from"]["weights"] == "published.pt"  # type: ignore[index]
