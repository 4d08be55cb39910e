"""What the documents promise can be followed: commands parse, links lead somewhere, code runs."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
PROMISE = re.compile(r"^print\(.*\) +# (.+)$", re.M)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code(path: Path, *languages: str) -> list[str]:
    return [text for language, text in FENCE.findall(path.read_text(encoding="utf-8")) if language in languages]


def command(which: str) -> str:
    """The line that the README marks as its ``demo`` or ``test`` command."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(rf"<!-- command: {which} -->\n```sh\n(.+)\n```", text)
    assert len(found) == 1, f"README.md should mark exactly one {which} command"
    return found[0]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    local = [link.partition("#")[0] for link in LINK.findall(prose) if "://" not in link]
    assert [link for link in local if link and not (page.parent / link).exists()] == []


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_headings(page):
    links = [link.partition("#") for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))) if "#" in link and "://" not in link]
    targets = [(page.parent / path if path else page, anchor) for path, _, anchor in links]
    assert [(str(path), anchor) for path, anchor in targets if path.suffix == ".md" and anchor not in anchors(path)] == []


@pytest.mark.parametrize("page", [p for p in PAGES if code(p, "sh", "bash")], ids=name)
def test_commands_parse(page):
    for text in code(page, "sh", "bash"):
        subprocess.run(["bash", "-n"], input=text, text=True, check=True, timeout=20)


@pytest.mark.parametrize("which", ["demo", "test"])
def test_set_up_is_one_line_that_needs_only_python(which):
    steps = [shlex.split(step) for step in command(which).split("&&")]
    assert steps[0] == ["python3", "-m", "venv", ".venv"]
    assert steps[1] == [".venv/bin/pip", "install", "-q", "-e", f".[{which}]"]
    assert len(steps) == 3 and steps[2][0] == ".venv/bin/python"


def test_the_demo_command_names_a_script_that_exists():
    assert (ROOT / command("demo").split()[-1]).is_file()


def test_ci_runs_the_test_command_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    program = re.search(r"awk '(.*?)' README\.md", script, re.S)[1]
    out = subprocess.run(["awk", program, "README.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out == command("test") + "\n"


@pytest.mark.parametrize("page", [p for p in PAGES if code(p, "python")], ids=name)
def test_python_runs_and_prints_what_the_page_says(page, tmp_path):
    """The blocks of a page are one program; ``print(...)  # text`` promises that line of output."""
    script = tmp_path / "page.py"
    script.write_text("\n".join(code(page, "python")), encoding="utf-8")
    run = subprocess.run([sys.executable, "-W", "error", str(script)], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
                         capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == PROMISE.findall(script.read_text(encoding="utf-8"))
