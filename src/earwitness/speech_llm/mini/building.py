"""Items of a small benchmark from a manifest whose sentences are each said in several emotions by several speakers.

Items come in sets that share a question. A direct set is two recordings that differ in what is asked alone: two
emotions of one speaker and sentence, a man and a woman with one sentence and emotion, two sentences of one speaker and
emotion. A set in context is four: two sentences, each in two manners, and the answer is one for the first sentence in
the first manner and the second in the second, and the other for the rest. So within each set the answer is independent
of the words, and of the manner, and of who speaks: only both together give it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from earwitness.audio.perturb.base import item_rng
from earwitness.core.errors import DataError
from earwitness.corpora.leaks import hash_of
from earwitness.corpora.manifest import Manifest, Row
from earwitness.speech_llm.items import Item, QuestionType, Tag, item_id
from earwitness.speech_llm.mini.chance import MANNER, SET, SEX, SPEAKER, WORDS, require_chance
from earwitness.speech_llm.mini.recipe import MiniRecipe

DESKS = ("desk 1", "desk 2")
PERSONS = {"m": "a man", "f": "a woman"}


@dataclass(frozen=True)
class Clip:
    """One recording that may be asked about; `place` is its row in the manifest."""

    place: int
    row: Row
    words: str
    emotion: str
    speaker: str
    sex: str


@dataclass(frozen=True)
class Asked:
    """A set: its question, and each recording with its answer."""

    type: QuestionType
    question: str
    choices: tuple[str, ...]
    answers: tuple[tuple[Clip, str], ...]


@dataclass(frozen=True)
class Mini:
    """The items, and the rows of the manifest that they ask about."""

    items: tuple[Item, ...]
    rows: Manifest


def build_mini(manifest: Manifest, recipe: MiniRecipe, data_root: str | Path) -> Mini:
    """The items of a recipe, checked to be at chance, with the sha256 of each recording in a tag; `audio` is relative
    to `data_root`. The same manifest, recipe and audio give the same items.

    Raises `DataError` where the manifest does not have the recordings for it, or one lies outside of `data_root`.
    """
    clips = _clips(manifest, recipe)
    sets = [asked for kind in MAKERS for asked in _drawn(kind, clips, recipe)]
    hashes: dict[int, str] = {}
    items = []
    for kind in MAKERS:
        for number, asked in enumerate([one for one in sets if one.type == kind], 1):
            for clip, answer in asked.answers:
                if clip.place not in hashes:
                    hashes[clip.place] = hash_of(manifest.resolve(clip.row))
                path = _relative(manifest.resolve(clip.row), Path(data_root))
                items.append(_item(asked, clip, answer, f"{kind}-{number:02d}", path, hashes[clip.place]))
    if not items:
        raise DataError("the recipe asks for no sets", fix="Give numbers above 0 under `sets`.")
    require_chance(items)
    return Mini(tuple(items), manifest.with_table(manifest.table[sorted(hashes)]))


def _clips(manifest: Manifest, recipe: MiniRecipe) -> list[Clip]:
    """Human recordings of which words, emotion, speaker and sex are known and asked about."""
    topics = {topic.transcript for topic in recipe.topics}
    table = manifest.table
    corpora = table["corpus"].to_list() if "corpus" in table.columns else [None] * len(manifest)
    found = []
    for place, (row, corpus) in enumerate(zip(manifest.rows(), corpora, strict=True)):
        known = row.transcript, row.emotion, row.speaker, (row.sex or "").lower()[:1]
        wanted = recipe.corpus in (None, corpus) and row.label != "spoof"
        wanted = wanted and (not topics or row.transcript in topics)
        wanted = wanted and (not recipe.emotions or row.emotion in recipe.emotions)
        if wanted and row.transcript and row.emotion and row.speaker and known[3] in PERSONS:
            found.append(Clip(place, row, row.transcript, row.emotion, row.speaker, known[3]))
    if not found:
        fix = "A manifest needs rows with transcript, emotion, speaker and sex; see the recipe's corpus and topics."
        raise DataError("has no recordings for the recipe", where=manifest.root, fix=fix)
    return found


def _drawn(kind: QuestionType, clips: Sequence[Clip], recipe: MiniRecipe) -> list[Asked]:
    """As many sets as the recipe asks for, of recordings that no other set of the type has, spread over speakers and
    contrasts. Raises `DataError` where there are not enough."""
    wanted: int = getattr(recipe.sets, kind)
    if not wanted:
        return []
    groups = list(MAKERS[kind](clips, recipe))
    rng = item_rng(recipe.seed, 0, f"mini/{kind}")
    order = rng.permutation(len(groups)).tolist()
    used: set[int] = set()
    spread: Counter[str] = Counter()
    chosen: list[Group] = []
    while order and len(chosen) < wanted:
        place = min(order, key=lambda place: sum(spread[key] for key in groups[place].keys))
        chosen.append(groups[place])
        used.update(clip.place for clip in groups[place].clips)
        spread.update(groups[place].keys)
        order = [place for place in order if not used & {clip.place for clip in groups[place].clips}]
    if len(chosen) < wanted:
        what = f"has recordings for {len(chosen)} sets of type {kind}, not for {wanted}"
        raise DataError(what, fix="Ask for fewer sets, or give more recordings.")
    return [ASKERS[kind](group, recipe, bool(number % 2)) for number, group in enumerate(chosen)]


@dataclass(frozen=True)
class Group:
    """Recordings that make a set, and what it should not have too often (speakers, contrasts, sentences)."""

    clips: tuple[Clip, ...]
    keys: tuple[str, ...]


def _content(clips: Sequence[Clip], recipe: MiniRecipe) -> Iterator[Group]:
    for alike in _by(clips, lambda clip: (clip.speaker, clip.emotion)).values():
        for first, second in combinations(alike, 2):
            if first.words != second.words:
                yield Group((first, second), (first.speaker, first.emotion, first.words, second.words))


def _emotions(clips: Sequence[Clip], recipe: MiniRecipe) -> Iterator[Group]:
    contrasts = _contrasts(clips, recipe)
    for alike in _by(clips, lambda clip: (clip.speaker, clip.words)).values():
        for first, second in combinations(alike, 2):
            pair = tuple(sorted((first.emotion, second.emotion)))
            if pair in contrasts:
                yield Group((first, second), (first.speaker, " ".join(pair), first.words))


def _sexes(clips: Sequence[Clip], recipe: MiniRecipe) -> Iterator[Group]:
    for alike in _by(clips, lambda clip: (clip.words, clip.emotion)).values():
        for first, second in combinations(alike, 2):
            if first.sex != second.sex:
                yield Group((first, second), (first.speaker, second.speaker, first.emotion, first.words))


def _emotions_in_context(clips: Sequence[Clip], recipe: MiniRecipe) -> Iterator[Group]:
    """Two sentences in two emotions by one speaker."""
    contrasts = sorted(_contrasts(clips, recipe))
    for speaker, own in _by(clips, lambda clip: clip.speaker).items():
        cells = {key: found[0] for key, found in _by(own, lambda clip: (clip.words, clip.emotion)).items()}
        for first, second in combinations(sorted({clip.words for clip in own}), 2):
            for one, other in contrasts:
                four = [cells.get((words, emotion)) for words in (first, second) for emotion in (one, other)]
                square = tuple(clip for clip in four if clip is not None)
                if len(square) == 4:
                    yield Group(square, (str(speaker), f"{one} {other}", first, second))


def _sexes_in_context(clips: Sequence[Clip], recipe: MiniRecipe) -> Iterator[Group]:
    """Two sentences by a man and a woman in one emotion."""
    for emotion, own in _by(clips, lambda clip: clip.emotion).items():
        cells = {key: found[0] for key, found in _by(own, lambda clip: (clip.words, clip.speaker)).items()}
        sexes = {clip.speaker: clip.sex for clip in own}
        couples = [(m, f) for m in sorted(sexes) for f in sorted(sexes) if (sexes[m], sexes[f]) == ("m", "f")]
        for first, second in combinations(sorted({clip.words for clip in own}), 2):
            for couple in couples:
                four = [cells.get((words, speaker)) for words in (first, second) for speaker in couple]
                square = tuple(clip for clip in four if clip is not None)
                if len(square) == 4:
                    yield Group(square, (*couple, str(emotion), first, second))


MAKERS: Mapping[QuestionType, Callable[[Sequence[Clip], MiniRecipe], Iterator[Group]]] = {
    "C": _content,
    "DE": _emotions,
    "DG": _sexes,
    "CE": _emotions_in_context,
    "CG": _sexes_in_context,
}
"""The groups of recordings that could make a set of each type."""


def _ask_content(group: Group, recipe: MiniRecipe, turned: bool) -> Asked:
    texts = {clip.words: _topic(clip.words, recipe) for clip in group.clips}
    choices = _ordered(list(texts.values()), turned)
    question = f"What is the message: {choices[0]}, or {choices[1]}? Answer with one of the two."
    return Asked("C", question, choices, tuple((clip, texts[clip.words]) for clip in group.clips))


def _ask_emotion(group: Group, recipe: MiniRecipe, turned: bool) -> Asked:
    texts = {clip.emotion: _adjective(clip.emotion, recipe) for clip in group.clips}
    choices = _ordered(list(texts.values()), turned)
    question = f"How does the speaker sound: {choices[0]} or {choices[1]}? Answer with one of the two."
    return Asked("DE", question, choices, tuple((clip, texts[clip.emotion]) for clip in group.clips))


def _ask_sex(group: Group, recipe: MiniRecipe, turned: bool) -> Asked:
    choices = _ordered(list(PERSONS.values()), turned)
    question = f"Who speaks: {choices[0]} or {choices[1]}? Answer with one of the two."
    return Asked("DG", question, choices, tuple((clip, PERSONS[clip.sex]) for clip in group.clips))


def _ask_emotion_in_context(group: Group, recipe: MiniRecipe, turned: bool) -> Asked:
    one, other = (_adjective(clip.emotion, recipe) for clip in group.clips[:2])
    manners = {clip.emotion: manner for clip, manner in zip(group.clips, (one, other), strict=False)}
    spoken = {emotion: f"in {_article(manner)} voice" for emotion, manner in manners.items()}
    return _desks("CE", group, recipe, [spoken[clip.emotion] for clip in group.clips], turned)


def _ask_sex_in_context(group: Group, recipe: MiniRecipe, turned: bool) -> Asked:
    return _desks("CG", group, recipe, [f"from {PERSONS[clip.sex]}" for clip in group.clips], turned)


def _desks(kind: QuestionType, group: Group, recipe: MiniRecipe, manners: Sequence[str], turned: bool) -> Asked:
    """Of the square's corners the first and last belong to one desk, the others to the other."""
    first, second = (_topic(group.clips[place].words, recipe) for place in (0, 2))
    one, other = manners[:2]
    straight = f"messages {first} {one} and messages {second} {other}"
    crossed = f"messages {first} {other} and messages {second} {one}"
    parts = (crossed, straight) if turned else (straight, crossed)
    question = (
        f"Messages go to two desks. Desk 1 takes {parts[0]}. Desk 2 takes {parts[1]}. "
        "Which desk takes this message? Answer with desk 1 or desk 2."
    )
    corners = [DESKS[(place in (1, 2)) != turned] for place in range(4)]
    return Asked(kind, question, DESKS, tuple(zip(group.clips, corners, strict=True)))


