"""The command line: exit codes, and what it prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hybridnn.cli import main
from hybridnn.cli.cache import kept_files
from hybridnn.cli.info import facts
from hybridnn.cli.scripts import run_script
from hybridnn.trace.watch import on_call

ROOT = Path(__file__).parent.parent
SCRIPT = """
import sys
import numpy as np
import hybridnn as hnn

FACTOR = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0

@hnn.trace
def double(x):
    return x * FACTOR

class Net(hnn.Chain):
    @hnn.trace
    def forward(self, x):
        return x + 1

def main():
    assert __name__ == "__main__"
    net = Net()
    for _ in range(5):
        y = net(double(hnn.Variable(np.ones(3, "f"))))
    print("y =", y.array[0], "from", __file__)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return str(path)


def run(*args, **env):
    command = [sys.executable, "-W", "error", "-m", "hybridnn", *args]
    return subprocess.run(command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=100)


class TestRun:
    def test_as_a_module(self, tmp_path):
        done = run("cache", "show", HYBRIDNN_CACHE=str(tmp_path / "none"))
        assert done.returncode == 0 and "not there yet" in done.stdout and done.stderr == ""
        assert not (tmp_path / "none").exists()

    @pytest.mark.parametrize("line", ["", "nonsense", "cache", "cache burn", "profile", "profile --repeat 0 x.py", "explain"])
    def test_wrong_words(self, line, capsys):
        with pytest.raises(SystemExit) as stop:
            main(line.split())
        assert stop.value.code == 2 and "usage" in capsys.readouterr().err

    def test_the_installed_command_is_this_one(self):
        assert 'hybridnn = "hybridnn.__main__:main"' in (ROOT / "pyproject.toml").read_text()
        import hybridnn.__main__
        assert hybridnn.__main__.main is main


class TestScripts:
    def test_explain(self, script, capsys):
        assert main(["explain", script, "3.5"]) == 0
        out = capsys.readouterr().out
        assert f"y = 4.5 from {script}" in out
        assert "double: calls=5" in out and "Net.forward: calls=5" in out

    def test_profile(self, script, capsys, tmp_path):
        assert main(["profile", "--repeat", "3", "--html", str(tmp_path / "pages"), script]) == 0
        out = capsys.readouterr().out
        assert out.index("profile of double") < out.index("profile of Net.forward")
        assert out.count("medians of 3 calls each") == 2
        assert sorted(p.name for p in (tmp_path / "pages").iterdir()) == ["0.html", "1.html"]

    def test_nothing_is_left_behind(self, script):
        before = sys.modules["__main__"], sys.argv, list(sys.path)
        code, called = run_script(script, ["1.0"])
        assert code == 0 and [c.memory.name for c in called] == ["double", "Net.forward"]
        assert (sys.modules["__main__"], sys.argv, sys.path) == before and on_call == []

    @pytest.mark.parametrize("text, code", [
        ("raise SystemExit", 0), ("raise SystemExit(3)", 3), ("import sys; sys.exit('no')", 1)])
    def test_exit_codes(self, tmp_path, text, code):
        path = tmp_path / "s.py"
        path.write_text(text)
        assert run_script(str(path))[0] == code

    def test_errors_of_the_script_are_its_own(self, tmp_path):
        path = tmp_path / "s.py"
        path.write_text("def f():\n    raise LookupError('lost')\nf()\n")
        with pytest.raises(LookupError, match="lost") as info:
            main(["explain", str(path)])
        assert info.traceback[-1].path == path and info.traceback[-1].lineno == 1
        assert on_call == []

    def test_no_such_file(self, capsys):
        assert main(["explain", "nowhere.py"]) == 2
        assert "nowhere.py" in capsys.readouterr().err

    def test_a_script_without_traced_functions(self, tmp_path, capsys):
        path = tmp_path / "s.py"
        path.write_text("print('hello')")
        assert main(["profile", str(path)]) == 1
        assert "no traced function" in capsys.readouterr().err


class TestCache:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        folder = tmp_path / "kernels"
        folder.mkdir(mode=0o700)
        monkeypatch.setenv("HYBRIDNN_CACHE", str(folder))
        for name in ("hnn_1.py", "hnn_1.o", "objects/2.o"):
            (folder / name).parent.mkdir(mode=0o700, exist_ok=True)
            (folder / name).write_text("x" * 1024)
        (folder / "precious.txt").write_text("not ours")
        (folder / "hnn_link.py").symlink_to(folder / "precious.txt")
        return folder

    def test_show(self, folder, capsys):
        assert main(["cache", "show"]) == 0
        out = capsys.readouterr().out
        assert str(folder) in out and "in use" in out and "3 (1 kernels with their text), 3 KiB" in out

    def test_clear_deletes_the_library_s_files_only(self, folder, capsys):
        assert main(["cache", "clear"]) == 0
        assert "3 files deleted" in capsys.readouterr().out
        assert kept_files() == [] and (folder / "precious.txt").read_text() == "not ours"
        assert main(["cache", "clear"]) == 0

    def test_a_folder_that_others_can_write_to(self, folder, capsys):
        folder.chmod(0o777)
        assert main(["cache", "show"]) == 0
        assert "not used" in capsys.readouterr().out

    def test_what_the_library_writes_is_what_clear_knows(self, tmp_path, script):
        """Kernels of a real run: nothing but known files appears, and clear leaves none."""
        folder = tmp_path / "kernels"
        done = run("explain", script, HYBRIDNN_CACHE=str(folder))
        assert done.returncode == 0, done.stderr
        assert [p for p in folder.rglob("*") if p.is_file()]
        assert run("cache", "clear", HYBRIDNN_CACHE=str(folder)).returncode == 0
        assert [p for p in folder.rglob("*") if p.is_file()] == []


class TestInfo:
    def test_prints_every_fact(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setenv("HYBRIDNN_CACHE", str(tmp_path))       # other processes of the tests add to theirs meanwhile
        assert main(["info"]) == 0
        out = capsys.readouterr().out
        for name, value in facts().items():
            assert name in out and value in out

    def test_facts_are_found_here(self):
        import numpy

        import hybridnn
        found = facts()
        assert found["hybridnn"] == hybridnn.__version__ and f"numpy {numpy.__version__}" in found["packages"]
        assert int(found["cores"].split()[0]) >= 1
        assert os.environ["HYBRIDNN_CACHE"] in found["kernel cache"]


def test_demo_trains_and_agrees(capsys):
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    assert "loss 0.6" in out and "results of eager and traced agree" in out
