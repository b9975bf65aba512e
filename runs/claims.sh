#!/usr/bin/env bash
# The paper's other claims, each on networks of one small and equal budget: that of hpbnet_small.sh, whose OUT this takes.
#   DATA=... DPR=... METRICS=... [STEPS=...] runs/claims.sh OUT
# STEPS is the budget of every network, that of hpbnet_small.json unless given; another budget wants another OUT, whose
# pool, pool_val and paper may be links to the first one's.
#   - Eq. (3) on and off, colour and light apart, U-Net against U-Net with generator: full, unet
#   - concatenations keep identity and detail: whole (the generator paints whole pictures) against apart (without them)
#   - wider white balance helps in saturated light: full against narrow (no augmentation) and broad (0.4 to 2)
#   - red eyes vanish: tools/red_eyes.py
set -euo pipefail
out=$1
runs=$(dirname "$0")
"$runs/hpbnet_small.sh" "$out"
train() {
  hpbnet train hpbnet "$out/pool" --config "$runs/hpbnet_small.json" --set validation="$out/pool_val" --set joint=true \
    ${STEPS:+--set "steps=$STEPS"} "$@"
}
train --run "$out/whole" --set residual=false
train --run "$out/apart" --set residual=false --set concatenate=false
train --run "$out/narrow" --set residual=true --set white_balance=false
train --run "$out/broad" --set residual=true --set "gains=[0.4, 2.0]"

weights() { for name in "$@"; do echo "$name=$out/$name/weights.safetensors"; done; }
# shellcheck disable=SC2046
python "$runs/claims.py" "$DATA/portraits" $(weights full unet whole apart narrow broad) \
  --relighter "dpr:$DPR" --metrics "$METRICS" | tee "$out/claims.txt"
python "$runs/../tools/red_eyes.py" "$DATA/portraits" "$out/red_eyes.png" --weights "$METRICS" \
  --method learned --method "$out/full/weights.safetensors" | tee "$out/red_eyes.txt"
