#!/usr/bin/env bash
# Everything that needs a GPU, in under ten minutes: bash benchmarks/gpu.sh [OUT_DIR] [--device cpu --small]
# Training what waits for a GPU, in nine minutes a call, going on where the last one stopped:
#     PICTURES=DIR bash benchmarks/gpu.sh OUT_DIR --training
# Writes OUT_DIR/gpu.json and gpu.log (OUT_DIR: by default $OUT, else benchmarks/results). See benchmarks/README.md.
# Exit code: 0 all well, 1 a check or a part failed, 2 no GPU.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
out=${OUT:-$root/benchmarks/results}
if [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; then
    out=$1
    shift
fi
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 1
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root" || exit 1
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1

# Beside the machine's own packages, never over them: --no-deps keeps its torch.
install_wheels() {
    compgen -G "benchmarks/wheels/*.whl" > /dev/null || return 0
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
        --target "$work/site" benchmarks/wheels/*.whl && return 0
    echo "benchmarks: the carried wheels could not be installed; going on without them"
}

section() { # name, seconds, options; killed if it goes on for long after those seconds
    timeout -k 5 $(($2 + 30)) "$python" -m benchmarks.gpu "$1" --json "$out/gpu.json" --folder "$work" \
        --seconds "$2" "${@:3}"
    local code=$?
    [ $code -ne 124 ] || echo "benchmarks: section $1 was stopped: it went on for too long"
    return $code
}

gpu_tests() { # pytest's 5 says that there are none
    STREAMMATTE_REQUIRE_GPU=1 timeout -k 5 60 "$python" -m pytest -q -m gpu -p no:cacheprovider tests
    local code=$?
    [ $code -eq 5 ] || return $code
}

training() { # a longer run of the bundled network; state and checkpoint stay in OUT_DIR/training
    install_wheels
    export PYTHONPATH=$work/site:$PYTHONPATH
    local resume=() pictures=${PICTURES:?names a folder with people, stamps, wallpapers and panoramas in it}
    [ ! -f "$out/training/state.pt" ] || resume=(--resume)
    timeout --signal=TERM -k 30 $((9 * 60)) "$python" -m training --device cuda --bf16 --cores 1 \
        --from streammatte/models/birefnet-nano.safetensors --minutes 27 --batch 64 --rate 1e-3 \
        --sizes 192:0.3,288:0.7 --workers "$(($(nproc) - 1))" --every 2 \
        --people "$pictures/people" --stamps "$pictures/stamps" --wallpapers "$pictures/wallpapers" \
        --panoramas "$pictures/panoramas" --cutouts samples/cutouts --out "$out/training" "${resume[@]}"
}

everything() {
    rm -f "$out/gpu.json"
    install_wheels
    export PYTHONPATH=$work/site:$PYTHONPATH
    local status=0
    section correctness 90 "$@" || status=$?
    [ $status -ne 2 ] || return 2
    section speed 80 "$@" || status=1
    section graphs 70 "$@" || status=1
    section compiled 70 "$@" || status=1
    section sdmatte 80 "$@" || status=1
    section footage 60 "$@" || status=1
    section trace 30 "$@" || status=1
    section live 50 "$@" || status=1
    case " $* " in
        *" cpu "*) ;;
        *) gpu_tests || status=1 ;;
    esac
    [ $status -eq 0 ] || echo "benchmarks: something failed; see above, and every \"error\" in gpu.json"
    return $((status > 0))
}

case " $* " in
    *" --training "*) training 2>&1 | tee "$out/training.log" ;;
    *) everything "$@" 2>&1 | tee "$out/gpu.log" ;;
esac
exit "${PIPESTATUS[0]}"
