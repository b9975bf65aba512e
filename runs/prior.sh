#!/usr/bin/env bash
# A weak prior for HPBNet: StyleGAN2 of 128 px on 2,600 faces; 700 steps, 11,200 images, took half an hour on a shared core.
#   DATA=... METRICS=... [STEPS=...] runs/prior.sh OUT
set -euo pipefail
hpbnet train stylegan "$DATA/portraits" --run "$1" \
  --set 'sources=["ffhq256", "celebamask-hq", "faker-ai", "us-house", "us-senate"]' \
  --set resolution=128 --set channels=1024 --set max_channels=128 --set z_dim=128 --set w_dim=128 \
  --set batch_size=16 --set path_length_weight=0 --set r1_gamma=2.0 --set ema=0.995 --set steps="${STEPS:-2200}" \
  --set checkpoint_every=100 --set squeezenet="$METRICS/squeezenet1_1.pth" --set workers=0 --set threads=1 --set device=cpu
