#!/usr/bin/env bash
# The harmonizer: pools made once, then seven stages on one CPU core (about five hours, other work beside it).
#   DATA=... DPR=dpr_512.t7 METRICS=... runs/harmonizer.sh OUT
# DATA holds portraits/, backgrounds/ and lighting/ (MODEL_CARD.md); DPR is the published relighting network [ZHSJ19];
# METRICS the networks that `hpbnet evaluate` measures with, SqueezeNet among them.
# Stages 1 and 2 saw the `paper` pool alone, varied on the fly (docs/experiments.md), stage 3 both pools, each as often.
# Stage 1 was stopped at step 1,250 of 8,000: its rate of 1e-3 was too high. Stage 2 began as 5,200 steps and was cut to
# 4,200 at step 2,200; stage 3 began with a third of the `wide` pool, and as 12,000 steps (10,500 from step 1,750, 13,000
# from 4,500, 12,000 again from 8,700), so its rate fell a little differently than here. Before stage 3 three inputs were
# added to the confidence, with weights of 0. Stages 4 and 7 train the confidence alone.
# The pools of stages 1 to 4 were made when the relighting network still saw pictures of 256 px at that size and drew soft
# shadows. Stage 5 saw half of that `paper` pool, all of that `wide` pool, and two made as now: 5,000 `paper` items, and
# 2,000 of stored light (half of them until step 1,500), from which new items of both recipes are drawn. It was stopped
# at step 6,000 of 11,000 (12,000 until step 1,500); stage 6 goes on with a perceptual term.
set -euo pipefail
out=$1
light=$DATA/lighting/real_illuminant_rgb_11346x3.npy
hpbnet synthesize "$DATA/portraits" --pool --split train --recipe paper --size 256 --count 10000 \
  --relighter "dpr:$DPR" --workers 2 -o "$out/pool/paper"
hpbnet synthesize "$DATA/portraits" --pool --split val --recipe paper --size 256 --count 600 \
  --relighter "dpr:$DPR" --workers 2 -o "$out/pool_val"
hpbnet synthesize "$DATA/portraits" --pool --split train --recipe wide --size 256 --count 8000 --seed 3 \
  --relighter "dpr:$DPR" --illuminants "$light" --workers 2 -o "$out/pool/wide"
hpbnet synthesize "$DATA/portraits" --pool --split train --recipe paper --size 256 --count 5000 --seed 5 \
  --relighter "dpr:$DPR" --illuminants "$light" --workers 2 -o "$out/mix/paper_new"
hpbnet synthesize "$DATA/portraits" --pool --split train --recipe relit --size 256 --count 2000 --seed 7 \
  --relighter "dpr:$DPR" --workers 2 -o "$out/mix/relit"
mkdir -p "$out/mix/paper"
cp -r "$out"/pool/paper/00{0,2,4,6,8} "$out/mix/paper"
cp -r "$out/pool/wide" "$out/mix"
train() {
  hpbnet train harmonizer "$1" --set validation="$out/pool_val" --set scenes="$DATA/backgrounds" \
    --set illuminants="$light" --set threads=1 "${@:2}"
}
train "$out/pool/paper" --run "$out/1" --set steps=8000 --set warmup=100 --set checkpoint_every=250 \
  --set ema=0.998   # interrupt after step 1,250
train "$out/pool/paper" --run "$out/2" --set steps=4200 --set warmup=50 --set learning_rate=0.0005 --set ema=0.998 \
  --set start="$out/1/weights.safetensors"
train "$out/pool" --run "$out/3" --set steps=12000 --set warmup=100 --set learning_rate=0.0006 --set ema=0.999 \
  --set seed=7 --set start="$out/2/weights.safetensors"
train "$out/pool" --run "$out/4" --set steps=600 --set batch_size=32 --set warmup=30 --set ema=0.99 \
  --set learning_rate=0.002 --set weight_decay=0.0 --set seed=9 --set doubt_only=true --set doubt_harm=0.004 \
  --set start="$out/3/weights.safetensors"
train "$out/mix" --run "$out/5" --set steps=11000 --set warmup=150 --set learning_rate=0.0006 --set ema=0.999 \
  --set seed=21 --set start="$out/4/weights.safetensors"   # interrupt after step 6,000
train "$out/mix" --run "$out/6" --set steps=2500 --set warmup=60 --set learning_rate=0.00035 --set ema=0.998 \
  --set seed=22 --set doubt_harm=0.004 --set perceptual=0.1 --set squeezenet="$METRICS/squeezenet1_1.pth" \
  --set start="$out/5/weights.safetensors"
train "$out/mix" --run "$out/7" --set steps=600 --set batch_size=32 --set warmup=30 --set ema=0.99 \
  --set learning_rate=0.002 --set weight_decay=0.0 --set seed=23 --set doubt_only=true --set doubt_harm=0.004 \
  --set start="$out/6/weights.safetensors"
cp "$out/7/weights.safetensors" src/hpbnet/weights/harmonizer.safetensors

items() { hpbnet synthesize "$DATA/portraits" --split val --relighter "dpr:$DPR" --illuminants "$light" "$@"; }
for seed in 11 12; do
  for recipe in paper wide; do
    items --count 500 --size 256 --recipe "$recipe" --seed "$seed" -o "$out/${recipe}_$seed"
    hpbnet evaluate "$out/${recipe}_$seed" --method reinhard --method covariance --method learned \
      --weights "$METRICS" -o "$out/table_${recipe}_$seed"
  done
done
python tools/calibration.py "$out/paper_11"
python tools/calibration.py "$out/wide_11"
