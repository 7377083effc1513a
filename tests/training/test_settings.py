from dataclasses import replace

import pytest

from data.system.errors import UserError
from training.settings import PAPER_SCALES, GpuSettings, Inference, OptimizerSettings, ProxySettings, RetrainSettings

PROXY = ProxySettings(rungs=(2, 4))
TRAINING = RetrainSettings(iterations=2, eval_every=2, height_px=49, width_px=33, batch_size=2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rungs", ()),
        ("rungs", (0, 2)),
        ("rungs", (2, 2)),
        ("rungs", (3, 2)),
        ("batch_size", 0),
        ("eval_batch_size", 0),
        ("crop_px", 16),
        ("crop_px", 1),
        ("crop_px", 48),
        ("precision", "float16"),
    ],
)
def test_a_setting_of_the_proxy_that_is_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=f"proxy.{field} must be"):
        replace(PROXY, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iterations", 0),
        ("eval_every", 0),
        ("batch_size", 1),
        ("height_px", 48),
        ("width_px", 32),
        ("scales", []),
        ("scales", [1.0, 0.0]),
        ("color_jitter", 1.0),
        ("precision", "float16"),
        ("accumulate", 0),
        ("accumulate", 2),
        ("auxiliary", -0.1),
        ("ema_decay", 1.0),
    ],
)
def test_a_setting_of_training_that_is_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=f"training.{field} must"):
        replace(TRAINING, **{field: value})


@pytest.mark.parametrize(
    ("budget", "rule"),
    [
        (PROXY, r"proxy.optimizer.warmup must be below the last of proxy.rungs=\[2, 4\], got 4"),
        (replace(TRAINING, iterations=4), "training.optimizer.warmup must be below training.iterations=4, got 4"),
    ],
    ids=["proxy", "training"],
)
def test_a_rate_that_would_rise_to_the_very_end_is_refused(budget, rule):
    replace(budget, optimizer=OptimizerSettings(warmup=3))
    with pytest.raises(ValueError, match=rule):
        replace(budget, optimizer=OptimizerSettings(warmup=4))


def test_a_process_may_have_one_image_of_a_batch_where_batch_norm_is_synchronised():
    replace(TRAINING, batch_size=4).check(16, 4)


def test_a_graph_recomputes_nothing():
    with pytest.raises(UserError, match=r"training.gpu.graph must be false with training.activation_checkpointing"):
        replace(TRAINING, gpu=GpuSettings(graph=True), activation_checkpointing=True).check(16)


def test_a_graph_holds_a_batch_in_one_part_and_one_process():
    of_graph = replace(TRAINING, batch_size=4, gpu=GpuSettings(graph=True))
    of_graph.check(16)
    for accumulate, processes in ((2, 1), (1, 2)):
        said = rf"training.gpu.graph must be false .* training.accumulate={accumulate}, data_parallel={processes}\."
        with pytest.raises(UserError, match=said):
            replace(of_graph, accumulate=accumulate).check(16, processes)


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "lion"), ("learning_rate", 0.0), ("learning_rate", -1.0), ("weight_decay", -0.1), ("bias_rate", -1.0)],
)
def test_a_setting_of_the_optimiser_that_is_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=f"optimizer.{field} must be .* got '?{value}"):
        OptimizerSettings(**{field: value})


@pytest.mark.parametrize(("field", "value"), [("scales", ()), ("scales", (1.0, 0.0)), ("tile_px", 63), ("overlap_px", 1025)])
def test_a_setting_of_inference_that_is_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=f"inference.{field} must be"):
        Inference(**{field: value})


@pytest.mark.parametrize(("iterations", "eval_every", "stops"), [(10, 4, (4, 8, 10)), (8, 4, (4, 8)), (3, 9, (3,))])
def test_the_last_validation_is_at_the_end(iterations, eval_every, stops):
    assert replace(TRAINING, iterations=iterations, eval_every=eval_every).stops == stops


def test_the_papers_scales_are_deeplabs():
    assert PAPER_SCALES == (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
