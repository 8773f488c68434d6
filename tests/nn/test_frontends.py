"""What every front-end keeps: shapes, any length, one = many, the same twice, configuration round trip."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from earwitness.core.config import parse_config
from earwitness.core.errors import AudioError, RecipeError, UsageError
from earwitness.nn.frontends import (
    DVECTOR_MEL,
    FbankConfig,
    Frontend,
    FrontendConfig,
    LFCCConfig,
    LogMelConfig,
    WaveformConfig,
    WhisperConfig,
)
from earwitness.nn.frontends.base import FrontendConfigBase
from earwitness.nn.pretrained.whisper import encoder_available

needs_whisper = pytest.mark.skipif(not encoder_available(), reason="the package of Whisper tiny.en is not installed")
CONFIGS = [
    pytest.param(LFCCConfig(), id="lfcc"),
    pytest.param(LogMelConfig(), id="log_mel"),
    pytest.param(
        LogMelConfig(mel_scale="htk", area=False, fmin=20, power=1, mean_norm=True, n_mels=40), id="log_mel-htk"
    ),
    pytest.param(DVECTOR_MEL, id="dvector"),
    pytest.param(FbankConfig(), id="fbank"),
    pytest.param(FbankConfig(shape="povey", mean_norm=False), id="fbank-povey"),
    pytest.param(WaveformConfig(), id="waveform"),
    pytest.param(WhisperConfig(), id="whisper", marks=needs_whisper),
]
configs = pytest.mark.parametrize("config", CONFIGS)


@pytest.fixture(scope="module")
def waveforms(speechlike) -> Tensor:
    return torch.from_numpy(np.stack([speechlike(1.0, seed=seed) for seed in range(16)]))


@configs
def test_shapes_for_any_length(config: FrontendConfigBase, waveforms: Tensor) -> None:
    frontend = config.build()
    for samples in (frontend.shortest, 4001, 16_000):
        frames = frontend(waveforms[:2, :samples], torch.tensor([samples, samples]))
        batch, time, features = frames.values.shape
        assert (batch, features) == (2, frontend.dim)
        assert frames.mask is None
        assert frames.values.dtype == torch.float32
        assert frames.values.isfinite().all()
        assert time >= 1
        assert abs(time - samples / 16_000 * frontend.frames_per_second) < 4
    assert frontend.frozen


@configs
def test_a_batch_of_one_equals_a_batch_of_many(config: FrontendConfigBase, waveforms: Tensor) -> None:
    frontend = config.build().eval()
    together = frontend(waveforms).values
    alone = torch.cat([frontend(waveform[None]).values for waveform in waveforms])
    assert torch.allclose(together, alone, atol=1e-4, rtol=1e-4)
    assert torch.equal(together, frontend(waveforms).values)
    assert (together[0] - together[1]).abs().max() > 1e-3  # and it does depend on the input


@configs
def test_configuration_round_trip_and_reloaded_weights(config: FrontendConfigBase, waveforms: Tensor) -> None:
    union: TypeAdapter[FrontendConfig] = TypeAdapter(FrontendConfig)
    again = union.validate_python(union.dump_python(config, mode="json"))
    assert again == config
    first, second = config.build(), again.build()
    second.load_state_dict(first.state_dict(), strict=True)
    assert torch.equal(first(waveforms[:1]).values, second(waveforms[:1]).values)


@configs
def test_refuses_what_it_cannot_take(config: FrontendConfigBase, waveforms: Tensor) -> None:
    frontend = config.build()
    with pytest.raises(AudioError, match="too short"):
        frontend(waveforms[:, : frontend.shortest - 1])
    with pytest.raises(UsageError, match="shape"):
        frontend(waveforms[0])
    with pytest.raises(UsageError, match="padded"):
        frontend(waveforms[:2], torch.tensor([16_000, 12_000]))


@pytest.mark.parametrize("config", [FbankConfig(), LogMelConfig(), LFCCConfig()])
def test_mixed_precision_leaves_spectra_alone(config: FrontendConfigBase, waveforms: Tensor) -> None:
    frontend = config.build()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = frontend(waveforms[:1]).values
    assert torch.equal(mixed, frontend(waveforms[:1]).values)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "fbnk"}, "did you mean 'fbank'"),
        ({"kind": "lfcc", "n_filter": 30}, "did you mean 'n_filters'"),
        ({"kind": "log_mel", "fmax": 9000}, "0-9000 Hz does not lie within 0-8000 Hz"),
        ({"kind": "log_mel", "window": 800}, "longer than n_fft"),
        ({"kind": "lfcc", "n_coefficients": 30}, "more coefficients than filters"),
    ],
)
def test_refusals_help(data: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=f"(?i){message}"):
        parse_config(FrontendConfig, data)


def test_a_filter_without_a_bin_is_refused() -> None:
    with pytest.raises(RecipeError, match="filters cover no bin"):
        LogMelConfig(n_mels=200, mel_scale="htk").build()


def test_configs_are_frozen() -> None:
    with pytest.raises(ValidationError):
        FbankConfig().n_mels = 3  # type: ignore[misc]


def test_transformers_is_not_imported_for_the_default_front_ends() -> None:
    code = (
        "import sys\n"
        "from earwitness.nn.frontends import FbankConfig, WhisperConfig\n"
        "from earwitness.nn.pretrained.whisper import encoder_available\n"
        "FbankConfig().build()\n"
        "encoder_available() and WhisperConfig().build()\n"
        "assert 'transformers' not in sys.modules and 'librosa' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_onnx_fbank_equals_torch_for_other_lengths_and_batches(tmp_path, waveforms: Tensor) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")

    class Values(torch.nn.Module):
        def __init__(self, frontend: Frontend) -> None:
            super().__init__()
            self.frontend = frontend

        def forward(self, waveforms: Tensor) -> Tensor:
            return self.frontend(waveforms).values

    model, path = Values(FbankConfig().build()).eval(), str(tmp_path / "fbank.onnx")
    any_size = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    torch.onnx.export(model, (waveforms[:2, :8000],), path, dynamo=True, dynamic_shapes=(any_size,), verbose=False)
    session = onnxruntime.InferenceSession(path)
    exported = session.run(None, {session.get_inputs()[0].name: waveforms[:3, :12_345].numpy()})[0]
    assert np.abs(exported - model(waveforms[:3, :12_345]).numpy()).max() < 2e-3
