"""Records from labelled recordings: a manifest's labels become every task that they support.

    clips = Clips.of(manifest, seed=1)                       # splits by speaker, an audio id each
    for record in converted(clips, ConvertOptions(seed=1)):
        ...

Tasks about pairs take both recordings from one side of the split, and of one corpus, so that the channel does not give
the answer. Their answers are equally often yes and no, as far as the recordings allow. What a task cannot use (a row
without the label, a spoof where a human voice is asked about) is left to other tasks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from earwitness.audio.perturb.base import item_rng
from earwitness.core.errors import DataError, UsageError
from earwitness.core.hashing import sha256_text
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.splits.grouping import connected, draw
from earwitness.speech_llm.flan.instructions import template
from earwitness.speech_llm.flan.languages import accent_of, language_of
from earwitness.speech_llm.flan.reading import AudioPlace
from earwitness.speech_llm.flan.records import Record, made
from earwitness.speech_llm.flan.spans import span
from earwitness.speech_llm.flan.taxonomy import fold, task_named

SEXES = {"m": "male", "f": "female", "male": "male", "female": "female"}
SHARE = 0.1  # of speakers in dev, and in test, where a manifest has no split


@dataclass(frozen=True)
class Clip:
    """One recording that records speak of: its row, audio id, corpus, and side of the split."""

    row: Row
    id: str
    corpus: str
    split: str

    @property
    def human(self) -> bool:
        """Whether it is not known to be made by a machine."""
        return self.row.label != "spoof"

    @property
    def accent(self) -> str | None:
        """Of a human speaker, as far as the language tag says."""
        return accent_of(self.row.language) if self.human else None


@dataclass(frozen=True)
class Clips:
    """The recordings of a manifest, and where they lie."""

    clips: tuple[Clip, ...]
    places: Mapping[str, AudioPlace]

    @classmethod
    def of(cls, manifest: Manifest, seed: int = 0) -> Clips:
        """Ids are `NN_Corpus_utterance`, corpora numbered by name. A manifest without any split is split here: speakers
        (and what shares a source recording or split group with them) stay on one side. Rows without a split in a
        manifest that has some are left out. Raises `DataError` where nothing is left."""
        table = manifest.table
        named = table["corpus"].to_list() if "corpus" in table.columns else [None] * len(manifest)
        corpora = [_plain_name(name or "recordings") for name in named]
        numbers = {name: number for number, name in enumerate(sorted(set(corpora)), 1)}
        rows = list(manifest.rows())
        given = table["split"].null_count() < len(rows)
        splits = [row.split for row in rows] if given else _splits(rows, corpora, seed)
        clips, places = [], {}
        for row, corpus, split in zip(rows, corpora, splits, strict=True):
            if split is None:
                continue
            name = f"{numbers[corpus]:02d}_{corpus}_{_plain_name(row.id)}"
            name = f"{name}-{sha256_text(row.id)[:8]}" if name in places else name
            clips.append(Clip(row, name, corpus, split))
            places[name] = AudioPlace(manifest.resolve(row), row.start or 0.0, row.end)
        if not clips:
            raise DataError("has no rows on any side of a split", where=manifest.root, fix="Fill the column `split`.")
        return cls(tuple(clips), places)

    @cached_property
    def groups(self) -> Mapping[tuple[str, str], tuple[Clip, ...]]:
        """Clips by corpus and side."""
        found: dict[tuple[str, str], list[Clip]] = {}
        for clip in self.clips:
            found.setdefault((clip.corpus, clip.split), []).append(clip)
        return {key: tuple(group) for key, group in found.items()}

    def classes(self, label: Callable[[Clip], str | None]) -> list[str]:
        """All values of a label, sorted: what an answer is one of."""
        return sorted({value for clip in self.clips if (value := label(clip)) is not None})


def _splits(rows: Sequence[Row], corpora: Sequence[str], seed: int) -> list[str]:
    """Of each corpus a tenth of the speakers to dev and to test, and at least one each where there are three."""
    keys = [
        [
            f"{name}:{value}"
            for name, value in (("s", row.speaker), ("r", row.source_recording), ("g", row.split_group))
            if value is not None
        ]
        or [f"i:{row.id}"]
        for row in rows
    ]
    groups = [group or "" for group in connected(keys)]
    home = dict(zip(reversed(groups), reversed(corpora), strict=True))  # where a group comes first
    sides: dict[str, str] = {}
    for corpus in dict.fromkeys(corpora):
        own = [group for group in dict.fromkeys(groups) if home[group] == corpus]
        own.sort(key=lambda group: draw(seed, f"flan/{group}"))
        few = max(1, round(SHARE * len(own))) if len(own) >= 3 else 0
        sides |= (
            dict.fromkeys(own, "train") | dict.fromkeys(own[:few], "dev") | dict.fromkeys(own[few : 2 * few], "test")
        )
    return [sides[group] for group in groups]


def _plain_name(text: str) -> str:
    """A name that can stand in an audio id: no spaces, and no underscore, which parts its fields."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-") or sha256_text(text)[:12]


