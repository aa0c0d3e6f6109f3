// What a process or its file system runs out of: storage at every place where some is asked for, a full file
// system, inodes, a read-only remount, limits of file size, address space and descriptors. An error of the right
// class that says what to do; nothing acknowledged is lost; and the shelf is usable when there is some again.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <pymm/check.hpp>

#include "format/superblock.hpp"
#include "memory_shelf.hpp"
#include "scratch.hpp"

using namespace pymm;
using namespace pymm::test;

namespace {

using Contents = std::map<std::string, std::string>;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
std::string text_of(const View& view) {
    return {reinterpret_cast<const char*>(view.bytes().data()), view.bytes().size()};
}
std::string filled(std::size_t size, std::size_t seed) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(seed * 31 + i * 7 + (i >> 8));
    return text;
}

/// How the shelf differs from the model, or nothing.
std::string difference(const Shelf& s, const Contents& model) {
    if (s.size() != model.size())
        return std::to_string(s.size()) + " blobs instead of " + std::to_string(model.size());
    for (const auto& [name, value] : model) {
        if (!s.contains(name)) return "'" + name + "' is missing";
        if (text_of(s.get(name)) != value) return "'" + name + "' has other bytes";
    }
    return {};
}

// ---- No storage, at each call that asks for some ----------------------------------------------------

/// One step of the workload: on the shelf, and on the model once it has returned.
struct Step {
    const char* name;
    std::function<void(MemoryShelf&)> apply;
    std::function<void(Contents&)> expect;
};

Step put(const char* name, std::string blob, std::string value, Type type = Type::raw()) {
    return {name, [=](MemoryShelf& m) { m.shelf.put(blob, bytes_of(value), type); },
            [=](Contents& c) { c[blob] = value; }};
}

std::vector<Step> workload() {
    const Type bytes = Type::value(Kind::bytes);
    std::vector<Step> steps{
        put("put inline", "inline", "some text", bytes),
        put("put small", "small", filled(300, 1)),
        put("put pages", "pages", filled(9000, 2)),
        put("put large", "large", filled(2 << 20, 3)),
        put("replace", "small", filled(700, 4)),
        {"put staged",
         [](MemoryShelf& m) {
             Staged staged = m.shelf.stage(Type::raw(), 5000);
             const std::string value = filled(5000, 5);
             std::memcpy(staged.memory().data(), value.data(), value.size());
             m.shelf.put("staged", std::move(staged));
         },
         [](Contents& c) { c["staged"] = filled(5000, 5); }},
        {"batch",
         [=](MemoryShelf& m) {
             Batch b = m.shelf.batch();
             b.put("batch/1", bytes_of(filled(600, 6)));
             b.put("batch/2", bytes_of("two"), bytes);
             b.rename("small", "batch/small");
             b.erase("inline");
             b.commit();
         },
         [](Contents& c) {
             c["batch/1"] = filled(600, 6);
             c["batch/2"] = "two";
             c["batch/small"] = c["small"];
             c.erase("small");
             c.erase("inline");
         }},
        {"batch larger than the log",
         [=](MemoryShelf& m) {
             Batch b = m.shelf.batch();
             for (int i = 0; i < 60; ++i) b.put("many/" + std::to_string(i), bytes_of(filled(100, 7)), bytes);
             b.commit();
         },
         [](Contents& c) {
             for (int i = 0; i < 60; ++i) c["many/" + std::to_string(i)] = filled(100, 7);
         }},
        {"rename", [](MemoryShelf& m) { m.shelf.rename("pages", "renamed"); },
         [](Contents& c) {
             c["renamed"] = c["pages"];
             c.erase("pages");
         }},
        {"erase", [](MemoryShelf& m) { m.shelf.erase("batch/1"); }, [](Contents& c) { c.erase("batch/1"); }},
        {"seal", [](MemoryShelf& m) { m.shelf.seal("renamed"); }, [](Contents&) {}},
        {"store in place",
         [](MemoryShelf& m) {
             View view = m.shelf.get("staged", Access::write);
             std::memcpy(view.writable_bytes().data(), "stored", 6);
             view.persist();
         },
         [](Contents& c) { c["staged"].replace(0, 6, "stored"); }},
        {"checkpoint", [](MemoryShelf& m) { sim::inspect_shelf(m.shelf, [](Catalogue& c) { if (c.in_session()) c.checkpoint(); }); },
         [](Contents&) {}},
        {"close and open", [](MemoryShelf& m) { m.reopen(); }, [](Contents&) {}},
        put("put in the next session", "later", filled(400, 8)),
    };
    // Through many log switches, so that runs are merged, too.
    for (int i = 0; i < 60; ++i) {
        steps.push_back(put("wrap the log", "wrap/" + std::to_string(i % 7), filled(200 + static_cast<std::size_t>(i), 9),
                            i % 2 == 0 ? bytes : Type::raw()));
    }
    return steps;
}

