"""What a client can and cannot do, found out by asking: `earwitness bench doctor`.

A few questions with sounds made here: is it reachable, do recordings reach the model, what becomes of a JSON schema, of
long recordings, of seeds. Each finding is a sentence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from earwitness.audio.reading import RATE
from earwitness.audio.recording import Recording
from earwitness.speech_llm.clients.cascade import CascadeConfig
from earwitness.speech_llm.clients.interface import Answer, Params, SpeechLLM
from earwitness.speech_llm.clients.openai import OpenAIClient, OpenAIConfig
from earwitness.speech_llm.replies import json_object

State = Literal["good", "bad", "unknown"]
Hearing = Literal["heard", "reached", "ignored", "refused", "unknown"]
Enforcement = Literal["enforced", "prompt-only", "rejected", "unknown"]

READY = "Reply with the single word: ready"
TONE_OR_SILENCE = (
    "Listen to the recording. Is there a tone in it, or is it silent? Answer with one word: tone or silence."
)
TRAITS = "Is the person who speaks in this recording a man or a woman, and about how old?"
DRAW = "Write eight random words, separated by spaces."
FORBIDDEN = 'Reply with the JSON {"colour": "red"} and nothing else. The colour must not be blue.'
FORCING = json.dumps(
    {
        "type": "object",
        "properties": {"colour": {"type": "string", "enum": ["blue"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
)
FORCED = {"colour": "blue"}
SOUND_TOKENS = 8  # fewer more than without a recording may be its mere placeholder
SORRY = ("i'm sorry", "i am sorry", "i can't", "i cannot", "i'm unable", "i am unable", "as an ai")
HINTS = (
    ("mmproj", "start llama-server with the model's projector (--mmproj FILE.gguf)"),
    ("HTTP 401", "check the key in the variable that `key_env` names"),
    ("HTTP 403", "check what the key is allowed to use"),
    ("HTTP 404", "check `base_url` (it ends with /v1) and `model`"),
    ("HTTP 413", "set `length: chunk:30`"),
    ("HTTP 429", "the server limits its rate: ask with less concurrency, or later"),
    ("cannot be reached", "start the server, and check `base_url`"),
    ("no answer within", "raise `timeout_s`, or give the server less to do"),
    ("not JSON", "this is no server of chat completions: check `base_url`"),
)


@dataclass(frozen=True)
class Check:
    """One finding: `what` was looked at, and in `words` what came out."""

    what: str
    state: State
    words: str


@dataclass(frozen=True)
class Diagnosis:
    """All findings on a client; `hearing` and `schema` are those that a program may ask for."""

    client: str
    hearing: Hearing | None  # None: a text model
    schema: Enforcement
    checks: tuple[Check, ...]

    @property
    def usable(self) -> bool:
        """Nothing is bad: it answers, and a model that is said to hear does."""
        return all(check.state != "bad" for check in self.checks)


def diagnose(client: SpeechLLM, config: object = None, advance: Callable[[], None] = lambda: None) -> Diagnosis:
    """Asks about a dozen questions. `config` lets servers be asked for more than clients in general; `advance` is
    called after each part."""
    asked = _bare(config) if isinstance(config, OpenAIConfig) else client
    checks: list[Check] = []
    if isinstance(asked, OpenAIClient):
        checks.append(_models(asked))
    plain = asked.answer([], READY)
    advance()
    hears = client.max_audios > 0 and not isinstance(config, CascadeConfig)
    tone = asked.answer([beep(2.0)], TONE_OR_SILENCE) if hears else None
    advance()
    checks += [_plain(plain), *_echo(plain, config)]
    if not _answered(plain) and (tone is None or not _answered(tone)):
        return Diagnosis(client.id, "unknown" if client.max_audios else None, "unknown", tuple(checks))
    hearing: Hearing | None = None
    if isinstance(config, CascadeConfig):
        hearing = "unknown"
        checks.append(Check("hears recordings", "unknown", "a cascade hears words alone; tones say nothing about it"))
    elif tone is not None:
        hearing, check = _hearing(asked, tone)
        checks.append(check)
        advance()
        if hearing not in ("refused", "ignored"):
            checks += [*_limits(asked, client), _refusal(asked)]
    advance()
    schema, check = _enforcement(asked)
    checks += [check, _seeds(asked)]
    advance()
    return Diagnosis(client.id, hearing, schema, tuple(checks))


PARTS = 5  # times that `diagnose` advances, at most


def beep(seconds: float, level: float = 0.3) -> Recording:
    """A tone of 440 Hz, interrupted twice a second."""
    time = np.arange(round(seconds * RATE)) / RATE
    return Recording((level * np.sin(2 * np.pi * 440 * time) * ((time % 0.5) < 0.35)).astype(np.float32), RATE)


def silence(seconds: float) -> Recording:
    """Zeros."""
    return Recording(np.zeros(round(seconds * RATE), np.float32), RATE)


def _bare(config: OpenAIConfig) -> OpenAIClient:
    """The server itself: asked once, with whatever it may refuse."""
    free: dict[str, object] = {"length": "full", "merge": None, "tries": 1}
    if config.max_audios:
        free |= {"max_audios": max(2, config.max_audios), "max_seconds": 1e6}
    return OpenAIClient(config.model_copy(update=free))


def _answered(answer: Answer) -> bool:
    return answer.status in ("ok", "refused", "empty")


def _trouble(answer: Answer) -> str:
    """A failure in words, with what may help."""
    words = answer.error or answer.status
    hint = next((hint for sign, hint in HINTS if sign.lower() in words.lower()), None)
    return f"{words}; {hint}" if hint else words


def _models(client: OpenAIClient) -> Check:
    named, listed = client.config.model, client.models()
    if isinstance(listed, str):
        return Check("models", "unknown", f"/models gives no list: {listed}")
    if named in listed:
        return Check("models", "good", f"the server lists {len(listed)}, '{named}' among them")
    return Check("models", "unknown", f"'{named}' is not among the models that the server lists: {_few(listed)}")


def _plain(answer: Answer) -> Check:
    if answer.status == "ok" and answer.finish_reason == "length":
        return Check("plain question", "bad", "the reply to a one-word question was cut at its length limit")
    if answer.status == "ok":
        return Check("plain question", "good", f"answered in {answer.latency_s:.2f} s: {_short(answer.text)}")
    words = f"refused: {_short(answer.text or answer.error)}" if answer.status == "refused" else _trouble(answer)
    return Check("plain question", "bad", words)


def _echo(answer: Answer, config: object) -> Iterator[Check]:
    if not isinstance(config, OpenAIConfig) or not _answered(answer):
        return
    if answer.model is None:
        yield Check("its name", "unknown", "replies do not name the model: which one has answered is not known")
    elif answer.model == config.model:
        yield Check("its name", "good", f"replies name the model as it was asked for: {answer.model}")
    else:
        yield Check("its name", "unknown", f"asked for '{config.model}', replies name {_short(answer.model)}")


def _hearing(client: SpeechLLM, tone: Answer) -> tuple[Hearing, Check]:
    """Did the sound reach the model? By its answers, and by the tokens that the server counts."""
    what = "hears recordings"
    if not _answered(tone):
        return "refused", Check(what, "bad", f"a question with a recording is not taken: {_trouble(tone)}")
    quiet, none = client.answer([silence(2.0)], TONE_OR_SILENCE), client.answer([], TONE_OR_SILENCE)
    more = _more(tone, none)
    counted = "the server counts no tokens" if more is None else f"{more} more tokens than without a recording"
    if _right(tone, quiet) and _right(*(client.answer([sound], TONE_OR_SILENCE) for sound in (beep(3), silence(3)))):
        if more is not None and more <= 0:
            return "unknown", Check(what, "unknown", f"told tones from silence, yet {counted}: perhaps by chance")
        return "heard", Check(what, "good", f"told tones from silence ({counted})")
    if more is not None and more >= SOUND_TOKENS:
        return "reached", Check(what, "good", f"the sound reaches it ({counted}); it did not tell tones from silence")
    if tone.status != "ok" or quiet.status != "ok":
        return "unknown", Check(what, "unknown", f"not known: questions with a recording got no answer; {counted}")
    if more is None and tone.text != quiet.text:
        return "unknown", Check(what, "unknown", f"a tone and silence got other answers, but not right ones; {counted}")
    same = (
        "the same answer to a tone and to silence"
        if tone.text == quiet.text
        else "answers that do not follow the sound"
    )
    return "ignored", Check(what, "bad", f"recordings seem to be ignored: {same}, {counted}")


def _limits(client: SpeechLLM, as_used: SpeechLLM) -> Iterator[Check]:
    """30 s against 60 s, and two recordings in one question."""
    what = "long recordings"
    if client.max_seconds is not None and client.max_seconds < 60:
        yield Check(what, "good", f"not above {client.max_seconds:g} s, by its settings")
    else:
        short, long = (client.answer([beep(seconds)], TONE_OR_SILENCE) for seconds in (30.0, 60.0))
        more = _more(long, short)
        if not _answered(short):
            yield Check(what, "unknown", f"30 s are not taken: {_trouble(short)}")
        elif not _answered(long):
            yield Check(what, "unknown", f"30 s are taken, 60 s are not: {_trouble(long)}. Set `max_seconds: 30`")
        elif more is None:
            yield Check(what, "unknown", "60 s are taken; whether all of them are heard is not known (no token counts)")
        elif more <= 0 and as_used.max_seconds is not None and as_used.max_seconds <= 30:
            yield Check(what, "good", "60 s cost no more tokens than 30 s; the settings keep to 30 s already")
        elif more <= 0:
            words = "60 s cost no more tokens than 30 s: what comes later may be dropped. Set `max_seconds: 30`"
            yield Check(what, "unknown", words)
        else:
            yield Check(what, "good", f"60 s are taken and cost {more} tokens more than 30 s")
    if client.max_audios > 1:
        two = client.answer([beep(1.0), silence(1.0)], "How many recordings are there? Answer with a number.")
        good = _answered(two)
        words = f"two in one question are {'taken' if good else f'not taken: {_trouble(two)}'}"
        used = f"{words} (`max_audios: {as_used.max_audios}`)"
        yield Check("several recordings", "good" if good or as_used.max_audios < 2 else "bad", used)


def _refusal(client: SpeechLLM) -> Check:
    what, answer = "questions about a speaker", client.answer([beep(2.0)], TRAITS)
    if answer.status == "refused":
        return Check(what, "unknown", f"refused: {_short(answer.text or answer.error)}")
    if answer.status != "ok":
        return Check(what, "unknown", f"not answered: {_trouble(answer)}")
    if any(sorry in (answer.text or "").lower().replace("\u2019", "'") for sorry in SORRY):
        return Check(what, "unknown", f"perhaps refused in words: {_short(answer.text)}")
    return Check(what, "good", "answered")


def _enforcement(client: SpeechLLM) -> tuple[Enforcement, Check]:
    """A schema that forces what the prompt forbids."""
    what, answer = "JSON schema", client.answer([], FORBIDDEN, params=Params(schema=FORCING))
    if answer.status == "error" and (answer.error or "").startswith("HTTP 4"):
        return "rejected", Check(what, "unknown", f"rejected: {_trouble(answer)}. Ask without one, and check replies")
    if answer.status != "ok":
        return "unknown", Check(what, "unknown", f"not known: {_trouble(answer)}")
    if json_object(answer.text) == FORCED:
        return "enforced", Check(what, "good", "enforced: the reply fits it though the prompt forbids that")
    words = "prompt-only: it is accepted and not enforced, so it must stand in the prompt and replies be checked"
    return "prompt-only", Check(what, "unknown", words)


def _seeds(client: SpeechLLM) -> Check:
    params = Params(temperature=1.0, max_tokens=64, seed=1)
    draws: Sequence[Answer] = [client.answer([], DRAW, params=replace(params, seed=seed)) for seed in (1, 1, 2)]
    if any(draw.status != "ok" for draw in draws):
        return Check("seeds", "unknown", "not known: a question was not answered")
    first, again, other = (draw.text for draw in draws)
    if first != again:
        return Check("seeds", "unknown", "a seed does not repeat its reply: repeated runs differ")
    if first == other:
        return Check("seeds", "unknown", "all seeds give one reply: repeats of a judge would be no repeats")
    return Check("seeds", "good", "a seed repeats its reply, another gives another")


def _more(one: Answer, other: Answer) -> int | None:
    """Prompt tokens of one beyond those of the other, where both are counted."""
    counts = one.usage.prompt_tokens, other.usage.prompt_tokens
    return None if counts[0] is None or counts[1] is None else counts[0] - counts[1]


def _right(tone: Answer, quiet: Answer) -> bool:
    """A tone was called one, and silence silence."""
    loud, still = ((answer.text or "").lower() for answer in (tone, quiet))
    return "tone" in loud and "silen" not in loud and "silen" in still and "tone" not in still


def _short(text: str | None, most: int = 80) -> str:
    words = " ".join((text or "").split())
    return f"'{words if len(words) <= most else words[: most - 3] + '...'}'"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "none"
