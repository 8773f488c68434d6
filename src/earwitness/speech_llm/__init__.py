"""Language models that hear: clients, questions about recordings, instruction records, a benchmark, and training.

The clients ask a model about recordings (`clients/`); `items` are the questions; `cpqa/` makes them from recordings,
`flan/` writes them as instruction records, `bench/` asks and judges them, `training/` teaches a model to hear.
"""