struct Outcome {
    std::uint64_t calls = 0;
    std::uint64_t refused = 0;
    std::uint64_t threw = 0;
};

/// The workload with the k-th call refused (and with `for_good` all after it, until something threw).
Outcome run_with_refusal(std::uint64_t k, bool for_good, bool checksum) {
    MemoryShelf m(8 << 20, 4096, checksum);
    m.storage.refuse = k;
    m.storage.all_after = for_good;
    m.storage.calls = 0;
    Contents model;
    Outcome outcome;
    for (const Step& step : workload()) {
        CAPTURE(step.name);
        for (int tries = 0;; ++tries) {
            REQUIRE(tries < 2);
            try {
                step.apply(m);
                step.expect(model);
                break;
            } catch (const NoSpaceError&) {
                ++outcome.threw;
            }
            REQUIRE(m.shelf.is_open());
            REQUIRE(difference(m.shelf, model) == "");
            REQUIRE(m.check() == "");
            // What a process that dies here leaves, is found by the next one.
            {
                sim::SimLocks others;
                const Shelf reader = sim::open_shelf(std::make_unique<sim::MediaRef>(m.map),
                                                     std::make_unique<sim::MediaRef>(m.data), others, Mode::read_only);
                REQUIRE(difference(reader, model) == "");
            }
            // Space is back: the same step works.
            m.storage.all_after = false;
        }
    }
    outcome.calls = m.storage.calls;
    outcome.refused = m.storage.refused;
    m.storage.refuse = 0;
    REQUIRE(difference(m.shelf, model) == "");
    m.reopen();
    REQUIRE(difference(m.shelf, model) == "");
    REQUIRE(m.check() == "");
    for (const auto& [name, value] : model) REQUIRE_NOTHROW(m.shelf.erase(name));
    m.reopen();
    REQUIRE(m.shelf.size() == 0);
    REQUIRE(m.check() == "");
    return outcome;
}

}  // namespace

TEST_CASE("no storage, at each call that asks for some: the shelf is as before, and works when there is some") {
    for (const bool for_good : {false, true}) {
        CAPTURE(for_good);
        std::uint64_t places = 0, threw = 0;
        for (std::uint64_t k = 1;; ++k) {
            CAPTURE(k);
            const Outcome outcome = run_with_refusal(k, for_good, k % 2 == 0);
            if (outcome.refused == 0) break;
            ++places;
            threw += outcome.threw;
        }
        const std::string after = for_good ? ", and all after them" : "";
        MESSAGE(places << " calls refused" << after << ", one in each run: " << threw << " errors, each tried again");
        CHECK(places > 50);
        CHECK(threw > 20);
    }
}

// ---- Real ones --------------------------------------------------------------------------------------

