"""Speech language models of transformers on this machine: Qwen2-Audio, Qwen2.5-Omni (its Thinker), models of
MERaLiON's kind, and in general whatever is a processor and a model that generates.

The commonest silent failure is a processor that drops the recording because its argument has another name: the name
is taken from the signature, and every question asserts that features came out, one set a recording.
"""

from __future__ import annotations

import hashlib
import inspect
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from earwitness.audio.reading import RATE
from earwitness.audio.recording import Recording
from earwitness.core.errors import MissingPartError, ModelError, UsageError
from earwitness.core.hashing import sha256_data, sha256_file
from earwitness.speech_llm.clients.answers import client_id, failed
from earwitness.speech_llm.clients.hearing import HearingConfig
from earwitness.speech_llm.clients.interface import Answer, Params, SpeechLLM, Usage
from earwitness.speech_llm.clients.openai import PASSING
from earwitness.speech_llm.clients.sound import unanswerable

Family = Literal["qwen2_audio", "qwen2_5_omni", "meralion", "generic"]
FEATURES = ("input_features", "input_values", "audio_values", "audio_features", "input_audio_embeds")
SPEECH_HERE = "<SpeechHere>"
_EDGE = 1 << 20  # bytes of a file of weights that are hashed at either end


class TransformersConfig(HearingConfig):
    """`model` is a local folder; with `allow_download` it may be a name of the hub.

    `trust_remote_code` runs the Python files that come with a model: MERaLiON needs it. `speech_prompt` is the turn of
    a model whose text holds its placeholder (`<SpeechHere>`): take the wording from its card. `max_seconds` None: the
    30 s that Qwen2-Audio and MERaLiON hear at most, no limit for the others.
    """

    kind: Literal["transformers"] = "transformers"
    model: str = Field(min_length=1)
    family: Family
    allow_download: bool = False
    trust_remote_code: bool = False
    speech_prompt: str = f"{SPEECH_HERE}\n{{prompt}}"
    device: str = "cpu"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_audios: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> TransformersConfig:
        if self.speech_prompt.count(SPEECH_HERE) != 1 or "{prompt}" not in self.speech_prompt:
            raise ValueError(f"`speech_prompt` needs {SPEECH_HERE} once, and {{prompt}}")
        if self.family == "meralion" and self.max_audios != 1:
            raise ValueError("models of MERaLiON's kind hear one recording in a question")
        if self.family == "meralion" and not self.trust_remote_code:
            raise ValueError("MERaLiON comes as Python files: `trust_remote_code: true` allows them to run")
        return self

    def build(self) -> SpeechLLM:
        """The model is loaded when first asked. Raises `UsageError` where there is no such folder."""
        if not self.allow_download and not Path(self.model).is_dir():
            what = "there is no such folder"
            raise UsageError(what, where=self.model, fix="Give a local folder, or set `allow_download: true`.")
        return self.heard_by(TransformersClient(self))


@dataclass(frozen=True)
class Loaded:
    """A processor and its model, as transformers made them."""

    processor: Any
    model: Any


