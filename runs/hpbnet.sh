#!/usr/bin/env bash
# HPBNet as published (sections 3 and 4.1): FFHQ, its StyleGAN2 prior frozen, 512 px, 60,000 iterations; then Table 1.
#   runs/hpbnet.sh FFHQ STYLEGAN2 OUT
# Without a prior and a GPU: runs/hpbnet_small.sh.
# FFHQ holds the photos; STYLEGAN2 is the published FFHQ generator (.pt with g_ema, or .pkl of stylegan2-ada-pytorch).
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
hpbnet synthesize "$ffhq" -o "$out/pool" --pool --recipe paper --size 512 --count 20000 --list "$out/train.txt" --workers 8
hpbnet synthesize "$ffhq" -o "$out/test" --recipe paper --size 512 --count 1000 --seed 1 --list "$out/test.txt" --workers 8

# The full network, and the ablation of section 4.2 with the same settings.
hpbnet train hpbnet "$out/pool" --run "$out/full" --set prior="$out/prior.safetensors"
hpbnet train hpbnet "$out/pool" --run "$out/unet" --set generator=false
hpbnet evaluate "$out/test" --method unet="$out/unet/weights.safetensors" --method full="$out/full/weights.safetensors"
