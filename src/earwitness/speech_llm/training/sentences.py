"""Questions by rule about acted sentences, where words and manner are independent: the material of the small recipes
and of the claim.

EmoDB's ten sentences are each spoken in every emotion. A direct question asks for the words or for the emotion; the
contextual one needs both: what would help depends on whether the speaker talks of a plan or of a thing, and on whether
the voice is stirred. Of its four answers words alone leave two, and so does the manner alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.speech_llm.items import QuestionType, item_id
from earwitness.speech_llm.training.metadata import PREFIX, Heard, Span, metadata_text
from earwitness.speech_llm.training.records import Kind, Record, Side

About = Literal["plan", "thing"]


@dataclass(frozen=True)
class Sentence:
    """`gloss` says in English what is said, with the word `topic` in it; `about` is its group."""

    topic: str
    gloss: str
    about: About


SENTENCES: dict[str, Sentence] = {
    "Das will sie am Mittwoch abgeben.": Sentence("wednesday", "she hands it in on wednesday", "plan"),
    "In sieben Stunden wird es soweit sein.": Sentence("hours", "it will be time in seven hours", "plan"),
    "Heute abend könnte ich es ihm sagen.": Sentence("tonight", "i could tell him tonight", "plan"),
    "Ich will das eben wegbringen und dann mit Karl was trinken gehen.": Sentence(
        "karl", "i take it away and drink with karl", "plan"
    ),
    "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.": Sentence(
        "agnes", "at weekends i went home to visit agnes", "plan"
    ),
    "Der Lappen liegt auf dem Eisschrank.": Sentence("cloth", "the cloth lies on the fridge", "thing"),
    "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.": Sentence(
        "paper", "the black paper is up there beside the wood", "thing"
    ),
    "Was sind denn das für Tüten, die da unter dem Tisch stehen?": Sentence(
        "bags", "what bags stand there under the table", "thing"
    ),
    "Die wird auf dem Platz sein, wo wir sie immer hinlegen.": Sentence(
        "place", "it will be in its usual place", "thing"
    ),
    "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.": Sentence(
        "carried", "they carried it up and go down again", "thing"
    ),
}
BY_TOPIC = {sentence.topic: sentence for sentence in SENTENCES.values()}
EMOTIONS = ("neutral", "happy", "sad", "angry", "fear", "disgust")
CORPUS_EMOTIONS = {
    "neutral": "neutral",
    "happiness": "happy",
    "sadness": "sad",
    "anger": "angry",
    "fear": "fear",
    "disgust": "disgust",
}
"""How EmoDB's manifest names them; boredom is left out."""
STIRRED = ("happy", "angry", "fear")
HELP: dict[tuple[About, bool], str] = {
    ("plan", True): "time",
    ("plan", False): "reminder",
    ("thing", True): "hand",
    ("thing", False): "note",
}
_HELP_WORDS = {
    "time": "some more time",
    "reminder": "a short reminder",
    "hand": "a helping hand",
    "note": "a written note",
}


@dataclass(frozen=True)
class Question:
    """One kind of question: what is asked, and of which classes the answer is."""

    kind: Kind
    type: QuestionType
    text: str
    labels: tuple[str, ...]


WORDS = Question("ASR", "C", "What does the speaker say?", tuple(BY_TOPIC))
EMOTION = Question("PQA-emotion", "DE", "How does the speaker sound?", EMOTIONS)
HELPING = Question("CPQA", "CE", "What would help the speaker most?", tuple(_HELP_WORDS))
QUESTIONS = (WORDS, EMOTION, HELPING)


def answer_to(question: Question, topic: str, emotion: str) -> tuple[str, str]:
    """(the answer in words, its label) for a sentence said in an emotion."""
    sentence = BY_TOPIC[topic]
    if question is WORDS:
        return f"The speaker says that {sentence.gloss}.", topic
    if question is EMOTION:
        return f"The speaker sounds {emotion}.", emotion
    label = HELP[sentence.about, emotion in STIRRED]
    return f"The speaker needs {_HELP_WORDS[label]}.", label


def topics_of(rows: Manifest) -> list[str]:
    """The topic of each row's sentence. Raises `DataError` for a transcript that is none of them."""
    found = []
    for row, text in zip(rows.rows(), rows.table["transcript"].to_list(), strict=True):
        if text not in SENTENCES:
            what = f"row '{row.id}' does not say one of the {len(SENTENCES)} sentences"
            raise DataError(what, fix="Give rows of EmoDB with their transcripts.")
        found.append(SENTENCES[text].topic)
    return found


def records_of(rows: Manifest, emotions: Sequence[str], questions: Sequence[Question] = QUESTIONS) -> list[Record]:
    """Every question about every row that stands on a side; `emotions` are the rows', named as in `EMOTIONS`."""
    found = []
    sides: list[Side | None] = rows.table["split"].to_list()
    for row, topic, emotion, side in zip(rows.rows(), topics_of(rows), emotions, sides, strict=True):
        for question in questions if side is not None else ():
            output, label = answer_to(question, topic, emotion)
            found.append(
                Record(
                    id=item_id(row.id, question.text, output),
                    audio=str(rows.resolve(row)),
                    instruction=question.text,
                    output=output,
                    task=question.kind,
                    qtype=question.type,
                    split=side or "train",
                    start=row.start or 0.0,
                    end=row.end,
                    label=label,
                    source=row.id,
                )
            )
    return found


@dataclass(frozen=True)
class Told:
    """A text to learn language from: what stands where the audio will be, the instruction, and the answer."""

    described: str
    instruction: str
    answer: str


def told_clips(count: int, seed: int, questions: Sequence[Question] = QUESTIONS) -> Iterator[Told]:
    """Invented clips in words, for the decoder to learn the language of the questions, and to reason in it.

    The clip's words and its emotion are described in an order drawn anew. Half of them have a line of metadata too;
    then the emotion may stand there alone, and where both are given the description counts.
    """
    rng = np.random.default_rng([seed, 73])
    for _ in range(count):
        topic, emotion = str(rng.choice(list(BY_TOPIC))), str(rng.choice(EMOTIONS))
        question = questions[int(rng.integers(len(questions)))]
        words = [word for word in BY_TOPIC[topic].gloss.split() if word == topic or rng.random() < 0.6]
        metadata, described = None, True
        if rng.random() < 0.5:
            described = rng.random() < 0.5
            line_says = emotion if not described or rng.random() < 0.8 else str(rng.choice(EMOTIONS))
            metadata = _drawn_line(line_says, rng)
        if described:
            for _ in range(int(rng.integers(1, 3))):
                words.insert(int(rng.integers(len(words) + 1)), emotion)
        asked = f"Question: {question.text}"
        answer, _ = answer_to(question, topic, emotion)
        yield Told(" ".join(words), asked if metadata is None else f"{metadata}\n{asked}", answer)


def _drawn_line(emotion: str, rng: np.random.Generator) -> str:
    """A line of metadata in which `emotion` fills most of the time."""
    seconds = float(rng.integers(10, 41)) / 10
    cut = round(float(rng.uniform(0.6, 1.0)) * seconds, 1)
    spans = (Span(0.0, cut, emotion), Span(cut, seconds, str(rng.choice((*EMOTIONS, "unknown")))))
    line = metadata_text(Heard(seconds, spans if rng.random() < 0.5 else spans[:1]))
    assert line.startswith(PREFIX)
    return line
