"""Training: texts and pairs in, a model folder out.

`data` reads, `tokenizer`, `windows`, `pair_batches` and `token_vectors` prepare, `language` and `contrastive` are the
objectives, `loop` runs them in a `run_folder`, `evaluate` and `bm25` measure; `language_run`, `retrieval_run` and
`report` string them together for the commands.
"""
