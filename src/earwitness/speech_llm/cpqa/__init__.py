"""CPQA (arXiv 2505.13338, a reconstruction): speech is condensed to what emotion recognisers agree on, and questions
are made about it whose answers need both the words and the voice.

    windows       segments are cut into windows, each with the central stretch that its label is for
    classes       nine emotions, other names for them, and the sentiment of each
    recognisers   what a recogniser of emotions is, and how several are joined; `checkpoints` loads those of others
    gender        the same for gender, with one by pitch
    filters       which windows and segments are trusted: consistency, occurrence, class cap
    condensing    all of that over recordings, kept as it comes; `forms` are the files that it writes
    sweeping      thresholds against human labels; `planted` the same where the truth is drawn
    words         who said what when; every word gets the label of the stretch in which it lies
    generating    questions from decorated words, by a model (`prompt`) or by `templates`, sifted by `post_filter`
    validating    does a generated set rank answers as a human one does?

Every label made here is a guess of a model and never the truth.
"""