@dataclass(frozen=True)
class ConvertOptions:
    """`only` names the tasks to make (empty: all that labels support), `pairs` how many pairs a corpus and side has at
    most, `candidates` how many known speakers an identification has."""

    only: tuple[str, ...] = ()
    pairs: int = 200
    candidates: int = 4
    seed: int = 0


@dataclass(frozen=True)
class Maker:
    """How records of one task are made."""

    task: str
    make: Callable[[Maker, Clips, ConvertOptions], Iterator[Record]] = field(repr=False)

    def record(self, clips: Sequence[Clip], input_: str, output: str, **facts: object) -> Record:
        """A record about these clips; `other` names the speakers (for checks of leaks), licences, and `facts`."""
        speakers = sorted({clip.row.speaker for clip in clips if clip.row.speaker is not None})
        licences = sorted({clip.row.licence for clip in clips if clip.row.licence is not None})
        other = {"speakers": speakers, "licences": licences, **facts}
        sources = sorted({clip.corpus for clip in clips})
        return made(task_named(self.task), template(self.task), input_, output, clips[0].split, sources, other)

    def rng(self, options: ConvertOptions, *key: object) -> np.random.Generator:
        """Of this task and key."""
        return item_rng(options.seed, 0, "/".join(map(str, (self.task, *key))))


def converted(clips: Clips, options: ConvertOptions) -> Iterator[Record]:
    """The records of all tasks, task by task. Raises `UsageError` for a task that is not made from labels."""
    names = [task_named(name).minor for name in options.only]
    if unknown := [name for name in names if name not in MAKERS]:
        raise UsageError(f"'{unknown[0]}' is not made from labels", fix=f"Tasks: {'; '.join(MAKERS)}.")
    for name in names or MAKERS:
        seen: set[str] = set()  # a pair may be drawn twice
        for record in MAKERS[name].make(MAKERS[name], clips, options):
            if record.uuid not in seen:
                seen.add(record.uuid)
                yield record


def audio(clip: Clip, label: str = "audio") -> str:
    """A part of an input."""
    return f"{label}: {span(clip.id)}"


def _labelled(
    word: str, label: Callable[[Clip], str | None], is_class: bool = True
) -> Callable[[Maker, Clips, ConvertOptions], Iterator[Record]]:
    """Records of one clip, whose answer is its label."""

    def make(maker: Maker, clips: Clips, options: ConvertOptions) -> Iterator[Record]:
        facts = {"choices": clips.classes(label)} if is_class else {}
        for clip in clips.clips:
            value = label(clip)
            if value is not None:
                yield maker.record([clip], audio(clip), f"{word}: {value}", **facts)

    return make


def _age(clip: Clip) -> str | None:
    return None if clip.row.age is None or not clip.human else f"{clip.row.age:g}"


def _vocoder(clip: Clip) -> str | None:
    return None if clip.human else clip.row.family or clip.row.system


def _verification(maker: Maker, clips: Clips, options: ConvertOptions) -> Iterator[Record]:
    """Other speakers are of the same sex where that is known and there are some."""

    def alike(first: Clip, others: Mapping[str, Sequence[Clip]]) -> Sequence[str]:
        names = [name for name, found in others.items() if found[0].row.sex == first.row.sex]
        return names or list(others)

    for key, group in clips.groups.items():
        voices = _by(group, lambda clip: clip.row.speaker if clip.human else None)
        yield from _pairs(maker, voices, alike, "Same speaker", options, maker.rng(options, *key))


def _paragraph(maker: Maker, clips: Clips, options: ConvertOptions) -> Iterator[Record]:
    """The same or another text by two different recordings."""
    for key, group in clips.groups.items():
        texts = _by(group, lambda clip: clip.row.transcript)
        rng = maker.rng(options, *key)
        yield from _pairs(maker, texts, lambda _, others: list(others), "Same text", options, rng)


