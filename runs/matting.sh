#!/usr/bin/env bash
# The matting network: people prepared once, then three stages at growing resolution, on one CPU core beside other work.
#   DATA=... runs/matting.sh OUT
# DATA holds portraits/, people/, portraits-1024/ and backgrounds/ (see MODEL_CARD.md).
# Stage 1 began from the selfies' network of version 0.1 (3.6 M parameters, five hours on one core) after a trial of
# 10,000 items with whole people at 192 px; it was grown to 6.3 M parameters and one input more, silent at first
# (networks/matting.py, grow). TRIAL names the weights to begin with; without it stage 1 begins from nothing.
# How the first run differed: photos that only ISNet knows were added after stage 1, checked by its weights of step 800.
# Stages 1 and 2 drew people uniformly and framed them by their photo; stage 3 draws small sources more often and frames
# half of the photos around the people, as the code does now. Up to step 480 of stage 3, 5 % of the items held nobody
# (now 12 %), and its schedule was 2,000 steps long.
set -euo pipefail
: "${DATA:?set DATA, see the head of this script}"
out=$1
prepare() { python tools/prepare_mattes.py "$DATA" "$out/prepared" "$@"; }
train() {
  hpbnet train matting "$out/prepared" --set scenes="$DATA/backgrounds" --set threads=1 --set ema=0.997 \
    --set warmup=60 --set log_every=25 "$@"
}

prepare
train --run "$out/1" --set size=192 --set batch_size=24 --set steps=2000 --set learning_rate=0.001 --set warmup=100 \
  --set checkpoint_every=50 --set validate_every=400 --set seed=101 ${TRIAL:+--set start="$TRIAL"}
prepare --network "$out/1/weights.safetensors"
train --run "$out/2" --set size=256 --set batch_size=16 --set steps=1350 --set learning_rate=0.0008 \
  --set checkpoint_every=80 --set validate_every=450 --set seed=102 --set start="$out/1/weights.safetensors"
train --run "$out/3" --set size=288 --set batch_size=14 --set steps=1700 --set learning_rate=0.0008 \
  --set checkpoint_every=80 --set validate_every=500 --set seed=103 --set start="$out/2/weights.safetensors"
# Half of the way from stage 2 to stage 3: better on selfies than either, and loses fewer people who are small.
python - "$out" <<'END'
import sys
from dataclasses import replace
from hpbnet.checkpoint import read_checkpoint, write_checkpoint

before, after = (read_checkpoint(f"{sys.argv[1]}/{stage}/weights.safetensors") for stage in (2, 3))
tensors = {
    name: (0.5 * before.tensors[name].float() + 0.5 * last.float()).to(last.dtype) for name, last in after.tensors.items()
}
write_checkpoint("src/hpbnet/weights/matting.safetensors", replace(after, tensors=tensors))
END
python tools/evaluate_matting.py "$DATA" "$out/prepared" --sheets "$out/sheets"
