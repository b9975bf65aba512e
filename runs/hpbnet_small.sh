#!/usr/bin/env bash
# HPBNet small, on one CPU core: 128 px, 19,200 items, then as many of sharper light; about 25 minutes a network a stage.
#   DATA=... DPR=dpr_512.t7 METRICS=... [STEPS=...] runs/hpbnet_small.sh OUT
# With STEPS the budget of a stage is another, there is one stage, and the released weights stay as they are.
# DATA holds portraits/ (MODEL_CARD.md); DPR is the published relighting network [ZHSJ19]; METRICS the networks that
# `hpbnet evaluate` measures with. What differs from the paper, for want of a prior and of time: the generator is trained
# with the U-Net, both start from the composite (`residual`), no perceptual and no adversarial term, a cosine schedule.
# The first stage was trained on a pool of 10,000 `paper` items that the relighting network had seen at 256 px only; its
# shadows were soft then. The second makes its items anew from stored light at every draw.
set -euo pipefail
out=$1
items() { hpbnet synthesize "$DATA/portraits" --relighter "dpr:$DPR" --size 256 --workers 2 "$@"; }
[ -d "$out/pool" ] || items --pool --split train --recipe paper --count 10000 -o "$out/pool"
[ -d "$out/pool_val" ] || items --pool --split val --recipe paper --count 600 -o "$out/pool_val"
train() {
  hpbnet train hpbnet "$1" --config "$(dirname "$0")/hpbnet_small.json" --set validation="$out/pool_val" \
    --set residual=true ${STEPS:+--set "steps=$STEPS"} "${@:2}"
}
train "$out/pool" --run "$out/full" --set joint=true
train "$out/pool" --run "$out/unet" --set generator=false
[ -z "${STEPS:-}" ] || exit 0

[ -d "$out/relit" ] || items --pool --split train --recipe relit --count 5000 --seed 7 -o "$out/relit"
again() { train "$out/relit" --set learning_rate=0.0015 --set ema=0.998 --set seed=5 "$@"; }
again --run "$out/full_2" --set joint=true --set start="$out/full/weights.safetensors"
again --run "$out/unet_2" --set generator=false --set start="$out/unet/weights.safetensors"
cp "$out/full_2/weights.safetensors" src/hpbnet/weights/hpbnet.safetensors

# Table 1.
[ -d "$out/paper" ] || items --split val --count 500 --recipe paper --seed 11 -o "$out/paper"
hpbnet evaluate "$out/paper" --method unet="$out/unet_2/weights.safetensors" \
  --method full="$out/full_2/weights.safetensors" --weights "$METRICS" -o "$out/table"