def _pairs(
    maker: Maker,
    classes: Mapping[str, Sequence[Clip]],
    alike: Callable[[Clip, Mapping[str, Sequence[Clip]]], Sequence[str]],
    word: str,
    options: ConvertOptions,
    rng: np.random.Generator,
) -> Iterator[Record]:
    """Pairs of one class and of two, in couples with the same first recording, none of them twice; so both answers are
    equally frequent, and which recording comes first tells nothing."""
    twice = [name for name, found in classes.items() if len(found) > 1]
    if len(classes) < 2 or not twice:
        return
    seen: set[frozenset[str]] = set()
    for _ in range(options.pairs // 2):
        name = twice[int(rng.integers(len(twice)))]
        first, second = (classes[name][place] for place in rng.choice(len(classes[name]), 2, replace=False))
        names = alike(first, {other: found for other, found in classes.items() if other != name})
        found = classes[names[int(rng.integers(len(names)))]]
        third = found[int(rng.integers(len(found)))]
        couple = {frozenset((first.id, other.id)) for other in (second, third)}
        if not couple & seen:
            seen |= couple
            yield _pair(maker, first, second, word, same=True)
            yield _pair(maker, first, third, word, same=False)


def _pair(maker: Maker, first: Clip, second: Clip, word: str, *, same: bool) -> Record:
    input_ = f"{audio(first, 'audio sample 1')}\n{audio(second, 'audio sample 2')}"
    return maker.record([first, second], input_, f"{word}: {'yes' if same else 'no'}", choices=["no", "yes"])


def _identification(maker: Maker, clips: Clips, options: ConvertOptions) -> Iterator[Record]:
    """One of several known speakers, each known by a sample; the right one is at every place equally often."""
    letters = [chr(ord("A") + place) for place in range(options.candidates)]
    for (corpus, split), group in clips.groups.items():
        rng = maker.rng(options, corpus, split)
        voices = _by(group, lambda clip: clip.row.speaker if clip.human else None)
        twice = [name for name, found in voices.items() if len(found) > 1]
        if len(voices) < options.candidates or not twice:
            continue
        for number in range(min(options.pairs, len(group))):
            name = twice[int(rng.integers(len(twice)))]
            sample, asked = (voices[name][place] for place in rng.choice(len(voices[name]), 2, replace=False))
            others = [other for other in voices if other != name]
            drawn = rng.choice(len(others), options.candidates - 1, replace=False)
            known = [voices[others[place]][int(rng.integers(len(voices[others[place]])))] for place in drawn]
            right = number % options.candidates
            known.insert(right, sample)
            lines = [audio(clip, f"speaker {letter} sample") for letter, clip in zip(letters, known, strict=True)]
            input_ = "\n".join([*lines, audio(asked)])
            yield maker.record([*known, asked], input_, f"Speaker: {letters[right]}", choices=letters)


def _caption(maker: Maker, clips: Clips, options: ConvertOptions) -> Iterator[Record]:
    """A sentence of what the labels say, where they say two things or more."""
    for clip in clips.clips:
        row, language = clip.row, language_of(clip.row.language)
        sex = SEXES.get((row.sex or "").lower())
        if not clip.human or sum(known is not None for known in (sex, row.age, row.emotion, language)) < 2:
            continue
        adult = row.age is None or row.age >= 18
        who = {"male": "man" if adult else "boy", "female": "woman" if adult else "girl"}.get(sex or "", "person")
        age = "" if row.age is None else f" of {row.age:g} years"
        tongue = "" if language is None else f" in {language}"
        manner = "" if row.emotion is None else f"; the emotion in the voice is {row.emotion}"
        yield maker.record([clip], audio(clip), f"Caption: A {who}{age} speaks{tongue}{manner}.")


def _text_to_speech(maker: Maker, clips: Clips, options: ConvertOptions) -> Iterator[Record]:
    for clip in _spoken(clips):
        yield maker.record([clip], f"text: {clip.row.transcript}", span(clip.id))


def _zero_shot(maker: Maker, clips: Clips, options: ConvertOptions) -> Iterator[Record]:
    """The sample is another recording of the speaker."""
    for (corpus, split), group in clips.groups.items():
        voices = _by(group, lambda clip: clip.row.speaker if clip.human else None)
        for clip in _spoken(clips, group):
            others = [other for other in voices.get(clip.row.speaker or "", []) if other is not clip]
            if others:
                sample = others[int(maker.rng(options, corpus, split, clip.id).integers(len(others)))]
                input_ = f"text: {clip.row.transcript}\n{audio(sample, 'voice sample')}"
                yield maker.record([clip, sample], input_, span(clip.id))


def _emotional(maker: Maker, clips: Clips, options: ConvertOptions) -> Iterator[Record]:
    for clip in _spoken(clips):
        if clip.row.emotion is not None:
            yield maker.record([clip], f"text: {clip.row.transcript}\nemotion: {clip.row.emotion}", span(clip.id))


def _emotion_conversion(maker: Maker, clips: Clips, options: ConvertOptions) -> Iterator[Record]:
    """The same words of the same speaker with another emotion."""
    for key, first, second in _parallel(maker, clips, options, lambda row: (row.speaker, row.transcript), "emotion"):
        del key
        yield maker.record([second, first], f"{audio(first)}\nemotion: {second.row.emotion}", span(second.id))


def _voice_conversion(maker: Maker, clips: Clips, options: ConvertOptions) -> Iterator[Record]:
    """The same words with the same emotion by another speaker, who is known by another recording."""
    for (corpus, split), first, second in _parallel(
        maker, clips, options, lambda row: (row.transcript, row.emotion), "speaker"
    ):
        samples = [
            clip
            for clip in clips.groups[corpus, split]
            if clip.row.speaker == second.row.speaker and clip.row.transcript != second.row.transcript
        ]
        if samples:
            sample = samples[int(maker.rng(options, first.id, second.id).integers(len(samples)))]
            input_ = f"{audio(first)}\n{audio(sample, 'target speaker sample')}"
            yield maker.record([second, first, sample], input_, span(second.id))


def _parallel(
    maker: Maker, clips: Clips, options: ConvertOptions, same: Callable[[Row], tuple[str | None, ...]], other: str
) -> Iterator[tuple[tuple[str, str], Clip, Clip]]:
    """Drawn pairs of human recordings that agree in `same` and differ in one column."""
    for (corpus, split), group in clips.groups.items():
        found: dict[tuple[str | None, ...], list[Clip]] = {}
        for clip in group:
            key = same(clip.row)
            if clip.human and None not in key and getattr(clip.row, other) is not None:
                found.setdefault(key, []).append(clip)
        pairs = [
            (first, second)
            for alike in found.values()
            for first in alike
            for second in alike
            if getattr(first.row, other) != getattr(second.row, other)
        ]
        rng = maker.rng(options, corpus, split)
        for place in sorted(rng.choice(len(pairs), min(options.pairs, len(pairs)), replace=False)) if pairs else ():
            yield (corpus, split), *pairs[place]


def _spoken(clips: Clips, group: Iterable[Clip] | None = None) -> Iterator[Clip]:
    """Human recordings whose words are known."""
    yield from (clip for clip in group or clips.clips if clip.human and clip.row.transcript is not None)


def _by(clips: Iterable[Clip], key: Callable[[Clip], str | None]) -> dict[str, list[Clip]]:
    found: dict[str, list[Clip]] = {}
    for clip in clips:
        value = key(clip)
        if value is not None:
            found.setdefault(value, []).append(clip)
    return found


def _sex(clip: Clip) -> str | None:
    return SEXES.get((clip.row.sex or "").lower()) if clip.human else None


def _text(clip: Clip) -> str | None:
    """A transcript of letters; digits and the like are words too."""
    return clip.row.transcript if clip.row.transcript and fold(clip.row.transcript) else None


MAKERS: Mapping[str, Maker] = {
    maker.task: maker
    for maker in (
        Maker("Automatic Speech Recognition", _labelled("Transcription", _text, is_class=False)),
        Maker("Gender Recognition", _labelled("Gender", _sex)),
        Maker("Age Recognition", _labelled("Age", _age, is_class=False)),
        Maker("Emotion Recognition", _labelled("Emotion", lambda clip: clip.row.emotion if clip.human else None)),
        Maker("Accent Recognition", _labelled("Accent", lambda clip: clip.accent)),
        Maker("Spoken Paragraph Recognition", _paragraph),
        Maker("Language Identification", _labelled("Language", lambda clip: language_of(clip.row.language))),
        Maker("Speaker Verification", _verification),
        Maker("Speaker Identification", _identification),
        Maker("Speech Caption", _caption),
        Maker(
            "Deepfake Detection",
            _labelled("Speech", lambda clip: {"bonafide": "genuine", "spoof": "synthetic"}.get(clip.row.label or "")),
        ),
        Maker("Vocoder Type Classification", _labelled("Vocoder", _vocoder)),
        Maker("Text to Speech", _text_to_speech),
        Maker("Zero-shot Text to Speech", _zero_shot),
        Maker("Emotional Text to Speech", _emotional),
        Maker("Emotion Conversion", _emotion_conversion),
        Maker("Voice Conversion", _voice_conversion),
    )
}
"""The tasks that labels support, in the order of their records."""
