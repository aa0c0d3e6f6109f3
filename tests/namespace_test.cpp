// Shelves as files of a directory: making, finding and erasing them, and what else may lie there.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>

#include <pymm/check.hpp>
#include <pymm/leftovers.hpp>
#include <pymm/pymm.hpp>

#include "format/layout.hpp"
#include "scratch.hpp"

using namespace pymm;
using pymm::test::Scratch;
namespace fs = std::filesystem;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::vector<std::string> names_of(const Namespace& ns) {
    std::vector<std::string> names;
    for (const ShelfEntry& e : ns.list()) names.push_back(e.name);
    return names;
}

std::string problem_of(const Namespace& ns, const std::string& name) {
    for (const ShelfEntry& e : ns.list())
        if (e.name == name) return e.problem.empty() ? "none" : e.problem;
    return "not listed";
}

std::set<std::string> files(const std::string& path) {
    std::set<std::string> all;
    for (const auto& item : fs::directory_iterator(path)) all.insert(item.path().filename().string());
    return all;
}

struct Status : stat {
    explicit Status(const std::string& path) { REQUIRE(::lstat(path.c_str(), this) == 0); }
};

// A shelf with one blob, closed.
void make(const Namespace& ns, const std::string& name, const std::string& value = "value") {
    Shelf s = ns.create(name, {.capacity = 1 << 20});
    s.put("x", bytes_of(value), Type::value(Kind::bytes));
}

std::string read(const Shelf& s) {
    const View v = s.get("x");
    return {reinterpret_cast<const char*>(v.bytes().data()), v.bytes().size()};
}

}  // namespace

TEST_CASE("opening a namespace") {
    Scratch scratch;
    const std::string path = scratch.path();
    CHECK_THROWS_AS(Namespace::open(path + "/missing"), NotFoundError);
    std::ofstream(path + "/file") << "x";
    CHECK_THROWS_AS(Namespace::open(path + "/file"), InvalidArgumentError);
    const Namespace ns = Namespace::open(path);
    CHECK(ns.list().empty());
    CHECK(!ns.contains("a"));
    CHECK(ns.space().total >= ns.space().available);
    CHECK(!ns.space().file_system.empty());
    make(Namespace::open(path + "///"), "a");
    CHECK(ns.contains("a"));
    fs::create_directory_symlink(path, path + "/link");
    CHECK(read(Namespace::open(path + "/link").shelf("a")) == "value");
}

TEST_CASE("a shelf is two files, both private, and nothing else") {
    Scratch scratch;
    const std::string path = scratch.path();
    const Namespace ns = Namespace::open(path);
    const mode_t old = ::umask(0);
    { Shelf s = ns.create("a", {.capacity = (1 << 20) + 1}); }
    { Shelf s = ns.create("b", {.capacity = 1 << 20, .mode = 0664}); }
    ::umask(old);
    CHECK(files(path) == std::set<std::string>{"a.data", "a.map", "b.data", "b.map"});
    CHECK((Status(path + "/a.map").st_mode & 07777) == 0600);
    CHECK((Status(path + "/a.data").st_mode & 07777) == 0600);
    CHECK((Status(path + "/b.map").st_mode & 07777) == 0664);
    CHECK((Status(path + "/b.data").st_mode & 07777) == 0664);
    CHECK(Status(path + "/a.data").st_size == (1 << 20) + 4096);
    CHECK(Status(path + "/a.map").st_size == static_cast<off_t>(format::kMapSize));
    CHECK(names_of(ns) == std::vector<std::string>{"a", "b"});
    CHECK(ns.list()[0].capacity == (1 << 20) + 4096);
    CHECK(ns.list()[0].problem.empty());
    CHECK(ns.shelf("a").stat().capacity == (1 << 20) + 4096);
}

TEST_CASE("capacities and logs within their limits") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    for (const std::uint64_t capacity :
         {std::uint64_t{0}, std::uint64_t{1}, min_capacity - 1, max_capacity + 1, ~std::uint64_t{0}})
        CHECK_THROWS_AS(ns.create("a", {.capacity = capacity, .sparse = true}), InvalidArgumentError);
    for (const std::uint64_t log : {1u, 4095u, 6000u, (1u << 20) / 8})
        CHECK_THROWS_AS(ns.create("a", {.capacity = 1 << 20, .log_size = log}), InvalidArgumentError);
    CHECK_THROWS_AS(ns.create("a/b", {}), InvalidArgumentError);
    CHECK_THROWS_AS(ns.create("../a", {}), InvalidArgumentError);
    CHECK_THROWS_AS(ns.shelf(".a"), InvalidArgumentError);
    CHECK_THROWS_AS(ns.erase("a/b"), InvalidArgumentError);
    CHECK(files(scratch.path()).empty());
    { Shelf s = ns.create("least", {.capacity = min_capacity, .log_size = 4096}); }
    { Shelf s = ns.create(std::string(200, 'n'), {.capacity = min_capacity}); }
    CHECK(ns.shelf(std::string(200, 'n')).size() == 0);
}

