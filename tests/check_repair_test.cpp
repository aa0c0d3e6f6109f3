// Repair: what needs no guess is mended by fsck -p, a damaged or lost catalogue by fsck -y. Afterwards a second check
// is clean, the shelf opens, and what was sound is still there.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <utility>

#include "check/saved.hpp"
#include "check_files.hpp"
#include "format/crc32c.hpp"

using namespace pymm;
using namespace pymm::test;
using namespace pymm::format;

namespace {

void expect_mended(const SampleShelf& shelf, Repair repair) {
    const CheckReport report = shelf.check(repair);
    INFO(text_of(report));
    CHECK(report.exit_code() == 1);
    CHECK(report.repaired);
    CHECK(report.corrected() > 0);
    const CheckReport again = shelf.check(Repair::none, true);
    INFO("again: " << text_of(again));
    CHECK(again.findings.empty());
    CHECK(again.blobs == report.blobs);
    CHECK(shelf.missing() == std::vector<std::string>{});
    // It takes new blobs, and is sound after that, too.
    {
        Shelf s = Namespace::open(shelf.path).shelf("s");
        CHECK(s.size() >= shelf.contents.size());
        for (int i = 0; i < 200; ++i) s.put("fresh/" + std::to_string(i), filled(600, static_cast<unsigned>(i)));
        s.close();
    }
    CHECK(shelf.check().findings.empty());
    CHECK(shelf.missing() == std::vector<std::string>{});
}

}  // namespace

TEST_CASE("what needs no guess is mended by the safe repair") {
    SampleShelf shelf;
    Superblock root = shelf.root();
    const auto bytes = file_bytes(shelf.data);
    SUBCASE("a superblock copy") { flip(shelf.map, 77); }
    SUBCASE("the other one") { flip(shelf.map, 4096 + 77); }
    SUBCASE("the data header") { flip(shelf.data, 20); }
    SUBCASE("the mark of use") { flip(shelf.data, 12), overwrite(shelf.data, 12, "\0\0\0\0", 4); }
    SUBCASE("the zone table") { flip(shelf.data, root.zone_offset + 3); }
    SUBCASE("counters") {
        root.blobs += 7;
        root.used -= 64;
        shelf.write_root(root);
    }
    SUBCASE("an extent header") { flip(shelf.data, shelf.infos.at("small/3").offset - 40); }
    SUBCASE("a filter, an index and a space page") {
        for (std::uint32_t r = 0; r < root.run_count; ++r) {
            RunHeader header;
            std::memcpy(&header, bytes.data() + root.runs[r].offset, sizeof header);
            if (header.filter_count != 0) flip(shelf.data, root.runs[r].offset + header.filter_start * kPage + 999);
            if (header.index_root != 0) flip(shelf.data, root.runs[r].offset + header.index_root * kPage + 99);
            if (header.space_count != 0) flip(shelf.data, root.runs[r].offset + header.space_start * kPage + 50);
        }
    }
    expect_mended(shelf, Repair::safe);
}

TEST_CASE("leaked bytes are given back") {
    SampleShelf shelf;
    // An event that takes what no blob has, as a bug of a writer would leave it.
    const Superblock root = shelf.root();
    auto bytes = file_bytes(shelf.data);
    bool done = false;
    for (std::uint32_t r = root.run_count; r-- > 0 && !done;) {
        const std::uint64_t at = root.runs[r].offset;
        RunHeader header;
        std::memcpy(&header, bytes.data() + at, sizeof header);
        for (std::uint32_t p = 0; p < header.space_count && !done; ++p) {
            std::byte* page = bytes.data() + at + (header.space_start + p) * kPage;
            PageHeader ph;
            std::memcpy(&ph, page, sizeof ph);
            for (std::uint32_t i = 0; i < ph.count && !done; ++i) {
                SpaceEvent event;
                std::memcpy(&event, page + sizeof ph + i * sizeof event, sizeof event);
                if ((event.size & kSpaceTaken) != 0) continue;
                event.size |= kSpaceTaken;
                std::memcpy(page + sizeof ph + i * sizeof event, &event, sizeof event);
                ph.crc = 0;
                std::memcpy(page, &ph, sizeof ph);
                ph.crc = crc32c(page, kPage);
                std::memcpy(page, &ph, sizeof ph);
                overwrite(shelf.data, at + (header.space_start + p) * kPage, page, kPage);
                done = true;
            }
        }
    }
    REQUIRE(done);
    const CheckReport report = shelf.check();
    INFO(text_of(report));
    CHECK(report.leaked > 0);
    CHECK(report.exit_code() == 4);
    expect_mended(shelf, Repair::safe);
}

