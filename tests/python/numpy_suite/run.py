#!/usr/bin/env python3
"""NumPy's own tests with shelved arrays: run.py [--long | --check] [TEST...]

Runs tests of the NumPy that is installed, each with plain arrays and with arrays on a shelf below $PYMM_TEST_DIR (see
plugin.py, substitution.py), and prints the counts. Fails where a test passes with plain arrays only, but for what
differences.py explains, and where what that says does not hold. TEST is a path in NumPy ('core/test_umath.py'), with
'::test' as in pytest.

Fails, and says so, where NumPy came without its tests, as some packages do; --check does nothing else.
"""

import argparse
import os
import shutil
import sys
import tempfile

import numpy
import pytest

from differences import DIFFERENCES
from plugin import Suite

# Arithmetic, in place too, indexing, ufuncs, and what arrays do by themselves.
TESTS = (
    "core/test_array_coercion.py",
    "core/test_dlpack.py",
    "core/test_einsum.py",
    "core/test_half.py",
    "core/test_indexerrors.py",
    "core/test_indexing.py",
    "core/test_item_selection.py",
    "core/test_multiarray.py",
    "core/test_nditer.py",
    "core/test_numeric.py",
    "core/test_records.py",
    "core/test_shape_base.py",
    "core/test_ufunc.py",
    "core/test_umath.py",
    "core/test_umath_complex.py",
    "matrixlib/test_defmatrix.py",
    "matrixlib/test_interaction.py",
)

# With --long: slow ones, and NumPy's functions in Python, most of which make plain arrays of theirs first.
MORE_TESTS = (
    "core/test_datetime.py",
    "core/test_function_base.py",
    "core/test_longdouble.py",
    "core/test_mem_overlap.py",
    "lib/test_arraypad.py",
    "lib/test_arraysetops.py",
    "lib/test_function_base.py",
    "lib/test_index_tricks.py",
    "lib/test_nanfunctions.py",
    "lib/test_shape_base.py",
    "lib/test_stride_tricks.py",
    "lib/test_twodim_base.py",
    "lib/test_type_check.py",
    "lib/test_ufunclike.py",
    "linalg/test_linalg.py",
    "ma/test_core.py",
    "ma/test_extras.py",
    "matrixlib/test_masked_matrix.py",
)


def located(test):
    """The path of a test of NumPy, whose core is a private package since 2.0. None when there is no such file."""
    root = os.path.dirname(numpy.__file__)
    package, _, rest = test.partition("/")
    name, colons, function = rest.partition("::")
    for folder in (package, f"_{package}"):
        path = os.path.join(root, folder, "tests", name)
        if os.path.exists(path):
            return path + colons + function
    return None


def run(paths, differences, root, *options):
    """Runs tests, and gives pytest's exit status."""
    directory = tempfile.mkdtemp(prefix="pymm-numpy-", dir=os.environ.get("PYMM_TEST_DIR"))
    try:
        return pytest.main(
            # No settings of any project that is around.
            ["-c", os.devnull, "--rootdir", root, "-p", "no:cacheprovider", "-q", "--tb=short", "-W", "ignore",
             "--disable-warnings", *options, *paths],
            plugins=[Suite(directory, differences)],
        )  # fmt: skip
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="more files, and what NumPy calls slow")
    parser.add_argument("--check", action="store_true", help="only whether there are any")
    parser.add_argument("tests", nargs="*", metavar="TEST", help="only these")
    arguments = parser.parse_args()
    wanted = arguments.tests or TESTS + (MORE_TESTS if arguments.long else ())
    found = [path for path in map(located, wanted) if path]
    if not found:
        print(f"NumPy {numpy.__version__} in {os.path.dirname(numpy.__file__)} came without its tests")
        return 1
    if arguments.check:
        return 0
    # Tests that want gigabytes say so, and are skipped.
    options = ["--available-memory=600MB"]
    if not arguments.long:
        options += ["-m", "not slow"]
    print(f"NumPy {numpy.__version__}: {len(found)} test files", flush=True)
    return run(found, DIFFERENCES, os.path.dirname(numpy.__file__), *options)


if __name__ == "__main__":
    sys.exit(main())