TEST_CASE("a sparse shelf takes space as it is filled, up to far more than there is") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("s", {.capacity = std::uint64_t{1} << 36, .sparse = true});
    CHECK(Status(scratch.path() + "/s.data").st_size == off_t{1} << 36);
    CHECK(Status(scratch.path() + "/s.data").st_blocks * 512 < 4 << 20);
    s.put("x", std::vector<std::byte>(3 << 20, std::byte{7}));
    s.close();
    CHECK(Status(scratch.path() + "/s.data").st_blocks * 512 >= 3 << 20);
    CHECK(ns.list()[0].allocated >= 3 << 20);
    CHECK(ns.list()[0].allocated < 16 << 20);
    s = ns.shelf("s");
    CHECK(s.get("x").bytes().back() == std::byte{7});
}

TEST_CASE("a promised shelf has all of its space at once, where the file system can") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    { Shelf s = ns.create("p", {.capacity = 8 << 20}); }
    const std::string type = ns.space().file_system;
    if (type == "ext4" || type == "xfs") CHECK(ns.list()[0].allocated >= 8 << 20);
    const std::uint64_t total = ns.space().total;
    if (type == "ext4" && total < max_capacity / 2) {
        CHECK_THROWS_AS(ns.create("q", {.capacity = total * 2}), NoSpaceError);
        CHECK(files(scratch.path()) == std::set<std::string>{"p.data", "p.map"});
    }
}

TEST_CASE("creating what exists, with and without force") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    make(ns, "a");
    CHECK_THROWS_AS(ns.create("a", {.capacity = 1 << 20}), ExistsError);
    CHECK(read(ns.shelf("a")) == "value");
    {
        Shelf fresh = ns.create("a", {.capacity = 2 << 20, .force = true});
        CHECK(fresh.size() == 0);
        CHECK(fresh.stat().capacity == 2 << 20);
    }
    CHECK(ns.shelf("a").size() == 0);
    Shelf held = ns.shelf("a");
    held.put("x", bytes_of("kept"), Type::value(Kind::bytes));
    CHECK_THROWS_AS(ns.create("a", {.capacity = 1 << 20, .force = true}), BusyError);
    CHECK_THROWS_AS(ns.erase("a"), BusyError);
    CHECK(read(held) == "kept");
    held.close();
    held = ns.shelf("a", Mode::read_only);  // readers keep what they have open
    { Shelf fresh = ns.create("a", {.capacity = 1 << 20, .force = true}); }
    CHECK(read(held) == "kept");
    CHECK(ns.shelf("a").size() == 0);
}

TEST_CASE("erasing") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    CHECK_THROWS_AS(ns.erase("a"), NotFoundError);
    make(ns, "a");
    make(ns, "b");
    ns.erase("a");
    CHECK(files(scratch.path()) == std::set<std::string>{"b.data", "b.map"});
    CHECK_THROWS_AS(ns.shelf("a"), NotFoundError);
    CHECK(!ns.contains("a"));
    // What `rm` of one file leaves can be erased too.
    fs::remove(scratch.path() + "/b.map");
    ns.erase("b");
    CHECK(files(scratch.path()).empty());
    make(ns, "b");
    fs::remove(scratch.path() + "/b.data");
    ns.erase("b");
    CHECK(files(scratch.path()).empty());
}

TEST_CASE("opening twice gives the same shelf; a shelf that was made anew is another one") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    make(ns, "a");
    Shelf one = ns.shelf("a"), two = Namespace::open(scratch.path() + "/.").shelf("a");
    CHECK(one.identity() == two.identity());
    two.close();
    CHECK(!one.is_open());
    Shelf three = ns.shelf("a");
    CHECK(three.is_open());
    three.close();
    ns.erase("a");
    make(ns, "a", "other");
    CHECK(read(ns.shelf("a")) == "other");
}