TEST_CASE("what a crash left is folded, which is no error") {
    SampleShelf shelf(43, false);
    const CheckReport report = shelf.check(Repair::safe);
    INFO(text_of(report));
    CHECK(report.exit_code() == 0);
    CHECK(report.repaired);
    CHECK(shelf.check().findings.empty());
    CHECK((shelf.root().flags & kSuperblockClean) != 0);
    CHECK(shelf.missing() == std::vector<std::string>{});
}

TEST_CASE("the safe repair leaves alone what needs a guess") {
    SampleShelf shelf;
    SUBCASE("a leaf page") { flip(shelf.data, shelf.root().runs[0].offset + kPage + 200); }
    SUBCASE("both superblocks") {
        flip(shelf.map, 60);
        flip(shelf.map, 4096 + 60);
    }
    SUBCASE("no .map") { std::filesystem::remove(shelf.map); }
    const auto data = file_bytes(shelf.data);
    const CheckReport report = shelf.check(Repair::safe);
    INFO(text_of(report));
    CHECK(report.exit_code() == 4);
    CHECK_FALSE(report.repaired);
    CHECK(file_bytes(shelf.data) == data);
}

TEST_CASE("what is replaced is saved, and can be put back") {
    SampleShelf shelf;
    Superblock root = shelf.root();
    root.blobs += 7;
    shelf.write_root(root);
    const auto map = file_bytes(shelf.map), data = file_bytes(shelf.data);
    const CheckReport report = shelf.check(Repair::safe);
    REQUIRE(!report.backup.empty());
    CHECK(report.backup.starts_with(shelf.path + "/s.fsck-"));
    CHECK(file_bytes(report.backup + "/s.map") == map);
    // The saved metadata stands in its places: written back, the old state is there again.
    const auto saved = file_bytes(report.backup + "/s.data");
    REQUIRE(saved.size() == data.size());
    for (std::uint32_t i = 0; i < root.run_count; ++i)
        CHECK(std::memcmp(saved.data() + root.runs[i].offset, data.data() + root.runs[i].offset, root.runs[i].size) == 0);
    CHECK(std::memcmp(saved.data() + root.log_offset, data.data() + root.log_offset, root.log_size) == 0);
    CHECK(Namespace::open(shelf.path).list().size() == 1);
}

TEST_CASE("a progress callback that throws gives the check up before anything is changed") {
    SampleShelf shelf;
    Superblock root = shelf.root();
    root.blobs += 7;
    shelf.write_root(root);
    const auto map = file_bytes(shelf.map), data = file_bytes(shelf.data);
    CheckOptions options;
    options.repair = Repair::all;
    options.progress = [](std::uint64_t done, std::uint64_t total) {
        CHECK(done <= total);
        throw std::runtime_error("enough");
    };
    CHECK_THROWS_AS(check(shelf.path, "s", options), std::runtime_error);
    CHECK(file_bytes(shelf.map) == map);
    CHECK(file_bytes(shelf.data) == data);
}

TEST_CASE("progress reaches its total") {
    SampleShelf shelf;
    std::uint64_t last = 0, end = 0, calls = 0;
    CheckOptions options;
    options.scrub = true;
    options.progress = [&](std::uint64_t done, std::uint64_t total) {
        CHECK(done >= last);
        last = done;
        end = total;
        ++calls;
    };
    CHECK(check(shelf.path, "s", options).clean());
    CHECK(calls > 0);
    CHECK(last == end);
}

TEST_CASE("beside a live writer there is no false alarm") {
    SampleShelf shelf;
    std::atomic<bool> stop = false;
    std::atomic<std::uint64_t> changes = 0;
    Shelf s = Namespace::open(shelf.path).shelf("s");
    std::thread writer([&] {
        for (unsigned i = 0; !stop; ++i) {
            const std::string n = std::to_string(i % 50);
            s.put("live/" + n, filled(200 + i % 700, i));
            s.put("wide/" + n, filled(4096 * (1 + i % 3), i));
            s.put("text/" + n, filled(30, i), Type::value(Kind::bytes));
            if (i % 7 == 0) s.erase("live/" + n);
            if (i % 11 == 0) s.rename("wide/" + n, "moved/" + n, true);
            changes += 4;
        }
    });
    const bool many = std::getenv("PYMM_TEST_LONG") != nullptr;
    const std::uint64_t rounds = many ? 500 : 60, wanted = many ? 20'000 : 800;
    std::string problems;
    std::uint64_t i = 0;
    for (; (i < rounds || changes < wanted) && problems.empty(); ++i) {
        const CheckReport report = shelf.check(Repair::none, i % 2 == 0);
        problems = text_of(report);
        if (report.blobs < shelf.contents.size()) problems += "blobs are missing\n";
    }
    stop = true;
    writer.join();
    CHECK(problems == "");
    MESSAGE(i << " checks beside " << changes.load() << " changes");
    s.close();
    CHECK(shelf.check().findings.empty());
}

