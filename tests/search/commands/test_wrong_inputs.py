"""Wrong inputs of every command, in one process: exit code 2, one line, and the line names the setting."""

import sys
from contextlib import suppress
from importlib import import_module
from itertools import takewhile
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from PIL import Image

from data.system.errors import UserError
from search.cli import main
from search.config import Config, load
from search.journal.events import SearchOpened
from search.journal.folder import JOURNAL
from search.journal.journal import Journal
from search.typed_values import absolute_path, typed
from tests.search.commands.composed_once import composed_once
from tests.search.commands.wrong_values import settings_in_conf, wrong_values
from tests.search.journal.studies import journalled, plan

COMMANDS = {
    "search": "output_dir={out}",
    "search scheduler": "output_dir={out} scheduler=median",
    "search algorithm tpe": "output_dir={out} algorithm=tpe",
    "search algorithm evolution": "output_dir={out} algorithm=evolution",
    "search algorithm local_search": "output_dir={out} algorithm=local_search",
    "search algorithm pareto": "output_dir={out} algorithm=pareto",
    "search algorithm predictor": "output_dir={out} algorithm=predictor",
    "search dataset camvid": "output_dir={out} dataset=camvid dataset.root={folder}",
    "search dataset cityscapes": "output_dir={out} dataset=cityscapes dataset.root={folder}",
    "search dataset folder": "output_dir={out} dataset=folder dataset.root={folder} dataset.classes=[cat,dog]",
    "search dataset person_part": "output_dir={out} dataset=person_part dataset.root={folder}",
    "search dataset voc2012": "output_dir={out} dataset=voc2012 dataset.root={folder}",
    "cache": "output_dir={out}",
    "cell": "cell=aspp",
    "check-data": "output_dir={out}",
    "compare": "output_dir={out} names=[kept,other]",
    "evaluate": "output_dir={out} checkpoint={folder}",
    "export": "checkpoint={folder} output={folder}/model.onnx",
    "fidelity": "output_dir={out}",
    "fidelity cells side_by_side": "output_dir={out} cells=side_by_side",
    "import-weights": "checkpoint={folder}/model.ckpt output={out}/made cell=aspp",
    "latency": "output_dir={out}",
    "list": "output_dir={out}",
    "predict": "checkpoint={folder} images={folder} output={folder}/labelled",
    "replay": "output_dir={out} name=kept",
    "report": "output_dir={out} name=kept",
    "rerank": "output_dir={out} from=kept",
    "retrain": "output_dir={out} cell=aspp",
    "show": "output_dir={out} name=kept",
    "simulate": "output_dir={out}",
    "submit": "status=job",
    "track": "output_dir={out} name=kept",
}
"""Commands that have all that they need, with the choices whose settings are tried; a second word is the group that is."""
WRONG = {
    "search": """
        name=../../evil
        ray.address=127.0.0.1:9 store=file://{folder}/store cache.local={folder}/local
        name=a/b
        name=.
        name={long}
        trials=0
        store=banana
        from=a/b
        accept=seed
        budget.madds=0
        budget.latency_ms=0
        budget.latency_ms=5
        algorithm=pareto algorithm.cost=latency_ms
        latency.table={file}
        latency.table={folder}/not_there
        seed=1,2
        seed=1e30
        output_dir={file}
        output_dir={file}/below
        experiment=nobody
        dataset=nobody
        scheduler=nobody
        dataset.num_train=0
        dataset.num_val=0
        dataset.size_px=320
        dataset.folds=1
        backbone.output_stride=5
        backbone.weights={file}
        backbone.weights={folder}
        backbone.pad_type=valid
        backbone.mean=[0,0,2]
        backbone.std=[0,1,1]
        space.num_branches=0
        space.num_branches=1000
        space.operators.atrous.rates=[1,1]
        window=0
        timeout_s=0
        first=[nobody]
        first=[{file}]
        first=[{folder}]
        first=[aspp,aspp]
        space.num_branches=3 first=[aspp]
        resume=[nobody]
        resume=[-1]
        resume=[1.5]
        prior.cell=nobody
        prior.cell={file}
        prior.cell=aspp prior.strength=0
        space.num_branches=3 prior.cell=aspp
        task=banana
        task._target_=nothing.here
        proxy.rungs=[20,10]
        proxy.batch_size=1
        proxy.crop_px=320
        proxy.cell.filters=0
        proxy.cell.dropout=1
        proxy.cell.bn_momentum=0
        proxy.cell.output_stride=8
        proxy.optimizer.momentum=1
        algorithm.near_best=1.1
        scheduler.reduction_factor=1
        scheduler.brackets=0
        resources.gpu=1.5
        resources.cpu=1000
        resources.custom={fast_disk:true}
        resources.label_selector={pool:a/b}
        faults.rung_timeout_s=0
        faults.give_up_after=0
        ray.address=banana
        ray.max_pending=0
        cache.views=0
        cache.local={out}/cache
        tracking.uri=banana
        tracking.uri=sqlite:///{folder}/not_there/m.db
        +trails=3
        +tracking.extra=1
        +dataset.extra=1
        hydra.run.dir=x
        algorithm=listed algorithm.file={file}
        dataset._target_=nothing.here
        scheduler=null
        proxy=3
        ~trials
        ~proxy.rungs
        ray.address=host:99999
        tracking.uri=http://
        tracking.uri=http://host:99999
        cache.folder={file}/below
    """,
    "search algorithm evolution": "algorithm.sample_size=51",
    "search algorithm pareto": "algorithm.mutation=2",
    "search algorithm predictor": "algorithm.history=9",
    "search dataset folder": """
        dataset.ignore_label=1
        dataset.ignore_label=256
        dataset.value_range=[5,5]
        dataset.value_range=[1]
        dataset.group=(
        dataset.group=name
        dataset.classes=[cat]
        dataset.classes=[cat,cat]
        dataset.classes=[cat,'']
        dataset.label_map={300:cat}
        dataset.colors={cat:[1,2]}
        dataset.root={folder}/not_there
        dataset.root={file}
    """,
    "cache": """
        splits=[nobody]
    """,
    "cell": """
        cell={folder}
        cell={file}
        cell=nobody
        picture=x.foo
        picture={folder}
        features.height=0
    """,
    "check-data": """
        samples=0
        splits=[]
    """,
    "compare": """
        names=[kept]
        names=[kept,nobody]
        names=[a/b,kept]
        label=..
    """,
    "evaluate": """
        checkpoint={out}
        json={folder}
        json={file}
        picture={file}
        split=nobody
        inference.scales=[0]
        inference.overlap_px=2000
        inference.tile_px=1
    """,
    "export": """
        checkpoint={out}
        output={folder}
        output={file}
        height_px=1
        height_px=33
    """,
    "fidelity": """
        label=a/b
        cells=nobody
        cells.count=1
        second.overrides=['seed=-2']
        first.overrides=['seed=1']
    """,
    "import-weights": """
        checkpoint={folder}/nobody.ckpt
        checkpoint={folder}
        output={file}
        output={folder}
        cell=nobody
        cell={file}
    """,
    "latency": """
        threads=1000
        check_cells=4
        features.height=0
    """,
    "list": """
        output_dir={file}
        output_dir={folder}/not_there
        format=pdf
    """,
    "predict": """
        checkpoint={out}
        images={out}
        images={folder}/*.nothing
        output={file}
        opacity=2
        max_megapixels=0
        value_range=[1,0]
        submission=camvid
    """,
    "replay": "name=..",
    "report": """
        name=..
        name=nobody
        rows=0
        good_share=2
        landmarks.aspp=2
        +landmarks.nobody=null
    """,
    "rerank": """
        from=a/b
        from=nobody
        label=..
        seeds=0
        confirm=-1
        top=0
    """,
    "retrain": """
        name=a/b
        run=1
        from=kept rank=0
        register=a/b
        data_parallel=3
        training.batch_size=1
        training.accumulate=3
        training.auxiliary=-1
        training.height_px=320
        training.val_split=train
        training.ema_decay=1
        training.eval_every=0
        training.iterations=0
        training.cell.output_stride=8
    """,
    "show": """
        name=..
        name=nobody
        rows=0
        store=banana
        output_dir={file}
        format=pdf
        format=json watch=true
        tracking.uri=banana
    """,
    "simulate": """
        algorithms=[nobody]
        schedulers=[nobody]
        journal={folder}
        journal={file}
        prior.cell=nobody
        space.num_branches=3 prior.cell=aspp
        top_share=1
        workers=0
        landscape.best_miou=1
        landscape.worst_miou=0.9
        trouble.failing=2
        trouble.hang_hours=0
    """,
    "submit": """
        env=[NOT_SET_IN_THIS_SHELL]
        code=[not_there.py]
        code=[{file}]
        logs=other
    """,
    "track": "name=..",
}
"""By command, what is added to all that it needs; the last setting of a line is wrong."""
MEANT = {"algorithms=null", "schedulers=null", "cell=''", "import-weights cell=null"}
"""Values that are right, of any command or of one."""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What settings can name: two searches, a file that is no other, a folder with an image and a model."""
    there = tmp_path_factory.mktemp("places")
    for folder in ("out/kept", "out/other", "folder"):
        (there / folder).mkdir(parents=True)
    with Journal(there / "out" / "other" / JOURNAL) as journal:
        journal.append(SearchOpened("other", {"seed": 1}, {}, 0.0))
    journalled(there / "out" / "kept" / JOURNAL, plan(2))
    (there / "file").write_text("not what is expected\n")
    Image.new("RGB", (8, 8)).save(there / "folder" / "image.png")
    (there / "folder" / "model.safetensors").touch()
    (there / "folder" / "model.ckpt.index").touch()
    return {"{long}": "x" * 201} | {f"{{{name}}}": str(there / name) for name in ("out", "file", "folder")}


@pytest.fixture(scope="module", autouse=True)
def take_back():
    """Commands do nothing, and are composed once."""
    with composed_once() as take_back, pytest.MonkeyPatch.context() as patched:
        for name in {of.split()[0].replace("-", "_") for of in COMMANDS}:
            patched.setitem(sys.modules, f"search.commands.{name}", SimpleNamespace(run=lambda settings: 0))
        yield take_back


@pytest.fixture
def fault_of(capsys, take_back):
    """What is wrong with a refusal of some arguments, if anything."""

    def run(arguments):
        code, said = main(arguments), capsys.readouterr().err
        take_back()
        setting = arguments[-1].partition("=")[0].lstrip("+~")
        is_right = code == 2 and said.startswith("dpc: ") and said.count("\n") == 1 and setting in said
        return "" if is_right else f"dpc {' '.join(arguments)}: {code}, {said or 'accepted'}"

    return run


def filled(text, places):
    for name, path in places.items():
        text = text.replace(name, path)
    return text.split()


@pytest.mark.parametrize("of", WRONG)
def test_a_wrong_input_is_refused_in_one_line_that_names_its_setting(fault_of, places, of):
    lines = [line.strip() for line in WRONG[of].strip().splitlines()]
    arguments = [[of.split()[0], *filled(f"{COMMANDS[of]} {line}", places)] for line in lines]
    faults = [fault for one in arguments if (fault := fault_of(one))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("of", sorted(COMMANDS.keys() - {"replay"}))
def test_without_it_the_same_command_is_accepted(places, take_back, of):
    assert main([of.split()[0], *filled(COMMANDS[of], places)]) == 0
    take_back()


def typed_settings(of, places, known={}):  # noqa: B006 - what is known of one is not asked again
    """Each setting that a command reads, and its type."""
    if of not in known:
        command, found, typed = of.split()[0], {}, Config._typed
        config = load(command, filled(COMMANDS[of], places))

        def recorded(self, value, kind, where):
            found[where] = kind
            return typed(self, value, kind, where)

        with pytest.MonkeyPatch.context() as patched, suppress(UserError):  # replay wants those of its search
            patched.setattr(Config, "_typed", recorded)
            patched.setattr(Config, "build", REAL_BUILD)  # what was built before is typed again
            import_module(f"search.settings.{command.replace('-', '_')}").read(config)
        known[of] = {key: kind for key, kind in found.items() if OmegaConf.select(config._settings, key, default="") != ""}
    return known[of]


REAL_BUILD = Config.build


@pytest.mark.parametrize("of", COMMANDS)
def test_a_setting_is_refused_every_sort_of_value_that_its_type_rules_out(fault_of, places, of):
    before = [item for earlier in takewhile(of.__ne__, COMMANDS) for item in typed_settings(earlier, places).items()]
    new = [item for item in typed_settings(of, places).items() if item not in before]
    values = [f"{key}={value}" for key, kind in new for value in wrong_values(kind)]
    values += [
        f"{group}={value}" for group in sorted({key.rpartition(".")[0] for key, _ in new} - {""}) for value in ("null", "7")
    ]
    wrong = [value for value in values if not MEANT & {value, f"{of} {value}"}]
    arguments = [[of.split()[0], *filled(f"{COMMANDS[of]} {value}", places)] for value in wrong]
    faults = [fault for one in arguments if (fault := fault_of(one))]
    assert not faults, "\n".join(faults)


def test_a_path_below_the_home_is_there_for_every_setting_that_is_a_path(places, monkeypatch):
    monkeypatch.setenv("HOME", places["{folder}"])
    named = {
        key: kind for of in COMMANDS for key, kind in typed_settings(of, places).items() if absolute_path("any", kind, key)
    }
    assert {"output_dir", "checkpoint", "images", "output", "picture", "cache.folder", "dataset.root"} <= named.keys()
    for key, kind in named.items():
        understood = []
        for path in ("~", "~/new.png", "~/model.ckpt"):
            with suppress(UserError):
                understood.append(str(typed(path, kind, key)))
        assert understood, key
        assert all(path.startswith(places["{folder}"]) for path in understood), key


def test_every_setting_of_conf_has_a_wrong_input_here(places):
    by_type = {key for of in COMMANDS for key in typed_settings(of, places)}
    by_hand = {line.split()[-1].partition("=")[0] for lines in WRONG.values() for line in lines.strip().splitlines()}
    tried = by_type | by_hand
    assert {key for key in settings_in_conf() if key not in tried and key.rpartition(".")[0] not in tried} == set()


@pytest.mark.parametrize("option", ["-m", "--multirun", "-cn", "-cd", "--config-name", "--info", "--cfg=job"])
def test_an_option_of_hydras_own_program_says_what_to_use_instead(capsys, option):
    assert main(["search", option]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"dpc: {option.partition('=')[0]}: ")
    assert said.count("\n") == 1