namespace {

/// Runs `work` in a process of its own: limits and mounts end with it. What it returns, and what exceptions say,
/// is the result: nothing, when all is right; "SKIP: why" when the system does not allow it.
template <class F>
std::string in_process(F&& work) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    std::fflush(nullptr);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::close(ends[0]);
        for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGXFSZ}) ::signal(signal, SIG_DFL);
        std::string text;
        try {
            text = work();
        } catch (const std::exception& error) {
            text = std::string("an exception: ") + error.what();
        }
        (void)!::write(ends[1], text.data(), text.size());
        ::_exit(0);
    }
    ::close(ends[1]);
    std::string text;
    char part[4096];
    for (ssize_t n; (n = ::read(ends[0], part, sizeof part)) > 0;) text.append(part, static_cast<std::size_t>(n));
    ::close(ends[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) text += "killed by signal " + std::to_string(WTERMSIG(status));
    return text;
}

/// True when `result` says that it was skipped, and why.
bool skipped(const char* what, const std::string& result) {
    if (!result.starts_with("SKIP: ")) return false;
    MESSAGE(what << ": SKIPPED: " << result.substr(6));
    return true;
}

std::vector<char> bytes_in(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// What the root in these bytes of a map names: log, zone table, runs.
std::vector<format::Extent> root_ranges(const std::vector<char>& map) {
    const auto choice = format::choose_superblock(std::as_bytes(std::span(map)));
    if (!choice.best) return {};
    const format::Superblock& sb = *choice.best;
    std::vector<format::Extent> all{{sb.log_offset, sb.log_size}, {sb.zone_offset, sb.zone_size}};
    for (std::uint32_t i = 0; i < sb.run_count; ++i) all.push_back({sb.runs[i].offset, sb.runs[i].size});
    return all;
}

/// Flips a byte in a leaf of the oldest run of shelf s, whose names are then salvaged. Nothing, or what went wrong.
std::string damage_a_run(const std::string& path) {
    const std::vector<char> map = bytes_in(path + "/s.map");
    const auto choice = format::choose_superblock(std::as_bytes(std::span(map)));
    if (!choice.best || choice.best->run_count == 0) return "there is no run to damage";
    const int fd = ::open((path + "/s.data").c_str(), O_RDWR | O_CLOEXEC);
    const auto at = static_cast<off_t>(choice.best->runs[0].offset + 4096 + 200);
    char byte = 0;
    const bool done = ::pread(fd, &byte, 1, at) == 1 && (byte = static_cast<char>(byte ^ 0x5a), ::pwrite(fd, &byte, 1, at)) == 1;
    ::close(fd);
    return done ? "" : "the run cannot be damaged";
}

bool shares_blocks(const std::string& directory) {
    const std::string from = directory + "/from", to = directory + "/to";
    const int a = ::open(from.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const int b = ::open(to.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const std::vector<char> page(4096, 'x');
    const bool shares = ::pwrite(a, page.data(), page.size(), 0) == 4096 && ::ioctl(b, FICLONE, a) == 0;
    ::close(a);
    ::close(b);
    ::unlink(from.c_str());
    ::unlink(to.c_str());
    return shares;
}

/// Bytes of the file in blocks that another file has, too.
std::uint64_t shared_bytes(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    std::uint64_t shared = 0;
    constexpr unsigned most = 64;
    std::vector<std::uint64_t> words((sizeof(fiemap) + most * sizeof(fiemap_extent)) / 8);
    auto* map = reinterpret_cast<fiemap*>(words.data());
    for (bool last = false; !last;) {
        const std::uint64_t start = map->fm_mapped_extents == 0 ? 0 : map->fm_extents[map->fm_mapped_extents - 1].fe_logical +
                                                          map->fm_extents[map->fm_mapped_extents - 1].fe_length;
        *map = {};
        map->fm_start = start;
        map->fm_length = FIEMAP_MAX_OFFSET - start;
        map->fm_flags = FIEMAP_FLAG_SYNC;
        map->fm_extent_count = most;
        if (::ioctl(fd, FS_IOC_FIEMAP, map) != 0 || map->fm_mapped_extents == 0) break;
        for (unsigned i = 0; i < map->fm_mapped_extents; ++i) {
            if ((map->fm_extents[i].fe_flags & FIEMAP_EXTENT_SHARED) != 0) shared += map->fm_extents[i].fe_length;
            last = last || (map->fm_extents[i].fe_flags & FIEMAP_EXTENT_LAST) != 0;
        }
    }
    ::close(fd);
    return shared;
}

/// An XFS of its own at `path`, for this process alone. Nothing, or why there is none.
std::string mount_xfs(const std::string& path) {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
        return std::string("SKIP: no mount namespace of our own (") + std::strerror(errno) + "); it takes root";
    const std::string image = path + "/image";
    const int fd = ::open(image.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const bool sized = ::ftruncate(fd, 512 << 20) == 0;
    ::close(fd);
    const auto shell = [](const std::string& command) { return std::system((command + " >/dev/null 2>&1").c_str()) == 0; };
    std::string why;
    if (!sized || !shell("mkfs.xfs -q -m reflink=1 '" + image + "'")) why = "SKIP: no mkfs.xfs that makes one here";
    else if (!shell("mount -t xfs -o loop '" + image + "' '" + path + "'")) why = "SKIP: XFS cannot be mounted from a file here";
    if (!why.empty()) ::unlink(image.c_str());
    return why;
}

/// A tmpfs of its own at `path`, for this process alone. Nothing, or why there is none.
std::string mount_tmpfs(const std::string& path, const std::string& options) {
    if (::unshare(CLONE_NEWNS) != 0)
        return std::string("SKIP: no mount namespace of our own (") + std::strerror(errno) + "); it takes root";
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", path.c_str(), "tmpfs", 0, options.c_str()) != 0)
        return std::string("SKIP: no tmpfs can be mounted (") + std::strerror(errno) + ")";
    return {};
}

/// What an E says; other outcomes are told, too.
template <class E, class F>
std::string expect_error(F&& work, std::string_view advice) {
    try {
        work();
    } catch (const E& error) {
        if (std::string_view(error.what()).find(advice) == std::string_view::npos)
            return std::string("no advice '") + std::string(advice) + "': " + error.what();
        return {};
    } catch (const std::exception& error) {
        return std::string("another error: ") + error.what();
    }
    return "no error (wanted: " + std::string(advice) + ")";
}

std::string check_clean(const std::string& path, std::string_view shelf) {
    std::string text;
    for (const Finding& f : pymm::check(path, shelf).findings)
        if (f.severity == Severity::error) text += f.message() + "; ";
    return text;
}

#define TRY(what)                                       \
    do {                                                \
        if (std::string problem = (what); !problem.empty()) return problem; \
    } while (false)

/// Fills the file system below `path`.
void fill_file_system(const std::string& path) {
    const int fd = ::open((path + "/filler").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const std::vector<char> block(64 << 10);
    while (::write(fd, block.data(), block.size()) > 0) {
    }
    const std::vector<char> byte(4096);
    while (::write(fd, byte.data(), byte.size()) > 0) {
    }
    ::close(fd);
}

Contents furnish(Shelf& s) {
    Contents model;
    const auto put = [&](const std::string& name, const std::string& value, const Type& type) {
        s.put(name, bytes_of(value), type);
        model[name] = value;
    };
    for (int i = 0; i < 20; ++i) {
        put("text/" + std::to_string(i), "value " + std::to_string(i), Type::value(Kind::string));
        put("page/" + std::to_string(i), filled(5000, static_cast<std::size_t>(i)), Type::raw());
    }
    return model;
}

}  // namespace

TEST_CASE("a full file system: create and put") {
    const Scratch scratch;
    const std::string path = scratch.path();
    const std::string result = in_process([&]() -> std::string {
        TRY(mount_tmpfs(path, "size=16m"));
        const Namespace ns = Namespace::open(path);
        // tmpfs gives memory when it is stored to, so this is more than there is.
        Shelf s = ns.create("s", {.capacity = 64 << 20});
        Contents model = furnish(s);
        fill_file_system(path);
        TRY(expect_error<NoSpaceError>([&] { s.put("large", bytes_of(filled(4 << 20, 1))); }, "free some"));
        TRY(expect_error<NoSpaceError>([&] { (void)s.stage(Type::raw(), 4 << 20).memory(); }, "free some"));
        TRY(expect_error<NoSpaceError>([&] { (void)ns.create("other"); }, "free space"));
        if (ns.contains("other") || ns.list().size() != 1) return "a shelf that was not created is there";
        TRY(difference(s, model));
        // As long as it goes: into storage that is there already.
        std::size_t puts = 0;
        TRY(expect_error<NoSpaceError>(
            [&] {
                for (;; ++puts) {
                    const std::string name = "more/" + std::to_string(puts), value = filled(100 + puts, puts);
                    s.put(name, bytes_of(value));
                    model[name] = value;
                }
            },
            "free some"));
        TRY(difference(s, model));
        TRY(check_clean(path, "s"));
        s.close();
        s = ns.shelf("s");
        TRY(difference(s, model));
        ::unlink((path + "/filler").c_str());
        s.put("large", bytes_of(model["large"] = filled(1 << 20, 1)));
        s.close();
        s = ns.shelf("s");
        TRY(difference(s, model));
        return check_clean(path, "s");
    });
    if (!skipped("full file system", result)) CHECK(result == "");
}

TEST_CASE("no inode is left: create fails and leaves nothing") {
    const Scratch scratch;
    const std::string path = scratch.path();
    for (const int inodes : {4, 5}) {  // the root, two of the first shelf, and none, or one of two
        CAPTURE(inodes);
        const std::string result = in_process([&]() -> std::string {
            TRY(mount_tmpfs(path, "size=64m,nr_inodes=" + std::to_string(inodes)));
            const Namespace ns = Namespace::open(path);
            Shelf s = ns.create("s", {.capacity = 4 << 20});
            Contents model = furnish(s);
            // tmpfs keeps some for itself: until there is none.
            int made = 0;
            const auto filler = [&](int i) { return path + "/filler" + std::to_string(i); };
            for (;; ++made) {
                const int fd = ::open(filler(made).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
                if (fd < 0) break;
                ::close(fd);
            }
            if (inodes == 5) ::unlink(filler(--made).c_str());
            TRY(expect_error<NoSpaceError>([&] { (void)ns.create("other"); }, "free space"));
            if (ns.contains("other") || ns.list().size() != 1) return "a shelf that was not created is there";
            s.put("more", bytes_of(model["more"] = filled(9000, 1)));
            s.close();
            s = ns.shelf("s");
            TRY(difference(s, model));
            while (made > 0) ::unlink(filler(--made).c_str());
            if (inodes == 5) (void)ns.create("other", {.capacity = 4 << 20});
            return check_clean(path, "s");
        });
        if (!skipped("inodes", result)) CHECK(result == "");
    }
}

TEST_CASE("a file system that is mounted read-only") {
    const Scratch scratch;
    const std::string path = scratch.path();
    const std::string result = in_process([&]() -> std::string {
        TRY(mount_tmpfs(path, "size=64m"));
        const Namespace ns = Namespace::open(path);
        Contents model;
        {
            Shelf s = ns.create("s", {.capacity = 4 << 20});
            model = furnish(s);
        }
        if (::mount("tmpfs", path.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) != 0)
            return std::string("SKIP: no remount (") + std::strerror(errno) + ")";
        TRY(expect_error<ReadOnlyError>([&] { (void)ns.shelf("s"); }, "read-only"));
        TRY(expect_error<ReadOnlyError>([&] { (void)ns.create("other"); }, "creating"));
        TRY(expect_error<ReadOnlyError>([&] { ns.erase("s"); }, "read-only"));
        {
            const Shelf reader = ns.shelf("s", Mode::read_only);
            TRY(difference(reader, model));
            TRY(check_clean(path, "s"));
        }
        if (::mount("tmpfs", path.c_str(), "tmpfs", MS_REMOUNT, nullptr) != 0) return "mounting it writable again";
        Shelf s = ns.shelf("s");
        s.put("more", bytes_of(model["more"] = "text"), Type::value(Kind::string));
        TRY(difference(s, model));
        return check_clean(path, "s");
    });
    if (!skipped("read-only file system", result)) CHECK(result == "");
}

TEST_CASE("the file size limit: errors, and no signal ends the process") {
    const Scratch scratch;
    const std::string path = scratch.path();
    const std::string result = in_process([&]() -> std::string {
        const Namespace ns = Namespace::open(path);
        Shelf s = ns.create("s", {.capacity = 16 << 20, .sparse = true});
        Contents model = furnish(s);
        s.put("front", bytes_of(model["front"] = filled(1 << 20, 3)));
        s.close();
        const rlimit limit{6 << 20, RLIM_INFINITY};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        // Larger than allowed: refused, nothing is left.
        TRY(expect_error<InvalidArgumentError>([&] { (void)ns.create("other", {.capacity = 32 << 20}); }, "limit"));
        if (ns.contains("other") || ns.list().size() != 1) return "a shelf that was not created is there";
        // An existing shelf of a larger file: what lies below the limit goes on, what does not is refused.
        s = ns.shelf("s");
        TRY(difference(s, model));
        s.put("below", bytes_of(model["below"] = "text"), Type::value(Kind::string));
        try {
            s.put("above", bytes_of(filled(8 << 20, 4)));
            model["above"] = filled(8 << 20, 4);  // a file system that does not mind
        } catch (const NoSpaceError& error) {
            if (std::string_view(error.what()).find("ulimit -f") == std::string_view::npos) return error.what();
        }
        TRY(difference(s, model));
        s.put("below/2", bytes_of(model["below/2"] = "text"), Type::value(Kind::string));
        TRY(difference(s, model));
        s.close();
        const rlimit none{RLIM_INFINITY, RLIM_INFINITY};
        ::setrlimit(RLIMIT_FSIZE, &none);
        s = ns.shelf("s");
        TRY(difference(s, model));
        s.put("above", bytes_of(model["above"] = filled(8 << 20, 4)));
        TRY(difference(s, model));
        s.close();
        return check_clean(path, "s");
    });
    CHECK(result == "");
}

TEST_CASE("the file size limit: a repair whose copy does not fit changes nothing") {
    for (const bool lost_map : {false, true}) {
        CAPTURE(lost_map);
        const Scratch scratch;
        const std::string path = scratch.path();
        const std::string result = in_process([&]() -> std::string {
            Contents model;
            {
                Shelf s = Namespace::open(path).create("s", {.capacity = 16 << 20, .log_size = 8192});
                model = furnish(s);
            }
            // A page of a run, or all of the map: what makes a new catalogue necessary.
            if (lost_map) ::unlink((path + "/s.map").c_str());
            else TRY(damage_a_run(path));
            CheckOptions all;
            all.repair = Repair::all;
            const rlimit limit{6 << 20, RLIM_INFINITY}, none{RLIM_INFINITY, RLIM_INFINITY};
            ::setrlimit(RLIMIT_FSIZE, &limit);
            TRY(expect_error<NoSpaceError>([&] { (void)check(path, "s", all); }, "ulimit -f"));
            std::size_t names = 0;
            for ([[maybe_unused]] const auto& item : std::filesystem::directory_iterator(path)) ++names;
            if (names != (lost_map ? 1 : 2)) return "something was left behind";
            ::setrlimit(RLIMIT_FSIZE, &none);
            if (!check(path, "s", all).repaired) return "not repaired without the limit";
            return check_clean(path, "s");
        });
        CHECK(result == "");
    }
}

TEST_CASE("what a repair saves shares no more blocks than it replaces") {
    const Scratch scratch;
    const std::string path = scratch.path();
    const std::string result = in_process([&]() -> std::string {
        if (!shares_blocks(path)) TRY(mount_xfs(path));
        {
            Shelf s = Namespace::open(path).create("s", {.capacity = 64 << 20, .log_size = 8192});
            for (int i = 0; i < 300; ++i) s.put("small/" + std::to_string(i), bytes_of(filled(600, 1)));
            for (int i = 0; i < 20; ++i) s.put("large/" + std::to_string(i), bytes_of(filled(2 << 20, 2)));
        }
        TRY(damage_a_run(path));
        const std::vector<char> before = bytes_in(path + "/s.data");
        CheckOptions all;
        all.repair = Repair::all;
        const CheckReport report = check(path, "s", all);
        if (!report.repaired || report.backup.empty()) return "nothing was repaired";
        const std::vector<char> saved = bytes_in(report.backup + "/s.data");
        if (saved.size() != before.size()) return "the copy has another size";
        if (std::memcmp(saved.data(), before.data(), 4096) != 0) return "page 0 was not saved";
        for (const format::Extent& e : root_ranges(bytes_in(report.backup + "/s.map")))
            if (std::memcmp(saved.data() + e.offset, before.data() + e.offset, e.size) != 0)
                return "the copy lacks what stood at " + std::to_string(e.offset);
        const std::uint64_t shared = shared_bytes(path + "/s.data");
        if (shared == 0) return "SKIP: this file system shared nothing";
        if (shared > 1 << 20) return std::to_string(shared) + " bytes of the shelf are shared with the copy";
        Shelf s = Namespace::open(path).shelf("s");
        s.put("more", bytes_of("text"), Type::value(Kind::string));
        if (shared_bytes(path + "/s.data") != 0) return "blocks are still shared in a session that writes";
        s.close();
        return check_clean(path, "s");
    });
    if (!skipped("shared blocks", result)) CHECK(result == "");
}

TEST_CASE("a sparse shelf may be larger than its XFS") {
    const Scratch scratch;
    const std::string path = scratch.path();
    const std::string result = in_process([&]() -> std::string {
        TRY(mount_xfs(path));
        const Namespace ns = Namespace::open(path);
        Shelf s = ns.create("s", {.capacity = std::uint64_t{64} << 30, .sparse = true});
        Contents model = furnish(s);
        s.close();
        struct stat st;
        if (::stat((path + "/s.data").c_str(), &st) != 0 || st.st_blocks > (32 << 20) / 512)
            return std::to_string(st.st_blocks) + " blocks for little data";
        s = ns.shelf("s");
        s.put("more", bytes_of(model["more"] = "text"), Type::value(Kind::string));
        TRY(difference(s, model));
        s.close();
        return check_clean(path, "s");
    });
    if (!skipped("sparse on XFS", result)) CHECK(result == "");
}

TEST_CASE("the caller's SIGXFSZ stays as it was") {
    const Scratch scratch;
    const std::string result = in_process([&]() -> std::string {
        static volatile sig_atomic_t seen = 0;
        struct sigaction mine{}, now{};
        mine.sa_handler = [](int) { seen = seen + 1; };
        ::sigaction(SIGXFSZ, &mine, nullptr);
        const rlimit limit{1 << 20, RLIM_INFINITY};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        TRY(expect_error<InvalidArgumentError>(
            [&] { (void)Namespace::open(scratch.path()).create("s", {.capacity = 4 << 20}); }, "limit"));
        ::sigaction(SIGXFSZ, nullptr, &now);
        if (now.sa_handler != mine.sa_handler) return "another handler";
        sigset_t blocked;
        ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
        if (::sigismember(&blocked, SIGXFSZ) != 0) return "still blocked";
        if (seen != 0) return "the program was signalled for what the library reported";
        ::kill(::getpid(), SIGXFSZ);  // somebody else's
        if (seen != 1) return "a signal of somebody else was swallowed";
        return {};
    });
    CHECK(result == "");
}

TEST_CASE("little address space: an error that names the limit, and small shelves still open") {
    const Scratch scratch;
    const std::string path = scratch.path();
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    MESSAGE("address space: SKIPPED: a sanitizer takes more of it than any limit");
#else
    const std::string result = in_process([&]() -> std::string {
        const Namespace ns = Namespace::open(path);
        Contents model;
        {
            Shelf s = ns.create("small", {.capacity = 4 << 20});
            model = furnish(s);
            Shelf t = ns.create("sparse", {.capacity = std::uint64_t{64} << 30, .sparse = true});
            (void)furnish(t);
        }
        const rlimit limit{std::uint64_t{2} << 30, RLIM_INFINITY};
        ::setrlimit(RLIMIT_AS, &limit);
        for (const Mode mode : {Mode::read_only, Mode::read_write})
            TRY(expect_error<IoError>([&] { (void)ns.shelf("sparse", mode); }, "ulimit -v"));
        TRY(expect_error<IoError>(
            [&] { (void)ns.create("other", {.capacity = std::uint64_t{64} << 30, .sparse = true}); }, "ulimit -v"));
        if (ns.contains("other") || ns.list().size() != 2) return "a shelf that was not created is there";
        {
            Shelf s = ns.shelf("small");
            s.put("more", bytes_of(model["more"] = filled(5000, 3)));
            TRY(difference(s, model));
        }
        const rlimit none{RLIM_INFINITY, RLIM_INFINITY};
        ::setrlimit(RLIMIT_AS, &none);
        Shelf s = ns.shelf("sparse");
        s.put("more", bytes_of(filled(5000, 3)));
        return check_clean(path, "sparse");
    });
    CHECK(result == "");
#endif
}

TEST_CASE("no descriptor is left: opening and creating fail, an open shelf goes on") {
    const Scratch scratch;
    const std::string path = scratch.path();
    const std::string result = in_process([&]() -> std::string {
        const Namespace ns = Namespace::open(path);
        Shelf s = ns.create("s", {.capacity = 8 << 20});
        Contents model = furnish(s);
        (void)ns.create("t", {.capacity = 4 << 20});
        const int highest = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        ::close(highest);
        int failures = 0;
        // Each number of descriptors that is too few.
        for (int left = 0; left < 16; ++left) {
            const rlimit limit{static_cast<rlim_t>(highest + left), 4096};
            ::setrlimit(RLIMIT_NOFILE, &limit);
            try {
                (void)ns.shelf("t");
            } catch (const IoError& error) {
                if (error.os_error() != EMFILE) return std::string("opening: ") + error.what();
                ++failures;
            }
            try {
                (void)ns.create("u", {.capacity = 4 << 20});
                ns.erase("u");
            } catch (const IoError& error) {
                if (error.os_error() != EMFILE) return std::string("creating: ") + error.what();
                ++failures;
            }
            const std::string name = "more/" + std::to_string(left);
            s.put(name, bytes_of(model[name] = filled(3000, static_cast<std::size_t>(left))));
            TRY(difference(s, model));
        }
        const rlimit enough{1024, 4096};
        ::setrlimit(RLIMIT_NOFILE, &enough);
        if (failures < 4) return "only " + std::to_string(failures) + " failures";
        try {
            ns.erase("u");
        } catch (const NotFoundError&) {
        }
        if (ns.list().size() != 2) return "leftovers";
        s.close();
        s = ns.shelf("s");
        TRY(difference(s, model));
        TRY(check_clean(path, "t"));
        return check_clean(path, "s");
    });
    CHECK(result == "");
}