TEST_CASE("a writer that comes while a check reads contents raises no alarm") {
    const Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    {
        Shelf s = ns.create("s", {.capacity = 16 << 20, .log_size = 8192, .checksum = true});
        for (int i = 10; i < 24; ++i) s.put("big/" + std::to_string(i), filled(1 << 20, static_cast<unsigned>(i)));
        s.close();
    }
    bool came = false;
    CheckOptions options;
    options.scrub = true;
    options.progress = [&](std::uint64_t, std::uint64_t) {
        if (came) return;
        came = true;
        // What the check has not seen yet goes, and its bytes become others.
        Shelf s = ns.shelf("s");
        for (int i = 20; i < 24; ++i) s.erase("big/" + std::to_string(i));
        for (int i = 0; i < 4; ++i) s.put("new/" + std::to_string(i), filled(1 << 20, 99));
        s.close();
    };
    const CheckReport report = pymm::check(scratch.path(), "s", options);
    INFO(text_of(report));
    CHECK(came);
    CHECK(report.exit_code() == 0);
}

TEST_CASE("a check that repairs keeps nobody from other shelves") {
    const SampleShelf shelf;
    CheckOptions options;
    options.repair = Repair::safe;
    bool free = true, asked = false;
    options.progress = [&](std::uint64_t, std::uint64_t) {
        const int fd = ::open(shelf.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        free = free && ::flock(fd, LOCK_EX | LOCK_NB) == 0;
        asked = true;
        ::close(fd);
    };
    CHECK(pymm::check(shelf.path, "s", options).clean());
    CHECK(asked);
    CHECK(free);
}

TEST_CASE("a data file of a size that none has is left alone while somebody writes") {
    const SampleShelf shelf;
    Shelf s = Namespace::open(shelf.path).shelf("s");
    const auto size = std::filesystem::file_size(shelf.data);
    std::filesystem::resize_file(shelf.data, size + 100);
    CHECK_THROWS_AS(shelf.check(Repair::all), BusyError);
    CHECK(std::filesystem::file_size(shelf.data) == size + 100);
}

namespace {

/// A process of its own that has the shelf open for writing, has put something, and keeps a writable view after it
/// closed the shelf; until killed.
class WriterProcess {
public:
    explicit WriterProcess(const std::string& path) {
        int ready[2];
        REQUIRE(::pipe(ready) == 0);
        pid_ = ::fork();
        REQUIRE(pid_ >= 0);
        if (pid_ == 0) {
            char answer = 'n';
            try {
                Shelf s = Namespace::open(path).shelf("s");
                s.put("theirs", filled(5000, 7));
                const View view = s.get("theirs", Access::write);
                s.close();
                answer = 'y';
                (void)!::write(ready[1], &answer, 1);
                for (;;) ::pause();
            } catch (const std::exception&) {
            }
            (void)!::write(ready[1], &answer, 1);
            ::_exit(1);
        }
        char answer = 0;
        REQUIRE(::read(ready[0], &answer, 1) == 1);
        REQUIRE(answer == 'y');
        ::close(ready[0]);
        ::close(ready[1]);
    }
    void end() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        pid_ = 0;
    }
    ~WriterProcess() { end(); }

private:
    pid_t pid_ = 0;
};

}  // namespace

