"""What the decoder reads: a phrase, the place of the audio, a blank line, and the instruction.

Where audio and instruction stand is taken from the template alone, so that no instruction can move or repeat them.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import model_validator

from earwitness.core.config import Config
from earwitness.speech_llm.training.decoder import TextDecoder

SPEECH, TEXT = "<SpeechHere>", "<TextHere>"
DEFAULT = f"Listen to the audio: {SPEECH}\n\n{TEXT}\nAnswer:"


class PromptConfig(Config):
    """`template` holds `<SpeechHere>` and then `<TextHere>`, once each; the default is ours, a model's own stands
    in its card. With `chat` it is put through the tokeniser's chat template as one turn of the user."""

    template: str = DEFAULT
    chat: bool = False

    @model_validator(mode="after")
    def _both_places(self) -> PromptConfig:
        speech, text = self.template.find(SPEECH), self.template.find(TEXT)
        if not 0 <= speech < text or self.template.count(SPEECH) + self.template.count(TEXT) != 2:
            raise ValueError(f"`template` needs {SPEECH} and then {TEXT}, once each")
        return self


@dataclass(frozen=True)
class Prompt:
    """Tokens `before` the audio and `after` it, up to where the answer begins."""

    before: tuple[int, ...]
    after: tuple[int, ...]


def worded(question: str, metadata: str | None = None) -> str:
    """The instruction: the line of metadata where there is one, then the question."""
    return f"Question: {question}" if metadata is None else f"{metadata}\nQuestion: {question}"


def make_prompt(config: PromptConfig, decoder: TextDecoder, instruction: str) -> Prompt:
    """The tokens of a prompt. Names of special tokens count in the template, never in the instruction."""
    whole = config.template
    if config.chat:
        turn = [{"role": "user", "content": whole}]
        whole = str(decoder.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
    before, _, rest = whole.partition(SPEECH)
    between, _, end = rest.partition(TEXT)
    after = [*decoder.encode(between, special=True), *decoder.encode(instruction), *decoder.encode(end, special=True)]
    return Prompt(tuple(decoder.encode(before, special=True)), tuple(after))
