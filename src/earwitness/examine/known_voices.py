"""Whose voice is it, among known ones, or none of theirs? The best of many candidates is weighed as what it is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from earwitness.core.errors import AudioError
from earwitness.core.hashing import sha256_file
from earwitness.evaluation.scoring.galleries import KnownVoices
from earwitness.examine.enrolment import Enrolment
from earwitness.examine.finding import Finding, ModelCredit, Table
from earwitness.examine.questions import Channel
from earwitness.examine.strength import Sides, outside, tested_on, untested, weighed, widened, withheld
from earwitness.speaker.gallery import Candidates, Gallery, largest_gallery, shares
from earwitness.speaker.voices import several_voices
from earwitness.training.calibration import LEAST_LLR
from earwitness.training.conditions import conditions_of
from earwitness.training.model_folder import ModelInfo

QUESTION = "Whose voice is it, among the known ones?"
HYPOTHESES = ("it is the voice of one of the known speakers", "it is none of theirs")
UNSETTLED = "The recording does not settle whether this is one of the known voices."
NONE = "none of the known voices"
SHOWN = 10  # candidates
SEVERAL = (
    "More than one voice is probably heard here; the answer is about the mixture. Ask with --reference, which compares "
    "each voice, or examine the parts separately."
)


@dataclass(frozen=True)
class WhoseVoice:
    """Asked where known voices were given."""

    known: KnownVoices
    credit: ModelCredit
    _warned: dict[str, list[str]] = field(default_factory=dict)  # of the whole gallery: found once

    def answer(self, channel: Channel, enrolment: Enrolment | None) -> Iterable[Finding]:
        """One answer; "no answer" where nothing can be judged, or nothing is left of the gallery."""
        yield self._judged(channel)

    def _judged(self, channel: Channel) -> Finding:
        digest = sha256_file(channel.path)
        itself = self.known.holding(digest)
        limits = [
            f"This very recording (same sha256) is in the gallery, as {r.name} ({r.path}). It was left out, so as not "
            "to be compared with itself."
            for r in itself
        ]
        gallery = self.known.gallery(without=digest if itself else None)
        nothing = Finding(QUESTION, HYPOTHESES, "no answer", "", limits=tuple(limits), model=self.credit)
        if gallery is None:
            return replace(nothing, answer="The gallery holds nothing but this very recording.")
        try:
            test = self.known.embedder.embed_file(channel.path, channel.number)
        except AudioError as error:
            return replace(nothing, answer=f"Nothing here can be judged: it {error.what}.")
        info = self.known.embedder.info
        limits += [SEVERAL] if several_voices(test, info) else []
        limits += self._warnings(gallery if not itself else None)
        finding = replace(
            nothing,
            verdict="inconclusive",
            answer=UNSETTLED,
            score_meaning=f"{self.known.embedder.comparator.name}; higher = same speaker",
            seconds_used=test.seconds_used,
            seconds_total=test.seconds_total,
            window_policy=info.windows.name,
        )
        if info.calibration is None or withheld(info):
            return replace(finding, tone="caution", limits=(*limits, *_limits(channel, info)))
        found = gallery.candidates(test.vector, info.calibration, conditions_of(channel.facts))
        limits += _of_size(gallery, info)
        finding = replace(
            finding,
            score=float(found.scores[found.order[0]]),
            evidence=tuple(_evidence(found, gallery)),
            tables=(_table(found, gallery),),
            limits=(*limits, *_limits(channel, info)),
        )
        ratio = widened(found.one_of) if untested(channel.facts, info.tested) else found.one_of
        return weighed(finding, ratio, Sides(_named(found, gallery), NONE, UNSETTLED))

    def _warnings(self, gallery: Gallery | None) -> list[str]:
        """Doubts about the gallery; without this recording they are those of the whole one."""
        if "all" not in self._warned:
            whole = gallery or self.known.gallery()
            assert whole is not None
            self._warned["all"] = [f"The gallery: {line}" for line in self.known.warnings(whole)]
        return self._warned["all"]


def _named(found: Candidates, gallery: Gallery) -> str:
    """Whom the answer names: the best, and those that the ratio does not tell from it."""
    best = found.ratios.llr[found.order[0]]
    close = [int(place) for place in found.order[:3] if best - found.ratios.llr[place] < LEAST_LLR]
    names = [gallery.voices[place].name for place in close]
    return f"the voice of {names[0]}" if len(names) == 1 else f"one of the voices of {' or '.join(names)}"


def _evidence(found: Candidates, gallery: Gallery) -> list[str]:
    count, best = len(gallery), int(found.order[0])
    share = float(shares(found.ratios)[best])
    said = [
        f"Of {count} known voices, {gallery.voices[best].name} is the most alike; of all that speaks for one of them, "
        f"{100 * share:.0f} % speaks for that name (each name as likely as the others beforehand)."
    ]
    if count > 1:
        said.append(
            f"The best of {count} candidates is more often alike by chance than a single one: a ratio that befalls one "
            f"stranger in a hundred befalls the best of {count} strangers up to {count} times as often. The strength "
            f"given here is therefore that it is one of the {count} against none: the mean of their ratios. For the "
            f"best alone that takes {found.correction:.1f} off its log ratio (ln {count}); the table has both."
        )
    return said


def _table(found: Candidates, gallery: Gallery) -> Table:
    rows = []
    for rank, place in enumerate(found.order[:SHOWN].tolist(), start=1):
        ratio, voice = found.ratios.at(place), gallery.voices[place]
        numbers = (float(found.scores[place]), ratio.llr, ratio.low, ratio.high, ratio.llr - found.correction)
        rows.append((rank, voice.name, len(voice.prints), *numbers))
    names = ("rank", "name", "recordings", "score", "log ratio alone", "low", "high", "as the best of all")
    more = f"{len(gallery) - SHOWN} more names are less alike. " if len(gallery) > SHOWN else ""
    note = f"{more}Natural logarithms; low and high are the 95 % interval of the ratio alone."
    return Table("Candidates", names, tuple(rows), drawn="log ratio alone", note=note)


def _of_size(gallery: Gallery, info: ModelInfo) -> list[str]:
    """What a gallery of this size cannot be asked."""
    assert info.calibration is not None
    most = largest_gallery(info.calibration, LEAST_LLR)
    if len(gallery) <= most:
        return []
    strongest = math.exp(info.calibration.conditions[0].high)
    return [
        f"With {len(gallery)} names no name can be settled: the strongest ratio that this model's calibration supports "
        f"is {strongest:.0f}, and divided by the names it is below 2. At most {most} names could be asked. The order "
        "of the candidates holds all the same."
    ]


def _limits(channel: Channel, info: ModelInfo) -> tuple[str, ...]:
    return (
        *withheld(info),
        *untested(channel.facts, info.tested),
        *outside(channel.facts, conditions_of(channel.facts)),
        *tested_on(info),
    )
