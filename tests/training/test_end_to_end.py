import json
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import count
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import nn

from data.datasets.contract import DatasetInfo, Sample, palette_of
from data.datasets.shapes import Shapes
from data.system.errors import UserError
from models import tensor_file
from models.backbones import build_backbone, weights_digest
from models.segmenter import CoarseLogits, Segmenter
from models.settings import BackboneSettings, CellSettings
from models.spec import AtrousConv, Branch, CellSpec, Conv1x1
from search.running.task import NodeDrainingError
from training.checkpoint import scores_in
from training.end_to_end import STATE_FILE, EndToEndTask, Hooks, retrain
from training.evaluation import evaluate
from training.loss_settings import LossSettings
from training.losses import segmentation_loss
from training.origin import check_origin, origin_of
from training.settings import GpuSettings, OptimizerSettings, RetrainSettings
from training.step import update
from training.trained_model import TrainedModel, _set_momentum
from training.workers import Alone

CELL = CellSpec((Branch(-1, AtrousConv((1, 2))), Branch(0, Conv1x1())))
SHAPES = Shapes(num_train=4, num_val=2)
LOCAL = BackboneSettings("local")
MEAN, STD = (0.2, 0.4, 0.6), (0.5, 0.25, 0.5)
INFO = DatasetInfo("toy", ("a", "b", "c"), palette_of(3))


pytestmark = pytest.mark.usefixtures("one_thread")


class ToyDataset:
    """Tiny images whose labels are painted in their colour; every split is the same one."""

    info = INFO

    def __init__(self, is_labelled=True):
        self.is_labelled, self.asked = is_labelled, []

    def split(self, name):
        self.asked.append(name)
        return self

    def __len__(self):
        return 4

    def __getitem__(self, index):
        labels_HW = np.random.default_rng(index).integers(0, 3, (9, 9), np.uint8).repeat(6, 0).repeat(6, 1)
        image_HWC = np.stack([labels_HW * 100] * 3, axis=-1)
        return Sample(str(index), image_HWC, labels_HW if self.is_labelled else np.full_like(labels_HW, 255))

    def fingerprint(self):
        return "toy"


def settings(iterations=2, **changes):
    return RetrainSettings(
        iterations,
        **{
            "eval_every": iterations,
            "height_px": 49,
            "width_px": 33,
            "batch_size": 2,
            "cell": CellSettings(filters=8),
            "optimizer": OptimizerSettings("adamw", 0.01),
            **changes,
        },
    )


def task(dataset=None, backbone=LOCAL, data=None, **changes):
    return EndToEndTask(dataset or ToyDataset(), backbone, settings(**changes), data)


def trained(folder, dataset=None, backbone=LOCAL, seed=0, **changes):
    """What retraining yields, and the model that it leaves."""
    validations = list(retrain(task(dataset, backbone, **changes), CELL, seed, folder))
    return validations, Segmenter.from_pretrained(folder)


def scores_of(validations):
    """Without the clock."""
    return [(validation.iteration, validation.loss, validation.scores) for validation in validations]


def norms(model):
    return [module for module in model.encoder.modules() if isinstance(module, nn.BatchNorm2d)]


# Training


def test_a_backbone_whose_rate_is_0_stays_as_it_was_while_the_rest_learns(tmp_path):
    frozen = {"backbone_rate": 0.0, "eval_every": 9, "height_px": 33}
    models = [trained(tmp_path / str(number), iterations=number, **frozen)[1] for number in (1, 2)]
    first, second = (dict(model.named_parameters()) for model in models)
    moved = {name for name in first if not torch.equal(first[name], second[name])}
    assert moved
    assert not any(name.startswith("encoder.") for name in moved)


@pytest.mark.parametrize(
    ("decoder", "backbone", "has_decoder"),
    [
        (None, "tu-xception71", True),
        (None, "tu-mobilenetv2_100", False),
        (False, "tu-xception71", False),
        (True, "local", True),
    ],
)
def test_a_decoder_is_as_deeplabs_checkpoints_have_it_unless_it_is_said(decoder, backbone, has_decoder):
    assert settings(decoder=decoder).has_decoder(backbone) is has_decoder


