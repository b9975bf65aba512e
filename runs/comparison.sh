#!/usr/bin/env bash
# Table 2 here: the paper's five compared methods, U-Net, HPBNet and `learned`, all from nothing, on the same pools, with
# the same number of items; then three test sets, one table, and the paper's own rows below it.
#   DATA=... DPR=... METRICS=... [ITEMS=24000] [TEST=500] [SIZE=128] [POOL=6000] runs/comparison.sh OUT
# DATA holds portraits/ (MODEL_CARD.md); DPR is the published relighting network [ZHSJ19], or "builtin" for the built-in
# one; METRICS the networks that `hpbnet evaluate` measures with, SqueezeNet 1.1 among them. POOL is how many items are
# made of each recipe. OUT/pool and OUT/pool_val may be links to pools that exist.
# A dry run, minutes long: ITEMS=16 TEST=2 POOL=6 DPR=builtin METRICS= runs/comparison.sh OUT, with few portraits.
# What was done for each method, and how long it takes: docs/experiments/comparison.md.
set -euo pipefail
for name in DATA DPR; do : "${!name:?set $name, see the head of this script}"; done
out=$1
items=${ITEMS:-24000} test=${TEST:-500} size=${SIZE:-128} pool=${POOL:-6000} batch=8
runs=$(dirname "$0")
relighter="dpr:$DPR"
[ "$DPR" != builtin ] || relighter=builtin
light=()
[ ! -e "$DATA/lighting" ] || light=(--illuminants "$DATA/lighting/real_illuminant_rgb_11346x3.npy")
squeezenet=()
[ -z "${METRICS:-}" ] || squeezenet=(--set "squeezenet=$METRICS/squeezenet1_1.pth")

synthesize() { hpbnet synthesize "$DATA/portraits" --size 256 --relighter "$relighter" "${light[@]}" "$@"; }
[ -e "$out/pool" ] || {
  synthesize --pool --split train --recipe paper --count "$pool" --seed 105 -o "$out/pool/paper"
  synthesize --pool --split train --recipe relit --count "$pool" --seed 107 -o "$out/pool/relit"
}
[ -e "$out/pool_val" ] || synthesize --pool --split val --recipe paper --count "$((pool < 384 ? pool : 384))" --seed 900 \
  -o "$out/pool_val"

# Every method is tried at two learning rates, its own and three times that, with a tenth of the items each; the one
# with the smaller error on validation items is then trained from nothing with all of them.
#   method NAME TASK SIZE_FIELD RATE MORE_OPTIONS...
method() {
  local name=$1 task=$2 side=$3 rate=$4 best
  shift 4
  train() {  # RUN ITEMS RATE OPTIONS...
    local run=$1 count=$2 chosen=$3
    shift 3
    hpbnet train "$task" "$out/pool" --run "$run" "$@" --set "$side=$size" --set "batch_size=$batch" \
      --set "steps=$((count / batch))" --set "learning_rate=$chosen" --set "validation=$out/pool_val" --set threads=1
  }
  local third
  third=$(python -c "print(f'{3 * $rate:g}')")
  train "$out/trial/$name/1" "$((items / 10 < batch ? batch : items / 10))" "$rate" "$@"
  train "$out/trial/$name/3" "$((items / 10 < batch ? batch : items / 10))" "$third" "$@"
  best=$(python "$runs/comparison.py" rate "$out/trial/$name/1" "$out/trial/$name/3")
  echo "$name: learning_rate=$best"
  train "$out/$name" "$items" "$best" "$@"
}
ours=(--config "$runs/hpbnet_small.json")
method ht ht resolution 0.0001
method dovenet dovenet resolution 0.0002
method adfm adfm resolution 1.0
method idih idih resolution 0.001
method s2crnet s2crnet resolution 0.0002 "${squeezenet[@]}"
method unet hpbnet resolution 0.002 "${ours[@]}" --set generator=false
method hpbnet hpbnet resolution 0.002 "${ours[@]}"
method learned harmonizer size 0.001 --set warmup=100

methods=()
for name in ht dovenet adfm idih s2crnet unet hpbnet learned; do
  methods+=(--method "$name=$out/$name/weights.safetensors")
done
[ -z "${METRICS:-}" ] || methods+=(--weights "$METRICS")
for seed in 11 12 13; do
  synthesize --split val --count "$test" --recipe paper --seed "$seed" -o "$out/paper_$seed"
  hpbnet evaluate "$out/paper_$seed" "${methods[@]}" --painted -o "$out/table_$seed"
done
python "$runs/comparison.py" table "$out" "$out"/table_1[123] | tee "$out/comparison.md"
