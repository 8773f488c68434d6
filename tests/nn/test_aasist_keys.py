"""Official AASIST state-dicts: every tensor finds its partner, and the network equals sums written out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from aasist_by_hand import aasist_logits, bank
from torch import Tensor

from earwitness.core.errors import ModelError
from earwitness.nn.frontends import SincConfig
from earwitness.nn.network import BranchConfig, Network, NetworkConfig
from earwitness.nn.pooling import AasistRawConfig
from earwitness.nn.pooling.aasist_keys import AASIST_KEYS
from earwitness.nn.pretrained.plain_weights import read_plain_weights

SMALL = {"widths": (32, 32, 24, 24, 24, 24), "dims": (24, 32), "ratios": (0.4, 0.5, 0.7)}
FORMS = {"AASIST": {}, "AASIST-L": SMALL, "AASIST-ASVspoof5": {}}


def network(form: str, *, pre_activation: bool = False) -> Network:
    pooling = AasistRawConfig.model_validate({**FORMS[form], "pre_activation": pre_activation})
    branch = BranchConfig(frontend=SincConfig(), pooling=pooling)
    return NetworkConfig(branches=[branch], outputs=2, dropout=0.5).build().eval()


def scrambled(form: str) -> dict[str, Tensor]:
    """An official state-dict of random tensors."""
    torch.manual_seed(0)
    state = AASIST_KEYS.to_official(network(form).state_dict())
    for name, value in state.items():
        if value.is_floating_point():
            noise = torch.randn_like(value)
            fan_in = value[0].numel() if value.ndim > 1 else 4
            state[name] = 1 + 0.3 * noise.abs() if name.endswith("running_var") else noise / fan_in**0.5
    return state


def published(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a list of keys."""
    lines = (line.split("\t") for line in path.read_text().splitlines())
    return {name: tuple(int(n) for n in shape.strip("()").split(",") if n.strip()) for name, shape, _ in lines}


@pytest.mark.parametrize("form", ["AASIST", "AASIST-L"])
def test_every_published_name_and_shape_has_a_partner(form: str, shared_models: Path) -> None:
    ours = AASIST_KEYS.to_official(network(form).state_dict())
    assert {name: tuple(value.shape) for name, value in ours.items()} == published(
        shared_models / "aasist" / f"{form}.keys.txt"
    )


@pytest.mark.parametrize("form", ["AASIST", "AASIST-L"])
def test_equals_the_sums_written_out(form: str) -> None:
    state, ours = scrambled(form), network(form)
    ours.load_state_dict(AASIST_KEYS.to_ours(state, ours.state_dict()))
    ratios = (0.4, 0.5, 0.7) if form == "AASIST-L" else (0.5, 0.7, 0.5)
    waveforms = 0.1 * torch.randn(2, 4_000)
    with torch.no_grad():
        torch.testing.assert_close(ours(waveforms), aasist_logits(state, waveforms, ratios), atol=1e-4, rtol=1e-4)
    assert not any(name.endswith("bank") for name in ours.state_dict())
    torch.testing.assert_close(ours.branches[0].frontend.bank, bank(), atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_official_weights_by_hand(form: str, shared_models: Path) -> None:
    state, ours = read_plain_weights(shared_models / "aasist" / f"{form}.pth"), network(form)
    ours.load_state_dict(AASIST_KEYS.to_ours(state, ours.state_dict()))
    ratios = (0.4, 0.5, 0.7) if form == "AASIST-L" else (0.5, 0.7, 0.5)
    torch.manual_seed(0)
    waveforms = 0.1 * torch.randn(1, 6_000)
    with torch.no_grad():
        found = ours(waveforms)
        torch.testing.assert_close(found, aasist_logits(state, waveforms, ratios), atol=1e-4, rtol=1e-4)
        assert torch.equal(ours(waveforms), found)
    assert not torch.allclose(network(form)(waveforms), found, atol=0.1)


@pytest.mark.parametrize("form", FORMS)
def test_the_first_norm_of_a_block_was_never_trained(form: str, shared_models: Path) -> None:
    """Why `pre_activation` is off for these weights: gradients never reached it."""
    state = read_plain_weights(shared_models / "aasist" / f"{form}.pth")
    weights = [value for name, value in state.items() if name.endswith(".0.bn1.weight")]
    biases = [value for name, value in state.items() if name.endswith(".0.bn1.bias")]
    assert len(weights) == 5
    assert all(bool((value == 1).all()) for value in weights)
    assert all(bool((value == 0).all()) for value in biases)
    assert not any(bool((value == 1).all()) for name, value in state.items() if name.endswith("bn2.weight"))


def test_another_form_and_damaged_files_are_refused_by_name() -> None:
    ours = network("AASIST").state_dict()
    with pytest.raises(ModelError, match="has shape"):
        AASIST_KEYS.to_ours(scrambled("AASIST-L"), ours)
    state = scrambled("AASIST")
    del state["pool_hT2.proj.bias"]
    with pytest.raises(ModelError, match=r"1 tensor.*missing \(pool_hT2\.proj\.bias\)"):
        AASIST_KEYS.to_ours(state, ours)
    with pytest.raises(ModelError, match=r"1 unexpected \(more\.weight\)"):
        AASIST_KEYS.to_ours({**scrambled("AASIST"), "more.weight": torch.zeros(1)}, ours)
