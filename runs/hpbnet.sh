#!/usr/bin/env bash
# HPBNet as published (sections 3 and 4.1): FFHQ, its StyleGAN2 prior frozen, 512 px, 60,000 iterations; then Table 1.
#   DPR=dpr_512.t7 runs/hpbnet.sh FFHQ STYLEGAN2 OUT
# Without a prior and a GPU: runs/hpbnet_small.sh.
# FFHQ holds the photos; STYLEGAN2 is the published FFHQ generator (.pt with g_ema, or .pkl of stylegan2-ada-pytorch);
# DPR is the published relighting network [ZHSJ19].
# Several GPUs: `torchrun --nproc-per-node N -m -- hpbnet train ...`; batch_size must be a multiple of N.
set -euo pipefail
ffhq=$1 weights=$2 out=$3
mkdir -p "$out"

hpbnet convert stylegan2 "$weights" -o "$out/prior.safetensors"

# 20,000 photos to train on, others to measure with.
find "$ffhq" -name '*.png' | sort | xargs -n 1 basename -s .png > "$out/all.txt"
shuf --random-source=<(yes) "$out/all.txt" > "$out/shuffled.txt"
head -n 20000 "$out/shuffled.txt" > "$out/train.txt"
tail -n 1000 "$out/shuffled.txt" > "$out/test.txt"
items() { hpbnet synthesize "$ffhq" --recipe paper --size 512 --relighter "dpr:$DPR" --workers 8 "$@"; }
items --pool --count 20000 --list "$out/train.txt" -o "$out/pool"
items --count 1000 --seed 1 --list "$out/test.txt" -o "$out/test"

# The full network, and the ablation of section 4.2 with the same settings.
hpbnet train hpbnet "$out/pool" --run "$out/full" --set prior="$out/prior.safetensors"
hpbnet train hpbnet "$out/pool" --run "$out/unet" --set generator=false
hpbnet evaluate "$out/test" --method unet="$out/unet/weights.safetensors" --method full="$out/full/weights.safetensors" \
  -o "$out/table"