TEST_CASE("a .map taken away from under a writer lets nobody in beside it") {
    SampleShelf shelf;
    const auto old_map = file_bytes(shelf.map);
    WriterProcess writer(shelf.path);
    std::filesystem::remove(shelf.map);
    const Namespace ns = Namespace::open(shelf.path);
    const CreateOptions options{.capacity = min_capacity}, force{.capacity = min_capacity, .force = true};
    const auto data = file_bytes(shelf.data);
    const auto nothing_changed = [&] {
        CHECK(file_bytes(shelf.data) == data);
        CHECK(std::distance(std::filesystem::directory_iterator(shelf.path), {}) == 1);
    };
    for (const Repair repair : {Repair::safe, Repair::all}) {
        CHECK_THROWS_AS(shelf.check(repair), BusyError);
        nothing_changed();
    }
    CHECK((shelf.check().exit_code() & 4) != 0);  // without repair it tells what is missing
    CHECK_THROWS_AS(ns.create("s", options), BusyError);
    CHECK_THROWS_AS(ns.create("s", force), BusyError);
    CHECK_THROWS_AS(ns.erase("s"), BusyError);
    nothing_changed();
    // An older copy of it, put back: still the same writer's shelf.
    std::ofstream(shelf.map, std::ios::binary)
        .write(reinterpret_cast<const char*>(old_map.data()), static_cast<std::streamsize>(old_map.size()));
    CHECK_THROWS_AS(ns.shelf("s"), BusyError);
    CHECK_THROWS_AS(ns.erase("s"), BusyError);
    CHECK_THROWS_AS(shelf.check(Repair::all), BusyError);
    std::filesystem::remove(shelf.map);
    nothing_changed();

    writer.end();
    const CheckReport report = shelf.check(Repair::all);
    INFO(text_of(report));
    CHECK(report.repaired);
    CHECK(shelf.check().findings.empty());
    CHECK(shelf.missing() == std::vector<std::string>{});
    CHECK(ns.shelf("s").contains("theirs"));
}

TEST_CASE("a .data taken away from under a writer lets nobody in beside it") {
    SampleShelf shelf;
    WriterProcess writer(shelf.path);
    std::filesystem::remove(shelf.data);
    const Namespace ns = Namespace::open(shelf.path);
    CHECK_THROWS_AS(ns.create("s", {.capacity = min_capacity}), ExistsError);
    CHECK_THROWS_AS(ns.create("s", {.capacity = min_capacity, .force = true}), BusyError);
    CHECK_THROWS_AS(ns.erase("s"), BusyError);
    const SampleShelf other;
    std::filesystem::copy_file(other.data, shelf.data);
    CHECK_THROWS_AS(shelf.check(Repair::all), BusyError);
    writer.end();
    ns.erase("s");
    CHECK(ns.list().empty());
}

TEST_CASE("a .map made anew is for nobody whom the old one was not for") {
    const SampleShelf shelf;
    REQUIRE(::chmod(shelf.map.c_str(), 0600) == 0);
    REQUIRE(::chmod(shelf.data.c_str(), 0664) == 0);
    mode_t expected = 0600;
    SUBCASE("too short") { std::filesystem::resize_file(shelf.map, 100); }
    SUBCASE("missing: as the .data") {
        std::filesystem::remove(shelf.map);
        expected = 0664;
    }
    CHECK(shelf.check(Repair::all).repaired);
    struct stat st;
    REQUIRE(::stat(shelf.map.c_str(), &st) == 0);
    CHECK((st.st_mode & 0777) == expected);
}

TEST_CASE("the data file of another shelf is not made to fit by a safe repair") {
    const SampleShelf shelf, other;
    std::filesystem::copy_file(other.data, shelf.data, std::filesystem::copy_options::overwrite_existing);
    flip(shelf.data, 45);  // reserved bytes: the uuid is legible, the checksum is wrong
    const auto before = file_bytes(shelf.data);
    const CheckReport report = shelf.check(Repair::safe);
    INFO(text_of(report));
    CHECK((report.exit_code() & 4) != 0);
    CHECK(file_bytes(shelf.data) == before);
}

TEST_CASE("what the device cannot give does not keep the rest from being saved") {
    // A descriptor that answers EIO where no memory is.
    const int memory = ::open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    if (memory < 0) {
        MESSAGE("skipped: no /proc/self/mem here");
        return;
    }
    constexpr std::uint64_t at = 0x10000000;
    void* const got = ::mmap(reinterpret_cast<void*>(at), 3 * kPage, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (got != reinterpret_cast<void*>(at)) {
        MESSAGE("skipped: the addresses are taken");
        ::close(memory);
        return;
    }
    std::memset(got, 'a', 3 * kPage);
    ::munmap(static_cast<std::byte*>(got) + kPage, kPage);
    const Scratch scratch;
    const int directory = ::open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const std::string saved = save_replaced({directory, scratch.path(), "s", -1, memory}, {{{at + 64, 3 * kPage - 64}}});
    const auto bytes = file_bytes(saved + "/s.data");
    REQUIRE(bytes.size() == at + 3 * kPage);
    for (const auto& [offset, value] : {std::pair{64ull, 'a'}, {4095ull, 'a'}, {4096ull, '\0'},
                                        {8191ull, '\0'}, {8192ull, 'a'}, {12287ull, 'a'}})
        CHECK_MESSAGE(bytes[at + offset] == static_cast<std::byte>(value), offset);
    ::munmap(got, kPage);
    ::munmap(static_cast<std::byte*>(got) + 2 * kPage, kPage);
    ::close(memory);
    ::close(directory);
}
