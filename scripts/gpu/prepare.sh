# Sourced by the scripts beside this one; expects $root, the top folder of the project.
# Unpacks the kit, if there is one, and has $python find it. Needs no network and no compiler.
# shellcheck shell=sh
: "${root:?}"
python=${PYTHON:-python3}
GPU_WORK=${GPU_WORK:-${TMPDIR:-/tmp}/wsserver-gpu}
mkdir -p "$GPU_WORK" || exit 1

PYTHONPATH=$root:$root/protocol:$root/clients/python:$root/clients/terminal
if [ -e "$root/build/gpu-kit/kit.json" ]; then
    (cd "$root" && "$python" -m scripts.gpu.unpack "$GPU_WORK/site") || exit 1
    PYTHONPATH=$PYTHONPATH:$GPU_WORK/site
fi
# Where an engine compiles its own kernels, they outlive the call.
TORCH_EXTENSIONS_DIR=$GPU_WORK/extensions
export GPU_WORK PYTHONPATH TORCH_EXTENSIONS_DIR
