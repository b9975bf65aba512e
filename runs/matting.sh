#!/usr/bin/env bash
# The matting network: people prepared once, then four stages at growing resolution, on one CPU core beside other work.
#   DATA=... runs/matting.sh OUT
# DATA holds portraits/, people/, portraits-1024/ and backgrounds/ (see MODEL_CARD.md).
# Stage 1 began from the selfies' network of version 0.1 (3.6 M parameters, five hours on one core) after a trial of
# 10,000 items with whole people at 192 px; it was grown to 6.3 M parameters and one input more, silent at first
# (networks/matting.py, grow). TRIAL names the weights to begin with; without it stage 1 begins from nothing.
# How the first run differed: photos that only ISNet knows were added after stage 1, checked by its weights of step 800.
# Stages 1 and 2 drew people uniformly and framed them by their photo; stage 3 draws small sources more often and frames
# half of the photos around the people, as the code does now. Up to step 480 of stage 3, 5 % of the items held nobody
# (then 12 %, in stage 4 and now 7 %), and its schedule was 2,000 steps long; that of stage 4 was 1,500 up to step 425.
set -euo pipefail
: "${DATA:?set DATA, see the head of this script}"
out=$1
prepare() { python tools/prepare_mattes.py "$DATA" "$out/prepared" "$@"; }
train() {
  hpbnet train matting "$out/prepared" --set scenes="$DATA/backgrounds" --set threads=1 --set ema=0.997 \
    --set warmup=60 --set log_every=25 "$@"
}

prepare
train --run "$out/1" --set size=192 --set batch_size=24 --set steps=2000 --set learning_rate=0.001 --set warmup=100 \
  --set checkpoint_every=50 --set validate_every=400 --set seed=101 ${TRIAL:+--set start="$TRIAL"}
prepare --network "$out/1/weights.safetensors"
train --run "$out/2" --set size=256 --set batch_size=16 --set steps=1350 --set learning_rate=0.0008 \
  --set checkpoint_every=80 --set validate_every=450 --set seed=102 --set start="$out/1/weights.safetensors"
train --run "$out/3" --set size=288 --set batch_size=14 --set steps=1700 --set learning_rate=0.0008 \
  --set checkpoint_every=80 --set validate_every=500 --set seed=103 --set start="$out/2/weights.safetensors"
train --run "$out/4" --set size=320 --set batch_size=12 --set steps=950 --set learning_rate=0.0006 \
  --set checkpoint_every=80 --set validate_every=500 --set seed=104 --set start="$out/3/weights.safetensors"
cp "$out/4/weights.safetensors" src/hpbnet/weights/matting.safetensors
python tools/evaluate_matting.py "$DATA" "$out/prepared" --sheets "$out/sheets"
