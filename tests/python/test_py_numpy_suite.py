"""The checker of numpy_suite: it has to notice what it is there for."""

import os
import subprocess
import sys
import textwrap

import pytest

SUITE = os.path.join(os.path.dirname(__file__), "numpy_suite")

TESTS = """
    import numpy as np
    import numpy
    import pytest
    from numpy import arange

    def test_same():
        assert (np.arange(3) + 1).tolist() == [1, 2, 3]

    def test_class():
        assert type(np.zeros(3)) is np.ndarray

    def test_imported_by_name():
        assert type(arange(3)) is numpy.ndarray

    @pytest.mark.parametrize("array", [np.ones(2), [1, 2]])
    def test_parameter(array):
        assert type(array) in (np.ndarray, list)

    def test_skips_itself():
        if type(np.ones(3)) is not np.ndarray:
            pytest.skip("something else")

    def test_computed():
        assert type(np.array([1, 2]) * 2) is np.ndarray

    def test_fails():
        assert np.zeros(3)[0] == 1

    calls = []

    def test_once():
        calls.append(1)
        assert len(calls) == 1
"""


@pytest.fixture
def suite(tmp_path):
    """Runs TESTS: suite(*expected differences) gives the exit status and the output."""
    folder = tmp_path / "_core" / "tests"
    folder.mkdir(parents=True)
    (folder / "test_control.py").write_text(textwrap.dedent(TESTS))
    code = """if True:
        import sys
        from differences import Group
        from run import run
        group = Group("a reason", tuple("core/test_control.py::" + name for name in sys.argv[3:]))
        sys.exit(run([sys.argv[1]], [group], sys.argv[2]))
    """

    def start(*expected):
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder / "test_control.py"), str(tmp_path), *expected],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([SUITE, os.environ.get("PYTHONPATH", "")])},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.returncode, done.stdout

    return start


DIFFERENT = ("test_class", "test_imported_by_name", "test_parameter", "test_skips_itself")


def test_what_differs_is_reported(suite):
    status, output = suite()
    assert status == 1
    for name in ("test_class", "test_imported_by_name", "test_parameter[array0]", "test_skips_itself"):
        assert f"FAILED _core/tests/test_control.py::{name}" in output
    assert output.count("FAILED ") == 4
    assert "8 tests of NumPy pass plain. With shelved arrays: 3 pass, 0 differ as expected, 4 otherwise." in output
    assert "1 that fail plain, 1 that do not pass twice." in output


def test_what_is_expected_is_not(suite):
    status, output = suite(*DIFFERENT)
    assert status == 0 and "FAILED" not in output
    assert "3 pass, 4 differ as expected, 0 otherwise." in output


def test_what_is_expected_has_to_differ(suite):
    status, output = suite(*DIFFERENT, "test_computed")
    assert status == 1
    assert "does not differ: core/test_control.py::test_computed\n" in output
    status, output = suite(*DIFFERENT[:2], *DIFFERENT[3:], "test_parameter[array0]", "test_parameter[array1]")
    assert status == 1
    assert "does not differ: core/test_control.py::test_parameter[array1]\n" in output


def test_a_part_of_what_is_expected_does_not_hide_the_rest(suite):
    status, output = suite(*DIFFERENT[1:])
    assert status == 1 and output.count("FAILED ") == 1 and "FAILED _core/tests/test_control.py::test_class" in output
