"""Networks of convolutions that listen: as published, channels-last, and with an allocator that keeps what they free.

    python benchmarks/listening_speed.py [--seconds 4] [--batch 4]

Published settings (recipes/published) with random weights, as `earwitness model import` builds them and
`Detector.load` lays them out. Processor time of one thread for a batch of windows, the least of three passes; each
allocator in a process of its own. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml

from earwitness.core.allocator import keep_freed_memory
from earwitness.core.config import parse_config
from earwitness.nn.layers.folding import channels_last
from earwitness.nn.network import Network, NetworkConfig

RECIPES = Path(__file__).resolve().parent.parent / "recipes" / "published"
NAMES = ("aasist-raw", "samo-aasist", "lfcc-lcnn", "oc-softmax-lfcc-resnet18", "xi-plus-resnet34")
RATE, PASSES = 16_000, 3


def processor_s(network: Network, waveforms: torch.Tensor) -> tuple[float, torch.Tensor]:
    """The least of the passes, and what the network gives."""
    best, found = float("inf"), torch.empty(0)
    with torch.inference_mode():
        for _ in range(PASSES + 1):  # the first one is not counted
            began = time.process_time()
            found = network.embed(waveforms).mean
            best = min(best, time.process_time() - began)
    return best, found


def here(seconds: float, batch: int) -> list[dict[str, object]]:
    """Both layouts of each network, in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    waveforms = 0.1 * torch.randn(batch, round(seconds * RATE))
    rows: list[dict[str, object]] = []
    for name in NAMES:
        recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))
        network = parse_config(NetworkConfig, recipe["network"]).build().eval()
        plain_s, expected = processor_s(network, waveforms)
        ours_s, found = processor_s(channels_last(copy.deepcopy(network)), waveforms)
        if not torch.allclose(found, expected, rtol=1e-3, atol=1e-5):
            raise SystemExit(f"{name}: the layouts differ by {(found - expected).abs().max():.1e}")
        rows.append({"name": name, "plain_s": plain_s, "channels_last_s": ours_s})
    return rows


def in_a_process(words: list[str]) -> list[dict[str, float]]:
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def main() -> None:
    """Measure in two processes, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--allocator", choices=("usual", "keeping"), help="measure here and print the rows alone")
    asked = parser.parse_args()
    if asked.allocator is not None:
        if asked.allocator == "keeping":
            keep_freed_memory()
        print(json.dumps(here(asked.seconds, asked.batch)))
        return
    size = ["--seconds", str(asked.seconds), "--batch", str(asked.batch)]
    usual, keeping = (in_a_process([*size, "--allocator", name]) for name in ("usual", "keeping"))
    rows = [
        {
            "name": a["name"],
            "processor_s_a_second_of_sound": round(b["channels_last_s"] / asked.seconds / asked.batch, 4),
            "times_faster_channels_last": round(a["plain_s"] / a["channels_last_s"], 2),
            "times_faster_keeping_memory": round(a["plain_s"] / b["plain_s"], 2),
            "times_faster_with_both": round(a["plain_s"] / b["channels_last_s"], 2),
        }
        for a, b in zip(usual, keeping, strict=True)
    ]
    print(
        json.dumps(
            {"windows_s": asked.seconds, "batch": asked.batch, "load": os.getloadavg()[0], "rows": rows}, indent=2
        )
    )


if __name__ == "__main__":
    main()
