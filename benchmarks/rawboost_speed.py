"""How much faster RawBoost is than a plain implementation: both in one run, on the same signal, with the same draws.

    python benchmarks/rawboost_speed.py [--seconds 4] [--repeats 15] [--json]

The plain version designs each band-stop filter with scipy's `firwin` and filters sample by sample with `lfilter`, in
loops, as the method is written down. Neither version uses a second core. Printed are the median costs of both, their
ratio, and the largest difference of the outputs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, freqz, lfilter

from earwitness.audio.perturb.rawboost import RawBoostConfig, isd, lnl, ssi

Array = NDArray[np.float64]
Distortion = Callable[[Array, int, np.random.Generator, RawBoostConfig], Array]


def plain_notch(rng: np.random.Generator, rate: int, config: RawBoostConfig, gain: tuple[float, float]) -> Array:
    """One cascade of random band-stop filters, its true length."""
    b = np.ones(1)
    for _ in range(config.n_bands):
        centre = rng.uniform(config.min_f, config.max_f or rate / 2)
        width = rng.uniform(config.min_bw, config.max_bw)
        taps = int(rng.uniform(config.min_coeff, config.max_coeff))
        taps += taps % 2 == 0
        low, high = centre - width / 2, centre + width / 2
        low = 0.001 if low <= 0 else low
        high = rate / 2 - 0.001 if high >= rate / 2 else high
        b = np.convolve(firwin(taps, [low, high], window="hamming", fs=rate), b)
    gain_db = rng.uniform(min(gain), max(gain))
    _, response = freqz(b, 1, worN=512)
    return np.asarray(10 ** (gain_db / 20) * b / np.abs(response).max())


def plain_fir(x: Array, b: Array) -> Array:
    """Causal filtering of x [N] with zeros behind it; N samples from the middle, one early for odd numbers of taps."""
    extra = len(b) + 1
    y = lfilter(b, 1, np.concatenate([x, np.zeros(extra)]))
    return np.asarray(y[extra // 2 : extra // 2 + len(x)])


def plain_norm_if(x: Array) -> Array:
    """Divided by the peak where that passes 1."""
    return x / np.abs(x).max() if np.abs(x).max() > 1 else x


def plain_lnl(x: Array, rate: int, rng: np.random.Generator, config: RawBoostConfig) -> Array:
    """Linear and non-linear convolutive noise."""
    y = np.zeros(len(x))
    for power in range(1, config.n_f + 1):
        bias = (0.0, 0.0) if power == 1 else (config.min_bias, config.max_bias)
        b = plain_notch(rng, rate, config, (config.min_g - bias[0], config.max_g - bias[1]))
        y = y + plain_fir(np.power(x, power), b)
    return plain_norm_if(y - np.mean(y))


def plain_isd(x: Array, rate: int, rng: np.random.Generator, config: RawBoostConfig) -> Array:
    """Impulsive, signal-dependent noise."""
    beta = rng.uniform(0, config.max_percent)
    positions = rng.permutation(len(x))[: int(len(x) * beta / 100)]
    u, v = rng.random(len(positions)), rng.random(len(positions))
    y = x.copy()
    y[positions] = x[positions] + config.g_sd * x[positions] * (2 * u - 1) * (2 * v - 1)
    return plain_norm_if(y)


def plain_ssi(x: Array, rate: int, rng: np.random.Generator, config: RawBoostConfig) -> Array:
    """Stationary, signal-independent noise."""
    w = rng.standard_normal(len(x))
    w = plain_fir(w, plain_notch(rng, rate, config, (config.min_g, config.max_g)))
    w = w / np.abs(w).max()
    snr = rng.uniform(config.snr_min, config.snr_max)
    # not np.linalg.norm, which would use both cores
    return np.asarray(x + w * np.sqrt(np.sum(x**2) / np.sum(w**2)) / 10.0 ** (0.05 * snr))


def fast_isd(x: Array, rate: int, rng: np.random.Generator, config: RawBoostConfig) -> Array:
    """Earwitness's ISD with the arguments of the others."""
    return isd(x, rng, config)


PAIRS: dict[str, tuple[Distortion, Distortion]] = {
    "LnL": (plain_lnl, lnl),
    "ISD": (plain_isd, fast_isd),
    "SSI": (plain_ssi, ssi),
}


@dataclass(frozen=True)
class Comparison:
    """Median costs of one distortion in milliseconds, and the largest difference over all repeats."""

    name: str
    plain_ms: float
    fast_ms: float
    difference: float

    @property
    def ratio(self) -> float:
        """How many times faster."""
        return self.plain_ms / self.fast_ms


def compare(name: str, seconds: float = 4.0, rate: int = 16_000, repeats: int = 15) -> Comparison:
    """Run both versions in turn on noise of peak 0.5, each repeat with draws of its own, the same for both."""
    config = RawBoostConfig()
    x = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate))
    costs = np.empty((repeats, 2))
    difference = 0.0
    for repeat in range(repeats):
        outputs = []
        for version, distort in enumerate(PAIRS[name]):
            rng = np.random.default_rng(repeat)
            begin = time.perf_counter()
            outputs.append(distort(x, rate, rng, config))
            costs[repeat, version] = time.perf_counter() - begin
        difference = max(difference, float(np.abs(outputs[0] - outputs[1]).max()))
    plain_ms, fast_ms = 1000 * np.median(costs, axis=0)
    return Comparison(name, float(plain_ms), float(fast_ms), difference)


def main() -> None:
    """Print one line a distortion; fail where the two versions do not agree."""
    parser = argparse.ArgumentParser(description="RawBoost against a plain implementation.")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead")
    options = parser.parse_args()
    results = [compare(name, options.seconds, repeats=options.repeats) for name in PAIRS]
    if options.json:
        rows = [asdict(r) | {"ratio": r.ratio} for r in results]
        print(json.dumps({"seconds": options.seconds, "repeats": options.repeats, "distortions": rows}, indent=2))
    else:
        print(f"RawBoost on {options.seconds:g} s at 16 kHz, one core, median of {options.repeats}")
        for r in results:
            costs = f"plain {r.plain_ms:7.2f} ms, ours {r.fast_ms:6.2f} ms, ratio {r.ratio:5.1f}x"
            print(f"{r.name}: {costs}, largest difference {r.difference:.1e}")
    if worst := [r.name for r in results if not r.difference < 1e-6]:
        raise SystemExit(f"the two versions differ by more than 1e-6: {', '.join(worst)}")


if __name__ == "__main__":
    main()
