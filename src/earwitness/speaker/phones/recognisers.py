"""Recognisers that run here, each imported when it is first used.

hama            neural, IPA with times, several languages (PyPI `hama`, Apache-2.0)
pocketsphinx    a phone loop of hidden Markov models, US English (PyPI `pocketsphinx`, BSD)
ctc             any CTC phone model of transformers, from a local folder; or a classifier of frames such as
                Charsiu's (arXiv 2110.03876), whose symbols need no blank
"""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from earwitness.audio.reading import RATE
from earwitness.audio.recording import Samples
from earwitness.core.errors import MissingPartError, ModelError
from earwitness.core.hashing import sha256_file
from earwitness.speaker.phones import ctc
from earwitness.speaker.phones.source import Mark, Recogniser
from earwitness.speaker.phones.symbols import of_any
from earwitness.speaker.phones.track import Maker

_TURN = threading.Lock()  # a decoder of pocketsphinx is in the middle of one recording at a time
_BOUNDARIES = frozenset({"<wb>", " ", "|", "<pad>", "<sos>", "<eos>", "<unk>", "<s>", "</s>", "[UNK]"})


class Hama(Recogniser):
    """The phone recogniser of the package hama: 20 ms frames, IPA symbols."""

    def __init__(self) -> None:
        try:
            from hama import ASRModel
        except ImportError:
            raise _not_installed("hama") from None
        self._model = ASRModel()
        self.maker = Maker("recogniser", f"hama {version('hama')}", "several, as the recogniser hears it")

    def marks(self, samples: Samples) -> Iterable[Mark]:
        """See `ctc.emissions`; a word boundary ends a phone."""
        found = self._model.transcribe_waveform(samples, RATE)
        frames = [self._model.decoder_tokens[token] for token in found.frame_token_ids]
        return ctc.emissions(frames, 320 / RATE, self._model.decode_cfg.blank_token, _BOUNDARIES)


class Pocketsphinx(Recogniser):
    """The phone loop of the package pocketsphinx with its US English model: 10 ms frames, ARPAbet and silence."""

    def __init__(self) -> None:
        try:
            import pocketsphinx
        except ImportError:
            raise _not_installed("pocketsphinx") from None
        model = pocketsphinx.get_model_path("en-us")
        # each recording normalised by its own mean, so that a track does not depend on what was heard before
        self._decoder = pocketsphinx.Decoder(
            hmm=f"{model}/en-us", allphone=f"{model}/en-us-phone.lm.bin", lw=2.0, cmn="batch", loglevel="FATAL"
        )
        self.maker = Maker("recogniser", f"pocketsphinx {version('pocketsphinx')}", "US English")

    def marks(self, samples: Samples) -> Iterable[Mark]:
        """Frames are counted to the last one of a phone."""
        numbers = np.clip(np.rint(samples * 32_767), -32_768, 32_767).astype("<i2")
        end_s = len(samples) / RATE
        with _TURN:
            with warnings.catch_warnings():  # called unnecessary, yet what was heard before changes times without it
                warnings.simplefilter("ignore", DeprecationWarning)
                self._decoder.start_stream()
            self._decoder.start_utt()
            self._decoder.process_raw(numbers.tobytes(), full_utt=True)
            self._decoder.end_utt()
            found = self._decoder.seg() or ()
            return [(one.start_frame / 100, min((one.end_frame + 1) / 100, end_s), one.word) for one in found]

    def reading(self, symbol: str) -> str | None:
        """ARPAbet names; noises are silence."""
        return of_any(symbol)


class CtcModel(Recogniser):
    """A `Wav2Vec2ForCTC`, `HubertForCTC` or `WavLMForCTC` from a local folder with its `vocab.json`.

    With `frames` its most likely symbol names every frame; else it is read as CTC, with its padding as blank.
    """

    def __init__(self, folder: str | Path, language: str = "not stated", *, frames: bool = False) -> None:
        self._folder, self._frames = Path(folder), frames
        self._symbols = _vocabulary(self._folder)
        self._model = _ctc_model(self._folder)
        if (size := self._model.config.vocab_size) != len(self._symbols):
            raise ModelError(f"{len(self._symbols)} symbols for {size} outputs", where=self._folder / "vocab.json")
        self._blank = self._symbols[self._model.config.pad_token_id or 0]
        self._normalise = _normalises(self._folder)
        weights = sha256_file(self._folder / "model.safetensors")[:12]
        self.maker = Maker("recogniser", f"{self._folder.name} (sha256 {weights})", language)

    @torch.inference_mode()
    def marks(self, samples: Samples) -> Iterable[Mark]:
        """See `ctc`; frames are spread evenly over the samples."""
        x = torch.from_numpy(np.ascontiguousarray(samples))[None]
        if self._normalise:
            x = (x - x.mean()) / torch.sqrt(x.var(unbiased=False) + 1e-7)
        found = self._model(x).logits[0].argmax(-1).tolist()
        names, frame_s = [self._symbols[place] for place in found], len(samples) / RATE / len(found)
        if self._frames:
            return ctc.stretches(names, frame_s)
        return ctc.emissions(names, frame_s, self._blank, _BOUNDARIES)

    def reading(self, symbol: str) -> str | None:
        """ARPAbet names with or without stress, silences, and IPA."""
        return of_any(symbol)


def _not_installed(package: str) -> MissingPartError:
    return MissingPartError(f"phones by {package} need the package {package}", fix="pip install 'earwitness[phones]'")


def _vocabulary(folder: Path) -> list[str]:
    """Symbols in the order of the outputs. Raises `ModelError`."""
    path = folder / "vocab.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError("there is no vocab.json", where=folder, fix="Give a folder in transformers' form.") from None
    except (OSError, ValueError):
        raise ModelError("cannot be read as JSON", where=path) from None
    if not isinstance(found, dict) or sorted(found.values()) != list(range(len(found))):
        raise ModelError("does not number its symbols from 0", where=path)
    return sorted(found, key=found.__getitem__)


def _ctc_model(folder: Path) -> Any:
    """Raises `ModelError` for what is no such model, lacks a weight, or has them in pickled form only."""
    import transformers
    from safetensors import SafetensorError

    try:
        model, report = transformers.AutoModelForCTC.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True, dtype=torch.float32
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"is no CTC model that can be loaded ({reason[:200]})", where=folder) from None
    if missing := sorted(key for key in report["missing_keys"] if "masked_spec_embed" not in key):
        raise ModelError(f"{len(missing)} weights are missing, e.g. {missing[0]}", where=folder)
    return model.eval()


def _normalises(folder: Path) -> bool:
    """Whether the model hears waveforms of zero mean and unit variance, as its preprocessor says (default: yes)."""
    try:
        found = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return bool(found.get("do_normalize", True)) if isinstance(found, dict) else True
