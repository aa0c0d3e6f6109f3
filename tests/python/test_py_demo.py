"""pymm.demo(): what it prints is what Python would say."""

import doctest
import os

import numpy as np

import pymm


def test_it_shows_and_leaves_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert pymm.demo() is None
    out, err = capfd.readouterr()
    assert err == "" and os.listdir(tmp_path) == []
    for part in ("pymm.shelf('demo'", "pymm.ndarray", "(42, 'HELLO, SHELF')", "(5000004.0, 'hello, shelf')", "6 variables"):
        assert part in out


def test_what_it_shows_is_a_session(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pymm.demo()
    shown = capsys.readouterr().out
    # Its own output, run again by doctest; the shelf's directory is another one.
    lines = [line for line in shown.split("\n") if not line.startswith("#")]
    session = doctest.DocTestParser().get_doctest(
        "\n".join(lines), {"np": np, "pymm": pymm, "directory": str(tmp_path)}, "demo", None, 0
    )
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False)
    for one in session.examples:
        if one.source.startswith("with"):
            one.source += "\n"
        if "inspect" in one.source:
            one.want = "shelf 'demo' in ...\n"
    said = []
    runner.run(session, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)
    assert len(session.examples) > 20
