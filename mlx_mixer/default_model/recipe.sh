#!/bin/sh
# Makes the bundled model from the texts that MODEL_CARD.md names. The last command of step 5 needs PyTorch and a CUDA
# GPU, for minutes; all else takes about two hours and a half on two CPU cores. A command of `mlx-mixer train` that was
# interrupted goes on when it is given again with --resume; any other begins anew.
#
#   mlx_mixer/default_model/recipe.sh CORPUS PACKAGES MORE_PACKAGES TEACHER WORK
#
# CORPUS holds debian.train.jsonl.gz, debian.valid.jsonl.gz, docs.train.jsonl.gz and docs.valid.jsonl.gz; PACKAGES and
# MORE_PACKAGES the .deb files that packages.txt and more_packages.txt list (on Debian 12: apt-get download
# $(cat packages.txt)); TEACHER model.safetensors and tokenizer.json of sentence-transformers/all-MiniLM-L6-v2 from the
# Hugging Face Hub (Apache-2.0); WORK is a folder to work in.
# The model ends up in WORK/checkpoint, its figures in WORK/figures.json.
set -eu
usage="usage: recipe.sh CORPUS PACKAGES MORE_PACKAGES TEACHER WORK"
CORPUS=${1:?$usage}
PACKAGES=${2:?$usage}
MORE_PACKAGES=${3:?$usage}
TEACHER=${4:?$usage}
WORK=${5:?$usage}
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

# 5. Vectors of words and blocks for them, for search alone, from the corpus and from the sections of other packages:
# all of a hundred, and a little from each of many more.
# shellcheck disable=SC2046 # one name a line
python3 "$HERE/sections.py" "$PACKAGES" "$WORK/sections.jsonl.gz" \
    --without "$CORPUS/debian.valid.jsonl.gz" "$CORPUS/docs.valid.jsonl.gz" \
    --held-out $(cat "$HERE/held_out_packages.txt") --held-out-to "$WORK/held_out.jsonl.gz"
python3 "$HERE/sections.py" "$MORE_PACKAGES" "$WORK/more_sections.jsonl.gz" \
    --without "$CORPUS/debian.valid.jsonl.gz" "$CORPUS/docs.valid.jsonl.gz" "$WORK/held_out.jsonl.gz" \
    --seen "$@" "$WORK/sections.jsonl.gz" \
    --deb-bytes 4000000 --pages 70 --page-bytes 400000 --most 500
python3 "$HERE/finder_data.py" "$TEACHER" "$WORK/finder" \
    --corpus "$@" --sections "$WORK/sections.jsonl.gz" "$WORK/more_sections.jsonl.gz"
# It needs nothing else of this project, so it may run on another machine.
python3 "$HERE/finder.py" "$WORK/finder" "$TEACHER" "$WORK/writer" "$WORK/search"

# 6. A byte for each number.
mlx-mixer convert "$WORK/search" --out "$WORK/checkpoint" --quantize 8 --dtype float16

mlx-mixer train curve "$WORK/language/training_log.jsonl" "$WORK/meaning/training_log.jsonl" \
    "$WORK/writer/training_log.jsonl" "$WORK/search/training_log.jsonl" --out "$WORK"
mlx-mixer train evaluate "$WORK/checkpoint" "$CORPUS/debian.valid.jsonl.gz" "$CORPUS/docs.valid.jsonl.gz" \
    --queries 4000 --json >"$WORK/figures.json"
mlx-mixer train evaluate "$WORK/checkpoint" "$WORK/held_out.jsonl.gz" --no-writing --queries 4000 \
    --json >"$WORK/held_out_figures.json"