def test_the_backbones_running_statistics_have_a_momentum_of_their_own():
    backbone = build_backbone(BackboneSettings("tu-mobilenetv2_100"))
    _set_momentum(backbone, 0.0003)
    assert {module.momentum for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)} == {0.0003}


@pytest.mark.parametrize(
    ("momentum", "backbone", "expected"),
    [
        (None, "tu-xception71", 0.0003),
        (None, "tu-mobilenetv2_100", 0.003),
        (None, "resnet50", 0.05),
        (0.2, "tu-xception71", 0.2),
    ],
)
def test_their_momentum_is_deeplabs_for_the_backbone_unless_it_is_said(momentum, backbone, expected):
    assert settings(backbone_bn_momentum=momentum).backbone_momentum(backbone) == expected


@pytest.mark.parametrize(("device", "by_channels"), [("cuda", True), ("cuda", False), ("cpu", True)])
def test_a_gpu_has_weights_with_channels_last_before_a_state_is_loaded(device, by_channels, monkeypatch):
    class There(Alone):
        """As a process that has the device."""

        @property
        def device(self):
            return torch.device(device)

    monkeypatch.setattr(CoarseLogits, "to", lambda model, *device, **layout: nn.Module.to(model, **layout) if layout else model)
    asked = settings(gpu=GpuSettings(channels_last=by_channels), ema_decay=0.5)
    model = TrainedModel(CELL, INFO, LOCAL, asked, There())
    for part in (model.model, model.scored):
        convolution = next(module for module in part.modules() if isinstance(module, nn.Conv2d))
        assert convolution.weight.is_contiguous(memory_format=torch.channels_last) == (by_channels and device == "cuda")


def test_a_training_on_the_hard_half_of_the_pixels_begins_with_a_larger_loss(tmp_path):
    losses = [
        trained(tmp_path / str(share), iterations=1, height_px=33, loss=LossSettings("inverse_log", share))[0][0].loss
        for share in (1.0, 0.5)
    ]
    assert losses[1] > losses[0]


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.5}], ids=["", "averaged"])
def test_an_auxiliary_head_adds_its_loss_to_the_training_and_nothing_to_the_model(tmp_path, changes):
    (without,), plain = trained(tmp_path / "without", iterations=1, height_px=33, **changes)
    (with_it,), model = trained(tmp_path / "with", iterations=1, height_px=33, auxiliary=0.4, **changes)
    assert with_it.loss == pytest.approx(1.4 * without.loss, rel=0.2)  # untrained heads are alike
    assert model.state_dict().keys() == plain.state_dict().keys()
    stages = [one.state_dict()["encoder.stages.2.weight"] for one in (plain, model)]
    assert not torch.equal(*stages)


def test_a_training_with_an_auxiliary_head_goes_on_with_it(tmp_path):
    whole, _ = trained(tmp_path / "whole", iterations=2, eval_every=1, auxiliary=0.4)
    same = task(eval_every=1, auxiliary=0.4)
    first = same.validations(CELL, 0, tmp_path / "cut.safetensors")
    next(first)
    again = list(same.validations(CELL, 0, tmp_path / "cut.safetensors"))
    assert scores_of(again) == scores_of(whole)
    assert weights_digest(again[-1].model) == weights_digest(whole[-1].model)


def test_class_weights_that_are_not_one_a_class_are_refused(tmp_path):
    with pytest.raises(
        UserError, match="training.loss.class_weights: must be one weight for each of the 3 classes of toy, got 2"
    ):
        trained(tmp_path, loss=LossSettings([1.0, 2.0]))


@pytest.mark.parametrize("decoder", [False, True], ids=["plain", "decoder"])
def test_the_model_that_is_left_scores_what_was_written_beside_it(decoder, tmp_path):
    validations, model = trained(tmp_path, SHAPES, iterations=3, eval_every=2, height_px=97, width_px=129, decoder=decoder)
    assert [validation.iteration for validation in validations] == [2, 3]
    record = json.loads((tmp_path / "scores.json").read_text())
    scores = evaluate(model, SHAPES.split("val"), SHAPES.info)
    assert asdict(scores) == {name: record[name] for name in ("miou", "pixel_accuracy", "iou")}
    best = max(validations, key=lambda validation: validation.scores.miou)
    assert (record["iteration"], record["miou"]) == (best.iteration, best.scores.miou)
    assert record["digest"] == CELL.digest == model.cell.spec.digest
    assert (model.decoder is not None) == decoder
    assert model.class_names == list(SHAPES.info.class_names)


