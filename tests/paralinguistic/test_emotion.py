"""Losses, transcripts and network of multitask emotion recognition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from earwitness.core.config import parse_config
from earwitness.core.errors import DataError, RecipeError
from earwitness.nn.network import NetworkConfig
from earwitness.paralinguistic.emotion import (
    FRAMES,
    EmotionInfo,
    EmotionNetwork,
    HeadsConfig,
    SpecAugmentConfig,
    build_network,
)
from earwitness.paralinguistic.emotion_losses import (
    CATEGORY,
    GENDER,
    INTENSITY,
    PHONEMES,
    CoralConfig,
    EmotionTargets,
    IntervalConfig,
    LevelsConfig,
    LossesConfig,
    category_loss,
    gender_loss,
    intensity_loss,
    interval_losses,
    levels_of,
    phoneme_loss,
)
from earwitness.paralinguistic.emotion_recipe import EmotionRecipe
from earwitness.paralinguistic.emotion_task import losses
from earwitness.paralinguistic.emotion_training import NEVER, answer_threshold, fit_temperature, shared_block
from earwitness.paralinguistic.labels import CATEGORIES, LabelsConfig
from earwitness.paralinguistic.transcripts import CharactersConfig, LexiconConfig, spell
from toy_emotions import recipe

ALL = (CATEGORY, INTENSITY, PHONEMES, GENDER)
NOTHING = (float("nan"), float("nan"))


def network(**heads: Any) -> EmotionNetwork:
    torch.manual_seed(0)
    config = recipe(Path("nowhere.csv")).network
    info = EmotionInfo(heads=HeadsConfig(hidden=8, **heads), tasks=ALL, corpora=("esd",), symbols=("a", "b", "c"))
    return build_network(config, info)


def targets(
    category: list[str],
    corpora: list[str],
    intensity: list[tuple[float, float]],
    gender: list[int],
    phones: list[list[int]],
) -> EmotionTargets:
    longest = max(map(len, phones))
    return EmotionTargets(
        category=torch.tensor([CATEGORIES.index(name) for name in category]),  # type: ignore[arg-type]
        classes=torch.from_numpy(np.stack([LabelsConfig().mask(name) for name in corpora])),
        intensity=torch.tensor(intensity),
        gender=torch.tensor(gender),
        phones=torch.tensor([one + [0] * (longest - len(one)) for one in phones], dtype=torch.int64),
        phone_counts=torch.tensor([len(one) for one in phones]),
    )


def full() -> EmotionTargets:
    return targets(["happy", "sad"], ["esd", "emodb"], [(0.0, 0.2), (0.8, 1.0)], [0, 1], [[1, 2, 2], [3, 1]])


def waves(count: int = 2, samples: int = 8000) -> Tensor:
    return 0.1 * torch.randn(count, samples, generator=torch.Generator().manual_seed(1))


@pytest.mark.shows("speecheq:6.1")
@pytest.mark.parametrize("absent", [INTENSITY, PHONEMES, GENDER])
def test_without_labels_a_task_adds_nothing(absent: str) -> None:
    known = full()
    blank = {
        INTENSITY: {"intensity": torch.tensor([NOTHING, NOTHING])},
        PHONEMES: {"phones": torch.zeros(2, 0, dtype=torch.int64), "phone_counts": torch.zeros(2, dtype=torch.int64)},
        GENDER: {"gender": torch.tensor([-1, -1])},
    }[absent]
    without = EmotionTargets(**{**vars(known), **blank})
    for given, silent in ((known, ()), (without, (absent,))):
        one = network(dropout=0.0, phoneme_dropout=0.0)
        found = losses(one(waves()), given, LossesConfig(intensity=0.5, phonemes=0.1, gender=0.1))
        others = sum(float(term.detach()) for name, term in found.terms.items() if name != absent)
        assert (float(found.total.detach()) == pytest.approx(others, abs=1e-7)) is bool(silent)
        found.total.backward()
        for task in ALL:
            gradients = [p.grad for p in one.heads[task].parameters() if p.grad is not None]
            largest = max((float(gradient.abs().max()) for gradient in gradients), default=0.0)
            assert (largest == 0.0) is (task in silent), task
    assert float(found.terms[absent].detach()) == 0.0


@pytest.mark.shows("speecheq:6.1")
def test_means_are_over_the_items_that_have_the_label() -> None:
    """Half the items without a label: the term is that of the other half, not half of it."""
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(2))
    some = targets(
        ["happy"] * 4, ["emodb"] * 4, [(0.9, 1.0), NOTHING, (0.9, 1.0), NOTHING], [0, -1, 1, -1], [[1], [], [2], []]
    )
    kept = [0, 2]
    alone = EmotionTargets(**{name: value[kept] for name, value in vars(some).items()})
    assert gender_loss(logits[:, :2], some) == pytest.approx(float(gender_loss(logits[kept, :2], alone)))
    config = IntervalConfig(margin=0.0)
    one = intensity_loss(logits[:, :1], some, config)
    assert one == pytest.approx(float(intensity_loss(logits[kept, :1], alone, config)))
    frames, steps = torch.full((4,), 6), torch.randn(4, 6, 4, generator=torch.Generator().manual_seed(3))
    assert phoneme_loss(steps, frames, some) == pytest.approx(float(phoneme_loss(steps[kept], frames[kept], alone)))


@pytest.mark.shows("speecheq:6.2")
def test_an_esd_item_says_nothing_of_fear_and_disgust() -> None:
    logits = torch.randn(2, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    given = targets(["happy", "angry"], ["esd", "emodb"], [NOTHING] * 2, [-1, -1], [[], []])
    category_loss(logits, given).backward()
    assert logits.grad is not None
    gradient = dict(zip(CATEGORIES, logits.grad[0].tolist(), strict=True))
    assert gradient["fear"] == 0.0 == gradient["disgust"]
    assert all(gradient[name] != 0 for name in ("neutral", "happy", "sad", "angry", "surprise"))
    assert logits.grad[1, CATEGORIES.index("surprise")] == 0.0  # EmoDB has none
    assert logits.grad[1, CATEGORIES.index("fear")] != 0.0
    without = torch.log_softmax(logits[0, [0, 1, 2, 3, 6]].detach(), 0)[1]
    one = EmotionTargets(**{name: value[:1] for name, value in vars(given).items()})
    assert category_loss(logits[:1].detach(), one) == pytest.approx(-float(without), abs=1e-6)


@pytest.mark.shows("speecheq:6.3")
def test_interval_loss_has_the_values_of_the_sheet() -> None:
    intervals = torch.tensor([[0.0, 0.5], [0.5, 1.0], [2 / 3, 1.0], [0.0, 1 / 3]])
    found = interval_losses(torch.full((4,), 0.4), intervals)
    assert found.tolist() == pytest.approx([0.0, 0.01, 0.0711111, 0.0044444], abs=1e-6)
    logit = torch.logit(torch.tensor(0.4)).reshape(1, 1).expand(4, 1)
    assert IntervalConfig(margin=0.0).losses(logit, intervals).tolist() == pytest.approx(found.tolist(), abs=1e-6)


def test_touching_intervals_are_told_apart_by_their_margin_alone() -> None:
    """With r = 0.5 for everything, `normal` and `strong` cost nothing without a margin."""
    both = torch.tensor([[0.0, 0.5], [0.5, 1.0]])
    middle = torch.zeros(2, 1)
    assert IntervalConfig(margin=0.0).losses(middle, both).tolist() == [0.0, 0.0]
    assert IntervalConfig(margin=0.1).losses(middle, both).tolist() == pytest.approx([0.01, 0.01], abs=1e-6)
    point = torch.tensor([[0.4, 0.4]])
    assert IntervalConfig(margin=0.1).losses(torch.tensor([[0.0]]), point) == pytest.approx(0.01, abs=1e-6)


def test_levels_as_classes_and_as_ordered_questions() -> None:
    thirds = torch.tensor([[0.0, 1 / 3], [1 / 3, 2 / 3], [2 / 3, 1.0]])
    assert levels_of(thirds, 3).tolist() == [0, 1, 2]
    with pytest.raises(DataError, match=r"0 to 0.5 lies in more than one of 3 levels"):
        levels_of(torch.tensor([[0.0, 0.5]]), 3)
    sure = torch.full((3, 3), -20.0) + 40 * torch.eye(3)
    assert LevelsConfig().losses(sure, thirds).max() < 1e-4
    assert LevelsConfig().read(sure).tolist() == pytest.approx([1 / 6, 1 / 2, 5 / 6], abs=1e-4)
    ordered = torch.tensor([[-20.0, -20.0], [20.0, -20.0], [20.0, 20.0]])
    assert CoralConfig().losses(ordered, thirds).max() < 1e-4
    assert CoralConfig().read(ordered).tolist() == pytest.approx([1 / 6, 1 / 2, 5 / 6], abs=1e-4)
    assert CoralConfig().losses(ordered.flip(0), thirds)[0] > 30


def test_ctc_is_by_target_length_and_leaves_out_what_cannot_be_said() -> None:
    steps = torch.zeros(2, 5, 3)  # three symbols alike at each of five frames
    given = targets(["happy"] * 2, ["esd"] * 2, [NOTHING] * 2, [-1, -1], [[1, 1], [1, 2, 1, 2, 1, 2]])
    runs = sum(1 for code in range(3**5) if _collapsed([code // 3**place % 3 for place in range(5)]) == [1, 1])
    assert runs == 15
    assert phoneme_loss(steps, torch.tensor([5, 5]), given) == pytest.approx(-np.log(runs / 3**5) / 2, abs=1e-5)
    assert phoneme_loss(steps, torch.tensor([2, 5]), given) == 0.0  # two equal symbols need three frames


def _collapsed(frames: list[int]) -> list[int]:
    kept = [frame for place, frame in enumerate(frames) if place == 0 or frame != frames[place - 1]]
    return [frame for frame in kept if frame]


def test_transcripts_in_characters_and_by_a_lexicon(tmp_path: Path) -> None:
    assert CharactersConfig().build().symbols("Ich, will's!") == tuple("ich|will's")
    assert CharactersConfig().build().symbols("um 7 Uhr") is None
    path = tmp_path / "words.dict"
    path.write_text(";;; words\nTHE  DH AH0\nTHE(2)  DH IY0\nSLICK  S L IH1 K # adjective\n")
    lexicon = LexiconConfig(path=path).build()
    assert lexicon.symbols("The slick") == ("DH", "AH", "S", "L", "IH", "K")
    assert lexicon.symbols("the surface") is None
    (tmp_path / "signs.dict").write_text("中  zh ong\n国  g uo\n")
    assert LexiconConfig(path=tmp_path / "signs.dict", split="characters").build().symbols("中国") == (
        "zh",
        "ong",
        "g",
        "uo",
    )
    with pytest.raises(DataError, match="cannot be read"):
        LexiconConfig(path=tmp_path / "absent").build()
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(DataError, match="holds no pronunciation"):
        LexiconConfig(path=tmp_path / "empty").build()


def test_transcripts_are_spelt_in_the_symbols_that_a_model_knows() -> None:
    import polars as pl

    from earwitness.corpora.manifest import Manifest

    table = pl.DataFrame({"path": ["a", "b", "c"], "transcript": ["ba", "ac", None]})
    rows = Manifest.from_table(table, ".")
    own = spell(rows, CharactersConfig().build())
    assert own.symbols == ("a", "b", "c")
    assert own.of_row == {"a": (2, 1), "b": (1, 3)}
    known = spell(rows, CharactersConfig().build(), ("a", "b"))
    assert known.of_row == {"a": (2, 1)}
    assert known.unspelt == 1


def test_an_item_is_heard_alike_alone_and_in_a_batch() -> None:
    one = network().eval()
    waveforms, lengths = waves(3), torch.tensor([8000, 5000, 8000])
    with torch.no_grad():
        batch = one(waveforms, lengths)
        alone = [one(waveforms[place : place + 1, : lengths[place]]) for place in range(3)]
    for place in range(3):
        frames = int(alone[place][FRAMES][0])
        assert int(batch[FRAMES][place]) == frames
        for task in (CATEGORY, INTENSITY, GENDER):
            assert torch.allclose(batch[task][place], alone[place][task][0], atol=1e-5)
        assert torch.allclose(batch[PHONEMES][place, :frames], alone[place][PHONEMES][0], atol=1e-5)
        assert not batch[PHONEMES][place, frames:].any()
    with pytest.raises(DataError, match="do not fit"):
        one(waveforms, torch.tensor([8001, 1, 1]))


def test_frames_are_masked_in_training_only_where_asked() -> None:
    one = network(dropout=0.0, phoneme_dropout=0.0)
    plain = one(waves())[CATEGORY]
    torch.manual_seed(0)
    masked = one(waves(), None, SpecAugmentConfig(time_share=0.4, band_share=0.4))[CATEGORY]
    assert torch.equal(plain, one(waves())[CATEGORY])
    assert not torch.allclose(plain, masked)


def test_only_what_is_learnt_has_a_head() -> None:
    config = recipe(Path("nowhere.csv")).network
    info = EmotionInfo(heads=HeadsConfig(hidden=0), tasks=(CATEGORY,), corpora=("esd",))
    alone = build_network(config, info)
    assert list(alone.heads) == [CATEGORY]
    assert shared_block(alone) == "shared.branches.0.encoder"
    with pytest.raises(RecipeError, match="a network without `outputs`"):
        build_network(NetworkConfig(branches=config.branches, outputs=2), info)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"alignment": {"rule": "pcgrad"}, "losses": {"intensity": 0, "phonemes": 0, "gender": 0}}, "second task"),
        ({"network": {"branches": []}}, "network"),
        ({"losses": {"phoneme": 0.1}}, "did you mean 'phonemes'"),
        ({"losses": {"intensity_as": {"kind": "corral"}}}, "Did you mean 'coral'"),
    ],
)
def test_a_recipe_that_cannot_be_run_is_refused(fields: dict[str, Any], named: str) -> None:
    data = recipe(Path("nowhere.csv")).model_dump(mode="json")
    with pytest.raises(RecipeError, match=named):
        parse_config(EmotionRecipe, {**data, **fields})


def test_temperature_and_threshold_come_from_dev() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 4000)
    honest = rng.normal(size=(4000, 4))
    truth = np.array([rng.choice(4, p=np.exp(row) / np.exp(row).sum()) for row in honest])
    assert fit_temperature(3 * honest, truth) == pytest.approx(3, rel=0.1)
    masked = np.where([True, True, True, False], honest, -np.inf)
    assert np.isfinite(fit_temperature(masked[truth < 3], truth[truth < 3]))
    probabilities = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
    threshold = answer_threshold(probabilities, truth, 0.7)
    answered = probabilities.max(1) >= threshold
    right = (probabilities.argmax(1) == truth)[answered].mean()
    assert 0.7 <= right < 0.75
    assert answer_threshold(probabilities, truth, 0.2) == 0.5
    assert answer_threshold(probabilities, (probabilities.argmax(1) + 1) % 4, 0.5) == NEVER
