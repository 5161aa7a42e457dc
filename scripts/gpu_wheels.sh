#!/usr/bin/env bash
# Wheels for a GPU machine without a network that has torch, numpy and the usual scientific packages (Linux, x86-64).
#
#     scripts/gpu_wheels.sh              where there is a network: fills .whl/
#     scripts/gpu_wheels.sh --install    on the GPU machine: unpacks them into .whl/site; `make gpu-check` does it by itself
#
# Further packages to collect are named as arguments; PYTHON_VERSION is that of the GPU machine.
set -euo pipefail
cd "$(dirname "$0")/.."
version=${PYTHON_VERSION:-3.12}

if [ "${1:-}" = --install ]; then
    ls .whl/*.whl >/dev/null 2>&1 || exit 0 # everything is installed already
    python3 -m pip install -q --no-index --no-deps --no-compile --upgrade --target .whl/site .whl/*.whl
    exit
fi

packages=(appdirs asttokens decorator defusedxml diffusers dill docstring_parser embreex executing filelock fpsample
    gsplat==1.4.0 imageio-ffmpeg "ipython<9" jaxtyping mediapy msgspec multiprocess nerfacc==0.5.2 nerfstudio==1.1.5
    pathos pexpect pox ppft prompt_toolkit ptyprocess pure_eval pyquaternion pytest pytorch-msssim rawpy splines
    stack_data tensorly traitlets trimesh tyro viser==0.2.7 wcwidth websockets==12.0 "$@")
platforms=()
for tag in 2_34 2_28 2_27 2_17; do platforms+=(--platform "manylinux_${tag}_x86_64"); done
mkdir -p .whl
python3 -m pip wheel -q --no-deps -w .whl .
for package in "${packages[@]}"; do
    python3 -m pip download -q --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
        "${platforms[@]}" --platform manylinux2014_x86_64 --platform any -d .whl "$package" ||
        echo "$package: no wheel found" >&2
done
du -sh .whl
