#!/bin/bash
# Compares the networks on a graphics card with the processor, and times them there: under 3 minutes.
#
#     bash tools/device_check.sh [DEVICE]
#
# DEVICE: what PyTorch calls it; cuda unless given. Needs Python with torch for it, NumPy,
# safetensors and pydantic; the package itself need not be installed.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH}
timeout --signal=INT 175 python3 benchmarks/devices.py --device "${1:-cuda}"
