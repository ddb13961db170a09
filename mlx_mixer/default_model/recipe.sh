#!/bin/sh
# Makes the bundled model from the texts that MODEL_CARD.md names. About two and a half hours on two CPU cores. A step
# that was interrupted goes on when its command is given again with --resume.
#
#   mlx_mixer/default_model/recipe.sh CORPUS PACKAGES WORK
#
# CORPUS holds debian.train.jsonl.gz, debian.valid.jsonl.gz, docs.train.jsonl.gz and docs.valid.jsonl.gz; PACKAGES the
# .deb files that packages.txt lists (on Debian 12: apt-get download $(cat packages.txt)); WORK is a folder to work in.
# The model ends up in WORK/checkpoint, its figures in WORK/figures.json.
set -eu
CORPUS=${1:?usage: recipe.sh CORPUS PACKAGES WORK}
PACKAGES=${2:?usage: recipe.sh CORPUS PACKAGES WORK}
WORK=${3:?usage: recipe.sh CORPUS PACKAGES WORK}
HERE=$(dirname "$0")
set -- "$CORPUS/debian.train.jsonl.gz" "$CORPUS/docs.train.jsonl.gz"
valid="--valid $CORPUS/debian.valid.jsonl.gz --valid $CORPUS/docs.valid.jsonl.gz"

# 1. Pieces of words, from the passages.
mlx-mixer train tokenizer "$@" --out "$WORK/tokenizer" --vocab-size 8192

# 2. Token vectors from co-occurrence, then next-token prediction.
mlx-mixer train language "$@" --tokenizer "$WORK/tokenizer" --out "$WORK/language" \
    --steps 1800 --learning-rate 3e-3 --embedding-rate 0.3 --seed 1

# 3. The token vectors learn what texts are about, contrastively, ...
# shellcheck disable=SC2086 # two options for each file
mlx-mixer train retrieval "$@" --init "$WORK/language" --out "$WORK/meaning" \
    $valid --validate-every 100 \
    --steps 500 --batch-size 768 --temperature 0.04 --span-share 0.4 \
    --learning-rate 2.5e-2 --weight-decay 0 --clip-norm 100 --seed 2

# 4. ... and the blocks and the head learn to write with them.
mlx-mixer train language "$@" --init "$WORK/meaning" --keep-embeddings --out "$WORK/writer" \
    --steps 1000 --learning-rate 2e-3 --warmup-steps 50 --seed 3 --half

# 5. Vectors for search alone, from the corpus (twice) and from the sections of a hundred other packages.
# shellcheck disable=SC2046 # one name a line
python3 "$HERE/sections.py" "$PACKAGES" "$WORK/sections.jsonl.gz" \
    --without "$CORPUS/debian.valid.jsonl.gz" --without "$CORPUS/docs.valid.jsonl.gz" \
    --held-out $(cat "$HERE/held_out_packages.txt") --held-out-to "$WORK/held_out.jsonl.gz"
# shellcheck disable=SC2086
mlx-mixer train retrieval "$@" "$@" "$WORK/sections.jsonl.gz" --init "$WORK/writer" --out "$WORK/search" \
    --embedding-size 512 $valid --validate-every 100 \
    --steps 400 --batch-size 1536 --temperature 0.04 --span-share 0.4 \
    --learning-rate 1.5e-2 --weight-decay 0 --clip-norm 100 --average ema --seed 5

# 6. A byte for each number.
mlx-mixer convert "$WORK/search" --out "$WORK/checkpoint" --quantize 8 --dtype float16

mlx-mixer train curve "$WORK/language/training_log.jsonl" "$WORK/meaning/training_log.jsonl" \
    "$WORK/writer/training_log.jsonl" "$WORK/search/training_log.jsonl" --out "$WORK"
mlx-mixer train evaluate "$WORK/checkpoint" "$CORPUS/debian.valid.jsonl.gz" "$CORPUS/docs.valid.jsonl.gz" \
    --queries 4000 --json >"$WORK/figures.json"
mlx-mixer train evaluate "$WORK/checkpoint" "$WORK/held_out.jsonl.gz" --no-writing --queries 4000 \
    --json >"$WORK/held_out_figures.json"
