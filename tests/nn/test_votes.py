"""A committee's votes: one a branch and copy, each learning alone; then averaged."""

from __future__ import annotations

import pytest
import torch

from earwitness.core.config import parse_config
from earwitness.core.errors import RecipeError
from earwitness.nn.network import Network, NetworkConfig
from earwitness.nn.types import Embedding
from earwitness.nn.votes import VotesConfig

BRANCH = {"frontend": {"kind": "log_mel", "n_mels": 20}, "pooling": {"kind": "statistics"}}


def network(**votes: int) -> Network:
    torch.manual_seed(0)
    config = {"branches": [BRANCH, BRANCH], "outputs": 2, "votes": {"hidden": 4, "copies": 3, **votes}}
    built: Network = parse_config(NetworkConfig, config).build()
    return built


def test_the_answer_is_the_mean_of_all_votes() -> None:
    votes = VotesConfig(hidden=4, copies=3).build([5, 7], 2).eval()
    joined = torch.randn(6, 12)
    each = votes.each(joined)
    assert each.shape == (6, 2, 3, 2)
    torch.testing.assert_close(votes(joined), each.mean(dim=(1, 2)))


def test_weights_of_branches_weigh_their_votes() -> None:
    votes = VotesConfig(hidden=4, copies=3, weights=(3.0, 1.0)).build([5, 7], 2).eval()
    joined = torch.randn(6, 12)
    of_branch = votes.each(joined).mean(dim=2)
    torch.testing.assert_close(votes(joined), 0.75 * of_branch[:, 0] + 0.25 * of_branch[:, 1])
    with pytest.raises(RecipeError, match=r"2 branch\(es\)"):
        VotesConfig(weights=(1.0,)).build([5, 7], 2)


def test_one_branch_that_is_sure_outweighs_others_where_odds_are_averaged() -> None:
    votes = VotesConfig(hidden=4, copies=3, weights=(1.0, 3.0), average="odds").build([5, 7], 2).eval()
    logits = torch.tensor([[[9.0, 1.0], [0.0, 2.0]], [[0.0, 2.0], [0.0, 2.0]]])  # the first branch is sure of class 0
    combined = votes.over_branches(logits)
    odds = 0.25 * torch.tensor([8.0, -2.0]).exp() + 0.75 * torch.tensor([-2.0, -2.0]).exp()
    torch.testing.assert_close(combined[:, 1] - combined[:, 0], -odds.log())
    assert combined[0, 1] < combined[0, 0]
    assert combined[1, 1] - combined[1, 0] == pytest.approx(2.0)
    silent = VotesConfig(hidden=4, copies=3, weights=(1.0, 0.0), average="odds").build([5, 7], 2)
    torch.testing.assert_close(
        silent.over_branches(logits)[0, 1] - silent.over_branches(logits)[0, 0], torch.tensor(-8.0)
    )


def test_a_member_hears_its_own_branch_only() -> None:
    votes = VotesConfig(hidden=4, copies=2).build([5, 7], 2).eval()
    joined = torch.randn(6, 12)
    changed = joined.clone()
    changed[:, 5:] += 1
    before, after = votes.each(joined), votes.each(changed)
    torch.testing.assert_close(before[:, 0], after[:, 0])
    assert (before[:, 1] - after[:, 1]).abs().amin(0).max() > 0


def test_the_loss_of_one_vote_moves_no_other() -> None:
    votes = VotesConfig(hidden=4, copies=3, dropout=0, drop_features=0).build([5], 2)
    votes.each(torch.randn(8, 5))[:, 0, 1].sum().backward()
    weight = votes.members[0].weight.grad
    assert weight[1].abs().sum() > 0
    assert weight[[0, 2]].abs().sum() == 0
    first = votes.members[0].first.weight.grad.view(3, 4, 5)
    assert first[1].abs().sum() > 0
    assert first[[0, 2]].abs().sum() == 0


def test_a_network_with_votes_answers_waveforms_and_kept_vectors_alike() -> None:
    judge = network().eval()
    waveforms = torch.randn(3, 8000)
    vectors = torch.cat([branch(branch.frontend(waveforms)).mean for branch in judge.branches], dim=1)
    torch.testing.assert_close(judge(waveforms), judge.classify(Embedding(vectors)))


def test_votes_refuse_an_embedding_layer() -> None:
    config = {"branches": [BRANCH], "outputs": 2, "votes": {}, "embedding": {"dim": 4}}
    with pytest.raises(RecipeError, match="leave `embedding` out"):
        parse_config(NetworkConfig, config)
