#!/usr/bin/env bash
# The paper's other claims, each on networks of one small and equal budget: STEPS batches of 8, as in hpbnet_small.json.
#   DATA=... DPR=... METRICS=... START=... STEPS=... [PRIOR=...] runs/claims.sh OUT
# OUT holds pool (of `paper` and `relit` items) and pool_val, or links to them.
# A pool and a pool_val of one's own: `hpbnet synthesize PORTRAITS --pool --recipe paper -o OUT/pool/paper` and so on.
#   - Eq. (3) on and off, colour and light apart, the U-Net's estimate against the generator's picture: full
#   - wider white balance helps in saturated light: full against narrow (no augmentation) and broad (0.4 to 2);
#     these three go on from START, the full network of the first stage of hpbnet_small.sh
#   - concatenations keep identity and detail: whole (the generator paints whole pictures) against apart (without them),
#     both from nothing
#   - a prior knows faces: primed (whole, begun from PRIOR, a StyleGAN2 of 128 px), frozen (PRIOR not trained along)
#   - red eyes vanish: tools/red_eyes.py
set -euo pipefail
for name in DATA DPR METRICS START STEPS; do : "${!name:?set $name, see the head of this script}"; done
out=$1
runs=$(dirname "$0")
names="full narrow broad whole apart"
train() {
  hpbnet train hpbnet "$out/pool" --config "$runs/hpbnet_small.json" --set validation="$out/pool_val" \
    --set "steps=$STEPS" --set warmup=20 --run "$@"
}
again() {
  train "$@" --set learning_rate=0.001 --set start="$START"
}
again "$out/full"
again "$out/narrow" --set white_balance=false
again "$out/broad" --set "gains=[0.4, 2.0]"
train "$out/whole" --set residual=false
train "$out/apart" --set residual=false --set concatenate=false
if [ -n "${PRIOR:-}" ]; then
  train "$out/primed" --set residual=false --set prior="$PRIOR"
  train "$out/frozen" --set residual=false --set joint=false --set prior="$PRIOR"
  names="$names primed frozen"
fi

weights() { for name in "$@"; do echo "$name=$out/$name/weights.safetensors"; done; }
# shellcheck disable=SC2046,SC2086
python "$runs/claims.py" "$DATA/portraits" $(weights $names) --relighter "dpr:$DPR" --metrics "$METRICS" \
  | tee "$out/claims.txt"
python "$runs/../tools/red_eyes.py" "$DATA/portraits" "$out/red_eyes.png" --weights "$METRICS" \
  --method learned --method "$out/full/weights.safetensors" | tee "$out/red_eyes.txt"