def test_the_best_model_is_kept_when_a_later_one_is_worse(tmp_path, monkeypatch):
    scripted = iter([0.3, 0.5, 0.4])
    real = evaluate

    def scored(*arguments, **named):
        scores = real(*arguments, **named)
        object.__setattr__(scores, "miou", next(scripted))
        return scores

    monkeypatch.setattr("training.end_to_end.evaluate", scored)
    validations, _ = trained(tmp_path, iterations=3, eval_every=1)
    assert [validation.is_best for validation in validations] == [True, True, False]
    assert json.loads((tmp_path / "scores.json").read_text())["iteration"] == 2


def test_it_learns(tmp_path):
    validations, _ = trained(tmp_path, iterations=60, eval_every=30, scales=[1.0], decoder=True)
    assert validations[-1].loss < 0.7 * validations[0].loss
    assert validations[-1].scores.miou > validations[0].scores.miou > 0.1


@pytest.mark.parametrize("full_at", [0, 1, 2], ids=["first model", "first state", "second model"])
def test_a_training_on_a_full_disk_ends_and_goes_on_to_the_same_bits_once_there_is_room(tmp_path, monkeypatch, full_at):
    saved, real = count(), tensor_file.save_file

    def save_file(tensors, partial, metadata):
        if next(saved) == full_at:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        real(tensors, partial, metadata)

    monkeypatch.setattr(tensor_file, "save_file", save_file)
    with pytest.raises(OSError, match="No space left on device: '.*safetensors'"):
        trained(tmp_path / "cut", iterations=3, eval_every=1)
    resumed, model = trained(tmp_path / "cut", iterations=3, eval_every=1)
    monkeypatch.undo()
    whole, expected = trained(tmp_path / "whole", iterations=3, eval_every=1)
    assert scores_of(resumed) == scores_of(whole)
    assert weights_digest(model) == weights_digest(expected)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path):
    runs = [trained(tmp_path / str(number), seed=seed) for number, seed in enumerate((0, 0, 1))]
    digests = [weights_digest(model) for _, model in runs]
    assert digests[0] == digests[1] != digests[2]
    assert scores_of(runs[0][0]) == scores_of(runs[1][0])


def test_worker_processes_load_the_same_samples(tmp_path):
    alone, helped = (trained(tmp_path / str(workers), workers=workers)[1] for workers in (0, 1))
    assert weights_digest(alone) == weights_digest(helped)


def test_a_training_keeps_the_memory_that_it_frees(monkeypatch):
    kept = MagicMock()
    monkeypatch.setattr("training.end_to_end.keep_freed_memory", kept)
    next(task().validations(CELL, 0))
    kept.assert_called_once_with()


def test_progress_tells_the_validation_images(tmp_path):
    told = []
    list(retrain(task(), CELL, 0, tmp_path, hooks=Hooks(validated=lambda done, total: told.append((done, total)))))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_training_loop_is_told_which_worker_it_runs_in(monkeypatch):
    told = []
    monkeypatch.setattr("training.end_to_end.train", lambda *_, rank, **__: told.append(rank) or iter(()))
    for rank in (0, 1):
        list(task().validations(CELL, 0, workers=Alone(rank=rank)))
    assert told == [0, 1]


def test_the_backbone_starts_from_its_own_seed(tmp_path):
    slow = OptimizerSettings("sgd", 1e-12)
    _, model = trained(tmp_path, backbone=BackboneSettings("local", seed=5), optimizer=slow)
    expected = build_backbone(BackboneSettings("local", seed=5))
    torch.testing.assert_close(model.encoder.state_dict(), expected.state_dict())


