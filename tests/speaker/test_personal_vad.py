"""The network of SVVAD (reconstruction of arXiv 2305.19581), its frozen verifier, and its scores per pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.core.errors import AudioError, DataError, ModelError, RecipeError
from earwitness.nn.network import NetworkConfig
from earwitness.nn.pooling import AttentiveStatisticsConfig, MeanConfig, StatisticsConfig
from earwitness.nn.pooling.simple import LastConfig
from earwitness.nn.pooling.weighted import pool_weighted
from earwitness.nn.types import Frames
from earwitness.speaker.comparison import unit
from earwitness.speaker.personal_vad import hearing
from earwitness.speaker.personal_vad.backbone import PersonalVad, PersonalVadConfig
from earwitness.speaker.personal_vad.hearing import PersonalVerifier
from earwitness.speaker.personal_vad.transform import projection
from earwitness.speaker.personal_vad.verifier import FrozenVerifier, without_frames
from earwitness.training.model_folder import ModelInfo

RATE = 16_000
SIZES = {"dim": 16, "conformer_blocks": 1, "transformer_blocks": 1, "condition": 8, "hidden": 16, "heads": 2}


def branch(**changes: Any) -> dict[str, Any]:
    encoder = {"kind": "ecapa", "channels": 16, "outputs": 24, "se_hidden": 8}
    pooling = {"kind": "attentive_statistics", "bottleneck": 8}
    return {"frontend": {"kind": "fbank"}, "encoder": encoder, "pooling": pooling, **changes}


def small_verifier(**changes: Any) -> FrozenVerifier:
    torch.manual_seed(0)
    config = NetworkConfig.model_validate({"branches": [branch(**changes)], "embedding": {"dim": 12}})
    return FrozenVerifier(config.build())


def small_vad(verifier: FrozenVerifier, *, awake: bool = False, **changes: Any) -> PersonalVad:
    """As it begins; `awake`: with heads whose weights are not zero."""
    torch.manual_seed(1)
    config = PersonalVadConfig.model_validate({**SIZES, **changes})
    vad = config.build(verifier.features_dim, projection(verifier.dim, config.condition, 0)).eval()
    if awake:
        nn.init.normal_(vad.gamma.weight, std=2.0)
        nn.init.constant_(vad.gamma.bias, 0.0)
        if vad.beta is not None:
            nn.init.normal_(vad.beta.weight)
    return vad


def listener(vad: PersonalVad, verifier: FrozenVerifier) -> PersonalVerifier:
    info = ModelInfo(
        name="tiny", task="personal-vad", network={}, windows=hearing.LONG_WINDOWS, polarity="none", licence="CC0-1.0"
    )
    return PersonalVerifier(vad, verifier, info)


@pytest.fixture(scope="module")
def verifier() -> FrozenVerifier:
    return small_verifier()


@pytest.fixture(scope="module")
def sound(speechlike: Any) -> NDArray[np.float32]:
    made: NDArray[np.float32] = speechlike(2.0, seed=3)
    return made


def voices(count: int, seed: int = 0) -> NDArray[np.float32]:
    return unit(np.random.default_rng(seed).standard_normal((count, 12)).astype(np.float32))


@pytest.mark.shows("svvad:6.1")
def test_it_begins_at_the_identity(verifier: FrozenVerifier) -> None:
    torch.manual_seed(5)
    vad = PersonalVadConfig().build(80, projection(192, 64, 0)).eval()
    x = torch.randn(3, 50, 80)
    with torch.no_grad():
        gated = vad(Frames(x), torch.randn(3, 192))
    torch.testing.assert_close(gated.gamma, torch.full((3, 50, 1), 0.98201), atol=1e-5, rtol=0)
    assert not gated.beta.any()
    torch.testing.assert_close(gated.frames.values, 0.98201 * x, atol=1e-4, rtol=1e-5)


@pytest.mark.shows("svvad:6.1")
def test_with_gamma_1_the_score_is_the_plain_verifiers_bit_for_bit(
    verifier: FrozenVerifier, sound: NDArray[np.float32]
) -> None:
    vad = small_vad(verifier)
    heard = listener(vad, verifier).hear(sound, RATE, voices(3))
    assert (heard.scores != heard.plain).any()
    nn.init.constant_(vad.gamma.bias, 200.0)  # sigmoid(200) is exactly 1
    open_ = listener(vad, verifier).hear(sound, RATE, voices(3))
    assert (open_.gamma == 1).all()
    assert np.array_equal(open_.scores, open_.plain)
    assert np.array_equal(open_.plain, heard.plain)


@pytest.mark.shows("svvad:6.2")
@pytest.mark.parametrize("count", [20, 333, 2000])
def test_frames_keep_their_shape(count: int) -> None:
    vad = PersonalVadConfig().build(80, projection(192, 64, 0)).eval()
    with torch.no_grad():
        gated = vad(Frames(torch.randn(2, count, 80)), torch.randn(2, 192))
    assert gated.frames.values.shape == (2, count, 80)
    assert gated.gamma.shape == gated.beta.shape == (2, count, 1)


@pytest.mark.shows("svvad:6.2")
@pytest.mark.parametrize("gamma_pools", [False, True])
def test_a_padded_batch_gives_what_its_items_give_alone(verifier: FrozenVerifier, gamma_pools: bool) -> None:
    vad = small_vad(verifier, awake=True, gamma_pools=gamma_pools)
    lengths = [20, 200, 61, 200]
    x = torch.randn(4, 200, 80)
    mask = torch.arange(200) < torch.tensor(lengths)[:, None]
    condition = torch.from_numpy(voices(4))
    with torch.no_grad():
        together = vad(Frames(x, mask), condition)
        vectors = verifier.embed(together.frames, together.gamma if gamma_pools else None)
        for place, length in enumerate(lengths):
            alone = vad(Frames(x[place : place + 1, :length]), condition[place : place + 1])
            torch.testing.assert_close(together.gamma[place, :length], alone.gamma[0], atol=1e-4, rtol=0)
            torch.testing.assert_close(
                together.frames.values[place, :length], alone.frames.values[0], atol=1e-4, rtol=1e-4
            )
            assert not together.gamma[place, length:].any()
            assert not together.beta[place, length:].any()
            one = verifier.embed(alone.frames, alone.gamma if gamma_pools else None)
            torch.testing.assert_close(vectors[place], one[0], atol=1e-4, rtol=0)
    with pytest.raises(DataError, match="gaps"):
        vad(Frames(x[:1], torch.tensor([[True, False] * 100])), condition[:1])


def test_waveforms_of_other_lengths_are_each_normalised_alone(
    verifier: FrozenVerifier, sound: NDArray[np.float32]
) -> None:
    long, short = torch.from_numpy(sound), torch.from_numpy(sound[:9000])
    padded = torch.stack([long, nn.functional.pad(short, (0, len(long) - 9000))])
    frames = verifier.features(padded, torch.tensor([len(long), 9000]))
    assert frames.mask is not None
    count = int(frames.mask[1].sum())
    assert torch.equal(frames.values[1, :count], verifier.features(short[None]).values[0])


@pytest.mark.shows("svvad:6.3")
def test_the_transform_is_orthonormal_fixed_and_learns_nothing(verifier: FrozenVerifier) -> None:
    known = unit(np.random.default_rng(0).standard_normal((5, 12)).astype(np.float32))
    for made in (projection(12, 8, 0), projection(12, 8, 0, known)):
        torch.testing.assert_close(made.T @ made, torch.eye(8), atol=1e-5, rtol=0)
    assert torch.equal(projection(12, 8, 0), projection(12, 8, 0))
    assert not torch.equal(projection(12, 8, 0), projection(12, 8, 1))
    axes = np.linalg.svd(known - known.mean(0))[2][:4]  # five voices span four axes
    shared = np.linalg.svd(axes @ projection(12, 8, 0, known).numpy())[1]
    assert shared == pytest.approx(1, abs=1e-4)
    vad = small_vad(verifier)
    assert "projection" in dict(vad.named_buffers())
    assert not any("projection" in name for name, _ in vad.named_parameters())
    torch.testing.assert_close(vad.transform(3 * torch.ones(1, 12)), vad.transform(torch.ones(1, 12)))
    with pytest.raises(RecipeError, match="condition is 20"):
        projection(12, 20, 0)


def test_with_beta_off_there_is_no_offset_and_no_weight_for_one(verifier: FrozenVerifier) -> None:
    vad = small_vad(verifier, awake=True, beta="off")
    x = torch.randn(1, 40, 80)
    with torch.no_grad():
        gated = vad(Frames(x), torch.from_numpy(voices(1)))
    assert not gated.beta.any()
    assert torch.equal(gated.frames.values, gated.gamma * x)
    assert not any(name.startswith("beta") for name, _ in vad.named_parameters())


@pytest.mark.parametrize(
    ("frontend", "said"),
    [
        ({"kind": "fbank", "mean_norm": False}, "does not take the mean out"),
        ({"kind": "log_mel", "mean_norm": True, "log": False}, "not logarithmic"),
        ({"kind": "lfcc"}, "'lfcc' is not one"),
    ],
)
def test_other_front_ends_are_refused(frontend: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        small_verifier(frontend=frontend)


def test_logarithmic_mel_features_can_be_read_and_two_branches_cannot(sound: NDArray[np.float32]) -> None:
    read = small_verifier(frontend={"kind": "log_mel", "mean_norm": True})
    assert read.embed(read.features(torch.from_numpy(sound)[None])).shape == (1, 12)
    assert (read.hop, read.window) == (160, 512)
    config = NetworkConfig.model_validate({"branches": [branch(), branch()], "embedding": {"dim": 12}})
    with pytest.raises(ModelError, match="2 branches"):
        FrozenVerifier(config.build())


def test_pooling_weighs_frames() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 30, 5)
    some = torch.zeros(2, 30)
    some[:, :10] = 0.7
    for config in (MeanConfig(), StatisticsConfig(), AttentiveStatisticsConfig(bottleneck=4)):
        pooling = config.build(5).eval()
        even = pool_weighted(pooling, Frames(x), torch.ones(2, 30)).mean
        torch.testing.assert_close(even, pooling(Frames(x)).mean, atol=1e-5, rtol=1e-4)
        if not isinstance(config, AttentiveStatisticsConfig):  # its context hears all frames
            part = pool_weighted(pooling, Frames(x), some).mean
            torch.testing.assert_close(part, pooling(Frames(x[:, :10])).mean, atol=1e-4, rtol=1e-3)
        assert pool_weighted(pooling, Frames(x), torch.zeros(2, 30)).mean.isfinite().all()
        assert pool_weighted(pooling, Frames(x), torch.ones(2, 60)).mean.shape == even.shape
    with pytest.raises(RecipeError, match="cannot weigh"):
        pool_weighted(LastConfig().build(5), Frames(x), some)


def test_a_pair_is_asymmetric_and_no_voice_depends_on_another(
    verifier: FrozenVerifier, sound: NDArray[np.float32], speechlike: Any
) -> None:
    ear = listener(small_vad(verifier, awake=True), verifier)
    other = speechlike(2.0, seed=8)
    first, second = ear.enrol([sound], RATE), ear.enrol([other], RATE)
    assert ear.score(other, RATE, first) != pytest.approx(ear.score(sound, RATE, second), abs=1e-6)
    both = ear.hear(sound, RATE, np.stack([first, second]))
    assert both.scores[0] == ear.score(sound, RATE, first)
    assert both.scores[1] == ear.score(sound, RATE, second)
    assert both.gamma.shape == both.beta.shape == (2, 198)
    many = ear.enrol([sound, other], RATE)
    assert many == pytest.approx(unit((first + second)[None] / 2)[0], abs=1e-6)


def test_a_long_recording_is_heard_by_windows_whose_gamma_is_averaged(
    verifier: FrozenVerifier, speechlike: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hearing, "LONG_S", 4.0)
    monkeypatch.setattr(hearing, "LONG_WINDOWS", hearing.Sliding(length_s=3.0, hop_s=2.0, repeat=False))
    ear = listener(small_vad(verifier, awake=True), verifier)
    sound = speechlike(9.5, seed=2)
    sound[3 * RATE : 6 * RATE + 4000] *= 0.02
    known = voices(2)
    heard = ear.hear(sound, RATE, known)
    starts = [0.0, 2.0, 4.0, 6.0, 6.5]
    raw = np.zeros((2, 950, 2), np.float64)
    count = np.zeros((950, 1))
    for start in starts:
        part = ear.hear(sound[round(start * RATE) :][: 3 * RATE], RATE, known)
        places = slice(round(100 * start), round(100 * start) + part.gamma.shape[1])
        raw[:, places, 0] += part.gamma
        raw[:, places, 1] += part.beta
        count[places] += 1
    assert heard.gamma.shape == (2, 948)
    assert count.max() == 3  # the last window ends with the recording
    mean = raw[:, :948] / count[:948]
    assert heard.gamma == pytest.approx(mean[..., 0], abs=1e-5)
    assert heard.beta == pytest.approx(mean[..., 1], abs=1e-4)
    assert heard.seconds_used == pytest.approx(9.5)

    import soundfile

    soundfile.write(tmp_path / "long.wav", sound, RATE, subtype="FLOAT")
    streamed = ear.hear_file(tmp_path / "long.wav", known)
    assert streamed.gamma == pytest.approx(heard.gamma, abs=1e-6)
    assert streamed.scores == pytest.approx(heard.scores, abs=1e-6)


def test_silence_within_a_long_recording_has_no_gamma(
    verifier: FrozenVerifier, speechlike: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "LONG_S", 4.0)
    monkeypatch.setattr(hearing, "LONG_WINDOWS", hearing.Sliding(length_s=2.0, hop_s=2.0, repeat=False))
    sound = speechlike(8.0, seed=2)
    sound[2 * RATE : 4 * RATE] = 0
    heard = listener(small_vad(verifier), verifier).hear(sound, RATE, voices(1))
    assert not heard.gamma[0, 200:400].any()
    assert heard.gamma[0, 400:590].min() > 0.9
    assert heard.seconds_used == pytest.approx(6.0)


def test_what_cannot_be_judged_is_refused(verifier: FrozenVerifier, tmp_path: Path) -> None:
    ear = listener(small_vad(verifier), verifier)
    with pytest.raises(AudioError, match="of sound"):
        ear.hear(np.zeros(RATE, np.float32), RATE, voices(1))
    with pytest.raises(AudioError, match="of sound"):
        ear.enrol([np.full(800, 0.1, np.float32)], RATE)
    with pytest.raises(AudioError, match="Give another reference"):
        ear.enrol_files([tmp_path / "none.wav"])


def test_frames_that_are_left_out_take_their_mean_along() -> None:
    frames = Frames(torch.randn(1, 40, 3))
    kept = torch.arange(40) < 20
    cut = without_frames(frames, kept)
    assert cut.values.shape == (1, 20, 3)
    torch.testing.assert_close(cut.values.mean(1), torch.zeros(1, 3), atol=1e-6, rtol=0)
    assert without_frames(frames, torch.arange(40) < 5) is frames


def test_settings_that_do_not_fit_are_refused() -> None:
    for wrong, said in (({"dim": 18, "heads": 4}, "no multiple"), ({"kernel": 4}, "odd"), ({"beta": "maybe"}, "beta")):
        with pytest.raises(ValueError, match=said):
            PersonalVadConfig.model_validate(wrong)
