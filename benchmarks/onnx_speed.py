"""The same networks through torch, as this package runs them, and through ONNX Runtime.

    python benchmarks/onnx_speed.py [--batch 4]

Shipped models, and published settings (recipes/published) with random weights, each exported as `earwitness model
export` does it, which checks the graph against the network. Processor time of one thread for a batch of windows, the
least of four passes, in one process with the command line's allocator. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import yaml

from earwitness.core.allocator import keep_freed_memory
from earwitness.core.config import parse_config
from earwitness.nn.layers.folding import channels_last
from earwitness.nn.network import Network, NetworkConfig
from earwitness.training.export import export_onnx, window_seconds
from earwitness.training.model_folder import load_network, read_model_info
from earwitness.training.shipped import find_model

RECIPES = Path(__file__).resolve().parent.parent / "recipes" / "published"
SHIPPED = ("deepfake", "deepfake-small", "speaker", "speaker-small")
PUBLISHED = ("aasist-raw", "lfcc-lcnn", "oc-softmax-lfcc-resnet18", "xi-plus-resnet34")
RATE, PASSES = 16_000, 4


def network_of(name: str) -> tuple[Network, float]:
    """A network and the seconds of its windows."""
    if name in SHIPPED:
        folder = find_model(name)
        info = read_model_info(folder)
        return load_network(folder, info).eval(), window_seconds(info)
    recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))
    torch.manual_seed(0)
    return parse_config(NetworkConfig, recipe["network"]).build().eval(), recipe["audio"]["crop_s"]


def processor_s(listen: Callable[[], object]) -> float:
    """The least of the passes; one before them is not counted."""
    listen()
    taken = []
    for _ in range(PASSES):
        began = time.process_time()
        listen()
        taken.append(time.process_time() - began)
    return min(taken)


def measured(name: str, batch: int, folder: Path) -> dict[str, object]:
    """Both ways over the same windows."""
    network, seconds = network_of(name)
    path = folder / f"{name}.onnx"
    difference = export_onnx(copy.deepcopy(network), seconds, RATE, path)
    waveforms = (0.1 * np.random.default_rng(0).standard_normal((batch, round(seconds * RATE)))).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: waveforms}
    ours, heard = channels_last(network), torch.from_numpy(waveforms)
    with torch.inference_mode():
        torch_s = processor_s(lambda: ours.embed(heard) if ours.classifier is None else ours(heard))
    onnx_s = processor_s(lambda: session.run(None, inputs))
    return {
        "name": name,
        "processor_s_a_second_of_sound": round(torch_s / seconds / batch, 4),
        "times_faster_by_onnxruntime": round(torch_s / onnx_s, 2),
        "largest_difference": difference,
    }


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    asked = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        rows = [measured(given, asked.batch, Path(name)) for given in (*SHIPPED, *PUBLISHED)]
    print(json.dumps({"batch": asked.batch, "load": round(os.getloadavg()[0], 1), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
