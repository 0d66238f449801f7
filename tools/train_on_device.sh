#!/bin/bash
# Continues the training of the default network on one graphics card, in under ten minutes.
#
#     python tools/pack_photographs.py $CMUDRN_DATA/clean runs/photographs   # once, before
#     bash tools/train_on_device.sh CHECKPOINT INTO [STEPS]
#
# CHECKPOINT: whose averaged weights to begin with, e.g. docs/runs/cmudrn-unet-gpu/weights.safetensors
# INTO:       folder for the new run: last.safetensors, metrics.jsonl, config.json
# STEPS:      of 64 patches of 160 x 160; 4,250 unless given: what an H200 and 8 cores take in
#             nine minutes with another run beside it
#
# Needs Python with torch for the card, NumPy, onnx, pydantic, pyvips with libvips, safetensors and typer;
# the package itself need not be installed. Reads the photographs from runs/photographs. A run that was stopped goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
checkpoint=$1 into=$2 steps=${3:-4250}
photos=${PHOTOGRAPHS:-runs/photographs}
seconds=${SECONDS_TO_SPEND:-580}
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH} OMP_NUM_THREADS=1
python3 -c 'import torch; assert torch.cuda.is_available(), "no graphics card"; print(torch.cuda.get_device_name())'
settings=(--set "data.clean=$photos/train" --set "data.also_clean=[\"$photos/train_urban\"]"
    --set "data.validation=$photos/val" --set "training.steps=$steps")
began=$(date +%s)
timeout --signal=INT "$seconds" python3 -m cmudrn train cmudrn-unet-gpu --into "$into" \
    --init-from "$checkpoint" "${settings[@]}" || echo "stopped after $(($(date +%s) - began)) s"
tail -n 1 "$into/metrics.jsonl"
