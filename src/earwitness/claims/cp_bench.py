"""CP-Bench's claim (arXiv 2509.16589; judge and controls are a reconstruction): a benchmark of context and manner tells
apart what a model hears. What is tested is our harness, on our small benchmark, with clients whose kind is known.

Each client is asked, judged and reported on by the code that real models go through. One knows the answers, one the
question alone, one the words, one the manner, and one both; a judge that wavers by a known amount rates one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.claims.cp_listeners import Listener
from earwitness.claims.cp_material import BenchMaterial
from earwitness.claims.plan import Arm, ArmRun, Expected, Figure, Plan
from earwitness.speech_llm.bench.asking import Asked, Asking, settings_of
from earwitness.speech_llm.bench.gains import Difference
from earwitness.speech_llm.bench.judging import Judged, Judging
from earwitness.speech_llm.bench.recordings import Recordings
from earwitness.speech_llm.bench.records import read_answers
from earwitness.speech_llm.bench.report import Asked as Wanted
from earwitness.speech_llm.bench.report import Report, make_report
from earwitness.speech_llm.bench.scores import POINTS, read_run
from earwitness.speech_llm.bench.settings import CONTROLS, Condition, items_of
from earwitness.speech_llm.bench.stand_ins import RIGHT, WRONG, Oracle, exact_judge, wavering_judge
from earwitness.speech_llm.clients.interface import SpeechLLM
from earwitness.speech_llm.items import QuestionType

NOISE = 10.0  # deviation of a wavering judgement, on 0..100


@dataclass(frozen=True)
class Way:
    """How an arm is asked and judged: which `client`, under which `controls`, rated `runs` times by a judge that
    wavers or not; `condition` is what its scores are of."""

    client: Callable[[BenchMaterial, int], SpeechLLM]
    controls: tuple[Condition, ...] = CONTROLS
    runs: int = 1
    wavers: bool = False
    condition: Condition = "real"


def _oracle(material: BenchMaterial, seed: int) -> SpeechLLM:
    return Oracle(material.references())


def _blind(material: BenchMaterial, seed: int) -> SpeechLLM:
    return Listener("audio-blind")


def _words(material: BenchMaterial, seed: int) -> SpeechLLM:
    return Listener("words", material.known(seed, words=True, voice=False), material.topics)


def _manner(material: BenchMaterial, seed: int) -> SpeechLLM:
    return Listener(f"manner, heads of seed {seed}", material.known(seed, words=False, voice=True))


def _both(material: BenchMaterial, seed: int) -> SpeechLLM:
    return Listener(f"both, heads of seed {seed}", material.known(seed, words=True, voice=True), material.topics)


WAYS: Mapping[str, Way] = {
    "oracle": Way(_oracle),
    "audio-blind": Way(_blind),
    "words": Way(_words),
    "manner": Way(_manner),
    "both": Way(_both),
    "both-shuffled": Way(_both, ("shuffle",), condition="shuffle"),
    "both-judged-once": Way(_both, (), wavers=True),
    "both-judged-5-times": Way(_both, (), 5, wavers=True),
}


@dataclass(frozen=True)
class BenchClaim:
    """Arms differ in who answers, and in who judges."""

    plan: Plan

    read = BenchMaterial.read

    def run(self, arm: str, seed: int, material: BenchMaterial, folder: Path) -> ArmRun:
        """Ask, judge, report. The seed draws the shuffle, the judge's noise, the report's resamples and the heads."""
        way = WAYS[arm]
        client = way.client(material, seed)
        items = list(material.items)
        settings = settings_of(client, items, shuffle_seed=seed)
        asking = Asking(folder, client, items, Recordings(material.root), settings, Asked(way.controls))
        asking.ask(asking.cells())
        judging = Judging(folder, wavering_judge() if way.wavers else exact_judge(), Judged(runs=way.runs, seed=seed))
        judging.judge_all(judging.cells())
        report = make_report(folder, Wanted(seed=seed))
        scores = read_run(folder).conditions[way.condition].means
        if way.wavers:
            return ArmRun(scores, tuple(_noise(report, _right(folder))))
        gains = _gains(report) if way.condition == "real" else ()
        return ArmRun(scores, (*_scores(report, way.condition), *gains))


def _scores(report: Report, condition: Condition) -> Iterator[Figure]:
    """Of each type under a condition, and how many questions were answered alike whatever was heard."""
    found = next(one for one in report.conditions if one.condition == condition)
    for one in found.types:
        if one.score.value is not None:
            yield Figure(one.type, one.score.value)
    if condition == "real":
        yield Figure("questions with the alarm", len(report.identical))


def _gains(report: Report) -> Iterator[Figure]:
    """Audio gain and gain beyond the transcript, of UAS, with the ends of their intervals."""
    gains: dict[str, Difference | None] = {
        "audio gain": report.audio_gain,
        "beyond the words": report.beyond_transcript,
    }
    for name, gain in gains.items():
        if gain is not None:
            for part, value in (("", gain.uas.value), (", low", gain.uas.low), (", high", gain.uas.high)):
                if value is not None:
                    yield Figure(f"{name}{part}", value)


def _noise(report: Report, exact: Mapping[QuestionType, float]) -> Iterator[Figure]:
    """How far S_t was off what a judge without noise gives, and how far its runs were apart; roots of means of squares
    over types, beside what a deviation of `NOISE` a judgement makes one expect. `exact` is the share that is right."""
    types = [one for one in report.real.types if one.items]
    runs = report.judge.runs if report.judge else 1
    expected = _root([NOISE / math.sqrt(one.items) for one in types])
    calm = {kind: POINTS * (WRONG + (RIGHT - WRONG) * share) for kind, share in exact.items()}
    yield Figure("S_t off the calm judge's, expected", expected / math.sqrt(runs))
    yield Figure("S_t off the calm judge's, found", _root([(one.score.value or 0.0) - calm[one.type] for one in types]))
    if runs > 1:
        yield Figure("judge sd, expected", expected)
        yield Figure("judge sd, found", _root([one.noise.sd or 0.0 for one in types]))
        yield Figure("share of UAS's variance that is the judge's, %", 100 * (report.real.uas.noise.share or 0.0))


def _right(folder: Path) -> dict[QuestionType, float]:
    """The share of the answers of each type that are the reference."""
    items = {item.id: item for item in items_of(folder)}
    found: dict[QuestionType, list[bool]] = {}
    for answer in read_answers(folder):
        item = items[answer.item_id]
        if answer.condition == "real":
            found.setdefault(item.type, []).append(answer.text == item.answer)
    return {kind: float(np.mean(values)) for kind, values in found.items()}


def _root(values: list[float]) -> float:
    return math.sqrt(float(np.mean(np.square(values))))


_WORDS = {
    "oracle": "knows each recording and its answers",
    "audio-blind": "knows the question alone",
    "words": "knows the words that were said, as labelled, and nothing of the voice",
    "manner": "knows the manner as an emotion head heard it, and the sex by pitch; no words",
    "both": "knows the words, and manner and sex as they were heard",
    "both-shuffled": "the same, but hears another clip",
    "both-judged-once": "the same as `both`, rated once by a judge with deviation 10 (right 80, wrong 20)",
    "both-judged-5-times": "the same, rated five times",
}
CLAIM = BenchClaim(
    Plan(
        name="cp-bench",
        source="arXiv 2509.16589, judge and controls a reconstruction",
        statement="Questions that need words and voice together tell who hears both from who hears one of them.",
        arms=tuple(Arm(name, words) for name, words in _WORDS.items()),
        expected=(
            Expected("both", "words", "words and manner beat words alone"),
            Expected("both", "manner", "words and manner beat manner alone"),
            Expected("words", "audio-blind", "words beat the question alone"),
            Expected("manner", "audio-blind", "manner beats the question alone"),
            Expected("oracle", "both", "there is room above what was heard"),
            Expected("both", "both-shuffled", "the clip beats another clip"),
            Expected("both-shuffled", "audio-blind", "another clip beats none (a control: it must not be seen)"),
        ),
        notes=(
            "No language model answers or judges here: clients of known kind do, through the code that real ones go "
            "through. The claim is about the harness and its questions, and says nothing of any model; the paper's "
            "questions, models and judge are not here.",
            "All answer by one rule: the choice that what is known makes likelier, of equal ones the first. Words are "
            "the labelled transcripts, with what they are about: EmoDB is German, and the recogniser at hand (Whisper "
            "tiny.en) knows English only. So `words` is the best that words can do, not what a recogniser would.",
            "Manner: heads of the shipped model `emotion` as its recipe trains them, but of the clean view alone, each "
            "on the other nine speakers: the shipped head itself learnt from these recordings. It has no name for "
            "boredom, which is taken for what the other choice is not. nEMO, which it never learnt from, cannot make "
            "these questions: no speaker says two sentences in the same two emotions there.",
            "Sex: median pitch; where it is unsure (141 to 194 Hz) the first choice is taken.",
            "Who is at chance in a type (50) is so by construction: constant answers are right for half of each set.",
            "Audio gain is UAS with the clip minus the best of silence, another clip and the question alone; those of "
            "`both` and `manner` are not all at 50, for another clip's manner may be right by chance. The alarm (over "
            "90 % the same answer to a question) needs five clips a question: 5 of the 51 questions have them. It "
            "fires for `words` as well, rightly.",
            "Units are clips, as in the harness; they are of ten speakers, whom intervals do not draw. A wavering "
            "judge makes 20 + 0.6 UAS of UAS, so its arms stand in no comparison.",
        ),
    )
)
