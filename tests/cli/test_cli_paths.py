"""Where a namespace ends: the rule that pymmctl(1) gives under "Paths"."""

import pytest


@pytest.fixture
def tree(ctl, ns):
    """Shelf s with blob a/b; directory s with shelf a; in s/a there is the blob c."""
    (ns / "s").mkdir()
    for path in ["s", "s/a"]:
        ctl("create", "--sparse", ns / path)
    ctl("put", "--string", f"{ns}/s//a/c", "deep")
    ctl("put", "--string", f"{ns}//s/a/b", "shallow")
    return ns


def test_longest_directory_with_a_shelf_wins(ctl, tree):
    ctl.fails(3, "cat", f"{tree}/s/a/b")  # shelf a of namespace s has none
    assert ctl("cat", f"{tree}/s/a/c") == b"deep"


def test_double_slash_settles_it(ctl, tree):
    assert ctl("cat", f"{tree}//s/a/b") == b"shallow"
    assert ctl("cat", f"{tree}/s//a/c") == b"deep"
    ctl.fails(3, "cat", f"{tree}//s/a/c")
    assert ctl.names(f"{tree}//s") == ["a/b"]


def test_shelf_or_directory_of_one_name(ctl, tree):
    assert ctl.names(f"{tree}/s") == ["a/b"]
    assert ctl.names(f"{tree}/s/") == ["a"]
    assert ctl.names(f"{tree}/s/a") == ["c"]
    assert ctl.json("info", f"{tree}/s/")["shelves"] == 1


def test_no_directory_in_the_way(ctl, ns, shelf):
    ctl("put", "--string", f"{shelf}/a/b/c", "1")
    for path in [f"{shelf}/a/b/c", f"{ns}/./s/a/b/c", f"{ns}/../{ns.name}/s/a/b/c", f"{ns}///s/a/b/c",
                 f"{shelf}//a/b/c", f"//{shelf}/a/b/c"]:  # fmt: skip
        assert ctl("cat", path) == b"1", path


def test_relative(ctl, ns, shelf):
    ctl("put", "--string", f"{shelf}/a/b", "1")
    ctl.cwd = ns
    for path in ["s/a/b", "./s/a/b", f"../{ns.name}/s/a/b", ".//s/a/b"]:
        assert ctl("cat", path) == b"1", path
    assert ctl.names("s") == ctl.names("./s") == ["a/b"]
    assert ctl.names(".") == ["s"]
    ctl.fails(2, "list", "")


def test_symbolic_link(ctl, ns, shelf, tmp_path):
    ctl("put", "--string", f"{shelf}/x", "1")
    (tmp_path / "link").symlink_to(ns)
    assert ctl("cat", tmp_path / "link" / "s" / "x") == b"1"


def test_odd_names(ctl, ns):
    for name in ["with space", "ünï", "quote\"'", "back\\slash", "-dash", "*", "new\nline", "a:b=c"]:
        ctl("create", "--sparse", ns / name)
        ctl("put", "--string", "--", f"{ns}/{name}/{name}", name)
        assert ctl("cat", f"{ns}/{name}/{name}").decode() == name
        assert ctl.json("list", ns / name)["blobs"][0]["name"] == name
        ctl("erase", ns / name)


def test_dash_in_front(ctl, ns):
    ctl.cwd = ns
    ctl("create", "--sparse", "--", "-s")
    ctl("put", "--string", "--", "-s/x", "-1")
    assert ctl("cat", "--", "-s/x") == b"-1"
    assert ctl("cat", "./-s/x") == b"-1"


def test_what_does_not_exist(ctl, ns, shelf):
    for path in [f"{ns}/t", f"{ns}/t/x", f"{ns}/t/x/y"]:
        assert "t" in ctl.fails(3, "info", path)
    (ns / "file").write_bytes(b"x")
    ctl.fails(3, "info", f"{ns}/file/x")
