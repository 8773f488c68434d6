"""Audio spans in texts, `<|SOA|>Audio_ID<|EOA|>`, and what stands around them (arXiv 2502.16584, appendix A.3).

Only this form is read. The paper's prose writes `<SOA>`, and one of its examples has a broken opener: such delimiters
are told, never guessed.
"""

from __future__ import annotations

import re

OPEN, CLOSE = "<|SOA|>", "<|EOA|>"
PLACEHOLDER = "<AUDIO>"
"""What stands for the id in records that name their files beside (`audio_path`)."""
_SPAN = re.compile(r"<\|SOA\|>(.*?)<\|EOA\|>", re.DOTALL)
_WELL = re.compile(r"<\|SOA\|>(?:[^\s<>|]+|<AUDIO>)<\|EOA\|>")
_ANY = re.compile(r"<\s*[|/]?\s*[SE]OA\b\s*\|?\s*>?|\|\s*[SE]OA\s*\|?\s*>", re.IGNORECASE)
_LABEL = re.compile(r"^\s*([^:<>|\n]{1,60}?)\s*:\s*(.*)$", re.DOTALL)
_WORDS = (
    "accent age answer audio candidate candidates caption class clip content description device dialect duration "
    "emotion enrolment event example excerpt file first fragment gap gender genre input instrument key label language "
    "lyrics melody mixture music noise noisy notes options output parameters passage phonemes piece pitch prompt ratio "
    "question recording reference sample second sentence signal song sound source speaker speech style tags target "
    "text time times track transcript transcription turns utterance vocoder voice words"
)
_LABEL_WORDS = frozenset(_WORDS.split())


def span(audio_id: str) -> str:
    """An id between its delimiters."""
    return f"{OPEN}{audio_id}{CLOSE}"


def audio_ids(text: str) -> list[str]:
    """The ids in a text, in order, each as often as it stands there."""
    return _SPAN.findall(text) if OPEN in text else []


def without_spans(text: str, instead: str = " ") -> str:
    """The text with every span replaced."""
    return _SPAN.sub(instead, text)


def delimiter_fault(text: str) -> tuple[str, str] | None:
    """(kind, message) of the first thing wrong with the delimiters of a text: `misspelt delimiter`, `unbalanced
    delimiters`, or `audio id`; None where all is well."""
    rest = _WELL.sub("", text) if OPEN in text else text
    if "oa" not in rest.lower():
        return None
    for found in _ANY.findall(text):
        if found not in (OPEN, CLOSE):
            return "misspelt delimiter", f"'{found}' is no delimiter; write {OPEN} or {CLOSE}"
    if text.count(OPEN) != text.count(CLOSE):
        what = f"{text.count(OPEN)} times {OPEN} and {text.count(CLOSE)} times {CLOSE}"
        return "unbalanced delimiters", f"{what}: each span needs both"
    rest = without_spans(text)
    if OPEN in rest or CLOSE in rest:
        return "unbalanced delimiters", f"{CLOSE} stands before its {OPEN}"
    for name in audio_ids(text):
        if OPEN in name:
            return "unbalanced delimiters", f"a span begins within a span: '{name[:80]}'"
        if not name or name.split() != [name]:
            return "audio id", f"'{name[:80]}' is no audio id: it must not be empty or hold spaces"
    return None


def payload(text: str) -> tuple[str, ...]:
    """The lines of an input without their labels ("text: ", "audio sample 1: "). What counts as a label is at most
    eight words, one of them a word for a part; a line without a label is its own payload."""
    return tuple(_unlabelled(line) for line in text.split("\n"))


def _unlabelled(line: str) -> str:
    found = _LABEL.match(line)
    if found is None:
        return line.strip()
    words = re.findall(r"[^\W\d_]+", found[1].lower())
    is_label = 0 < len(found[1].split()) <= 8 and any(word in _LABEL_WORDS for word in words)
    return found[2].strip() if is_label else line.strip()


def core(output: str) -> str:
    """An output without its label: "Emotion: sad" -> "sad"."""
    return _unlabelled(output)
