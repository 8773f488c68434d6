"""Weights of rare labels, feature smoothing and Balanced MSE, by numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from earwitness.core.errors import DataError, RecipeError
from earwitness.nn.losses import FeatureSmoothingConfig, InvConfig, SqinvConfig
from earwitness.nn.losses.label_distribution import BalancedMseConfig
from earwitness.nn.losses.label_weighting import LabelWindow, smoothed_counts

LABELS = np.repeat([1.0, 2, 3, 4], [4, 16, 1, 9])
"""Counts (0, 4, 16, 1, 9, 0)."""


def test_windows() -> None:
    assert LabelWindow().values().round(6).tolist() == [0.858285, 0.945828, 1, 0.945828, 0.858285]
    assert LabelWindow(form="pure").values().round(6).tolist() == [0.606531, 0.882497, 1, 0.882497, 0.606531]
    assert LabelWindow(size=9, sigma=1).values()[3:6].tolist() == pytest.approx([0.60653, 1, 0.60653], abs=1e-3)
    with pytest.raises(ValueError, match="odd"):
        LabelWindow(size=4)


def test_smoothing_of_counts_and_the_weights_that_follow() -> None:
    roots = np.sqrt([0.0, 4, 16, 1, 9, 0])
    smoothed = smoothed_counts(roots, LabelWindow())
    assert smoothed == pytest.approx([5.324796, 6.641596, 9.412339, 9.337364, 7.378969, 3.695768], abs=5e-7)
    given = {"last": 5.0}
    plain = SqinvConfig(**given).build(LABELS)
    assert plain(torch.tensor([1.0, 2, 3, 4])).tolist() == pytest.approx([1.5, 0.75, 3, 1])
    lds = SqinvConfig(lds=LabelWindow(), **given).build(LABELS)
    found = lds(torch.tensor([1.0, 2, 3, 4]))
    assert found.tolist() == pytest.approx([1.244712, 0.878302, 0.885354, 1.120329], abs=5e-7)
    for weights in (plain, lds, SqinvConfig(lds=LabelWindow(form="pure"), **given).build(LABELS)):
        assert weights(torch.from_numpy(LABELS)).mean().item() == pytest.approx(1)
    with pytest.raises(DataError, match="no weight"):
        plain(torch.tensor([5.0]))


def test_clipped_counts_and_labels_beyond_the_last_bin() -> None:
    labels = np.repeat([10.0, 20, 130, 186], [2000, 50, 1, 1])
    weights = InvConfig().build(labels)
    assert len(weights.weights) == 121
    common, some, rare, other = weights(torch.tensor([10.0, 20, 130, 186])).tolist()
    assert rare == other
    assert some / common == pytest.approx(1000 / 50)
    assert rare / common == pytest.approx(1000 / 5)
    with pytest.raises(RecipeError, match="there are none"):
        InvConfig().build([])
    with pytest.raises(DataError, match="not finite"):
        weights(torch.tensor([np.nan]))


def test_tenths_have_bins_of_their_own() -> None:
    weights = SqinvConfig(bin_width=0.1, last=5.0).build([0.3, 0.3, 0.3, 0.3, 0.7])
    assert len(weights.weights) == 51
    low, high = weights(torch.tensor([0.3, 0.7])).tolist()
    assert high / low == pytest.approx(2)


SMOOTHING = {"first": 10.0, "last": 14.0, "window": {"size": 3, "sigma": 1.0, "form": "pure"}}


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([10.0] * 6 + [11.0] * 9 + [12.0] * 4 + [13.0] * 7 + [14.0] * 5)
    scale = 1 + (labels - 10)[:, None]
    return labels[:, None] + scale * torch.randn(len(labels), 3, generator=generator), labels


def test_feature_smoothing_moves_a_bin_to_the_mean_and_spread_of_its_neighbours() -> None:
    embeddings, labels = drawn()
    fds = FeatureSmoothingConfig.model_validate(SMOOTHING).build(3)
    assert fds(embeddings, labels) is embeddings  # before the first pass there is nothing to go by
    fds.renew([(embeddings[:10], labels[:10]), (embeddings[10:], labels[10:])])
    of = {int(age): embeddings[labels == age] for age in labels.unique()}
    torch.testing.assert_close(fds.mean[2], of[12].mean(0))
    torch.testing.assert_close(fds.variance[2], of[12].var(0))
    kernel = torch.tensor([np.exp(-0.5), 1, np.exp(-0.5)], dtype=torch.float32)
    kernel /= kernel.sum()
    mean = kernel @ torch.stack([of[k].mean(0) for k in (11, 12, 13)])
    variance = kernel @ torch.stack([of[k].var(0) for k in (11, 12, 13)])
    torch.testing.assert_close(fds.smooth_mean[2], mean)
    reflected = kernel @ torch.stack([of[k].mean(0) for k in (11, 10, 11)])
    torch.testing.assert_close(fds.smooth_mean[0], reflected)
    moved = fds(embeddings, labels)[labels == 12]
    torch.testing.assert_close(moved.mean(0), mean)
    torch.testing.assert_close(moved.var(0), variance)  # no ratio is clipped here
    assert fds.eval()(embeddings, labels) is embeddings


def test_feature_smoothing_keeps_nine_tenths_and_never_shares_a_tensor() -> None:
    first, labels = drawn(0)
    second, _ = drawn(1)
    fds = FeatureSmoothingConfig.model_validate(SMOOTHING).build(3)
    fds.renew([(first, labels)])
    before, smooth = fds.mean.clone(), fds.smooth_mean.clone()
    moved = fds(first, labels)
    fds.renew([(second, labels)])
    torch.testing.assert_close(fds.mean[0], 0.9 * before[0] + 0.1 * second[labels == 10].mean(0))
    assert not torch.equal(fds.smooth_mean, smooth)
    storages = {value.data_ptr() for value in fds.buffers()}
    assert len(storages) == len(list(fds.buffers()))
    assert not torch.equal(fds(first, labels), moved)


def test_an_empty_bin_does_not_stand_in_the_window_unless_as_released() -> None:
    embeddings, labels = drawn()
    some = labels != 12
    left_out = FeatureSmoothingConfig.model_validate(SMOOTHING).build(3)
    released = FeatureSmoothingConfig.model_validate({**SMOOTHING, "empty": "as_released"}).build(3)
    for fds in (left_out, released):
        fds.renew([(embeddings[some], labels[some])])
    torch.testing.assert_close(left_out.mean, released.mean)
    share = np.exp(-0.5) / (1 + 2 * np.exp(-0.5))
    own, near = (embeddings[labels == k].mean(0) for k in (11, 10))
    torch.testing.assert_close(released.smooth_mean[1], (1 - 2 * share) * own + share * near)
    torch.testing.assert_close(left_out.smooth_mean[1], ((1 - 2 * share) * own + share * near) / (1 - share))
    kept = left_out(embeddings, labels)[labels == 12]
    torch.testing.assert_close(kept, embeddings[labels == 12])  # nothing is known of it


def test_the_ratio_of_variances_is_clipped_and_a_single_item_stays_where_its_mean_goes() -> None:
    embeddings = torch.tensor([[0.0], [2.0], [100.0], [100.2], [7.0]])
    labels = torch.tensor([10.0, 10, 11, 11, 12])
    config = {**SMOOTHING, "clip": (0.5, 2.0)}
    fds = FeatureSmoothingConfig.model_validate(config).build(1)
    fds.renew([(embeddings, labels)])
    moved = fds(embeddings, labels)
    assert (moved[3] - moved[2]).item() == pytest.approx(0.2 * 2**0.5, abs=1e-4)
    assert moved[4].item() == 7.0  # its bin does not vary
    with pytest.raises(ValueError, match="reaches further"):
        FeatureSmoothingConfig(first=0, last=1)


def test_balanced_mse() -> None:
    loss = BalancedMseConfig(centre=0.0, scale=1.0, grid={"low": 0, "high": 10}).build()
    answers, values = torch.tensor([[1.0], [2], [4]], requires_grad=True), torch.tensor([1.0, 3, 4])
    found = loss(answers, values)["balanced_mse"]
    assert found.item() == pytest.approx(0.9443663, abs=5e-7)
    found.backward()
    assert loss.sigma.grad is not None
    assert loss.sigma.grad.item() != 0
    fixed = BalancedMseConfig(learned=False).build()
    assert not fixed.sigma.requires_grad
