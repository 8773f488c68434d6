"""RawBoost against the numbers that its method states (arXiv 2111.04433)."""

from __future__ import annotations

import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from scipy.signal import freqz

from earwitness.audio.perturb import PerturbationConfig, item_rng
from earwitness.audio.perturb.rawboost import (
    RawBoostConfig,
    draw_filters,
    filter_powers,
    isd,
    lnl,
    norm_if,
    ssi,
)
from earwitness.core.config import parse_config
from earwitness.core.errors import AudioError, RecipeError

RATE = 16_000
DEFAULTS = RawBoostConfig()
FLAT = np.zeros((1, 2))  # a gain of 0 dB


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def signal(n: int, peak: float = 0.3, seed: int = 5) -> np.ndarray:
    return rng(seed).uniform(-peak, peak, n)


def ratio_db(x: np.ndarray, noise: np.ndarray) -> float:
    return float(10 * np.log10(np.square(x).sum() / np.square(noise).sum()))


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "rawboost_speed.py"
    spec = importlib.util.spec_from_file_location("rawboost_speed", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.shows("rawboost:6.1")
@pytest.mark.parametrize("algo", range(12))
@pytest.mark.parametrize("n", [1_000, 400_000])
def test_length_and_type_are_kept_and_silence_is_returned(algo: int, n: int) -> None:
    boost = RawBoostConfig(algo=algo).build()
    x = signal(n).astype(np.float32)
    y = boost(x, RATE, rng(1))
    assert y.dtype == np.float32
    assert y.shape == x.shape
    assert np.isfinite(y).all()
    assert np.array_equal(boost(np.zeros(n, np.float32), RATE, rng(1)), np.zeros(n, np.float32))


@pytest.mark.shows("rawboost:6.2")
def test_notch_filters_have_odd_lengths_and_a_largest_gain_of_one() -> None:
    lengths = []
    for seed in range(300):
        b = draw_filters(rng(seed), RATE, DEFAULTS, FLAT)[0]
        assert len(b) % 2 == 1
        _, response = freqz(b, 1, worN=512)
        assert abs(np.abs(response).max() - 1) < 1e-12
        lengths.append(len(b))
    # 5 filters of 11..99 taps: 51..491; 2 000 draws of the official code gave a mean of 269
    assert min(lengths) >= 51
    assert max(lengths) <= 491
    assert abs(np.mean(lengths) - 269) < 15


@pytest.mark.shows("rawboost:6.2")
@pytest.mark.parametrize("centre", [600.0, 2000.0, 4000.0, 7000.0])
def test_a_single_band_stop_attenuates_its_centre_by_more_than_20_db(centre: float) -> None:
    config = RawBoostConfig(n_bands=1, min_f=centre, max_f=centre, min_bw=1000, max_bw=1000, min_coeff=99, max_coeff=99)
    b = draw_filters(rng(), RATE, config, FLAT)[0]
    assert len(b) == 99
    _, response = freqz(b, 1, worN=[centre], fs=RATE)
    assert 20 * np.log10(np.abs(response[0])) < -20


def test_fir_is_one_sample_early() -> None:
    impulse = np.zeros(2000)
    impulse[500] = 1.0
    centred = np.zeros((1, 101))
    centred[0, 50] = 1.0
    assert int(filter_powers(impulse, centred).argmax()) == 499
    # and longer than one block, it still equals a plain convolution
    x, b = signal(30_000), rng(1).standard_normal((1, 491))
    assert filter_powers(x, b) == pytest.approx(np.convolve(x, b[0])[246 : 246 + len(x)], abs=1e-10)


@pytest.mark.shows("rawboost:6.3")
@pytest.mark.parametrize("seed", range(10))
def test_lnl_has_no_mean_and_a_peak_of_at_most_one(seed: int) -> None:
    y = lnl(signal(16_000, peak=1.0), RATE, rng(seed), DEFAULTS)
    assert abs(y.mean()) < 1e-6
    assert np.abs(y).max() <= 1


@pytest.mark.shows("rawboost:6.3")
def test_lnl_of_the_first_power_alone_is_a_linear_filter() -> None:
    config = RawBoostConfig(n_f=1)
    x, z = signal(8_000, 0.05, 1), signal(8_000, 0.05, 2)

    def apply(v: np.ndarray) -> np.ndarray:
        return lnl(v, RATE, rng(3), config)

    assert apply(0.5 * x + 2 * z) == pytest.approx(0.5 * apply(x) + 2 * apply(z), abs=1e-12)
    assert lnl(2 * x, RATE, rng(3), DEFAULTS) != pytest.approx(2 * lnl(x, RATE, rng(3), DEFAULTS), abs=1e-6)


@pytest.mark.shows("rawboost:6.3")
def test_gains_of_the_higher_powers_lie_5_to_20_db_down(monkeypatch: pytest.MonkeyPatch) -> None:
    from earwitness.audio.perturb import rawboost

    seen: list[np.ndarray] = []

    def spy(x: np.ndarray, filters: np.ndarray) -> np.ndarray:
        seen.append(filters)
        return filter_powers(x, filters)

    monkeypatch.setattr(rawboost, "filter_powers", spy)
    for seed in range(60):
        lnl(signal(1000), RATE, rng(seed), DEFAULTS)
    gains_db = np.array([[20 * np.log10(np.abs(freqz(b, 1, worN=512)[1]).max()) for b in bank] for bank in seen])
    assert gains_db.shape == (60, 5)
    assert gains_db[:, 0] == pytest.approx(0.0, abs=1e-9)
    higher = gains_db[:, 1:]
    assert higher.min() >= -20 - 1e-9
    assert higher.max() <= -5 + 1e-9
    # uniform, and the offset does not accumulate with the power
    assert np.all(np.abs(higher.mean(axis=0) + 12.5) < 2.0)


@pytest.mark.shows("rawboost:6.4")
@pytest.mark.parametrize("seed", range(10))
def test_isd_changes_the_drawn_share_within_its_bounds(seed: int) -> None:
    n = 20_000
    x = signal(n, 0.3) + 0.001  # a peak of at most 0.9 comes out, so nothing is rescaled
    beta = rng(seed).uniform(0, 10)
    y = isd(x, rng(seed), DEFAULTS)
    changed = y != x
    assert changed.sum() == int(n * beta / 100)
    ratio = y[changed] / x[changed]
    assert ratio.min() >= -1
    assert ratio.max() <= 3


@pytest.mark.shows("rawboost:6.4")
def test_isd_factors_have_the_stated_statistics() -> None:
    n = 2_000_000
    x = np.full(n, 0.1)
    f = (isd(x, rng(1), RawBoostConfig(max_percent=100.0)) / x - 1) / 2
    f = f[np.abs(f) > 1e-12]
    assert len(f) > 1_000_000
    assert abs(f.mean()) < 2e-3
    assert f.var() == pytest.approx(1 / 9, rel=0.01)
    assert np.abs(f).mean() == pytest.approx(1 / 4, rel=0.01)


@pytest.mark.shows("rawboost:6.4")
def test_isd_rescales_the_whole_signal_where_a_peak_passes_one() -> None:
    x = np.ones(10_000)
    y = isd(x, rng(0), DEFAULTS)
    assert np.abs(y).max() == 1
    assert (y != x).sum() >= len(x) - 1


@pytest.mark.shows("rawboost:6.5")
def test_ssi_meets_the_drawn_ratio() -> None:
    x, ratios = signal(16_000), []
    for seed in range(25):
        replay = rng(seed)
        replay.standard_normal(len(x))
        replay.random(3 * DEFAULTS.n_bands + 1)
        drawn_db = replay.uniform(10, 40)
        noise = ssi(x, RATE, rng(seed), DEFAULTS) - x
        measured_db = ratio_db(x, noise)
        assert abs(measured_db - drawn_db) < 1e-6
        ratios.append(measured_db)
        delivered = RawBoostConfig(algo=3).build()(x.astype(np.float32), RATE, rng(seed)).astype(np.float64)
        assert ratio_db(x, delivered - x) == pytest.approx(drawn_db, abs=1e-4)
    assert min(ratios) >= 10
    assert max(ratios) <= 40
    assert max(ratios) - min(ratios) > 20


@pytest.mark.shows("rawboost:6.6")
def test_algo_5_is_1_then_2_with_the_same_generator() -> None:
    x = signal(10_000).astype(np.float32)
    generator = rng(9)
    step = lnl(x.astype(np.float64), RATE, generator, DEFAULTS)
    step = isd(step, generator, DEFAULTS)
    assert np.array_equal(RawBoostConfig(algo=5).build()(x, RATE, rng(9)), step.astype(np.float32))


@pytest.mark.shows("rawboost:6.6")
@pytest.mark.parametrize("algo", [8, 9])
def test_parallel_algos_are_the_rescaled_sum_of_their_branches(algo: int) -> None:
    x = signal(10_000, 0.9).astype(np.float32)
    wide, generator = x.astype(np.float64), rng(9)
    branches = lnl(wide, RATE, generator, DEFAULTS) + isd(wide, generator, DEFAULTS)
    if algo == 9:
        branches = branches + ssi(wide, RATE, generator, DEFAULTS)
    result = RawBoostConfig(algo=algo).build()(x, RATE, rng(9))
    assert result == pytest.approx(norm_if(branches), abs=1e-7)
    assert np.abs(branches).max() > 1  # so the rescaling was put to the test


@pytest.mark.parametrize(
    ("algo", "steps"),
    [(0, ()), (1, (1,)), (2, (2,)), (3, (3,)), (4, (1, 2, 3)), (6, (1, 3)), (7, (2, 3))],
)
def test_the_other_series(algo: int, steps: tuple[int, ...]) -> None:
    x, generator = signal(5_000).astype(np.float32), rng(2)
    y = x.astype(np.float64)
    for step in steps:
        y = (
            lnl(y, RATE, generator, DEFAULTS)
            if step == 1
            else isd(y, generator, DEFAULTS) if step == 2
            else ssi(y, RATE, generator, DEFAULTS)
        )  # fmt: skip
    assert np.array_equal(RawBoostConfig(algo=algo).build()(x, RATE, rng(2)), y.astype(np.float32))


def test_algos_10_and_11_follow_their_ratios() -> None:
    x = signal(5_000).astype(np.float32)
    wide = x.astype(np.float64)

    def run(algo: int, **ratios: float) -> np.ndarray:
        return RawBoostConfig(algo=algo, **ratios).build()(x, RATE, rng(4))

    def after(draws: int) -> np.random.Generator:
        generator = rng(4)
        generator.random(draws)
        return generator

    assert np.array_equal(run(10, lnl_ratio=0, isd_ratio=0), x)
    assert run(10, lnl_ratio=1, isd_ratio=0) == pytest.approx(lnl(wide, RATE, after(2), DEFAULTS), abs=1e-6)
    assert run(10, lnl_ratio=0, isd_ratio=1) == pytest.approx(isd(wide, after(2), DEFAULTS), abs=1e-6)
    generator = after(2)
    both = norm_if(lnl(wide, RATE, generator, DEFAULTS) + isd(wide, generator, DEFAULTS))
    assert run(10, lnl_ratio=1, isd_ratio=1) == pytest.approx(both, abs=1e-6)
    assert np.array_equal(run(11, lnl_ratio=0, isd_ratio=0, ssi_ratio=0), x)
    assert run(11, lnl_ratio=0, isd_ratio=0, ssi_ratio=1) == pytest.approx(
        ssi(wide, RATE, after(3), DEFAULTS), abs=1e-6
    )


@pytest.mark.shows("rawboost:6.7")
def test_the_same_generator_makes_the_same_file() -> None:
    x = signal(8_000).astype(np.float32)
    for algo in range(12):
        boost = RawBoostConfig(algo=algo).build()
        assert np.array_equal(boost(x, RATE, rng(1)), boost(x, RATE, rng(1)))
    boost = RawBoostConfig(algo=4).build()
    assert not np.array_equal(boost(x, RATE, rng(1)), boost(x, RATE, rng(2)))


@pytest.mark.shows("rawboost:6.7")
def test_draws_differ_by_file_and_do_not_depend_on_the_workers() -> None:
    x = signal(4_000).astype(np.float32)
    boost = RawBoostConfig(algo=4).build()
    items = [f"speaker{k}/utterance.flac" for k in range(12)]

    def boosted(item: str) -> bytes:
        return boost(x, RATE, item_rng(seed=7, epoch=2, item_id=item)).tobytes()

    alone = [boosted(item) for item in items]
    for workers in (2, 5):
        with ThreadPoolExecutor(workers) as pool:
            assert list(pool.map(boosted, reversed(items))) == alone[::-1]
    assert len(set(alone)) == len(items)
    other_epoch = boost(x, RATE, item_rng(seed=7, epoch=3, item_id=items[0])).tobytes()
    other_seed = boost(x, RATE, item_rng(seed=8, epoch=2, item_id=items[0])).tobytes()
    assert len({alone[0], other_epoch, other_seed}) == 3


@pytest.mark.shows("rawboost:6.8")
def test_the_benchmark_reports_both_costs_and_that_the_outputs_agree(benchmark: ModuleType) -> None:
    for name in ("LnL", "ISD", "SSI"):
        result = benchmark.compare(name, seconds=0.25, repeats=3)
        assert result.name == name
        assert result.plain_ms > 0
        assert result.fast_ms > 0
        assert result.ratio == pytest.approx(result.plain_ms / result.fast_ms)
        assert result.difference < 1e-6


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_centres_reach_half_the_rate(rate: int) -> None:
    """At other rates than 16 kHz the upper bound follows the rate: dips lie in the upper and the lower half alike."""
    config = RawBoostConfig(n_bands=1, min_coeff=99, max_coeff=99, min_bw=1000 * rate / RATE, max_bw=1000 * rate / RATE)
    dips = []
    for seed in range(60):
        frequency, response = freqz(draw_filters(rng(seed), rate, config, FLAT)[0], 1, worN=512, fs=rate)
        dips.append(frequency[np.abs(response).argmin()])
    assert max(dips) > 0.4 * rate
    assert min(dips) < 0.1 * rate


def test_bounds_in_the_wrong_order_are_taken_in_the_right_one() -> None:
    """The bias range is low > high by its definition (-5, -20); that must not stop a modern generator."""
    x = signal(2_000)
    swapped = RawBoostConfig(min_bias=20.0, max_bias=5.0, min_bw=1000, max_bw=100, snr_min=40, snr_max=10)
    assert np.array_equal(lnl(x, RATE, rng(), swapped), lnl(x, RATE, rng(), DEFAULTS))
    assert np.array_equal(ssi(x, RATE, rng(), swapped), ssi(x, RATE, rng(), DEFAULTS))


def test_integers_in_disguise_are_refused() -> None:
    with pytest.raises(AudioError, match="32768"):
        RawBoostConfig().build()(np.full(100, 12_000, np.float32), RATE, rng())


def test_an_unknown_algo_is_refused() -> None:
    """The official code silently does nothing for one, which would train without augmentation."""
    with pytest.raises(RecipeError, match="algo"):
        parse_config(RawBoostConfig, {"kind": "rawboost", "algo": 12})


def test_the_recipe_of_the_docs_is_valid() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "systems" / "rawboost.md").read_text(encoding="utf-8")
    recipe = yaml.safe_load(page.split("```yaml")[1].split("```")[0])
    configs = parse_config(tuple[PerturbationConfig, ...], recipe["perturbations"])
    assert [config.build().name for config in configs] == ["rawboost", "one_of"]
