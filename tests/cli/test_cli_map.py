"""pymmctl map"""

import re


def test_json_is_exact(ctl, shelf):
    for name, size in [("a", 100_000), ("b", 3_000_000), ("c", 100)]:
        ctl("put", f"{shelf}/{name}", input=bytes(size))
    ctl("erase", f"{shelf}/a")
    m = ctl.json("map", shelf)
    at = 0
    totals = dict.fromkeys(["free", "blobs", "metadata"], 0)
    for region in m["regions"]:
        assert region.keys() == {"offset", "size", "use", "what"}
        assert region["offset"] == at
        at += region["size"]
        totals[region["use"]] += region["size"]
    assert at == m["capacity"] == 32 << 20
    free = [r["size"] for r in m["regions"] if r["use"] == "free"]
    assert totals == {use: m[use] for use in totals}
    assert (m["largest_free"], m["free_extents"]) == (max(free), len(free))
    assert abs(m["fragmentation"] - (1 - max(free) / sum(free))) < 1e-5
    assert {"data header", "log", "run", "zone table"} == {
        r["what"] for r in m["regions"] if r["use"] == "metadata"
    }
    info = ctl.json("info", shelf)
    assert (info["used"], info["free"]) == (m["blobs"] + m["metadata"], m["free"])
    assert info["sequence"] == m["sequence"]
    where = ctl.json("info", f"{shelf}/b")["offset"]
    (region,) = [r for r in m["regions"] if r["offset"] <= where < r["offset"] + r["size"]]
    assert region["use"] == "blobs"


def rows(text):
    return re.findall(r"^ *[\d.]+ (?:[KMGT]i)?B  ([#+%.]+)$", text, re.MULTILINE)


def test_drawing(ctl, shelf, tmp_path):
    empty = ctl("map", "-w", "62", "-r", "8", shelf).decode()
    assert [len(row) for row in rows(empty)] == [50] * 8
    assert "#" not in "".join(rows(empty)) and "%" in rows(empty)[0]
    (tmp_path / "x").write_bytes(bytes(20 << 20))
    ctl("put", f"{shelf}/x", tmp_path / "x")
    full = "".join(rows(ctl("map", "-w", "62", "-r", "8", shelf).decode()))
    assert 0.60 < full.count("#") / len(full) < 0.65
    assert full.count(".") > 0.3 * len(full)
    for figure in ["blobs", "metadata", "free", "largest free", "fragmentation"]:
        assert re.search(rf"^{figure} ", empty, re.MULTILINE), figure
    assert f"{ctl.json('map', shelf)['largest_free']} bytes" in ctl("map", shelf).decode()


def test_any_shape(ctl, ns):
    ctl("create", "-s", "1M", ns / "t")
    for width in [20, 80, 1000]:
        for count in [1, 16, 1000]:
            drawn = rows(ctl("map", "-w", str(width), "-r", str(count), ns / "t").decode())
            assert 0 < len(drawn) <= count
            assert max(map(len, drawn)) <= width
    for wrong in [["-w", "3"], ["-w", "x"], ["-r", "0"]]:
        ctl.fails(2, "map", *wrong, ns / "t")


def test_beside_a_writer(ctl, shelf, writer):
    ctl("put", f"{shelf}/x", input=bytes(5000))
    writer(f"{shelf}/w")
    assert ctl.json("map", shelf)["blobs"] >= 5000


def test_failures(ctl, ns, shelf):
    ctl.fails(3, "map", ns / "t")
    ctl.fails(2, "map", ns)
    ctl.fails(2, "map", f"{shelf}/x")
    (ns / "s.map").write_bytes(bytes(16384))
    assert "superblock" in ctl.fails(7, "map", shelf)