def test_a_validation_split_without_labels_is_refused_and_no_model_is_left(tmp_path):
    with pytest.raises(ValueError, match="toy: no pixel has a class; such a split can be predicted, not scored"):
        trained(tmp_path, ToyDataset(is_labelled=False))
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_another_number_of_classes_is_not_evaluated(tmp_path):
    _, model = trained(tmp_path)
    with pytest.raises(ValueError, match="the model has 3 classes, shapes has 7"):
        evaluate(model, SHAPES.split("val"), SHAPES.info)


# The loss


@dataclass(frozen=True)
class Watching(Alone):
    """Notes the sizes of what the model gives that the processes of a data-parallel training share."""

    sizes: list = field(default_factory=list)

    def wrap(self, model):
        model.register_forward_hook(lambda module, inputs, output: self.sizes.append(tuple(output.shape[-2:])))
        return model


@pytest.mark.parametrize(("decoder", "size"), [(False, (4, 3)), (True, (13, 9))], ids=["plain", "decoder"])
def test_a_step_takes_logits_before_their_last_resize(decoder, size):
    workers = Watching()
    list(task(decoder=decoder).validations(CELL, 0, workers=workers))
    assert workers.sizes == [size, size]


@pytest.mark.parametrize("decoder", [False, True], ids=["plain", "decoder"])
def test_loss_and_gradients_of_a_step_are_those_of_plain_pytorch(decoder):
    torch.manual_seed(0)
    model = Segmenter(CELL, 3, LOCAL, CellSettings(filters=8, dropout=0.0), decoder).double()
    images_BCHW, labels_BHW = torch.randn(2, 3, 49, 33).double(), torch.randint(0, 4, (2, 49, 33), dtype=torch.uint8)
    expected = F.cross_entropy(model(images_BCHW), labels_BHW.long(), ignore_index=3)
    loss = segmentation_loss(CoarseLogits(model)(images_BCHW), labels_BHW, ignore_label=3)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    weights = list(model.parameters())
    for found, exact in zip(torch.autograd.grad(loss, weights), torch.autograd.grad(expected, weights), strict=True):
        assert (found - exact).norm() <= 1e-5 * exact.norm()


# Batch norm


@pytest.mark.parametrize("freeze", [True, False], ids=["frozen", "free"])
def test_the_backbones_batch_norm_keeps_its_statistics_exactly_when_it_is_frozen(freeze, tmp_path):
    backbone = BackboneSettings("tu-mobilenetv2_100")
    _, model = trained(tmp_path, backbone=backbone, freeze_batch_norm=freeze)
    for norm in norms(model):
        is_as_it_was = not norm.running_mean.any() and (norm.running_var == 1).all() and norm.num_batches_tracked == 0
        assert is_as_it_was == freeze
    cell_norms = [module for module in model.cell.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.num_batches_tracked == 2 for norm in cell_norms)
    start = build_backbone(backbone).state_dict()
    trainable = [name for name, _ in model.encoder.named_parameters()]
    assert sum(not torch.equal(model.encoder.state_dict()[name], start[name]) for name in trainable) > 100


@pytest.mark.parametrize("batches", [1, 4])
def test_statistics_are_the_datas_by_fewer_batches_than_the_warm_up_has_or_by_more_than_the_training(batches, tmp_path):
    warmed = OptimizerSettings("adamw", 0.01, warmup=2)
    _, model = trained(tmp_path, iterations=3, height_px=33, optimizer=warmed, recalibrate=batches)
    assert all(norm.running_mean.any() for norm in norms(model))


@pytest.mark.parametrize("splits", [("train", "val"), ("search_train", "search_val")])
def test_it_trains_on_one_split_and_is_scored_on_another(splits, tmp_path):
    dataset = ToyDataset()
    changes = {} if splits == ("train", "val") else dict(zip(("train_split", "val_split"), splits, strict=True))
    trained(tmp_path, dataset, **changes)
    assert tuple(dataset.asked) == splits


def test_a_model_is_not_scored_on_what_it_was_trained_on():
    with pytest.raises(ValueError, match="val_split must be another one than training.train_split, got 'val' for both"):
        settings(train_split="val")