TEST_CASE("one half is missing, or half made") {
    Scratch scratch;
    const std::string path = scratch.path();
    const Namespace ns = Namespace::open(path);
    make(ns, "a");
    fs::rename(path + "/a.data", path + "/kept");
    CHECK_THROWS_AS(ns.shelf("a"), CorruptError);
    CHECK(problem_of(ns, "a").find("missing") != std::string::npos);
    CHECK_THROWS_AS(ns.create("a", {.capacity = 1 << 20}), ExistsError);
    fs::rename(path + "/kept", path + "/a.data");
    CHECK(read(ns.shelf("a")) == "value");

    fs::rename(path + "/a.map", path + "/kept");
    CHECK_THROWS_AS(ns.shelf("a"), NotFoundError);
    CHECK(problem_of(ns, "a") == "not listed");
    CHECK(!ns.contains("a"));
    // The data may be all that is left of a lost shelf: not without force.
    CHECK_THROWS_AS(ns.create("a", {.capacity = 1 << 20}), ExistsError);
    CHECK(fs::exists(path + "/a.data"));
    // Not even when its header is damaged, where that says whether it was ever used.
    {
        std::fstream data(path + "/a.data", std::ios::binary | std::ios::in | std::ios::out);
        char word[8]{}, zeros[8]{};
        data.seekg(8).read(word, 8);
        data.seekp(8).write(zeros, 8).flush();
        CHECK_THROWS_AS(ns.create("a", {.capacity = 1 << 20}), ExistsError);
        CHECK(fs::exists(path + "/a.data"));
        data.seekp(8).write(word, 8).flush();
    }
    fs::rename(path + "/kept", path + "/a.map");
    CHECK(read(ns.shelf("a")) == "value");
    fs::remove(path + "/a.map");
    { Shelf s = ns.create("a", {.capacity = 1 << 20, .force = true}); }
    CHECK(ns.shelf("a").size() == 0);

    // A data file that never held anything is no obstacle: unused, empty, or one hole.
    { Shelf s = ns.create("b", {.capacity = 1 << 20}); }
    fs::remove(path + "/b.map");
    make(ns, "b");
    std::ofstream(path + "/c.data").flush();
    make(ns, "c");
    std::ofstream(path + "/d.data").flush();
    fs::resize_file(path + "/d.data", 8192);
    make(ns, "d");
    // Anything else is somebody's, zeros that somebody wrote too.
    std::ofstream(path + "/z.data") << std::string(8192, '\0');
    CHECK_THROWS_AS(make(ns, "z"), ExistsError);
    std::ofstream(path + "/e.data") << std::string(8192, 'e');
    CHECK_THROWS_AS(make(ns, "e"), ExistsError);
    CHECK(fs::file_size(path + "/e.data") == 8192);
    std::ofstream(path + "/f.data") << "short";
    CHECK_THROWS_AS(make(ns, "f"), ExistsError);
}

TEST_CASE("halves of different shelves") {
    Scratch scratch;
    const std::string path = scratch.path();
    const Namespace ns = Namespace::open(path);
    make(ns, "a", "of a");
    make(ns, "b", "of b");
    fs::rename(path + "/a.data", path + "/kept");
    fs::rename(path + "/b.data", path + "/a.data");
    fs::rename(path + "/kept", path + "/b.data");
    for (const Mode mode : {Mode::read_only, Mode::read_write}) {
        CHECK_THROWS_AS(ns.shelf("a", mode), CorruptError);
        CHECK_THROWS_AS(ns.shelf("b", mode), CorruptError);
    }
    fs::rename(path + "/a.data", path + "/kept");
    fs::rename(path + "/b.data", path + "/a.data");
    fs::rename(path + "/kept", path + "/b.data");
    CHECK(read(ns.shelf("a")) == "of a");
    CHECK(read(ns.shelf("b")) == "of b");
}

