"""The manual: every page is well-formed, names every command and option, and its examples work."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MAN = Path(__file__).parents[2] / "man"
PAGES = sorted(MAN.glob("*.[178]"))


def text_of(path):
    return path.read_text().replace("\\-", "-").replace("\\(aq", "'")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_well_formed(page):
    if not shutil.which("groff"):
        pytest.skip("no groff, which checks the pages")
    done = subprocess.run(
        ["groff", "-t", "-man", "-ww", "-z", page], capture_output=True, check=True, text=True
    )
    assert done.stderr == ""


def test_installed(ctl):
    build = (MAN / "meson.build").read_text()
    assert sorted(re.findall(r"'(.+\.[178])'", build)) == [p.name for p in PAGES]


def test_every_command_and_option(ctl):
    manual = text_of(MAN / "pymmctl.1")
    for command in ctl("complete", "--commands").decode().split():
        assert re.search(rf"^\.(B|BR) {command}\b", manual, re.MULTILINE), command
        pages = manual + "".join(text_of(p) for p in MAN.glob(f"pymmctl-{command}.[18]"))
        for option in ctl("complete", "--options", command).decode().split():
            assert option in pages, f"{command} {option}"


def test_options_that_do_not_exist(ctl):
    """What the pages show in a synopsis is there."""
    known = {"--"}
    for command in ctl("complete", "--commands").decode().split():
        known |= set(ctl("complete", "--options", command).decode().split())
    known |= {"--version", "--verbose", "--quiet", "--help"}
    for page in PAGES:
        if page.name != "pymm.7":
            assert set(re.findall(r"(?<![-\w])--[a-z-]*", text_of(page))) <= known, page.name


def examples(page):
    section = text_of(page).split(".SH EXAMPLES\n")[1].split(".SH")[0]
    return "\n".join(re.findall(r"^\.EX\n(.*?)\n\.EE$", section, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "pymm.7"], ids=lambda p: p.name)
def test_examples_run(ctl, ns, page):
    script = examples(page)
    assert script.count("pymmctl") >= 3
    path = f"{Path(ctl.program).parent}:/usr/local/bin:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=ns,
        env={"PATH": path, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    if page.name == "pymmctl.1":
        assert "taken in May1000\n" in done.stdout