class TransformersClient:
    """One model, asked by one thread at a time. `loaded` is for models that are there already."""

    def __init__(self, config: TransformersConfig, loaded: Loaded | None = None) -> None:
        self.config = config
        self.max_audios = config.max_audios
        self._given = loaded
        self._turn = threading.Lock()

    @cached_property
    def id(self) -> str:
        """By the settings, and what is in the folder rather than where it lies."""
        folder = Path(self.config.model)
        content = _content(folder) if folder.is_dir() else self.config.model
        passing = PASSING | {"allow_download", "device"}
        placeless = self.config.model_copy(update={"model": folder.name})
        return client_id(folder.name, placeless, content, passing=passing)

    @property
    def max_seconds(self) -> float | None:
        """As configured, else what is known of the family."""
        return self.config.max_seconds or (30.0 if self.config.family in ("qwen2_audio", "meralion") else None)

    def answer(
        self, audios: Sequence[Recording], prompt: str, *, system: str | None = None, params: Params = Params()
    ) -> Answer:
        """Generated here; a schema is not enforced. Raises `ModelError` and `MissingPartError` from loading."""
        refused = unanswerable(audios, self.max_audios, self.max_seconds)
        if refused is not None:
            return refused
        began = time.monotonic()
        with self._turn:
            loaded = self._loaded
            refused = unanswerable(audios, self.max_audios, heard_seconds(loaded.processor))
            if refused is not None:
                return refused
            try:
                text, finish, usage = _generated(self.config, loaded, audios, prompt, system, params)
            except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
                return failed(f"{type(error).__name__}: {error}", latency_s=time.monotonic() - began)
        said, seconds, latency_s = text.strip(), sum(audio.duration_s for audio in audios), time.monotonic() - began
        why = None if said else "the reply is empty"
        name = Path(self.config.model).name
        return Answer(said or None, "ok" if said else "empty", why, finish, seconds, latency_s, usage, name, text)

    @cached_property
    def _loaded(self) -> Loaded:
        return self._given or load_model(self.config)


def load_model(config: TransformersConfig) -> Loaded:
    """Processor and model, in evaluation mode; weights as safetensors only.

    Raises `MissingPartError` where a package is missing and `ModelError` for whatever cannot be loaded.
    """
    import torch
    import transformers

    where = {"local_files_only": not config.allow_download, "trust_remote_code": config.trust_remote_code}
    dtype = config.dtype if config.dtype == "auto" else getattr(torch, config.dtype)
    try:
        processor = _processor(transformers, config, where)
        kind = _model_class(transformers, config, where)
        named = "dtype" if _version(transformers.__version__) >= (4, 56) else "torch_dtype"
        model = kind.from_pretrained(config.model, use_safetensors=True, **{named: dtype}, **where)
        model = model.to(config.device).eval()
    except ImportError as error:
        raise MissingPartError(f"the model needs a package ({_line(error)})", where=config.model) from None
    except (OSError, ValueError, RuntimeError, KeyError, AttributeError, TypeError) as error:
        fix = "Check `family`, and that the folder is complete."
        raise ModelError(f"cannot be loaded ({_line(error)})", where=config.model, fix=fix) from None
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is not None:
        tokenizer.padding_side = "left"  # what is generated follows the prompt
    return Loaded(processor, model)


def _processor(transformers: Any, config: TransformersConfig, where: Mapping[str, bool]) -> Any:
    """The model's own processor. Qwen2.5-Omni's has parts for pictures that need torchvision: where that is not
    installed, the parts for text and sound are put together alone."""
    if config.family == "qwen2_5_omni":
        from transformers.utils import is_torchvision_available

        if not is_torchvision_available():
            sound = transformers.AutoFeatureExtractor.from_pretrained(config.model, **where)
            text = transformers.AutoTokenizer.from_pretrained(config.model, **where)
            return HeardText(sound, text)
    return transformers.AutoProcessor.from_pretrained(config.model, **where)


def _model_class(transformers: Any, config: TransformersConfig, where: Mapping[str, bool]) -> Any:
    if config.family == "qwen2_audio":
        return transformers.Qwen2AudioForConditionalGeneration
    if config.family == "qwen2_5_omni":
        return transformers.Qwen2_5OmniThinkerForConditionalGeneration
    if config.family == "meralion":
        return transformers.AutoModelForSpeechSeq2Seq
    settings = transformers.AutoConfig.from_pretrained(config.model, **where)
    names = getattr(settings, "architectures", None) or [""]
    return getattr(transformers, names[0], None) or transformers.AutoModelForCausalLM


