"""Training: texts and pairs in, a model folder out.

- Read: `text_sources` and `data` (files, folders, the library, pairs), `json_lines`.
- Prepare: `tokenizer`, `token_vectors`, `windows`; `pair_batches`, `hard_negatives` and `frozen_pairs` for pairs.
- Objectives: `language`, `reconstruction`; `contrastive`, `distillation` and `objective` for retrieval.
- Run: `loop` in a `run_folder`, with `steps`, `gradients`, `grad_cache`, `averaging`, `tuning` and `ranks`.
- Measure: `evaluate`, `bm25`, `held_out`; `record`, `run_report`, `card` and `curve` tell people.
- String it together for the commands: `language_run`, `retrieval_run`, `reranker_run`, `autoencoder_run`, `report`.
"""