ASKERS: Mapping[QuestionType, Callable[[Group, MiniRecipe, bool], Asked]] = {
    "C": _ask_content,
    "DE": _ask_emotion,
    "DG": _ask_sex,
    "CE": _ask_emotion_in_context,
    "CG": _ask_sex_in_context,
}
"""How a group is asked about; turned round for every other set."""


def _item(asked: Asked, clip: Clip, answer: str, name: str, path: str, sha256: str) -> Item:
    tags = {SET: name, WORDS: clip.words, MANNER: clip.emotion, SPEAKER: clip.speaker, SEX: clip.sex, "sha256": sha256}
    return Item(
        id=item_id(clip.row.id, asked.question, answer),
        clip_id=clip.row.id,
        audio=path,
        question=asked.question,
        answer=answer,
        type=asked.type,
        start=clip.row.start or 0.0,
        end=clip.row.end,
        label=answer,
        choices=asked.choices,
        tags=tuple(Tag(key, value) for key, value in tags.items()),
    )


def _relative(path: Path, data_root: Path) -> str:
    here, root = (Path(os.path.normpath(one.absolute())) for one in (path, data_root))
    for one, base in ((here, root), (here.resolve(), root.resolve())):
        if one.is_relative_to(base):
            return one.relative_to(base).as_posix()
    raise DataError(f"lies outside of the data root {data_root}", where=path, fix="Give --data-root.")


def _contrasts(clips: Sequence[Clip], recipe: MiniRecipe) -> set[tuple[str, ...]]:
    given = recipe.contrasts or tuple(combinations(sorted({clip.emotion for clip in clips}), 2))
    return {tuple(sorted(pair)) for pair in given}


def _topic(words: str, recipe: MiniRecipe) -> str:
    topics = {topic.transcript: topic.about for topic in recipe.topics}
    return f"about {topics[words]}" if words in topics else f'saying "{words}"'


def _adjective(emotion: str, recipe: MiniRecipe) -> str:
    return recipe.emotions.get(emotion, emotion)


def _article(adjective: str) -> str:
    return f"an {adjective}" if adjective[0] in "aeiou" else f"a {adjective}"


def _ordered(texts: Sequence[str], turned: bool) -> tuple[str, ...]:
    first, second = sorted(texts)
    return (second, first) if turned else (first, second)


def _by(clips: Sequence[Clip], key: Callable[[Clip], object]) -> dict[object, list[Clip]]:
    found: dict[object, list[Clip]] = {}
    for clip in clips:
        found.setdefault(key(clip), []).append(clip)
    return found