# Resuming


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.5}, {"accumulate": 2, "batch_size": 4}], ids=str)
@pytest.mark.parametrize("stops_done", [1, 2])
def test_a_training_that_was_interrupted_takes_the_same_steps(stops_done, changes, tmp_path):
    options = {"iterations": 6, "eval_every": 2, **changes}
    expected, model = trained(tmp_path / "whole", **options)
    interrupted = retrain(task(**options), CELL, 0, tmp_path / "cut")
    for _ in range(stops_done):
        next(interrupted)
    interrupted.close()
    torch.manual_seed(99)
    resumed, same = trained(tmp_path / "cut", **options)
    assert scores_of(resumed) == scores_of(expected)
    assert [validation.model is None for validation in resumed] == [True] * stops_done + [False] * (3 - stops_done)
    assert weights_digest(model) == weights_digest(same)
    assert (tmp_path / "whole" / "scores.json").read_text() == (tmp_path / "cut" / "scores.json").read_text()


def test_a_state_cut_at_any_byte_is_no_state_and_training_starts_again(tmp_path):
    expected, _ = trained(tmp_path / "whole", iterations=4, eval_every=2)
    state = (tmp_path / "whole" / STATE_FILE).read_bytes()
    for kept in (0, 7, 8, 200, len(state) // 2, len(state) - 1):
        folder = tmp_path / str(kept)
        folder.mkdir()
        (folder / STATE_FILE).write_bytes(state[:kept])
        resumed, _ = trained(folder, iterations=4, eval_every=2)
        assert scores_of(resumed) == scores_of(expected)
        assert all(validation.model is not None for validation in resumed)


def test_a_trial_whose_node_drains_keeps_every_score_that_it_has_told(tmp_path):
    for told in (1, 2):
        scores, checkpoint = task(iterations=2, eval_every=1)(CELL, 0, tmp_path / str(told)), tmp_path / str(told)
        for _ in range(told):
            next(scores)
        with pytest.raises(NodeDrainingError):
            scores.throw(NodeDrainingError("soon"))
        assert scores_in(checkpoint) == told


def test_a_state_that_cannot_be_written_costs_no_score(tmp_path):
    scores = task()(CELL, 0, tmp_path / "a file" / "state")
    (tmp_path / "a file").touch()
    assert next(scores).rung == 1
    with pytest.raises(FileExistsError):
        next(scores)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"iterations": 3, "eval_every": 2}, "training.iterations was 2 and is 3"),
        ({"cell": CellSettings(filters=4)}, "training.cell.filters was 8 and is 4"),
    ],
    ids=["longer", "smaller"],
)
def test_a_state_of_other_settings_is_refused_with_the_difference(changes, difference, tmp_path):
    trained(tmp_path)
    with pytest.raises(UserError) as error:
        trained(tmp_path, **changes)
    begin = f"{tmp_path / STATE_FILE}: the state of a training with other settings or data"
    assert str(error.value) == f"{begin} ({difference}). Delete it to start again."


@pytest.mark.parametrize("changes", [{"workers": 1}, {"activation_checkpointing": True}], ids=str)
def test_a_training_goes_on_with_other_settings_where_they_change_no_result(changes, tmp_path):
    first, _ = trained(tmp_path)
    assert scores_of(trained(tmp_path, **changes)[0]) == scores_of(first)


def test_a_state_from_before_a_setting_was_there_goes_on_with_its_default_alone(tmp_path):
    path = tmp_path / STATE_FILE
    first, _ = trained(tmp_path)
    tensors, metadata = tensor_file.read_tensors(path)
    told = json.loads(metadata["json"])
    for setting in ("gpu", "augment"):
        del told["origin"]["settings"][setting]
    tensor_file.write_tensors(path, tensors, {"json": json.dumps(told)})
    assert scores_of(trained(tmp_path)[0]) == scores_of(first)
    with pytest.raises(UserError, match="training.gpu.graph was False and is True"):
        trained(tmp_path, gpu=GpuSettings(graph=True))


def test_a_state_of_other_data_is_refused_and_one_from_before_data_was_told_goes_on(tmp_path):
    told, other = task(data={"train": "a1", "val": "b2"}), task(data={"train": "a1", "val": "b3"})
    first = list(retrain(task(), CELL, 0, tmp_path))
    assert scores_of(retrain(told, CELL, 0, tmp_path)) == scores_of(first)
    list(retrain(told, CELL, 0, tmp_path / "told"))
    with pytest.raises(UserError, match=r"other settings or data \(data.val was b2 and is b3\)"):
        list(retrain(other, CELL, 0, tmp_path / "told"))


