"""VoiceBench (arXiv 2410.17196): spoken instructions, with the words that are spoken in `prompt`."""

from __future__ import annotations

from pathlib import Path

from earwitness.speech_llm.bench.readers.base import Row, items_of_rows, made, optional_text, sound_at, text_at
from earwitness.speech_llm.items import Item

QUESTION = "Do what is asked in the recording."  # ours: VoiceBench sends the recording alone
EXPECTED = "audio, prompt, and reference or output (the sets that are rated without a reference cannot be judged here)"


def read_voice_bench(path: Path, root: Path) -> list[Item]:
    """VoiceBench's rows (audio, prompt, reference or output): what is asked stands in the recording."""

    def make(row: Row, where: str) -> Item:
        prompt = text_at(row, ("prompt",), where, EXPECTED)
        return made(
            audio=sound_at(row.get("audio"), root, path.stem, where, EXPECTED),
            question=QUESTION,
            answer=text_at(row, ("reference", "output"), where, EXPECTED),
            name=optional_text(row, "id", "key"),
            tags=(("transcript", prompt),),
        )

    return items_of_rows(path, make)