class HeardText:
    """Qwen2.5-Omni's processor without the parts for pictures: each placeholder becomes as many as the encoder makes
    of its recording, two halvings of the mel frames."""

    def __init__(self, feature_extractor: Any, tokenizer: Any) -> None:
        self.feature_extractor = feature_extractor
        self.tokenizer = tokenizer
        self.audio_token: str = getattr(tokenizer, "audio_token", "<|AUDIO|>")

    def apply_chat_template(self, conversation: Any, **settings: Any) -> str:
        """The tokenizer's."""
        text: str = self.tokenizer.apply_chat_template(conversation, **settings)
        return text

    def batch_decode(self, ids: Any, **settings: Any) -> list[str]:
        """The tokenizer's."""
        texts: list[str] = self.tokenizer.batch_decode(ids, **settings)
        return texts

    def __call__(
        self, text: str, audio: Sequence[Any] | None = None, sampling_rate: int = RATE, return_tensors: str = "pt"
    ) -> dict[str, Any]:
        """Features [n, mels, frames], their mask [n, frames], and the ids of the text."""
        if not audio:
            return dict(self.tokenizer([text], return_tensors=return_tensors, padding=True))
        heard = self.feature_extractor(
            list(audio),
            sampling_rate=sampling_rate,
            padding="max_length",
            return_attention_mask=True,
            return_tensors=return_tensors,
        )
        mask = heard["attention_mask"]
        pieces = text.split(self.audio_token)
        counts = [audio_tokens(int(frames)) for frames in mask.sum(-1)]
        grown = pieces[0] + "".join(
            self.audio_token * count + piece for count, piece in zip(counts, pieces[1:], strict=True)
        )
        ids = self.tokenizer([grown], return_tensors=return_tensors, padding=True)
        return {**ids, "input_features": heard["input_features"], "feature_attention_mask": mask}


def audio_tokens(frames: int) -> int:
    """Tokens that Qwen's encoders make of mel frames: 100 frames (1 s) 25, 3000 (30 s) 750."""
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1


def _generated(
    config: TransformersConfig,
    loaded: Loaded,
    audios: Sequence[Recording],
    prompt: str,
    system: str | None,
    params: Params,
) -> tuple[str, str, Usage]:
    """The new text, why it ended, and how many tokens there were."""
    import torch

    inputs = model_inputs(config, loaded.processor, audios, prompt, system)
    model = loaded.model
    dtype = next(model.parameters()).dtype
    moved = {
        name: value.to(config.device, dtype) if value.is_floating_point() else value.to(config.device)
        for name, value in inputs.items()
        if isinstance(value, torch.Tensor)
    }
    sampled = params.temperature > 0
    ways = {"temperature": params.temperature, "top_p": params.top_p} if sampled else {}
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        if params.seed is not None:
            torch.manual_seed(params.seed)
        ids = model.generate(
            **moved,
            max_new_tokens=params.max_tokens,
            do_sample=sampled,
            num_beams=1,
            repetition_penalty=1.0,
            top_k=0 if sampled else 50,
            **ways,
        )
    ids = ids[0] if isinstance(ids, tuple) else ids
    prompted = 0 if getattr(model.config, "is_encoder_decoder", False) else int(moved["input_ids"].shape[1])
    if prompted and not torch.equal(ids[:, :prompted], moved["input_ids"]):
        raise ValueError("the model's output does not begin with its prompt")
    new = ids[:, prompted:]
    text = loaded.processor.batch_decode(new, skip_special_tokens=True)[0]
    finish = "length" if new.shape[1] >= params.max_tokens and not _ended(model, int(new[0, -1])) else "stop"
    return text, finish, Usage(int(moved["input_ids"].shape[1]), int(new.shape[1]))


def _ended(model: Any, token: int) -> bool:
    settings = getattr(model, "generation_config", None)
    ends = getattr(settings, "eos_token_id", None)
    return token in (ends if isinstance(ends, list) else [ends])


