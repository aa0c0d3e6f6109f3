// FileLease: between descriptions of one process, and between processes.
#include "media/file_lease.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <pymm/error.hpp>

using namespace pymm;

namespace {

struct Pair {
    Pair() {
        const char* where = std::getenv("PYMM_TEST_DIR");
        std::string pattern =
            (where != nullptr ? std::string(where) : std::filesystem::temp_directory_path().string()) +
            "/pymm-lease-XXXXXX";
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        directory = pattern;
        for (const char* name : {"/s.map", "/s.data"})
            ::close(::open((directory + name).c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    }
    ~Pair() { std::filesystem::remove_all(directory); }

    std::unique_ptr<FileLease> lease(bool writable = true) const {
        const int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC;
        return std::make_unique<FileLease>(::open((directory + "/s.map").c_str(), flags),
                                           ::open((directory + "/s.data").c_str(), flags), directory);
    }
    std::string directory;
};

/// Runs `body` in a forked child until it returns or, where it waits, is killed.
template <class F>
pid_t child(F&& body) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(body() ? 0 : 1);
    return pid;
}

bool succeeded(pid_t pid) {
    int status = -1;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    return status == 0;
}

}  // namespace

TEST_CASE("lease: one writer, over descriptions of one process too") {
    const Pair files;
    const auto a = files.lease();
    const auto b = files.lease();
    const auto reader = files.lease(false);
    CHECK_FALSE(reader->writer_alive());
    CHECK(a->try_acquire_writer());
    CHECK(a->try_acquire_writer());  // again by the holder: no conflict
    CHECK_FALSE(b->try_acquire_writer());
    CHECK(b->writer_alive());
    CHECK(reader->writer_alive());
    CHECK_FALSE(a->writer_alive());  // "some other"
    a->release_writer();
    CHECK_FALSE(reader->writer_alive());
    CHECK(b->try_acquire_writer());
}

TEST_CASE("lease: a file that is taken away, or replaced, makes no second writer") {
    for (const char* name : {"/s.map", "/s.data"}) {
        CAPTURE(name);
        const Pair files;
        auto writer = files.lease();
        CHECK(writer->try_acquire_writer());
        CHECK(writer->try_acquire_writer());
        REQUIRE(::unlink((files.directory + name).c_str()) == 0);
        ::close(::open((files.directory + name).c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
        const auto other = files.lease(), reader = files.lease(false);
        for (int again = 0; again < 3; ++again) {
            CHECK_FALSE(other->try_acquire_writer());
            CHECK(reader->writer_alive());
        }
        CHECK_FALSE(writer->writer_alive());  // nothing is left behind by the refused one
        CHECK(writer->try_acquire_writer());
        // Of a marked extent, whatever its size, the writer's byte is no part.
        CHECK_FALSE(other->extent_marked(0, 1ull << 46));
        reader->mark_extent(0, 1ull << 46);
        reader->unmark_extent(0, 1ull << 46);
        CHECK(other->writer_alive());
        writer.reset();
        CHECK_FALSE(reader->writer_alive());
        CHECK(other->try_acquire_writer());
    }
}

TEST_CASE("lease: with one file of two, that one bears the lock") {
    const Pair files;
    const auto open = [&](const char* name) { return ::open((files.directory + name).c_str(), O_RDWR | O_CLOEXEC); };
    FileLease no_map(-1, open("/s.data"), "no map"), no_data(open("/s.map"), -1, "no data");
    CHECK(no_map.try_acquire_writer());
    CHECK(no_data.try_acquire_writer());
    const auto both = files.lease();
    CHECK_FALSE(both->try_acquire_writer());
    no_data.release_writer();
    CHECK_FALSE(both->try_acquire_writer());
    CHECK_FALSE(no_data.writer_alive());  // .map, which was locked first, was given up again
    no_map.release_writer();
    CHECK(both->try_acquire_writer());
    CHECK(no_map.writer_alive());
    CHECK(no_data.writer_alive());
}

TEST_CASE("lease: destruction gives the writer's lock up though the description lives on") {
    const Pair files;
    const int map = ::open((files.directory + "/s.map").c_str(), O_RDWR | O_CLOEXEC);
    const int data = ::open((files.directory + "/s.data").c_str(), O_RDWR | O_CLOEXEC);
    auto a = std::make_unique<FileLease>(::dup(map), ::dup(data), "a");
    CHECK(a->try_acquire_writer());
    a->mark_extent(0, 100);
    a.reset();
    const auto b = files.lease();
    CHECK_FALSE(b->extent_marked(0, 1000));
    CHECK(b->try_acquire_writer());
    ::close(map);
    ::close(data);
}

TEST_CASE("lease: a killed writer gives its lock up; its forked child does not keep it") {
    const Pair files;
    int pipes[2];
    REQUIRE(::pipe(pipes) == 0);
    const pid_t writer = child([&] {
        const auto lease = files.lease();
        if (!lease->try_acquire_writer()) return false;
        const pid_t grandchild = ::fork();
        if (grandchild == 0) {
            lease->detach_in_child();
            // Outlives its parent.
            if (::write(pipes[1], "g", 1) != 1) ::_exit(1);
            ::sleep(5);
            ::_exit(0);
        }
        if (::write(pipes[1], &grandchild, sizeof grandchild) != sizeof grandchild) return false;
        ::pause();
        return true;
    });
    char buffer[1 + sizeof(pid_t)];
    for (std::size_t got = 0; got < sizeof buffer;) {
        const ssize_t n = ::read(pipes[0], buffer + got, sizeof buffer - got);
        REQUIRE(n > 0);
        got += static_cast<std::size_t>(n);
    }
    const auto lease = files.lease();
    CHECK_FALSE(lease->try_acquire_writer());
    ::kill(writer, SIGKILL);
    CHECK_FALSE(succeeded(writer));
    CHECK(lease->try_acquire_writer());
    ::close(pipes[0]);
    ::close(pipes[1]);
}

TEST_CASE("lease: extents") {
    const Pair files;
    const auto writer = files.lease();
    const auto reader = files.lease(false);
    reader->mark_extent(4096, 4096);
    CHECK(writer->extent_marked(4096, 1));
    CHECK(writer->extent_marked(8191, 1));
    CHECK(writer->extent_marked(0, 1 << 20));
    CHECK_FALSE(writer->extent_marked(0, 4096));
    CHECK_FALSE(writer->extent_marked(8192, 4096));
    CHECK_FALSE(reader->extent_marked(4096, 4096));

    reader->mark_extent(4096, 4096);  // twice: counted
    reader->mark_extent(8192, 64);    // the kernel merges neighbours
    reader->unmark_extent(4096, 4096);
    CHECK(writer->extent_marked(4096, 4096));
    reader->unmark_extent(4096, 4096);
    CHECK_FALSE(writer->extent_marked(4096, 4096));
    CHECK(writer->extent_marked(8192, 64));

    reader->mark_extent(0, 0);  // an empty blob marks nothing
    CHECK_FALSE(writer->extent_marked(0, 64));
    CHECK_FALSE(writer->extent_marked(8192, 0));
    const std::uint64_t far = (1ull << 46) - 64;
    reader->mark_extent(far, 64);
    CHECK(writer->extent_marked(far, 64));
}

TEST_CASE("lease: where a mark ends") {
    const Pair files;
    const auto writer = files.lease();
    const auto reader = files.lease(false);
    CHECK_FALSE(writer->mark_in(0, 1 << 20).has_value());
    reader->mark_extent(4096, 4096);
    reader->mark_extent(8192, 64);  // the kernel merges neighbours
    const auto mark = writer->mark_in(5000, 8);
    REQUIRE(mark.has_value());
    CHECK(mark->offset == 4096);
    CHECK(mark->size == 4160);
    CHECK_FALSE(writer->mark_in(8256, 64).has_value());
    CHECK_FALSE(writer->mark_in(4096, 0).has_value());
    CHECK_FALSE(reader->mark_in(0, 1 << 20).has_value());
}

TEST_CASE("lease: a reader's marks vanish with its process") {
    const Pair files;
    int pipes[2];
    REQUIRE(::pipe(pipes) == 0);
    const pid_t reader = child([&] {
        const auto lease = files.lease(false);
        lease->mark_extent(64, 64);
        if (::write(pipes[1], "r", 1) != 1) return false;
        ::pause();
        return true;
    });
    char ready = 0;
    REQUIRE(::read(pipes[0], &ready, 1) == 1);
    const auto writer = files.lease();
    CHECK(writer->extent_marked(64, 64));
    ::kill(reader, SIGKILL);
    CHECK_FALSE(succeeded(reader));
    CHECK_FALSE(writer->extent_marked(0, 1 << 20));
    ::close(pipes[0]);
    ::close(pipes[1]);
}

TEST_CASE("lease: after a fork the child may not use it") {
    const Pair files;
    const auto lease = files.lease();
    CHECK(succeeded(child([&] {
        lease->detach_in_child();
        try {
            lease->mark_extent(0, 64);
            return false;
        } catch (const ClosedError&) {
            return true;
        }
    })));
}

TEST_CASE("lease: counted ranges against a plain array") {
    std::mt19937 random(11);
    for (int round = 0; round < 200; ++round) {
        CountedRanges ranges;
        constexpr int size = 40;
        int counts[size] = {};
        bool locked[size] = {};
        std::vector<std::pair<int, int>> live;
        for (int step = 0; step < 60; ++step) {
            if (live.empty() || random() % 2 == 0) {
                const int a = static_cast<int>(random() % size);
                const int b = a + 1 + static_cast<int>(random() % static_cast<unsigned>(size - a));
                ranges.add(static_cast<std::uint64_t>(a), static_cast<std::uint64_t>(b));
                live.emplace_back(a, b);
                for (int i = a; i < b; ++i) {
                    ++counts[i];
                    locked[i] = true;
                }
            } else {
                const std::size_t pick = random() % live.size();
                const auto [a, b] = live[pick];
                live.erase(live.begin() + static_cast<long>(pick));
                for (int i = a; i < b; ++i) --counts[i];
                ranges.remove(static_cast<std::uint64_t>(a), static_cast<std::uint64_t>(b),
                              [&](std::uint64_t from, std::uint64_t to) {
                                  for (std::uint64_t i = from; i < to; ++i) locked[i] = false;
                              });
            }
            for (int i = 0; i < size; ++i) REQUIRE(locked[i] == (counts[i] > 0));
        }
        CHECK(ranges.empty() == live.empty());
    }
}
