"""Which human recording stands behind a file of the `earwitness-data` layout: what makes twins findable, and leaks too.

Copy-synthesis and converted files carry the name of what they were made from, so the link is read from the file name by
the conventions of the folder's notes. Text-to-speech of a corpus sentence (`LJ002-0253`) is linked to that sentence's
recording too. Where a name says nothing the link is None: that is not a statement that no twin exists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

# Tried in order on the file stem; the first match names the recording. Conventions of single folders come first.
_BY_CORPUS: Mapping[str, Sequence[tuple[str, str]]] = {
    "demo_ground_truth": (
        (r"(speaker\d+_\d+)_checkpoint_.*_target", r"arctic:\1"),  # page of wavenet_r9y9
        (r"(\d+)_checkpoint_step000410000_ema_target", r"lj:wavenet-\1"),
        (r"S\d+_(\d+)", r"zs19:\1"),  # the utterance number; S009 is who said it
        (r"(V\d+_\d+)", r"zs19:\1"),  # V001 says the sentence of an S speaker again
        (r"source__(\d)", r"assem:source-\1"),
        (r"([ST][FM]\d)-(\d+)|(\d+)_([ST][FM]\d)", r"vcc16:\1\4_\2\3"),
    ),
    "vocoder_demos": (
        (r"(speaker\d+_\d+)_checkpoint_.*_predicted", r"arctic:\1"),
        (r"(\d+)_checkpoint_step000410000_ema_predicted", r"lj:wavenet-\1"),
        (r"S\d+_(\d+)_model_steps_\d+_gen", r"zs19:\1"),
        (r"(\d+)\..*(?:melgan|hifigan).*", r"fastvocoder:\1"),  # several vocoders, one analysed recording
    ),
    "vc_demos": (
        (r"S\d+_(\d+)", r"zs19:\1"),  # S028 is the voice aimed at; the number is the source's
        (r"([ST][FM]\d)-[ST][FM]\d\+(\d+)", r"vcc16:\1_\2"),
        (r"(\d+)_([ST][FM]\d)to[ST][FM]\d.*", r"vcc16:\2_\1"),
        # Two sets of equal numbers: the ones with a check letter have the durations of source__N (to 10 ms).
        (r"(?:proposed|cota|mello|ppg)_gta__(\d)_[0-9a-f]{6}", r"assem:source-\1"),
        (r"(?:proposed|cota|mello|ppg)_gta__(\d)", r"assem:other-\1"),
    ),
    "librispeech_excerpt": ((r"(\d+)-(\d+)-(\d+)", r"librispeech:\1-\2-\3"),),
}
_COPY_SYNTHESIS = ("real-copysynth-sources", "tts-world", "tts-griffinlim", "tts-codec2")
_ANYWHERE: Sequence[tuple[str, str]] = (
    (r".*(LJ\d{3}-\d{4}).*", r"lj:\1"),
    (r"(SSB\d{8})(?:_.*)?", r"aishell3:\1"),
    (r".*(?<!\d)(p\d{3})[_-](\d{3})(?!\d).*", r"vctk:\1_\2"),
    (r"(?:.*_)?(\d+_\d+_\d{6}_\d{6})(?:[-_].*)?", r"libritts:\1"),
)


def source_recording(corpus: str, path: str) -> str | None:
    """The name of the human recording behind a file, the same for all its twins; None where the name does not tell."""
    stem = PurePosixPath(path).stem
    if corpus in _COPY_SYNTHESIS:
        return _first_match(stem, ((r"ls(\d+)(?:-.*)?", r"librispeech:\1"),))
    if corpus == "librispeech_excerpt" and path.startswith("train-clean-100/"):
        # One recording a speaker here, and the copy-synthesis folders start from just that one.
        return f"librispeech:{stem.split('-')[0]}"
    return _first_match(stem, (*_BY_CORPUS.get(corpus, ()), *_ANYWHERE))


def _first_match(stem: str, rules: Sequence[tuple[str, str]]) -> str | None:
    for pattern, name in rules:
        if match := re.fullmatch(pattern, stem):
            return match.expand(name)
    return None
