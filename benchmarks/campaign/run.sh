#!/bin/bash
# Goes on with the campaign where the journals beside this file left it. Any number of times:
#
#     DATA=.../camvid WEIGHTS=.../mobilenetv2_100_coco_voc.safetensors OUT=/somewhere benchmarks/campaign/run.sh
#
# A journal is gone on with by the code that began it, so the commit named in COMMIT is checked out into $OUT/code and set up there. New
# scores come back with: python benchmarks/campaign/journals.py keep $OUT
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
: "${DATA:?the folder of CamVid}" "${WEIGHTS:?the backbone}" "${OUT:?a folder outside of the checkout}"
code=$OUT/code
mkdir -p "$OUT"
if [ ! -d "$code" ]; then
    git -C "$here" worktree add --detach "$code" "$(cat "$here/COMMIT")"
    make -C "$code" setup
fi
export OMP_NUM_THREADS=1 RAY_worker_niceness=${RAY_worker_niceness:-0}
cd "$code"
PYTHONPATH=. .venv/bin/python benchmarks/campaign/today.py "$OUT"
PYTHONPATH=. .venv/bin/python "$here/journals.py" restore "$OUT"

common=(experiment=camvid "dataset.root=$DATA" "output_dir=$OUT" trials=20 algorithm=listed
    algorithm.file=benchmarks/campaign/cells.json scheduler=none proxy.cell.filters=64)

study() { # NAME SETTINGS...: the twenty cells by the proxy task
    is_done "$OUT/$1/journal.jsonl" || again .venv/bin/dpc search "${common[@]}" "name=$1" "backbone.weights=$WEIGHTS" "${@:2}"
}
whole() { # LABEL SEED SETTINGS...: the twenty cells end to end
    is_done "$OUT/today-s0/$1/seed-0/journal.jsonl" || again .venv/bin/dpc rerank experiment=camvid "dataset.root=$DATA" "output_dir=$OUT" \
        "backbone.weights=$WEIGHTS" from=today-s0 top=20 "label=$1" "seed=$2" "${@:3}"
}
again() { # COMMAND...: up to three times, for Ray does not always start on a busy machine; not where a setting is wrong
    local code=0
    for _ in 1 2 3; do
        "$@" && return 0 || code=$?
        [ "$code" = 2 ] && break
        sleep 20
    done
    return "$code"
}
is_done() { [ -f "$1" ] && grep -q '"search_closed"' "$1"; }

small=(training.train_split=search_train training.val_split=search_val training.iterations=150 training.eval_every=50
    training.height_px=241 training.width_px=321)
for seed in 0 1; do
    whole "whole-s$seed" "$seed" training.eval_every=100
    for held in 0001TP 0016E5 0006R0; do study "one-$held-s$seed" "dataset.holdout_sequence=$held" "seed=$seed"; done
    whole "small-s$seed" "$seed" "${small[@]}"
done
for seed in 0 1; do
    for held in 0001TP 0016E5 0006R0; do
        tuned=$OUT/tuned-$held/retrain-ff8390a071b311fc/model.safetensors
        [ -f "$tuned" ] || again .venv/bin/dpc retrain experiment=camvid cell=aspp seed=0 "name=tuned-$held" "dataset.root=$DATA" "output_dir=$OUT" \
            "backbone.weights=$WEIGHTS" "dataset.holdout_sequence=$held" training.train_split=search_train training.val_split=search_val
        study "tuned-$held-s$seed" "dataset.holdout_sequence=$held" "seed=$seed" "backbone.weights=$tuned"
    done
    study "views-s$seed" dataset.folds=3 "seed=$seed" cache.views=4 'cache.scales=[0.75,1.0,1.25,1.5]'
    study "long-s$seed" dataset.folds=3 "seed=$seed" 'proxy.rungs=[400,800,1600]'
done
