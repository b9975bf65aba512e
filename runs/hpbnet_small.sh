#!/usr/bin/env bash
# HPBNet small, on two CPU cores: 128 px, 32,000 items a network (27 minutes for the U-Net alone, 36 in full, a core
# each); then the full one goes on for 40,000 items (29 minutes on both), and for 8,000 at 256 px (23 on one, not alone).
#   DATA=... DPR=dpr_512.t7 METRICS=... SHARP=... runs/hpbnet_small.sh OUT
# DATA holds portraits/ and lighting/ (MODEL_CARD.md); DPR is the published relighting network [ZHSJ19]; METRICS the
# networks that `hpbnet evaluate` measures with; SHARP and SHARP_val the pools of harmonizer.sh, which lie in OUT/pool and
# OUT/pool_val there. The released weights saw those of the first generation (docs/experiments/training-history.md).
# What differs from the paper, for want of a prior and of time: the generator is trained with the U-Net, both change the
# composite (`residual`), a squared error beside the absolute one, no perceptual and no adversarial term, a cosine
# schedule. The later stages also cut, turn and stretch.
set -euo pipefail
out=$1
for name in DATA DPR METRICS SHARP; do : "${!name:?set $name, see the head of this script}"; done
mkdir -p "$out/pool/paper"
cp -r "$SHARP"/paper/00{0,1,2,3} "$out/pool/paper"
cp -r "$SHARP/relit" "$out/pool"
train() {
  hpbnet train hpbnet "$out/pool" --config "$(dirname "$0")/hpbnet_small.json" --set validation="${SHARP}_val" \
    "$@"
}
train --run "$out/full"
train --run "$out/unet" --set generator=false
train --run "$out/full_2" --set crops=true --set steps=5000 --set learning_rate=0.0025 --set seed=1 \
  --set threads=2 --set workers=1 --set start="$out/full/weights.safetensors"
train --run "$out/full_3" --set crops=true --set steps=1000 --set learning_rate=0.001 --set seed=2 \
  --set resolution=256 --set unet_channels=6 --set warmup=50 --set ema=0.995 --set start="$out/full_2/weights.safetensors"
cp "$out/full_3/weights.safetensors" src/hpbnet/weights/hpbnet.safetensors

# Table 1, on equal budgets; then the released network.
for seed in 11 12 13; do
  hpbnet synthesize "$DATA/portraits" --split val --relighter "dpr:$DPR" --count 500 --size 256 --recipe paper \
    --illuminants "$DATA/lighting/real_illuminant_rgb_11346x3.npy" --seed "$seed" -o "$out/paper_$seed"
  hpbnet evaluate "$out/paper_$seed" --method unet="$out/unet/weights.safetensors" \
    --method full="$out/full/weights.safetensors" --method hpbnet --weights "$METRICS" -o "$out/table_$seed"
done
