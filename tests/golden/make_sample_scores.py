"""Writes sample_scores.json anew: run it when a shipped model is replaced on purpose, never to make a test pass."""

from __future__ import annotations

import json
from pathlib import Path

import earwitness
from earwitness.deepfake.detector import Detector
from earwitness.speaker.embedder import Embedder
from earwitness.training.shipped import shipped_models

SAMPLES = Path(__file__).parent.parent.parent / "samples"


def scores(model: Detector | Embedder, files: list[str]) -> dict[str, float]:
    """The score of each file; of a voice against the two references."""
    if isinstance(model, Detector):
        return {name: round(model.score_file(SAMPLES / name).score, 6) for name in files}
    known = [model.embed_file(SAMPLES / f"reference-{k}.flac") for k in (1, 2)]
    return {name: round(model.compare(known, model.embed_file(SAMPLES / name)), 6) for name in files}


def main() -> None:
    """All shipped models on all samples but the stereo one."""
    files = sorted(path.name for path in SAMPLES.glob("*.flac") if "stereo" not in path.name)
    found = {name: scores(earwitness.load(name), files) for name in shipped_models()}
    Path(__file__).with_name("sample_scores.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
