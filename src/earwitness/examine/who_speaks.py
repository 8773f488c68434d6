"""Who speaks when? The voices of a recording told apart, where there is more than one."""

from __future__ import annotations

from earwitness.examine.finding import Finding, ModelCredit, Table, Track
from earwitness.metrics.diarisation import Turn
from earwitness.speaker.diarisation import Diarised
from earwitness.speaker.embedder import Embedder

QUESTION = "Who speaks when?"
MOST_TURNS = 100  # that a table shows
LIMITS = (
    "Voices are told apart by likeness alone, one voice a moment: where two people speak at once only one is seen, and "
    "turns shorter than a window are mostly lost.",
    "The number of voices is an estimate: a voice may be split in two, and two that are much alike may be one here.",
)


def who_speaks(found: Diarised, embedder: Embedder, credit: ModelCredit, seconds_total: float) -> Finding:
    """The finding about a recording of several voices."""
    longest = ", ".join(f"voice {voice} {found.seconds(voice):.0f} s" for voice in range(1, found.count + 1))
    return Finding(
        question=QUESTION,
        hypotheses=None,
        verdict="answer",
        answer=f"{found.count} voices seem to speak here: {longest}.",
        tracks=(_track(found.turns),),
        tables=(_table(found.turns),),
        limits=LIMITS,
        seconds_used=sum(turn.end_s - turn.start_s for turn in found.turns),
        seconds_total=seconds_total,
        window_policy=embedder.info.windows.name,
        model=credit,
    )


def _track(turns: tuple[Turn, ...]) -> Track:
    return Track(
        name="voice over time",
        unit="its number",
        starts_s=tuple(turn.start_s for turn in turns),
        ends_s=tuple(turn.end_s for turn in turns),
        values=tuple(float(turn.speaker) for turn in turns),
        high_means="a later number",
        low_means="voice 1, which speaks longest",
        neutral=None,
    )


def _table(turns: tuple[Turn, ...]) -> Table:
    shown = turns[:MOST_TURNS]
    more = f"{len(turns) - len(shown)} more turns are on the track only." if len(turns) > len(shown) else ""
    rows = tuple((round(turn.start_s, 2), round(turn.end_s, 2), int(turn.speaker)) for turn in shown)
    return Table("Turns", ("from, s", "to, s", "voice"), rows, note=more)
