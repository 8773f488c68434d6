"""Two hundred English sentences for synthesisers that speak text, where the corpus has no transcripts.

Ten openings, twenty doings and ten endings, combined so that neighbours in the list share none of the three. Together
the parts hold every phoneme of English.
"""

from __future__ import annotations

_WHO = (
    "The old baker", "My younger cousin", "A quiet choir", "Their French teacher", "Our noisy neighbour",
    "The judge in the village", "Every other student", "A thin grey heron", "The boy with the toy ship",
    "Just one pilot",
)  # fmt: skip
_DOES = (
    "bought four pounds of cherries", "measured the path to the bridge", "heard a strange rushing noise",
    "put the azure vase on a shelf", "could not find the other glove", "wrote both answers with chalk",
    "watched the clouds over the bay", "asked for a bowl of hot soup", "carried the luggage upstairs",
    "saw five young foxes near a wall", "laughed about the missing shoe", "gave thirty coins to the jester",
    "sang an easy tune in the yard", "broke a pair of wooden oars", "found the key under a huge stone",
    "poured oil into the empty jug", "chose a very unusual pleasure", "thought of things to show them",
    "kept a shiny box of buttons", "walked around the frozen pool",
)  # fmt: skip
_WHEN = (
    "before the first snow", "while everyone was asleep", "on a foggy morning in May", "during the long voyage",
    "at the edge of the city", "without saying a word", "though nobody noticed it", "as usual, after lunch",
    "because the train was late", "just as the bells began",
)  # fmt: skip

SENTENCES: tuple[str, ...] = tuple(
    f"{_WHO[k % 10]} {_DOES[(k + k // 20) % 20]} {_WHEN[(k + k // 10) % 10]}." for k in range(200)
)
