#!/usr/bin/env bash
# The harmonizer: pools made once (about four core-hours), then three stages (about six), on two CPU cores.
#   DATA=... DPR=dpr_512.t7 METRICS=... PRIOR=mobilestylegan.safetensors [THREADS=1] runs/harmonizer.sh OUT
# DATA holds portraits/, backgrounds/ and lighting/ (MODEL_CARD.md); DPR is the published relighting network [ZHSJ19];
# METRICS the networks that `hpbnet evaluate` measures with, SqueezeNet among them; PRIOR the generator of faces that
# `hpbnet convert mobilestylegan` writes. If it is interrupted, give the same command again: it continues.
# A stage that stops paying is stopped by adding `--set stop_at=STEP` to it here. How the weights of the first
# generation were made: docs/experiments/training-history.md.
set -euo pipefail
for name in DATA DPR METRICS PRIOR; do : "${!name:?set $name, see the head of this script}"; done
out=$1
light=$DATA/lighting/real_illuminant_rgb_11346x3.npy

# Portraits from the generator, beside the photographs.
hpbnet generate "$PRIOR" --count 3000 --size 512 --truncation 0.5..1 --seed 41 --workers 2 -o "$out/generated"

# Pools: items of the recipes `paper`, `wide` and `scene`, and stored light (`relit`), from which training makes new items
# of the first two.
pool() { # PORTRAITS RECIPE COUNT SEED NAME
  hpbnet synthesize "$1" --pool --split train --recipe "$2" --count "$3" --seed "$4" --size 256 --workers 2 \
    --relighter "dpr:$DPR" --illuminants "$light" "${@:6}" -o "$out/pool/$5"
}
pool "$DATA/portraits" paper 4000 201 paper
pool "$out/generated" paper 2000 202 paper_generated
pool "$DATA/portraits" relit 6000 203 relit
pool "$out/generated" relit 3000 204 relit_generated
pool "$DATA/portraits" relit 2000 205 relit_lights --lights "$DATA/lighting/dpr_format_sh9_gray.npz"
pool "$DATA/portraits" wide 4000 206 wide
pool "$DATA/portraits" scene 6000 207 scene --backgrounds "$DATA/backgrounds"
recipes=(paper wide scene)
from_scenes() { [ "$1" = scene ] && echo "--backgrounds $DATA/backgrounds" || true; } # what `scene` needs beside portraits
for recipe in "${recipes[@]}"; do
  hpbnet synthesize "$DATA/portraits" --pool --split val --recipe "$recipe" --count 192 --seed 900 --size 256 \
    --workers 2 --relighter "dpr:$DPR" --illuminants "$light" $(from_scenes "$recipe") -o "$out/pool_val/$recipe"
done

train() {
  hpbnet train harmonizer "$out/pool" --set validation="$out/pool_val" --set scenes="$DATA/backgrounds" \
    --set illuminants="$light" --set threads="${THREADS:-1}" --set batch_size=32 --set checkpoint_every=100 \
    --set validate_every=1000 "$@"
}
# 1: everything, 320,000 items.
train --run "$out/1" --set steps=10000 --set warmup=150 --set learning_rate=0.0008 --set ema=0.999 \
  --set weight_decay=0.05 --set dropout=0.05 --set seed=51
# 2: at a lower rate, with a perceptual term on a quarter of each batch, 64,000 items.
train --run "$out/2" --set steps=2000 --set warmup=50 --set learning_rate=0.0003 --set ema=0.998 \
  --set weight_decay=0.05 --set dropout=0.05 --set perceptual=0.1 --set perceived=8 \
  --set squeezenet="$METRICS/squeezenet1_1.pth" --set seed=52 --set start="$out/1/weights.safetensors"
# 3: confidence and expected error alone, 19,200 items.
train --run "$out/3" --set steps=600 --set warmup=30 --set learning_rate=0.002 --set ema=0.99 --set weight_decay=0 \
  --set confidence_only=true --set confidence_harm=0.008 --set seed=53 --set start="$out/2/weights.safetensors"
cp "$out/3/weights.safetensors" src/hpbnet/weights/harmonizer.safetensors

# The tables of MODEL_CARD.md.
for seed in 11 12 13; do
  for recipe in "${recipes[@]}"; do
    hpbnet synthesize "$DATA/portraits" --split val --recipe "$recipe" --count 500 --seed "$seed" --size 256 \
      --workers 2 --relighter "dpr:$DPR" --illuminants "$light" $(from_scenes "$recipe") -o "$out/${recipe}_$seed"
    hpbnet evaluate "$out/${recipe}_$seed" --method reinhard --method covariance --method learned \
      --weights "$METRICS" -o "$out/table_${recipe}_$seed"
  done
done
python tools/calibration.py "$out/paper_11"
python tools/calibration.py "$out/wide_11"
