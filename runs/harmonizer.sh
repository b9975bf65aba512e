#!/usr/bin/env bash
# The harmonizer: a pool relit once, then two stages on one CPU core (about 80 minutes, other work beside it).
#   DATA=... DPR=dpr_512.t7 METRICS=... runs/harmonizer.sh OUT
# DATA holds portraits/, backgrounds/ and lighting/ (MODEL_CARD.md); DPR is the published relighting network [ZHSJ19];
# METRICS the networks that `hpbnet evaluate` measures with.
# Stage 1 was stopped at step 1,250 of 8,000: its rate of 1e-3 was too high, and its mix (65 % relit, 40 % of the truths
# graded; `Chances` in training/composites.py now says 75 % and 25 %) too far from the paper's (docs/experiments.md).
# Stage 2 began as 5,200 steps and was cut to 4,200 at step 2,200, so its rate fell a little slower than here.
set -euo pipefail
out=$1
light=$DATA/lighting/real_illuminant_rgb_11346x3.npy
hpbnet synthesize "$DATA/portraits" --pool --split train --recipe paper --size 256 --count 10000 \
  --relighter "dpr:$DPR" --workers 2 -o "$out/pool"
hpbnet synthesize "$DATA/portraits" --pool --split val --recipe paper --size 256 --count 600 \
  --relighter "dpr:$DPR" --workers 2 -o "$out/pool_val"
train() {
  hpbnet train harmonizer "$out/pool" --set validation="$out/pool_val" --set scenes="$DATA/backgrounds" \
    --set illuminants="$light" --set threads=1 --set ema=0.998 "$@"
}
train --run "$out/1" --set steps=8000 --set warmup=100 --set checkpoint_every=250   # interrupt after step 1,250
train --run "$out/2" --set steps=4200 --set warmup=50 --set learning_rate=0.0005 --set start="$out/1/weights.safetensors"
cp "$out/2/weights.safetensors" src/hpbnet/weights/harmonizer.safetensors

for recipe in paper wide; do
  hpbnet synthesize "$DATA/portraits" --split val --count 500 --size 256 --recipe "$recipe" --seed 11 \
    --relighter "dpr:$DPR" --illuminants "$light" -o "$out/$recipe"
  hpbnet evaluate "$out/$recipe" --method reinhard --method covariance --method learned --weights "$METRICS" \
    -o "$out/table_$recipe"
done
