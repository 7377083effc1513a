"""The search that a good engineer would write in an afternoon, for ``bench_search.py`` to run beside ``dpc search``.

    python benchmarks/afternoon_search.py outputs/search.json

Ray Tune's ASHA, a function as trainable, a plain loop over torch's own operators, Ray's MLflow callback. It trains the same
cells on the same cached features, with the same seeds, batches, dropout and initial weights; nothing else is ours.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
import torch.nn.functional as F
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.schedulers import ASHAScheduler
from torch import Tensor, nn

from data.cache.feature_cache import FeatureCache
from models.depthwise import AtrousDepthwise
from models.dpc import classifier_on
from models.settings import CellSettings
from models.spec import CellSpec
from training.batches import samples_at


def main(job: dict[str, Any]) -> None:
    folder = Path(job["folder"])
    ray.init("local")  # not a cluster of somebody else on this machine
    results = tune.Tuner(
        tune.with_resources(tune.with_parameters(train_cell, job=job), {"cpu": 1}),
        param_space={"cell": tune.grid_search(list(job["trials"]))},
        tune_config=tune.TuneConfig(
            metric="miou",
            mode="max",
            scheduler=ASHAScheduler("iteration", max_t=job["rungs"][-1], grace_period=job["rungs"][0], reduction_factor=2),
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            verbose=0,
            callbacks=[MLflowLoggerCallback(f"sqlite:///{folder}/mlflow.db", experiment_name="dpc")],
        ),
    ).fit()
    scores = {result.config["cell"]: result.metrics_dataframe["miou"].tolist() for result in results}
    (folder / "scores.json").write_text(json.dumps(scores))


def train_cell(config: dict[str, Any], job: dict[str, Any]) -> None:
    trial, rungs = job["trials"][config["cell"]], job["rungs"]
    train, val = FeatureCache(job["train"]), FeatureCache(job["val"])
    features_NCHW, labels_NHW = (torch.from_numpy(part) for part in train.batch(range(len(train))))
    torch.manual_seed(trial["seed"])
    cell, settings = CellSpec.from_json(trial["cell"]), CellSettings(**job["cell"])
    model = with_plain_depthwise(classifier_on(cell, train.channels, train.info.num_classes, settings))
    optimizer = torch.optim.AdamW(model.parameters(), lr=job["learning_rate"], weight_decay=job["weight_decay"])
    scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=rungs[-1], power=job["power"])
    for iteration in range(rungs[-1]):
        if iteration in {0, *rungs}:  # as the proxy task does, for the same dropout
            torch.manual_seed(np.random.SeedSequence([trial["seed"], iteration]).generate_state(1)[0])
        samples = samples_at(iteration * job["batch_size"], job["batch_size"], len(train), trial["seed"])
        logits_BKhw = model(features_NCHW[samples].float())
        labels_BHW = labels_NHW[samples].long()
        loss = F.cross_entropy(upsampled(logits_BKhw, labels_BHW), labels_BHW, ignore_index=train.info.ignore_label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if iteration + 1 in rungs:
            tune.report({"iteration": iteration + 1, "miou": validate(model, val), "loss": loss.item()})


@torch.inference_mode()
def validate(model: nn.Module, cache: FeatureCache) -> float:
    model.eval()
    classes = cache.info.num_classes
    counts_KK = torch.zeros(classes, classes, dtype=torch.int64)
    for start in range(0, len(cache), 8):
        features, labels = cache.batch(range(start, min(start + 8, len(cache))))
        labels_BHW = torch.from_numpy(labels).long()
        predicted_BHW = upsampled(model(torch.from_numpy(features).float()), labels_BHW).argmax(1)
        is_valid = labels_BHW != cache.info.ignore_label
        pairs = classes * labels_BHW[is_valid] + predicted_BHW[is_valid]
        counts_KK += torch.bincount(pairs, minlength=classes**2).view(classes, classes)
    model.train()
    hits_K = counts_KK.diag()
    return (hits_K / (counts_KK.sum(0) + counts_KK.sum(1) - hits_K)).nanmean().item()


def upsampled(logits_BKhw: Tensor, labels_BHW: Tensor) -> Tensor:
    return F.interpolate(logits_BKhw, size=labels_BHW.shape[-2:], mode="bilinear", align_corners=True)


def with_plain_depthwise(model: nn.Module) -> nn.Module:
    """The same weights, but torch's own depthwise convolution."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, AtrousDepthwise):
                channels, rate = child.in_channels, child.dilation
                plain = nn.Conv2d(channels, channels, 3, padding=rate, dilation=rate, groups=channels, bias=False)
                plain.weight = child.weight
                setattr(module, name, plain)
    return model


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
