// Files that are damaged, foreign, or somebody's trap, under the names of a shelf: always a clear error of
// the right class, nothing changed on disk, no hang.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>

#include <pymm/check.hpp>
#include <pymm/pymm.hpp>

#include "format/layout.hpp"
#include "scratch.hpp"

using namespace pymm;
using pymm::test::Scratch;
namespace fs = std::filesystem;

namespace {

// A call that hangs ends the test by SIGALRM.
struct NoHang {
    NoHang() { ::alarm(60); }
    ~NoHang() { ::alarm(0); }
};

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string contents(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return std::move(out).str();
}

/// Everything in a folder: kind, permissions, owner, and the bytes of files or the target of links.
std::map<std::string, std::string> folder(const std::string& path) {
    std::map<std::string, std::string> all;
    for (const auto& item : fs::directory_iterator(path)) {
        struct stat st;
        REQUIRE(::lstat(item.path().c_str(), &st) == 0);
        std::string what = std::to_string(st.st_mode) + " " + std::to_string(st.st_uid) + " ";
        if (S_ISREG(st.st_mode)) what += contents(item.path());
        if (S_ISLNK(st.st_mode)) what += fs::read_symlink(item.path()).string();
        all.emplace(item.path().filename().string(), std::move(what));
    }
    return all;
}

constexpr std::uint64_t kCapacity = 1 << 20;

// One blob of each way of storing; enough small ones for runs and a tail.
void make(const Namespace& ns, const std::string& name) {
    Shelf s = ns.create(name, {.capacity = kCapacity, .log_size = 8192});
    for (int i = 0; i < 100; ++i)
        s.put("n" + std::to_string(i), bytes_of(name + std::to_string(i)), Type::value(Kind::bytes));
    s.put("small", std::vector<std::byte>(1000, std::byte{1}));
    s.put("pages", std::vector<std::byte>(3 * 4096, std::byte{2}));
}

void check_whole(const Shelf& s, const std::string& name) {
    CHECK(s.size() == 102);
    for (int i = 0; i < 100; ++i) {
        const View v = s.get("n" + std::to_string(i));
        const std::string want = name + std::to_string(i);
        CHECK(std::string(reinterpret_cast<const char*>(v.bytes().data()), v.bytes().size()) == want);
    }
    CHECK(s.get("small").bytes()[999] == std::byte{1});
    CHECK(s.get("pages").bytes()[12287] == std::byte{2});
}

/// What a call throws: the code, or nothing.
std::optional<Code> code_of(const std::function<void()>& call) {
    try {
        call();
    } catch (const Error& error) {
        const std::string text = error.what();
        CAPTURE(text);
        CHECK(text.find(": ") < text.size() - 8);  // says where, and then what
        return error.code();
    }
    return std::nullopt;
}

void punch(const std::string& path, std::uint64_t offset, std::uint64_t size) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0);
    REQUIRE(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                        static_cast<off_t>(size)) == 0);
    ::close(fd);
}