TEST_CASE("a lost shelf whose mark of use is damaged is not taken for a creation that was cut short") {
    Scratch scratch;
    const std::string path = scratch.path(), data = path + "/a.data", map = path + "/a.map";
    const Namespace ns = Namespace::open(path);
    const auto kind = [&] {
        const std::vector<Leftover> all = find_leftovers(path);
        return all.size() == 1 ? all[0].kind : Leftover::Kind::temporary;
    };
    // Never used, with and without storage: removed by the next creation.
    for (const bool sparse : {false, true}) {
        { Shelf s = ns.create("a", {.capacity = 1 << 20, .sparse = sparse}); }
        fs::remove(map);
        CHECK(kind() == Leftover::Kind::unfinished);
        { Shelf s = ns.create("a", {.capacity = 1 << 20}); }
        ns.erase("a");
    }
    // Pages that somebody looked at, and that a file system so gave storage: zeros are nothing.
    { Shelf s = ns.create("a", {.capacity = 1 << 20}); }
    fs::remove(map);
    const std::vector<char> zeros(300'000);
    std::fstream(data, std::ios::binary | std::ios::in | std::ios::out)
        .seekp(4096)
        .write(zeros.data(), static_cast<std::streamsize>(zeros.size()));
    CHECK(kind() == Leftover::Kind::unfinished);
    {
        Shelf s = ns.create("a", {.capacity = 1 << 20});
        s.put("x", std::vector<std::byte>(10), Type::value(Kind::bytes));  // little, and in the log only
    }
    fs::remove(map);
    std::fstream file(data, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(12).write(zeros.data(), 4).flush();
    CHECK(kind() == Leftover::Kind::orphan);
    CHECK_THROWS_AS(ns.create("a", {.capacity = 1 << 20}), ExistsError);
    CheckOptions repair;
    repair.repair = Repair::all;
    CHECK(check(path, "a", repair).repaired);
    CHECK(ns.shelf("a").contains("x"));
    ns.erase("a");
}

TEST_CASE("files cut short or grown") {
    Scratch scratch;
    const std::string path = scratch.path();
    const Namespace ns = Namespace::open(path);
    make(ns, "a");
    for (const std::uintmax_t size : {0u, 1u, 4096u, 8191u, 8192u, 16383u}) {
        fs::copy_file(path + "/a.map", path + "/b.map", fs::copy_options::overwrite_existing);
        fs::copy_file(path + "/a.data", path + "/b.data", fs::copy_options::overwrite_existing);
        fs::resize_file(path + "/b.map", size);
        CAPTURE(size);
        CHECK_THROWS_AS(ns.shelf("b"), CorruptError);
        CHECK_THROWS_AS(ns.shelf("b", Mode::read_only), CorruptError);
        CHECK(problem_of(ns, "b") != "none");
    }
    for (const std::uintmax_t size : {0u, 1u, 63u, 4096u, 8192u, (1u << 20) - 1, (1u << 20) - 4096, (1u << 20) + 4096}) {
        fs::copy_file(path + "/a.map", path + "/b.map", fs::copy_options::overwrite_existing);
        fs::copy_file(path + "/a.data", path + "/b.data", fs::copy_options::overwrite_existing);
        fs::resize_file(path + "/b.data", size);
        CAPTURE(size);
        CHECK_THROWS_AS(ns.shelf("b"), CorruptError);
        CHECK_THROWS_AS(ns.shelf("b", Mode::read_only), CorruptError);
    }
    CHECK(read(ns.shelf("a")) == "value");
}

TEST_CASE("FIFOs, directories and symbolic links under a shelf's names") {
    Scratch scratch;
    const std::string path = scratch.path();
    const Namespace ns = Namespace::open(path);
    make(ns, "a");
    // None of these may hang.
    REQUIRE(::mkfifo((path + "/fifo.map").c_str(), 0600) == 0);
    REQUIRE(::mkfifo((path + "/fifo.data").c_str(), 0600) == 0);
    CHECK_THROWS_AS(ns.shelf("fifo"), Error);
    CHECK_THROWS_AS(ns.shelf("fifo", Mode::read_only), Error);
    CHECK(!ns.contains("fifo"));
    CHECK(problem_of(ns, "fifo") == "not listed");
    CHECK_THROWS_AS(make(ns, "fifo"), Error);
    CHECK_THROWS_AS(ns.create("fifo", {.capacity = 1 << 20, .force = true}), Error);
    CHECK_THROWS_AS(ns.erase("fifo"), Error);
    REQUIRE(::mkfifo((path + "/half.data").c_str(), 0600) == 0);
    fs::copy_file(path + "/a.map", path + "/half.map");
    CHECK_THROWS_AS(ns.shelf("half"), CorruptError);
    CHECK(problem_of(ns, "half") != "none");
    fs::create_directory(path + "/dir.map");
    CHECK_THROWS_AS(ns.shelf("dir"), Error);
    CHECK(problem_of(ns, "dir") == "not listed");
    CHECK_THROWS_AS(ns.erase("dir"), Error);

    // Links are followed for opening, never for creating or erasing.
    fs::create_symlink("a.map", path + "/link.map");
    fs::create_symlink("a.data", path + "/link.data");
    CHECK(read(ns.shelf("link")) == "value");
    CHECK_THROWS_AS(ns.erase("link"), InvalidArgumentError);
    CHECK_THROWS_AS(ns.create("link", {.capacity = 1 << 20, .force = true}), InvalidArgumentError);
    fs::create_symlink("victim", path + "/trap.data");
    CHECK_THROWS_AS(make(ns, "trap"), Error);
    CHECK(!fs::exists(path + "/victim"));
    CHECK(read(ns.shelf("a")) == "value");
}

TEST_CASE("other files are none of ours") {
    Scratch scratch;
    const std::string path = scratch.path();
    const Namespace ns = Namespace::open(path);
    std::ofstream(path + "/notes.txt") << "x";
    std::ofstream(path + "/linker.map") << "Memory Configuration";
    std::ofstream(path + "/.map") << "x";
    std::ofstream(path + "/.hidden.map") << "x";
    CHECK(ns.list().empty());
    make(ns, "a");
    CHECK(names_of(ns) == std::vector<std::string>{"a"});
    CHECK_THROWS_AS(ns.shelf("linker"), CorruptError);
    CHECK(fs::exists(path + "/.hidden.map"));
}
