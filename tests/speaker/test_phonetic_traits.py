"""ExPO's layers, losses and scores with their source's own numbers (arXiv 2501.05729), and PhiNet's head."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from earwitness.core.errors import DataError, ModelError, RecipeError
from earwitness.nn.encoders.ecapa import EcapaConfig
from earwitness.nn.frontends.log_mel import LogMelConfig
from earwitness.speaker.phonetic_traits.comparing import (
    Similarities,
    TraitPrint,
    agreement,
    full_evidence,
    similarities,
    similarity_matrix,
)
from earwitness.speaker.phonetic_traits.discriminability import discriminability
from earwitness.speaker.phonetic_traits.layers import Traits, filtered, frame_statistics, means_of, sums_of, traits_of
from earwitness.speaker.phonetic_traits.losses import (
    TraitLossConfig,
    joined_traits,
    loss_center,
    loss_diff,
    loss_same,
    nearest_others,
    pairs_of,
)
from earwitness.speaker.phonetic_traits.network import EXPO_MEL, TraitNetwork, TraitNetworkConfig
from earwitness.speaker.phonetic_traits.phinet import PhiNetConfig, PhiNetHead
from earwitness.speaker.phonetic_traits.scoring import print_of

PHONES = 40
SMALL = EcapaConfig(channels=16, outputs=24, se_hidden=8)


def parameters(module: torch.nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def random_traits(speakers: int, seed: int, phones: int = 6, width: int = 5, absent: float = 0.3) -> Traits:
    """Not negative, about a third of them absent."""
    torch.manual_seed(seed)
    present = torch.rand(speakers, phones) > absent
    return Traits(torch.rand(speakers, phones, width) * present.unsqueeze(-1), present)


def as_print(traits: Traits, place: int = 0) -> TraitPrint:
    unit = traits.unit()[place]
    there = traits.present[place].numpy()
    return TraitPrint(np.zeros(0, np.float32), unit.numpy().astype(np.float16), there, np.zeros(len(there)), 1.0, 1.0)


# --- sizes and the front-end


@pytest.mark.shows("expo:6.1")
def test_the_network_has_the_published_number_of_parameters() -> None:
    network = TraitNetworkConfig().build()
    assert parameters(network) == 5_402_624
    baseline = TraitNetworkConfig(pooling="frames").build()
    assert parameters(baseline) == 5_402_624
    outside = parameters(network.encoder) + parameters(network.embedding or torch.nn.Identity())
    assert outside == 5_402_624  # none in the trait layer, none in the front-end


def test_the_front_end_is_a_log_mel_spectrum_without_its_mean() -> None:
    torch.manual_seed(0)
    waves = 0.1 * torch.randn(2, 32_240)
    values = EXPO_MEL.build()(waves).values
    assert values.shape == (2, 200, 80)
    assert torch.allclose(values.mean(1), torch.zeros(2, 80), atol=1e-4)
    silence = LogMelConfig(**{**EXPO_MEL.model_dump(), "mean_norm": False}).build()
    bins = silence.filters.sum(0)
    assert torch.allclose(silence(torch.zeros(1, 400)).values[0, 0], torch.log(1e-8 * bins + 1e-8), atol=1e-4)
    window = silence.window.numpy()
    assert window == pytest.approx(0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 400), abs=1e-6)


def test_settings_that_move_frames_from_their_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="begin together"):
        TraitNetworkConfig(frontend=LogMelConfig(center=True))
    with pytest.raises(ValueError, match="phinet scores traits"):
        TraitNetworkConfig(phinet=PhiNetConfig(), pooling="frames")
    with pytest.raises(RecipeError):
        TraitNetworkConfig(encoder=EcapaConfig(channels=20)).build()


# --- trait layer and filter


@pytest.mark.shows("expo:6.2")
def test_the_trait_layer_is_a_mean_by_phone() -> None:
    frames, labels = torch.tensor([1.0, 3.0, 5.0, 9.0]).reshape(1, 4, 1), torch.tensor([[3, 3, 7, 7]])
    traits = traits_of(frames, labels, PHONES)
    assert traits.values[0, 3, 0] == pytest.approx(2, abs=1e-5)
    assert traits.values[0, 7, 0] == pytest.approx(7, abs=1e-5)
    others = [phone for phone in range(PHONES) if phone not in (3, 7)]
    assert bool((traits.values[0, others] == 0).all())
    assert traits.present[0].nonzero().flatten().tolist() == [3, 7]
    for order in itertools.permutations(range(4)):
        again = traits_of(frames[:, list(order)], labels[:, list(order)], PHONES)
        assert torch.allclose(again.values, traits.values, atol=1e-6)


def test_frames_without_a_phone_are_in_no_trait_and_pieces_add_up() -> None:
    torch.manual_seed(1)
    frames, labels = torch.rand(2, 30, 4), torch.randint(-1, 5, (2, 30))
    whole = traits_of(frames, labels, 5)
    first, second = (sums_of(frames[:, part], labels[:, part], 5) for part in (slice(0, 13), slice(13, 30)))
    parts = means_of(first[0] + second[0], first[1] + second[1])
    assert torch.allclose(whole.values, parts.values, atol=1e-6)
    assert bool((traits_of(frames, torch.full((2, 30), -1), 5).values == 0).all())
    with pytest.raises(DataError, match="labels of"):
        traits_of(frames, labels[:, :-1], 5)


@pytest.mark.shows("expo:6.3")
def test_how_long_a_phone_lasts_changes_frames_pooled_but_not_traits() -> None:
    torch.manual_seed(2)
    network = TraitNetworkConfig(encoder=SMALL).build().eval()
    frames, labels = torch.rand(1, 20, 24), torch.randint(0, 6, (1, 20))
    repeats = torch.where(labels[0] == 3, 3, 1)
    longer = frames.repeat_interleave(repeats, dim=1), labels.repeat_interleave(repeats, dim=1)
    assert longer[0].shape[1] > 20
    short, long = traits_of(frames, labels, PHONES), traits_of(*longer, PHONES)
    assert torch.allclose(short.values, long.values, atol=1e-5)
    embeddings = [network.embed(network.pooled(traits)) for traits in (short, long)]
    assert torch.allclose(*embeddings, atol=1e-5)
    other = traits_of(torch.rand(1, 20, 24), labels, PHONES)
    values = [
        similarities([as_print(one), as_print(other)], np.array([0]), np.array([1])).values for one in (short, long)
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-5)
    assert values[0].max() > 0.5
    pooled = [frame_statistics(frames), frame_statistics(longer[0])]
    assert float((pooled[0] - pooled[1]).abs().max()) > 1e-2


def test_the_filter_counts_traits_and_as_released_components() -> None:
    values = torch.tensor([[[1.0, 0.0], [3.0, 2.0], [0.0, 0.0]]])
    traits = Traits(values, torch.tensor([[True, True, False]]))
    assert filtered(traits)[0].tolist() == pytest.approx([2, 1, 1, 1], abs=1e-4)
    # the 0 of the first trait is left out of the variance, but not of the count
    assert filtered(traits, code_std=True)[0].tolist() == pytest.approx([2, 1, 1, 0.5**0.5], abs=1e-4)
    nothing = filtered(Traits(torch.zeros(1, 3, 2), torch.zeros(1, 3, dtype=torch.bool)))
    assert bool(nothing.isfinite().all())


def test_the_network_gives_embeddings_of_traits_and_the_baseline_of_frames() -> None:
    torch.manual_seed(3)
    waves, labels = 0.1 * torch.randn(2, 4000), torch.randint(0, PHONES, (2, 23))
    network = TraitNetworkConfig(encoder=SMALL).build().eval()
    heard = network(waves, labels)
    assert heard.embedding.shape == (2, 192)
    assert bool((heard.values >= 0).all())
    assert not torch.allclose(heard.embedding, network(waves, labels.flip(1)).embedding, atol=1e-3)
    baseline = TraitNetwork(TraitNetworkConfig(encoder=SMALL, pooling="frames")).eval()
    assert torch.equal(baseline(waves, labels).embedding, baseline(waves, labels.flip(1)).embedding)
    with pytest.raises(ModelError, match="scores by embeddings"):
        network.scoring()


# --- losses


@pytest.mark.shows("expo:6.4")
def test_losses_vanish_where_they_must_and_the_hardest_other_is_another() -> None:
    first, second = random_traits(7, 0), random_traits(7, 1)
    assert float(loss_same(first, first)) == 0
    assert float(loss_same(first, second)) > 0
    equal = Traits(torch.ones(3, 6, 5), torch.ones(3, 6, dtype=torch.bool))
    assert float(loss_center(equal)) == 0
    assert float(loss_center(first)) > 0
    with_itself, there_code = nearest_others(first, second, code_diff=True)
    without, there = nearest_others(first, second)
    assert bool((there <= there_code).all())
    assert bool((with_itself <= without).all())
    assert bool((with_itself < without).any())


def test_losses_are_those_of_their_equations_term_by_term() -> None:
    first, second = random_traits(5, 2), random_traits(5, 3)
    e, t, me, mt = first.values, second.values, first.present, second.present
    cells = [(k, i) for k in range(5) for i in range(6)]
    both = [(k, i) for k, i in cells if me[k, i] and mt[k, i]]
    same = sum(float((e[k, i] - t[k, i]).square().sum()) for k, i in both) / (len(both) + len(cells) * 1e-6)
    assert float(loss_same(first, second)) == pytest.approx(same, rel=1e-4)
    for code_diff in (False, True):
        least = []
        for k, i in cells:
            others = [m for m in range(5) if me[k, i] and mt[m, i] and (code_diff or m != k)]
            if others:
                least.append(min(float((e[k, i] - t[m, i]).square().sum()) for m in others))
        assert float(loss_diff(first, second, code_diff)) == pytest.approx(np.mean(least), rel=1e-4)
    center = []
    for k in range(5):
        mean = e[k][me[k]].mean(0) if me[k].any() else 0
        center += [float((e[k, i] - mean).square().sum()) for i in range(6) if me[k, i]]
    assert float(loss_center(first)) == pytest.approx(np.mean(center), rel=1e-4)


def test_the_terms_carry_their_weights_and_signs() -> None:
    first, second = random_traits(5, 4), random_traits(5, 5)
    terms = TraitLossConfig(same=2.0, diff=3.0, center=0.0).terms(first, second)
    assert set(terms) == {"same", "diff"}
    assert float(terms["same"]) == pytest.approx(2 * float(loss_same(first, second)))
    assert float(terms["diff"]) == pytest.approx(-3 * float(loss_diff(first, second)))
    nobody = Traits(torch.zeros(2, 6, 5), torch.zeros(2, 6, dtype=torch.bool))
    assert all(bool(term.isfinite()) for term in TraitLossConfig().terms(nobody, nobody).values())
    batch = joined_traits(first, second)
    halves = pairs_of(Traits(batch.values[[0, 5, 1, 6]], batch.present[[0, 5, 1, 6]]))
    assert torch.equal(halves[0].values, first.values[:2])
    assert torch.equal(halves[1].values, second.values[:2])


# --- scores


@pytest.mark.shows("expo:6.5")
def test_only_shared_phones_enter_the_evidence() -> None:
    traits = random_traits(2, 6, phones=9)
    traits.present[0, :4] = torch.tensor([True, True, True, False])
    traits.values[0, :3] = torch.rand(3, 5) + 0.1
    traits.values[0, 3] = 0
    prints = [as_print(traits, 0), as_print(traits, 1)]
    itself = similarities(prints, np.array([0]), np.array([0]))
    assert itself.values[0, prints[0].present] == pytest.approx(1, abs=1e-3)
    assert itself.count[0] == prints[0].present.sum()
    found = similarities(prints, np.array([0]), np.array([1]))
    shared = prints[0].present & prints[1].present
    assert 0 < shared.sum() < prints[0].present.sum()
    assert found.count[0] == shared.sum()
    assert found.evidence[0] == pytest.approx(found.values[0, shared].mean())
    assert found.evidence[0] > found.values[0].sum() / len(shared)  # absent phones are not counted as 0
    nothing = Similarities(np.zeros((1, 9)), np.zeros((1, 9), bool))
    assert np.isnan(nothing.evidence[0])


def test_the_full_form_is_the_mean_of_all_similarities_that_are_not_zero() -> None:
    traits = random_traits(2, 7)
    matrix = similarity_matrix(as_print(traits, 0), as_print(traits, 1))
    assert matrix.shape == (6, 6)
    absent = ~traits.present[0].numpy()
    assert (matrix[absent] == 0).all()
    assert full_evidence(matrix) == pytest.approx(matrix[matrix != 0].mean())
    assert np.isnan(full_evidence(np.zeros((3, 3))))


def test_agreement_is_spearmans_and_passes_over_trials_without_evidence() -> None:
    scores = np.array([0.1, 0.9, 0.4, 0.3, 0.2])
    assert agreement(scores, scores**3) == pytest.approx(1)
    assert agreement(scores, np.array([9.0, 1.0, 2.0, 3.0, np.nan])) == pytest.approx(-1)
    assert np.isnan(agreement(scores, np.ones(5)))


@pytest.mark.shows("expo:6.8")
def test_the_table_of_phones_counts_trials_and_greys_what_few_share() -> None:
    rng = np.random.default_rng(0)
    target = np.arange(2000) < 900
    values, shared = np.zeros((2000, 4)), np.ones((2000, 4), bool)
    for place, (same, other) in enumerate([(0.9, 0.6), (0.9, 0.3), (0.5, 0.5), (0.9, 0.1)]):
        values[:, place] = np.where(target, same, other) + 0.01 * rng.standard_normal(2000)
    shared[29:900, 3] = False  # 29 trials of one speaker share the last one
    table = discriminability(Similarities(values, shared), target, ("AA", "IY", "S", "ZH"))
    assert [one.phone for one in table] == ["ZH", "IY", "AA", "S"]
    assert {one.phone: (one.target_trials, one.nontarget_trials) for one in table} == {
        "AA": (500, 500),
        "IY": (500, 500),
        "S": (500, 500),
        "ZH": (29, 500),
    }
    assert [one.greyed for one in table] == [True, False, False, False]
    ratio, difference = table[1].ratio, table[1].difference
    assert (ratio, difference) == (pytest.approx(3, abs=0.05), pytest.approx(0.6, abs=0.01))
    assert table[1].percentile(0.3) == pytest.approx(50, abs=8)
    assert (table[1].percentile(0.0), table[1].percentile(0.9)) == (0, 100)
    assert table == discriminability(Similarities(values, shared), target, ("AA", "IY", "S", "ZH"))
    alone = discriminability(Similarities(values, shared & target[:, None]), target, ("AA", "IY", "S", "ZH"))
    assert {one.ratio for one in alone} == {None}
    assert alone[0].percentile(0.5) is None


# --- PhiNet


def head(weights: list[float], seed: int = 0) -> PhiNetHead:
    torch.manual_seed(seed)
    made = PhiNetConfig().build(len(weights)).requires_grad_(False)
    made.weights.data = torch.tensor(weights)
    return made


def test_phinets_score_is_its_equation() -> None:
    made = head([0.5, 2.5, 1.5])
    assert made.importance().tolist() == pytest.approx([0, 1, 0.5])
    s = torch.tensor([0.9, 0.4, 0.0])
    shaped = made.outer(torch.tanh(made.inner(s.reshape(3, 1)))).flatten()
    total = sum(float(p * f * v) for p, f, v in zip(made.importance(), shaped, s, strict=True))
    weight = 0 + 1  # the third phone is shared by nobody
    assert float(made(s)) == pytest.approx(np.tanh(total / (weight + 1e-6)), abs=1e-6)
    assert float(made.contributions(s).sum()) == pytest.approx(total, abs=1e-6)
    assert float(made.contributions(s)[2]) == 0
    assert bool(torch.isfinite(made(torch.zeros(3))))
    assert bool(torch.isfinite(head([1.0, 1.0, 1.0])(s)))


def test_phinet_learns_to_pair_and_has_no_embedding() -> None:
    torch.manual_seed(0)
    network = TraitNetworkConfig(encoder=SMALL, phones=6, phinet=PhiNetConfig()).build()
    assert network.dim == 0
    heard = network(0.1 * torch.randn(6, 4000), torch.randint(0, 6, (6, 23)))
    assert heard.embedding.shape == (6, 0)
    config = network.config.phinet
    assert config is not None

    def pairing() -> Tensor:
        return config.terms(network.scoring(), *pairs_of(network(waves, labels).traits))["pairing"]

    waves = (0.1 * torch.randn(3, 4000)).repeat_interleave(2, 0)  # a pair is one sound twice
    labels = torch.randint(0, 6, (3, 23)).repeat_interleave(2, 0)
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    before = float(pairing())
    for _ in range(15):
        optimiser.zero_grad()
        pairing().backward()
        optimiser.step()
    assert before == pytest.approx(0.5 * np.log(3), rel=0.1)
    assert float(pairing()) < 0.85 * before
    assert print_of(heard).embedding.shape == (0,)
