"""The examples run, eagerly and traced, and the two agree. Small settings: what they learn is theirs to show."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hybridnn as hnn
from hybridnn.trace.watch import on_call, watching

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SMALL = {
    "char_rnn": "--steps 6 --units 8 --batch 4 --window 4 --size 4000",
    "cnn_digits": "--epochs 1 --batch 350 --channels 2",
    "custom_function": "--steps 5 --n 16",
    "nstep_lstm_classifier": "--epochs 3 --batches 4 --batch 4 --units 4",
    "pinn": "--steps 6 --batch 8 --units 4",
    "policy_gradient": "--games 6 --batch 4 --hidden 4",
    "transformer": "--steps 6 --batch 2 --window 6 --units 8 --heads 2 --layers 1 --size 4000",
    "tree_lstm": "--steps 3 --batch 2 --trees 10 --units 4",
    "vae": "--steps 6 --batch 4 --hidden 6 --latent 2",
}
SCRIPTS = sorted(p.stem for p in EXAMPLES.glob("*.py") if p.stem != "helper")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Examples import their helper from their own folder, as they do when they run."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with hnn.using_config("trace_compile", "sync"):
        yield


def test_each_example_is_tested():
    assert set(SCRIPTS) == {*SMALL, "train_digits", "branch"}


@pytest.mark.parametrize("name", SMALL)
def test_eager_and_traced_agree(name, capsys):
    """The script's own comparison of losses; with so little training it need not have learned anything."""
    pytest.importorskip("sklearn") if name in ("cnn_digits", "vae") else None
    importlib.import_module(name).main(SMALL[name].split())
    out = capsys.readouterr().out
    failed = re.findall(r"^FAILED: (.*)$", out, re.M)
    assert failed in ([], ["learned"]), out
    assert out.count("eager:\n") == out.count("traced:\n") == 1
    assert re.search(r"^trace: calls=\d+", out, re.M)


def test_branch(capsys):
    """Equation 5 with its own expectations: two paths, and no third."""
    assert importlib.import_module("branch").main(["--n", "30"]) == 0
    assert "all expectations met" in capsys.readouterr().out


def test_train_digits_is_what_the_readme_says(capsys, tmp_path):
    """Its own expectations (accuracy, agreement of losses) with fewer epochs; speed is no test's business on a busy machine."""
    pytest.importorskip("sklearn")
    page = tmp_path / "profile.html"
    code = importlib.import_module("train_digits").main(["--epochs", "10", "--html", str(page)])
    out = capsys.readouterr().out
    assert code == 0 or re.findall(r"^FAILED: (.*)$", out, re.M) == ["traced is faster"], out
    words = "test accuracy", "speed-up", "profile of", "graphs cached", "fused kernels", "memory planned", "Python steps left"
    assert [w for w in words if w not in out] == []
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_an_expectation_that_fails_is_an_exit_code(capsys):
    assert importlib.import_module("pinn").main(["--steps", "2", "--batch", "4", "--units", "3", "--no-trace"]) == 1
    assert "FAILED: learned" in capsys.readouterr().out


@pytest.mark.parametrize("option, runs", [("--trace", ["traced"]), ("--no-trace", ["eager"]), ("--both", ["eager", "traced"])])
def test_options_choose_the_runs(option, runs, capsys):
    importlib.import_module("custom_function").main(["--steps", "2", "--n", "8", option])
    assert re.findall(r"^(eager|traced):$", capsys.readouterr().out, re.M) == runs


def test_the_custom_function_needs_no_change_to_the_library():
    """It names nothing but public modules."""
    text = (EXAMPLES / "custom_function.py").read_text(encoding="utf-8")
    assert set(re.findall(r"hybridnn\.(\w+)", text)) == {"functions", "links", "gradient_check"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(name, capsys):
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(name).main(["--help"])
    assert stop.value.code == 0 and "--seed" in capsys.readouterr().out


def test_a_script_runs_from_anywhere(tmp_path):
    command = [sys.executable, "-W", "error", str(EXAMPLES / "branch.py"), "--n", "9", "--no-trace"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "all expectations met" in done.stdout, done.stderr


def test_examples_trace_what_they_say():
    """The traced run of an example does call traced functions."""
    names = []
    with watching(on_call, lambda memory, *_: names.append(memory.name)):
        importlib.import_module("vae").main([*SMALL["vae"].split(), "--trace"])
    assert names == ["train.<locals>.step"] * 6
