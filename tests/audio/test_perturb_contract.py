"""What every perturbation keeps to: one table of the union's members, and the same tests for each."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import soundfile

from earwitness.audio.perturb import PerturbationConfig, available_codecs, item_rng
from earwitness.audio.perturb.base import BasePerturbationConfig
from earwitness.audio.perturb.codec import CodecConfig
from earwitness.core.config import parse_config
from earwitness.core.errors import AudioError, RecipeError

MEMBERS: tuple[type[BasePerturbationConfig], ...] = get_args(get_args(PerturbationConfig)[0])
KINDS = [member.model_fields["kind"].default for member in MEMBERS]
CHANGES_LENGTH = {"speed"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short recordings of noise at two rates."""
    where = tmp_path_factory.mktemp("noises")
    for seed, rate in enumerate((16_000, 8_000, 16_000)):
        noise = np.random.default_rng(seed).uniform(-0.3, 0.3, rate // 4 * (seed + 1))
        soundfile.write(where / f"noise{seed}.wav", noise, rate, subtype="FLOAT")
    return where


def recipe(kind: str, folder: Path) -> dict[str, Any]:
    """The least that a recipe must say of a kind."""
    needs: dict[str, dict[str, Any]] = {
        "noise_files": {"folder": folder},
        "babble": {"folder": folder},
        "one_of": {"components": [{"kind": "gain"}, {"kind": "codec", "codec": "mu_law"}], "weights": [1, 3]},
        "series": {"components": [{"kind": "gain"}, {"kind": "one_of", "components": [{"kind": "low_pass"}]}]},
    }
    return {"kind": kind, **needs.get(kind, {})}


@pytest.fixture(params=KINDS)
def config(request: pytest.FixtureRequest, folder: Path) -> BasePerturbationConfig:
    return parse_config(PerturbationConfig, recipe(request.param, folder))


def test_the_table_holds_every_member() -> None:
    assert len(KINDS) == len(set(KINDS)) == 14


def test_round_trip(config: BasePerturbationConfig) -> None:
    assert parse_config(PerturbationConfig, config.model_dump()) == config
    assert parse_config(PerturbationConfig, config.model_dump(mode="json")) == config


@pytest.mark.parametrize("rate", [8_000, 16_000])
@pytest.mark.parametrize("n", [1_000, 8_000])
def test_type_length_and_input(config: BasePerturbationConfig, rate: int, n: int, speechlike: Any) -> None:
    perturb = config.build()
    assert perturb.name == config.kind
    x = speechlike(n / rate, rate, 3)
    before = x.copy()
    x.setflags(write=False)
    for seed in range(3):
        y = perturb(x, rate, np.random.default_rng(seed))
        assert y.dtype == np.float32
        assert y.ndim == 1
        assert np.isfinite(y).all()
        assert y.flags.writeable
        assert not np.shares_memory(x, y)
        if config.kind not in CHANGES_LENGTH:
            assert len(y) == n
    assert np.array_equal(x, before)


def test_deterministic_under_the_generator(config: BasePerturbationConfig, speechlike: Any) -> None:
    x = speechlike(0.25)
    perturb, other_process = config.build(), pickle.loads(pickle.dumps(config.build()))  # noqa: S301
    first = perturb(x, 16_000, np.random.default_rng(4))
    perturb(x, 16_000, np.random.default_rng(5))  # leaves nothing behind
    assert np.array_equal(first, perturb(x, 16_000, np.random.default_rng(4)))
    assert np.array_equal(first, other_process(x, 16_000, np.random.default_rng(4)))


def test_it_does_something(config: BasePerturbationConfig, speechlike: Any) -> None:
    x = speechlike(0.25)
    perturb = config.build()
    results = [perturb(x, 16_000, np.random.default_rng(seed)) for seed in range(6)]
    assert any(len(y) != len(x) or not np.allclose(x, y, atol=1e-4) for y in results)


def test_silence_stays_finite(config: BasePerturbationConfig) -> None:
    y = config.build()(np.zeros(4_000, np.float32), 16_000, np.random.default_rng(0))
    assert np.isfinite(y).all()
    assert np.abs(y).max() < 0.01


@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_samples(config: BasePerturbationConfig, n: int) -> None:
    y = config.build()(np.full(n, 0.1, np.float32), 16_000, np.random.default_rng(0))
    assert np.isfinite(y).all()
    if config.kind not in CHANGES_LENGTH:
        assert len(y) == n


def test_probability(config: BasePerturbationConfig, speechlike: Any) -> None:
    x = speechlike(0.05)
    never = config.model_copy(update={"p": 0.0}).build()
    result = never(x, 16_000, np.random.default_rng(0))
    assert np.array_equal(result, x)
    assert not np.shares_memory(result, x)


def test_probability_is_the_share_of_calls_that_change_something(tone: Any) -> None:
    x = tone(0.01)
    perturb = parse_config(PerturbationConfig, {"kind": "gain", "gain_db": [-6, -6], "p": 0.3}).build()
    rng = np.random.default_rng(1)
    changed = sum(not np.array_equal(perturb(x, 16_000, rng), x) for _ in range(1_000))
    assert 250 < changed < 350


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.zeros((2, 100), np.float32), "mono"),
        (np.zeros(100, np.int16), "int16"),
        (np.array([0.0, np.nan, 0.5], np.float32), "finite"),
        (np.array([0.5, -np.inf, 0.5], np.float32), "finite"),
        (np.full(10, -20_000, np.float32), "32768"),
    ],
)
def test_samples_that_are_no_samples_are_refused(bad: np.ndarray, says: str) -> None:
    perturb = parse_config(PerturbationConfig, {"kind": "gain"}).build()
    with pytest.raises(AudioError, match=says):
        perturb(bad, 16_000, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"kind": "rawbost"}, "Did you mean 'rawboost'"),
        ({"kind": "gain", "gain": [0, 1]}, "did you mean 'gain_db'"),
        ({"kind": "gain", "gain_db": [3, -3]}, "above"),
        ({"kind": "gain", "gain_db": [float("nan"), 0]}, "finite"),
        ({"kind": "gain", "p": 1.5}, "less than or equal to 1"),
        ({"kind": "low_pass", "cutoff_hz": [0, 100]}, "above 0"),
        ({"kind": "telephone_band", "low_hz": 4000}, "below"),
        ({"kind": "speed", "factors": [0]}, "between"),
        ({"kind": "resample", "rates": [1]}, "between"),
        ({"kind": "reverb", "t60_s": [0, 1]}, "above 0"),
        ({"kind": "babble", "folder": "x", "talkers": [0, 3]}, "at least 1"),
        ({"kind": "noise_files"}, "folder"),
        ({"kind": "codec", "codec": "amr_nb", "bitrates_kbps": [10]}, "12.2"),
        ({"kind": "codec", "codec": "mu_law", "bitrates_kbps": [64]}, "no bit rate to choose"),
        ({"kind": "one_of", "components": []}, "at least 1"),
        ({"kind": "one_of", "components": [{"kind": "gain"}], "weights": [1, 2]}, "as many weights"),
        ({"kind": "one_of", "components": [{"kind": "gain"}], "weights": [0]}, "above 0"),
        ({"kind": "series", "components": [{"kind": "gain", "p": 2}]}, "less than or equal"),
    ],
)
def test_recipes_that_cannot_work_are_refused(data: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        parse_config(PerturbationConfig, data)


@pytest.mark.parametrize("codec", available_codecs())
def test_every_codec_keeps_the_contract(codec: Any, speechlike: Any) -> None:
    perturb = CodecConfig(codec=codec).build()
    for rate in (8_000, 16_000, 22_050, 44_100):
        x = speechlike(0.1, rate)
        y = perturb(x, rate, np.random.default_rng(1))
        assert len(y) == len(x)
        assert y.dtype == np.float32
        assert np.isfinite(y).all()
        assert np.array_equal(y, perturb(x, rate, np.random.default_rng(1)))
    for n in (1, 2, 50, 1_000):
        assert len(perturb(x[:n], 16_000, np.random.default_rng(1))) == n


def test_item_generators_are_stable_over_runs() -> None:
    """These numbers may never change: runs are repeated from their seeds."""
    drawn = item_rng(1, 0, "speaker/utterance.wav").integers(0, 2**32, 3).tolist()
    assert drawn == [1613802192, 2164932644, 3664959289]
    assert item_rng(1, 0, "a").random() != item_rng(1, 0, "b").random()
    assert item_rng(0, 1, "a").random() != item_rng(1, 0, "a").random()
