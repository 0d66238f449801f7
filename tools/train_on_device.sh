#!/bin/bash
# Continues the training of the default network on one graphics card, in under ten minutes.
#
#     python tools/pack_photographs.py $CMUDRN_DATA/clean runs/photographs   # once, before
#     bash tools/train_on_device.sh CHECKPOINT INTO [STEPS]
#
# CHECKPOINT: whose averaged weights to begin with, e.g. docs/runs/cmudrn-unet-glare/weights.safetensors
# INTO:       beginning of the runs' folders: INTO-seed0 and INTO-seed1 get last.safetensors, metrics.jsonl, config.json
# STEPS:      of 64 patches of 160 x 160; 4,800 unless given: what an H200 and 16 cores take in
#             nine minutes for two seeds side by side
#
# PRESET, SEEDS and PHOTOGRAPHS in the environment name another preset, other seeds ("0 1") and another folder.
# Needs Python with torch for the card, NumPy, onnx, pydantic, pyvips with libvips, safetensors and typer;
# the package itself need not be installed. A run that was stopped goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
checkpoint=$1 into=$2 steps=${3:-4800}
photos=${PHOTOGRAPHS:-runs/photographs}
seconds=${SECONDS_TO_SPEND:-580}
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH} OMP_NUM_THREADS=1
python3 -c 'import torch; assert torch.cuda.is_available(), "no graphics card"; print(torch.cuda.get_device_name())'
# Without MPS two processes take turns on the card.
if ! pgrep -f nvidia-cuda-mps-control > /dev/null && nvidia-cuda-mps-control -d; then
    trap 'echo quit | nvidia-cuda-mps-control' EXIT
fi
settings=(--set "data.clean=$photos/train" --set "data.also_clean=[\"$photos/train_urban\"]"
    --set "data.validation=$photos/val" --set "training.steps=$steps")
train() {
    local status=0
    timeout --signal=INT "$seconds" python3 -m cmudrn train "${PRESET:-cmudrn-unet-glare}" --into "$into-seed$1" \
        --init-from "$checkpoint" "${settings[@]}" --set "training.seed=$1" || status=$?
    [ "$status" = 124 ] && echo "seed $1: stopped after $seconds s" && return
    return "$status"
}
failed=0 runs=()
for seed in ${SEEDS:-0 1}; do train "$seed" & runs+=($!); done
for run in "${runs[@]}"; do wait "$run" || failed=1; done
for seed in ${SEEDS:-0 1}; do
    tail -n 1 "$into-seed$seed/metrics.jsonl" 2> /dev/null || echo "seed $seed: no checkpoint"
done
exit "$failed"