def test_a_state_goes_on_with_the_weights_that_it_began_with_wherever_they_lie(tmp_path):
    was, moved, other = (
        origin_of(CELL, 0, task().settings, BackboneSettings("local", weights=path), {"weights": digest})
        for path, digest in (("/a/w", "1f"), ("/b/w", "1f"), ("/a/w", "2f"))
    )
    check_origin(tmp_path, was, moved)
    with pytest.raises(UserError, match=r"\(data.weights was 1f and is 2f\)"):
        check_origin(tmp_path, was, other)
    with pytest.raises(UserError, match="backbone.weights was /a/w and is /b/w"):  # from before the digest was told
        check_origin(tmp_path, {**was, "data": {}}, moved)


# Accumulation and average


class OneImage(ToyDataset):
    """The same one over and over, of the crop's own size: every part of a batch has the whole batch's statistics."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        labels_HW = np.random.default_rng(0).integers(0, 3, (13, 13), np.uint8).repeat(5, 0).repeat(5, 1)
        return Sample("one", np.stack([labels_HW * 100] * 3, axis=-1), labels_HW)


STILL = {"scales": [1.0], "flip": False, "height_px": 65, "width_px": 65, "cell": CellSettings(filters=8, dropout=0.0)}


def test_parts_of_equal_images_add_up_to_the_whole_batch(tmp_path):
    losses = []
    for parts in (1, 2):
        validations, _ = trained(
            tmp_path / str(parts), OneImage(), iterations=4, eval_every=1, batch_size=4, accumulate=parts, **STILL
        )
        losses.append([validation.loss for validation in validations])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_batch_that_gives_fewer_parts_than_asked_for_is_weighed_by_the_parts_there_are():
    model = nn.Conv2d(3, 2, 1)
    inputs, labels = torch.ones(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.uint8)
    gradients = []
    for parts in (1, 4):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        update(model, optimizer, partial(segmentation_loss, ignore_label=9), inputs, labels, "float32", parts)
        gradients.append(model.weight.grad.clone())
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("changes", "processes", "complaint"),
    [
        ({"batch_size": 16, "accumulate": 4}, 8, "got 4 parts of 16 / 8 = 2"),
        ({"batch_size": 8, "sync_batch_norm": False}, 8, "got 1 parts of 8 / 8 = 1"),
        ({"batch_size": 9}, 2, "training.batch_size must be a multiple of data_parallel=2, got 9"),
        (
            {"cell": CellSettings(filters=8, output_stride=8)},
            1,
            "training.cell.output_stride: must be the backbone's, 16, got 8",
        ),
    ],
)
def test_shares_that_do_not_divide_and_cells_of_another_stride_are_refused(changes, processes, complaint):
    with pytest.raises(ValueError, match=complaint):
        settings(**changes).check(16, processes)


class OnlyBackground(OneImage):
    def __getitem__(self, index):
        return replace(super().__getitem__(index), labels_HW=np.zeros((65, 65), np.uint8))


def test_a_score_on_labels_of_a_single_class_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is the only class that is labelled, so every score would be 100 %"):
        trained(tmp_path, OnlyBackground(), iterations=1, eval_every=1, **STILL)


def test_the_average_follows_the_weights_and_is_what_is_saved(tmp_path):
    _, model = trained(tmp_path / "plain", iterations=3)
    _, averaged = trained(tmp_path / "averaged", iterations=3, ema_decay=0.999999)
    start = build_backbone(LOCAL).state_dict()
    name = next(name for name, _ in averaged.encoder.named_parameters())
    moved = (model.encoder.state_dict()[name] - start[name]).norm()
    assert (averaged.encoder.state_dict()[name] - start[name]).norm() < moved


def test_training_in_bfloat16_learns(tmp_path):
    validations, _ = trained(tmp_path, iterations=60, eval_every=30, scales=[1.0], decoder=True, precision="bfloat16")
    assert validations[-1].loss < 0.8 * validations[0].loss
