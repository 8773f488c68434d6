"""Audio-FLAN (arXiv 2502.16584): instruction records of one schema for 80 tasks on speech, music and sound.

`taxonomy` names the tasks, `records` is the schema, `validation` tells what is wrong with a record, `reading` and
`writing` know the released layout, `converting` makes records from labelled recordings, `simulating` from recordings
that are spoilt on purpose, `cp_items` from questions; `variation` rewrites instructions by a model behind a guard;
`diversity`, `baselines`, `balance` and `leaks` say what a set of records is worth.
"""
