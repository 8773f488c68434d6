"""Each paper's claim as an experiment with control arms, on real recordings, under one budget for every arm.

A claim is a module here with a `CLAIM` (`plan.Claim`; most are a `recipes.RecipeClaim`), and a line in `catalogue`.

    plan       what is stated, which arms, which directions, written down before anything is judged
    material   the rows, the sides of each seed, and their kept frames (`kept`)
    learning   arms that are recipes, trained on kept frames by the package's own loop, tasks and losses
    speakers   the same for voices, with kept spectra (`spectra`) and `speaker_learning`; with the phone of each frame
               (`phoned`), with voices that do not exist (`invented`), in mixtures (`mixed`); and `digits` for classes
               of sound
    ages       speakers of known age, their kept features, and `age_learning` for heads that say an age
    running    every arm with every seed, kept as it comes; judged and recorded
    judging    EER with intervals over speakers and systems, paired differences, verdicts
    ledger     the tables of docs/claims.md, from the results in docs/results/claims/
"""