def model_inputs(
    config: TransformersConfig, processor: Any, audios: Sequence[Recording], prompt: str, system: str | None
) -> Mapping[str, Any]:
    """What the model is given. Raises `ValueError` where placeholders and recordings, or features and recordings,
    are not as many, or where the processor has no argument for recordings."""
    text = _text(config, processor, len(audios), prompt, system)
    token = SPEECH_HERE if config.family == "meralion" else getattr(processor, "audio_token", None)
    if token is not None and text.count(token) != len(audios):
        raise ValueError(f"{text.count(token)} places for {len(audios)} recordings in the prompt")
    given: dict[str, Any] = {"text": text, "return_tensors": "pt"}
    if audios:
        waves = [audio.samples for audio in audios]
        given[audio_argument(processor)] = waves[0] if config.family == "meralion" else waves
        given |= {"sampling_rate": RATE}
    inputs: Mapping[str, Any] = processor(**_accepted(processor, given))
    found = [inputs[name] for name in FEATURES if name in inputs]
    if audios and not found:
        raise ValueError("the processor has made no features of the recordings: the model would not hear them")
    if audios and config.family.startswith("qwen") and len(found[0]) != len(audios):
        raise ValueError(f"{len(found[0])} sets of features for {len(audios)} recordings")
    return inputs


def heard_seconds(processor: Any) -> float | None:
    """Beyond this the processor drops a recording's end without a word; None where it does not say."""
    ears = getattr(processor, "feature_extractor", None)
    samples = getattr(ears, "n_samples", None)
    return samples / RATE if isinstance(samples, int) else None


def audio_argument(processor: Any) -> str:
    """`audio`, or `audios` as in older releases: the wrong one is dropped with no more than a warning."""
    names = inspect.signature(processor.__call__).parameters
    for name in ("audio", "audios", "raw_speech"):
        if name in names:
            return name
    raise ValueError(f"{type(processor).__name__} has no argument for recordings")


def _accepted(processor: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Without `sampling_rate` where a processor does not take it."""
    names = inspect.signature(processor.__call__).parameters
    open_ended = any(name.kind is inspect.Parameter.VAR_KEYWORD for name in names.values())
    return {name: value for name, value in given.items() if open_ended or name in names or name == "text"}


def _text(config: TransformersConfig, processor: Any, count: int, prompt: str, system: str | None) -> str:
    """The conversation in the model's own form, up to where its answer begins."""
    prompt, system = _without_controls(processor, prompt), system and _without_controls(processor, system)
    turns: list[dict[str, Any]] = []
    if config.family == "meralion":
        said = config.speech_prompt.replace("{prompt}", prompt) if count else prompt
        turns = [{"role": "user", "content": f"{system}\n{said}" if system else said}]
    else:
        if system:
            turns.append({"role": "system", "content": [{"type": "text", "text": system}]})
        sounds: list[dict[str, str]] = [{"type": "audio", "audio_url": ""} for _ in range(count)]
        turns.append({"role": "user", "content": [*sounds, {"type": "text", "text": prompt}]})
    maker = processor if getattr(processor, "chat_template", True) else processor.tokenizer
    maker = processor.tokenizer if config.family == "meralion" else maker
    text: str = maker.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    return text


def _without_controls(processor: Any, text: str) -> str:
    """Control tokens in a prompt are text: a blank after their first character keeps them from being anything else."""
    tokenizer = getattr(processor, "tokenizer", None)
    special = {*getattr(tokenizer, "all_special_tokens", ()), SPEECH_HERE, getattr(processor, "audio_token", None)}
    for token in sorted((token for token in special if token), key=len, reverse=True):
        text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def _content(folder: Path) -> str:
    """What is in a model folder: settings whole, weights by size and both their ends."""
    found: list[list[object]] = []
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".jinja", ".py", ".txt", ".model"):
            found.append([path.name, sha256_file(path)])
        elif path.suffix == ".safetensors":
            found.append([path.name, path.stat().st_size, _edges(path)])
    return sha256_data(found)


def _edges(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_EDGE))
        file.seek(max(0, path.stat().st_size - _EDGE))
        digest.update(file.read(_EDGE))
    return digest.hexdigest()


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
