#!/usr/bin/env bash
# The paper's other claims, each on networks of one small and equal budget: that of hpbnet_small.sh, whose OUT this takes.
#   DATA=... DPR=... METRICS=... STEPS=... [PRIOR=...] runs/claims.sh OUT
# STEPS is the budget of every network; OUT's pool and pool_val may be links to another's.
#   - Eq. (3) on and off, colour and light apart, U-Net against U-Net with generator: full, unet
#   - concatenations keep identity and detail: whole (the generator paints whole pictures) against apart (without them)
#   - a prior knows faces: primed (whole, begun from PRIOR, a StyleGAN2 of 128 px), frozen (PRIOR not trained along)
#   - wider white balance helps in saturated light: full against narrow (no augmentation) and broad (0.4 to 2)
#   - red eyes vanish: tools/red_eyes.py
set -euo pipefail
out=$1
runs=$(dirname "$0")
"$runs/hpbnet_small.sh" "$out"
names="full unet whole apart narrow broad"
train() {
  hpbnet train hpbnet "$out/pool" --config "$runs/hpbnet_small.json" --set validation="$out/pool_val" \
    --set "steps=$STEPS" "$@"
}
train --run "$out/whole" --set joint=true
train --run "$out/apart" --set joint=true --set concatenate=false
train --run "$out/narrow" --set joint=true --set residual=true --set white_balance=false
train --run "$out/broad" --set joint=true --set residual=true --set "gains=[0.4, 2.0]"
if [ -n "${PRIOR:-}" ]; then
  train --run "$out/primed" --set joint=true --set prior="$PRIOR"
  train --run "$out/frozen" --set prior="$PRIOR"
  names="$names primed frozen"
fi

weights() { for name in "$@"; do echo "$name=$out/$name/weights.safetensors"; done; }
# shellcheck disable=SC2046,SC2086
python "$runs/claims.py" "$DATA/portraits" $(weights $names) --relighter "dpr:$DPR" --metrics "$METRICS" \
  | tee "$out/claims.txt"
python "$runs/../tools/red_eyes.py" "$DATA/portraits" "$out/red_eyes.png" --weights "$METRICS" \
  --method learned --method "$out/full/weights.safetensors" | tee "$out/red_eyes.txt"
