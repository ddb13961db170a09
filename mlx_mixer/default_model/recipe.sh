#!/bin/sh
# Makes the bundled model from the corpus that MODEL_CARD.md names. About two hours on two CPU cores. A step that was
# interrupted goes on when its command is given again with --resume.
#
#   mlx_mixer/default_model/recipe.sh CORPUS WORK
#
# CORPUS holds debian.train.jsonl.gz, debian.valid.jsonl.gz, docs.train.jsonl.gz and docs.valid.jsonl.gz; WORK is a
# folder to work in. The model ends up in WORK/checkpoint, its figures in WORK/figures.json.
set -eu
CORPUS=${1:?usage: recipe.sh CORPUS WORK}
WORK=${2:?usage: recipe.sh CORPUS WORK}
set -- "$CORPUS/debian.train.jsonl.gz" "$CORPUS/docs.train.jsonl.gz"

# 1. Pieces of words, from the passages.
mlx-mixer train tokenizer "$@" --out "$WORK/tokenizer" --vocab-size 8192

# 2. Token vectors from co-occurrence, then next-token prediction.
mlx-mixer train language "$@" --tokenizer "$WORK/tokenizer" --out "$WORK/language" \
    --steps 1800 --learning-rate 3e-3 --embedding-rate 0.3 --seed 1

# 3. Finding: token vectors and token weights, contrastively.
mlx-mixer train retrieval "$@" --init "$WORK/language" --out "$WORK/retrieval" \
    --valid "$CORPUS/debian.valid.jsonl.gz" --valid "$CORPUS/docs.valid.jsonl.gz" --validate-every 100 \
    --steps 500 --batch-size 768 --temperature 0.04 --span-share 0.4 \
    --learning-rate 2.5e-2 --weight-decay 0 --clip-norm 100 --seed 2

# 4. Writing again: the blocks and the head get used to the moved token vectors, which stay as they are.
mlx-mixer train language "$@" --init "$WORK/retrieval" --keep-embeddings --out "$WORK/checkpoint" \
    --steps 1000 --learning-rate 2e-3 --warmup-steps 50 --seed 3 --half

mlx-mixer train curve "$WORK/language/training_log.jsonl" "$WORK/retrieval/training_log.jsonl" \
    "$WORK/checkpoint/training_log.jsonl" --out "$WORK"
mlx-mixer train evaluate "$WORK/checkpoint" "$CORPUS/debian.valid.jsonl.gz" "$CORPUS/docs.valid.jsonl.gz" \
    --json >"$WORK/figures.json"
