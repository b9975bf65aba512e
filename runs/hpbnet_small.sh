#!/usr/bin/env bash
# HPBNet without a prior, on one CPU core: 128 px, 19,200 items, about 25 minutes a network.
#   DATA=... DPR=dpr_512.t7 METRICS=... [STEPS=...] runs/hpbnet_small.sh OUT
# With STEPS the budget is another, and the released weights stay as they are.
# DATA holds portraits/ (MODEL_CARD.md); DPR is the published relighting network [ZHSJ19]; METRICS the networks that
# `hpbnet evaluate` measures with. What differs from the paper, for want of a prior and of time: the generator is trained
# with the U-Net, both start from the composite (`residual`), no perceptual and no adversarial term, a cosine schedule.
set -euo pipefail
out=$1
if [ ! -d "$out/pool" ]; then
  hpbnet synthesize "$DATA/portraits" --pool --split train --recipe paper --size 256 --count 10000 \
    --relighter "dpr:$DPR" --workers 2 -o "$out/pool"
  hpbnet synthesize "$DATA/portraits" --pool --split val --recipe paper --size 256 --count 600 \
    --relighter "dpr:$DPR" --workers 2 -o "$out/pool_val"
fi
train() {
  hpbnet train hpbnet "$out/pool" --config "$(dirname "$0")/hpbnet_small.json" --set validation="$out/pool_val" \
    --set residual=true ${STEPS:+--set "steps=$STEPS"} "$@"
}
train --run "$out/full" --set joint=true
train --run "$out/unet" --set generator=false
[ -n "${STEPS:-}" ] || cp "$out/full/weights.safetensors" src/hpbnet/weights/hpbnet.safetensors

# Table 1.
if [ ! -d "$out/paper" ]; then
  hpbnet synthesize "$DATA/portraits" --split val --count 500 --size 256 --recipe paper --seed 11 \
    --relighter "dpr:$DPR" -o "$out/paper"
fi
hpbnet evaluate "$out/paper" --method unet="$out/unet/weights.safetensors" --method full="$out/full/weights.safetensors" \
  --weights "$METRICS" -o "$out/table"
