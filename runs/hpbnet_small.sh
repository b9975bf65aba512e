#!/usr/bin/env bash
# HPBNet small, on one CPU core: 128 px, 19,200 items, about 25 minutes a network; then 1,600 items of sharper light.
#   DATA=... DPR=dpr_512.t7 METRICS=... SHARP=... runs/hpbnet_small.sh OUT
# DATA holds portraits/ (MODEL_CARD.md); DPR is the published relighting network [ZHSJ19]; METRICS the networks that
# `hpbnet evaluate` measures with. What differs from the paper, for want of a prior and of time: the generator is trained
# with the U-Net, both start from the composite (`residual`), no perceptual and no adversarial term, a cosine schedule.
# The first stage was trained on a pool of 10,000 `paper` items that the relighting network had seen at 256 px only; its
# shadows were soft then.
set -euo pipefail
out=$1
items() { hpbnet synthesize "$DATA/portraits" --relighter "dpr:$DPR" --size 256 --workers 2 "$@"; }
[ -d "$out/pool" ] || items --pool --split train --recipe paper --count 10000 -o "$out/pool"
[ -d "$out/pool_val" ] || items --pool --split val --recipe paper --count 600 -o "$out/pool_val"
train() {
  hpbnet train hpbnet "$1" --config "$(dirname "$0")/hpbnet_small.json" --set validation="$out/pool_val" \
    --set residual=true "${@:2}"
}
train "$out/pool" --run "$out/full" --set joint=true
train "$out/pool" --run "$out/unet" --set generator=false

# Table 1, on equal budgets.
[ -d "$out/paper" ] || items --split val --count 500 --recipe paper --seed 11 -o "$out/paper"
hpbnet evaluate "$out/paper" --method unet="$out/unet/weights.safetensors" \
  --method full="$out/full/weights.safetensors" --weights "$METRICS" -o "$out/table"

# The released weights: 1,600 items more, of sharp light ($SHARP: the pools of stages 8 to 10 of harmonizer.sh).
train "$SHARP" --run "$out/full_2" --set joint=true --set steps=200 --set warmup=20 --set learning_rate=0.001 \
  --set start="$out/full/weights.safetensors"
cp "$out/full_2/weights.safetensors" src/hpbnet/weights/hpbnet.safetensors
