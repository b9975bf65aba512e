#!/usr/bin/env bash
# The harmonizer: pools made once, then ten stages on one CPU core (about seven hours, other work beside it).
#   DATA=... DPR=dpr_512.t7 METRICS=... runs/harmonizer.sh OUT
# DATA holds portraits/, backgrounds/ and lighting/ (MODEL_CARD.md); DPR is the published relighting network [ZHSJ19];
# METRICS the networks that `hpbnet evaluate` measures with, SqueezeNet among them.
# How the stages came about, and how the first run of them differed: docs/experiments/harmonizer.md, training-history.md.
set -euo pipefail
for name in DATA DPR METRICS; do : "${!name:?set $name, see the head of this script}"; done
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
train "$out/pool/paper" --run "$out/1" --set steps=8000 --set warmup=100 --set stop_at=1250 \
  --set checkpoint_every=250 --set ema=0.998
train "$out/pool/paper" --run "$out/2" --set steps=4200 --set warmup=50 --set learning_rate=0.0005 --set ema=0.998 \
  --set start="$out/1/weights.safetensors"
train "$out/pool" --run "$out/3" --set steps=12000 --set warmup=100 --set learning_rate=0.0006 --set ema=0.999 \
  --set seed=7 --set start="$out/2/weights.safetensors"
train "$out/pool" --run "$out/4" --set steps=600 --set batch_size=32 --set warmup=30 --set ema=0.99 \
  --set learning_rate=0.002 --set weight_decay=0.0 --set seed=9 --set confidence_only=true --set confidence_harm=0.004 \
  --set start="$out/3/weights.safetensors"
train "$out/mix" --run "$out/5" --set steps=11000 --set warmup=150 --set learning_rate=0.0006 --set ema=0.999 \
  --set seed=21 --set stop_at=6000 --set start="$out/4/weights.safetensors"
train "$out/mix" --run "$out/6" --set steps=2500 --set warmup=60 --set learning_rate=0.00035 --set ema=0.998 \
  --set seed=22 --set confidence_harm=0.004 --set perceptual=0.1 --set squeezenet="$METRICS/squeezenet1_1.pth" \
  --set start="$out/5/weights.safetensors"
train "$out/mix" --run "$out/7" --set steps=600 --set batch_size=32 --set warmup=30 --set ema=0.99 \
  --set learning_rate=0.002 --set weight_decay=0.0 --set seed=23 --set confidence_only=true --set confidence_harm=0.004 \
  --set start="$out/6/weights.safetensors"

# Stages 8 to 10: light at the relighting network's own size; a third of the plain backdrops, and `plain`.
python - "$DATA/portraits" "$out" <<'END'
import sys
from pathlib import Path
from hpbnet.synthesis.portraits import read_index
faces = read_index(Path(sys.argv[1]), "train")
lists = {"most": [f for k, f in enumerate(faces) if not f.plain or k % 3 == 0], "plain": [f for f in faces if f.plain]}
for name, chosen in lists.items():
    Path(sys.argv[2], f"{name}.txt").write_text("".join(f"{face.name}\n" for face in chosen))
END
sharp() {
  hpbnet synthesize "$DATA/portraits" --pool --split train --size 256 --relighter "dpr:$DPR" --illuminants "$light" \
    --workers 2 "$@"
}
sharp --recipe paper --count 5500 --seed 105 --list "$out/most.txt" -o "$out/sharp/paper"
sharp --recipe relit --count 4000 --seed 107 --list "$out/most.txt" -o "$out/sharp/relit"
sharp --recipe relit --count 2000 --seed 108 --list "$out/most.txt" --lights "$DATA/lighting/dpr_format_sh9_gray.npz" \
  -o "$out/sharp/lights"
sharp --recipe relit --count 1000 --seed 109 --list "$out/plain.txt" -o "$out/sharp/plain"
sharp --recipe relit --count 1500 --seed 111 --list "$out/most.txt" -o "$out/sharp/soft"
hpbnet synthesize "$DATA/portraits" --pool --split val --recipe paper --size 256 --count 384 --seed 900 \
  --relighter "dpr:$DPR" --illuminants "$light" --workers 2 -o "$out/sharp_val"
more() {
  train "$out/sharp" --set validation="$out/sharp_val" --set batch_size=32 --set confidence_harm=0.004 "$@"
}
more --run "$out/8" --set steps=3500 --set warmup=100 --set learning_rate=0.0007 --set ema=0.998 \
  --set weight_decay=0.05 --set dropout=0.1 --set seed=31 \
  --set stop_at=2000 --set start="$out/7/weights.safetensors"
more --run "$out/9" --set steps=2000 --set warmup=50 --set learning_rate=0.0003 --set ema=0.998 \
  --set weight_decay=0.05 --set dropout=0.05 --set seed=32 --set perceptual=0.1 --set perceived=8 \
  --set squeezenet="$METRICS/squeezenet1_1.pth" --set start="$out/8/weights.safetensors"
more --run "$out/10" --set steps=600 --set warmup=30 --set learning_rate=0.002 --set ema=0.99 --set weight_decay=0.0 \
  --set dropout=0.1 --set seed=33 --set confidence_only=true --set confidence_harm=0.008 --set start="$out/9/weights.safetensors"
cp "$out/10/weights.safetensors" src/hpbnet/weights/harmonizer.safetensors

items() { hpbnet synthesize "$DATA/portraits" --split val --relighter "dpr:$DPR" --illuminants "$light" "$@"; }
for seed in 11 12 13; do
  for recipe in paper wide; do
    items --count 500 --size 256 --recipe "$recipe" --seed "$seed" -o "$out/${recipe}_$seed"
    hpbnet evaluate "$out/${recipe}_$seed" --method reinhard --method covariance --method learned \
      --weights "$METRICS" -o "$out/table_${recipe}_$seed"
  done
done
python tools/calibration.py "$out/paper_11"
python tools/calibration.py "$out/wide_11"