/// Runs `check` as another user in a child process; true when it returned true.
bool as_nobody(const std::function<bool()>& check) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::alarm(60);
        bool good = false;
        if (::setgid(65534) == 0 && ::setuid(65534) == 0) {
            try {
                good = check();
            } catch (const std::exception& e) {
                std::fprintf(stderr, "as another user: %s\n", e.what());
            }
        }
        ::_exit(good ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_CASE("every kind of wrong file under a shelf's names: one class of error each, and nothing is touched") {
    Scratch scratch;
    const NoHang guard;
    const std::string path = scratch.path();
    const Namespace ns = Namespace::open(path);
    make(ns, "a");
    make(ns, "b");

    struct Wrong {
        const char* what;
        std::function<void(const std::string& map, const std::string& data)> make;
        std::vector<Code> open;    // one of these
        std::vector<Code> create;  // without force
        std::optional<Code> erase; // also of creating with force; nothing: it works
    };
    const auto copy = [&](const std::string& from, const std::string& to) {
        fs::copy_file(from, to);
    };
    const auto fifo = [](const std::string& at) { REQUIRE(::mkfifo(at.c_str(), 0600) == 0); };
    const std::string map = path + "/a.map", data = path + "/a.data";
    const std::vector<Wrong> cases{
        {".map is missing", [&](auto&, auto& d) { copy(data, d); }, {Code::not_found}, {Code::exists}, {}},
        {".data is missing", [&](auto& m, auto&) { copy(map, m); }, {Code::corrupt}, {Code::exists}, {}},
        {".data of another shelf", [&](auto& m, auto& d) { copy(map, m), copy(path + "/b.data", d); },
         {Code::corrupt}, {Code::exists}, {}},
        {"both empty", [&](auto& m, auto& d) { std::ofstream(m).flush(), std::ofstream(d).flush(); },
         {Code::corrupt}, {Code::exists}, {}},
        {"both a hole",
         [&](auto& m, auto& d) {
             std::ofstream(m).flush(), std::ofstream(d).flush();
             fs::resize_file(m, format::kMapSize), fs::resize_file(d, kCapacity);
         },
         {Code::corrupt}, {Code::exists}, {}},
        {"the two exchanged", [&](auto& m, auto& d) { copy(map, d), copy(data, m); }, {Code::corrupt},
         {Code::exists}, {}},
        {".map cut short", [&](auto& m, auto& d) { copy(map, m), copy(data, d), fs::resize_file(m, 16383); },
         {Code::corrupt}, {Code::exists}, {}},
        {".data cut short",
         [&](auto& m, auto& d) { copy(map, m), copy(data, d), fs::resize_file(d, kCapacity / 2); },
         {Code::corrupt}, {Code::exists}, {}},
        {".data grown",
         [&](auto& m, auto& d) { copy(map, m), copy(data, d), fs::resize_file(d, kCapacity + 4096); },
         {Code::corrupt}, {Code::exists}, {}},
        {"both of another program", [&](auto& m, auto& d) { std::ofstream(m) << "theirs", std::ofstream(d) << "theirs"; },
         {Code::corrupt}, {Code::exists}, Code::invalid_argument},
        {".map of another program, alone", [&](auto& m, auto&) { std::ofstream(m) << "theirs"; },
         {Code::corrupt}, {Code::exists}, Code::invalid_argument},
        {".data of another program, alone", [&](auto&, auto& d) { std::ofstream(d) << "theirs"; },
         {Code::not_found}, {Code::exists}, Code::invalid_argument},
        {".map a directory", [&](auto& m, auto& d) { fs::create_directory(m), copy(data, d); },
         {Code::corrupt}, {Code::exists}, Code::invalid_argument},
        {".data a directory", [&](auto& m, auto& d) { copy(map, m), fs::create_directory(d); },
         {Code::corrupt}, {Code::exists}, Code::invalid_argument},
        {".data a directory, alone", [&](auto&, auto& d) { fs::create_directory(d); }, {Code::not_found},
         {Code::corrupt}, Code::invalid_argument},
        {".map a FIFO", [&](auto& m, auto& d) { fifo(m), copy(data, d); }, {Code::corrupt}, {Code::exists},
         Code::invalid_argument},
        {".data a FIFO", [&](auto& m, auto& d) { copy(map, m), fifo(d); }, {Code::corrupt}, {Code::exists},
         Code::invalid_argument},
        {".data a FIFO, alone", [&](auto&, auto& d) { fifo(d); }, {Code::not_found}, {Code::corrupt},
         Code::invalid_argument},
        {".map a link to nothing",
         [&](auto& m, auto& d) { fs::create_symlink("victim", m), copy(data, d); }, {Code::not_found},
         {Code::exists}, Code::invalid_argument},
        {".data a link to nothing",
         [&](auto& m, auto& d) { copy(map, m), fs::create_symlink("victim", d); }, {Code::corrupt},
         {Code::exists}, Code::invalid_argument},
        {".data a link to nothing, alone", [&](auto&, auto& d) { fs::create_symlink("victim", d); },
         {Code::not_found}, {Code::invalid_argument}, Code::invalid_argument},
        {".data a link to another shelf's, alone", [&](auto&, auto& d) { fs::create_symlink("b.data", d); },
         {Code::not_found}, {Code::invalid_argument}, Code::invalid_argument},
        {".map a link to itself", [&](auto& m, auto& d) { fs::create_symlink("x.map", m), copy(data, d); },
         {Code::invalid_argument}, {Code::exists}, Code::invalid_argument},
    };
    const auto one_of = [](const std::optional<Code>& code, const std::vector<Code>& wanted) {
        return code && std::find(wanted.begin(), wanted.end(), *code) != wanted.end();
    };
    for (const Wrong& wrong : cases) {
        CAPTURE(wrong.what);
        wrong.make(path + "/x.map", path + "/x.data");
        const auto before = folder(path);
        for (const Mode mode : {Mode::read_only, Mode::read_write})
            CHECK(one_of(code_of([&] { ns.shelf("x", mode); }), wrong.open));
        CHECK(one_of(code_of([&] { ns.create("x", {.capacity = kCapacity}); }), wrong.create));
        CHECK_NOTHROW((void)ns.list());
        CHECK_NOTHROW((void)ns.contains("x"));
        CHECK(folder(path) == before);
        if (wrong.erase) {
            CHECK(code_of([&] { ns.create("x", {.capacity = kCapacity, .force = true}); }) == wrong.erase);
            CHECK(code_of([&] { ns.erase("x"); }) == wrong.erase);
            CHECK(folder(path) == before);
            fs::remove(path + "/x.map");
            fs::remove(path + "/x.data");
        } else {
            CHECK_NOTHROW(ns.erase("x"));
        }
        CHECK(!fs::exists(path + "/victim"));
        CHECK(folder(path).size() == 4);
    }
    check_whole(ns.shelf("a"), "a");
    check_whole(ns.shelf("b"), "b");
}

TEST_CASE("a hole anywhere is an error that names it, or only unsealed data") {
    Scratch scratch;
    const NoHang guard;
    const std::string path = scratch.path();
    const Namespace ns = Namespace::open(path);
    make(ns, "a");
    std::uint64_t data_from = 0, data_to = 0;
    {
        const View v = ns.shelf("a").get("pages");
        data_from = v.info().offset, data_to = data_from + v.info().size;
    }
    std::uint64_t refused = 0, whole = 0, of_data = 0;
    const auto fresh = [&] {
        for (const char* suffix : {".map", ".data"})
            fs::copy_file(path + "/a" + suffix, path + "/x" + suffix, fs::copy_options::overwrite_existing);
    };
    // Every page of both files, alone. Blob data that carries no checksum may read as zeros: the names, sizes
    // and all other blobs are still right.
    const auto look = [&](const std::string& file, std::uint64_t at) {
        CAPTURE(file);
        CAPTURE(at);
        const auto before = folder(path);
        std::string seen;
        const auto code = code_of([&] {
            const Shelf s = ns.shelf("x", Mode::read_only);
            const std::vector<BlobInfo> all = s.list();
            REQUIRE(all.size() == 102);
            for (const BlobInfo& info : all) {
                const View v = s.get(info.name);
                if (info.inlined) {
                    const std::string text(reinterpret_cast<const char*>(v.bytes().data()), v.bytes().size());
                    REQUIRE(text == "a" + info.name.substr(1));
                    continue;
                }
                const std::byte good = info.name == "small" ? std::byte{1} : std::byte{2};
                std::size_t zeros = 0, others = 0;
                for (const std::byte b : v.bytes()) {
                    zeros += b == std::byte{0};
                    others += b != std::byte{0} && b != good;
                }
                REQUIRE(others == 0);
                if (zeros != 0) seen += info.name;
            }
        });
        CHECK(folder(path) == before);
        if (code) {
            CHECK(*code == Code::corrupt);
            ++refused;
        } else if (seen == "pages") {
            CHECK((file == "x.data" && at >= data_from && at < data_to));
            ++of_data;
        } else if (seen.empty() || seen == "small") {
            ++whole;
        } else {
            FAIL_CHECK("zeros in " << seen);
        }
    };
    for (std::uint64_t at = 0; at < format::kMapSize; at += 4096) {
        fresh();
        punch(path + "/x.map", at, 4096);
        look("x.map", at);
    }
    for (std::uint64_t at = 0; at < kCapacity; at += 4096) {
        fresh();
        punch(path + "/x.data", at, 4096);
        look("x.data", at);
    }
    fresh();
    punch(path + "/x.map", 0, 8192);  // both superblocks
    CHECK(code_of([&] { ns.shelf("x"); }) == Code::corrupt);
    fresh();
    punch(path + "/x.data", 4096, kCapacity - 4096);  // all but the header
    look("x.data", 4096);
    fresh();
    punch(path + "/x.data", 0, kCapacity);
    CHECK(code_of([&] { ns.shelf("x"); }) == Code::corrupt);
    MESSAGE(refused << " holes refused, " << of_data << " in data without a checksum, " << whole << " read whole");
    CHECK(refused >= 3);
    CHECK(of_data == 3);
    CHECK(whole >= 200);
}

TEST_CASE("names that leave the namespace, and NUL in names") {
    Scratch scratch;
    const NoHang guard;
    const std::string path = scratch.path();
    fs::create_directory(path + "/in");
    const Namespace outside = Namespace::open(path), ns = Namespace::open(path + "/in");
    make(outside, "x");
    make(ns, "a");
    const auto before = folder(path), inside = folder(path + "/in");
    const std::vector<std::string> shelf_names{
        "../x", "/etc/passwd", "..", ".", "", "a/../../x", "./a", "a/", "/", ".x", std::string("a\0b", 3), std::string("a\0", 2),
        std::string("\0", 1), std::string("../x\0", 5), "\xff", "\xc0\xaf", "\xed\xa0\x80", std::string(201, 'n'), std::string(100000, 'n')};
    for (const std::string& name : shelf_names) {
        CAPTURE(name);
        CHECK(code_of([&] { ns.shelf(name); }) == Code::invalid_argument);
        CHECK(code_of([&] { ns.shelf(name, Mode::read_only); }) == Code::invalid_argument);
        CHECK(code_of([&] { ns.create(name, {.capacity = kCapacity}); }) == Code::invalid_argument);
        CHECK(code_of([&] { ns.create(name, {.capacity = kCapacity, .force = true}); }) == Code::invalid_argument);
        CHECK(code_of([&] { ns.erase(name); }) == Code::invalid_argument);
        CHECK(!ns.contains(name));
    }
    // A path with NUL would be cut there by the system.
    CHECK_THROWS_AS(Namespace::open(path + std::string("/in\0/../..", 10)), Error);
    {
        Shelf s = ns.shelf("a");
        for (const std::string& name : {std::string("../x"), std::string("a/../b"), std::string("/x"), std::string("x/"), std::string("a//b"),
                                       std::string("."), std::string(".."), std::string(), std::string("a\0b", 3), std::string("\xff"),
                                       std::string(1025, 'n')}) {
            CAPTURE(name);
            CHECK(code_of([&] { s.put(name, bytes_of("v"), Type::value(Kind::bytes)); }) == Code::invalid_argument);
            CHECK(code_of([&] { (void)s.get(name); }) == Code::invalid_argument);
            CHECK(code_of([&] { s.erase(name); }) == Code::invalid_argument);
            CHECK(code_of([&] { s.rename("small", name); }) == Code::invalid_argument);
            Batch batch = s.batch();
            CHECK(code_of([&] { batch.put(name, bytes_of("v")); }) == Code::invalid_argument);
        }
    }
    CHECK(folder(path + "/in") == inside);
    CHECK(folder(path) == before);
}

TEST_CASE("files of another user") {
    if (::geteuid() != 0) {
        MESSAGE("SKIPPED: only root can come as another user");
        return;
    }
    Scratch scratch;
    const NoHang guard;
    const std::string path = scratch.path();
    const Namespace ns = Namespace::open(path);
    make(ns, "private");
    {
        Shelf s = ns.create("public", {.capacity = kCapacity, .mode = 0644});
        s.put("x", bytes_of("seen"), Type::value(Kind::bytes));
    }
    fs::permissions(path, fs::perms::owner_all);
    const auto before = folder(path);
    if (!as_nobody([&] { return ::access(std::filesystem::path(path).parent_path().c_str(), X_OK) == 0; })) {
        MESSAGE("SKIPPED: another user does not reach the folder of the tests");
        return;
    }
    CHECK(as_nobody([&] { return code_of([&] { Namespace::open(path); }) == Code::io; }));

    fs::permissions(path, fs::perms(01777));  // like /tmp
    CHECK(as_nobody([&] {
        const Namespace there = Namespace::open(path);
        const auto refused = [](const std::optional<Code>& code) { return code == Code::read_only || code == Code::io; };
        return refused(code_of([&] { there.shelf("private"); })) &&
               refused(code_of([&] { there.shelf("private", Mode::read_only); })) &&
               code_of([&] { there.create("private", {.capacity = kCapacity}); }) == Code::exists &&
               refused(code_of([&] { there.create("private", {.capacity = kCapacity, .force = true}); })) &&
               refused(code_of([&] { there.erase("private"); })) &&
               refused(code_of([&] { there.shelf("public"); })) && refused(code_of([&] { there.erase("public"); })) &&
               there.shelf("public", Mode::read_only).get("x").bytes().size() == 4;
    }));
    // What is to be done is possible, and would help.
    CHECK(as_nobody([&] {
        const Namespace there = Namespace::open(path);
        const auto says = [](const std::function<void()>& call, std::string_view yes, std::string_view no) {
            try {
                call();
            } catch (const Error& error) {
                const std::string_view text = error.what();
                if (text.find(yes) != text.npos && (no.empty() || text.find(no) == text.npos)) return true;
                std::fprintf(stderr, "%s\n", error.what());
            }
            return false;
        };
        CheckOptions repair;
        repair.repair = Repair::safe;
        return says([&] { there.shelf("private", Mode::read_only); }, "leave to read it", "read-only") &&
               says([&] { there.shelf("public"); }, "or open the shelf read-only", "") &&
               says([&] { there.erase("public"); }, "leave to write to it", "read-only") &&
               says([&] { (void)check(path, "private", {}); }, "leave to read it", "without repair") &&
               says([&] { (void)check(path, "private", repair); }, "check without repair", "");
    }));
    CHECK(folder(path) == before);

    // Somebody else's traps in a folder for all: nothing is created through them, and nothing of ours is
    // handed to them.
    CHECK(as_nobody([&] {
        const std::string passwd = path + "/mine";
        std::ofstream(path + "/trap.data").flush();  // theirs, empty: looks like a creation that was cut short
        return ::symlink(passwd.c_str(), (path + "/link.data").c_str()) == 0 &&
               ::symlink(passwd.c_str(), (path + "/maplink.map").c_str()) == 0 &&
               ::mkfifo((path + "/fifo.data").c_str(), 0666) == 0 && ::mkfifo((path + "/fifomap.map").c_str(), 0666) == 0;
    }));
    for (const char* name : {"link", "maplink", "fifo", "fifomap"}) {
        CAPTURE(name);
        CHECK(code_of([&] { ns.create(name, {.capacity = kCapacity}); }).has_value());
        CHECK(code_of([&] { ns.create(name, {.capacity = kCapacity, .force = true}); }).has_value());
        CHECK(code_of([&] { ns.shelf(name); }).has_value());
    }
    CHECK(!fs::exists(path + "/mine"));
    // The empty file is replaced by one of ours, never written through.
    { Shelf s = ns.create("trap", {.capacity = kCapacity}); }
    struct stat st;
    REQUIRE(::stat((path + "/trap.data").c_str(), &st) == 0);
    CHECK(st.st_uid == ::geteuid());
    CHECK((st.st_mode & 0777) == 0600);
    check_whole(ns.shelf("private"), "private");
}
