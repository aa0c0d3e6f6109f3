// What a process or its file system runs out of: space of a full file system, inodes, a read-only remount, limits of
// file size, address space and descriptors. An error of the right class that says what to do; nothing acknowledged is
// lost; and the shelf is usable when there is some again.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

#include <pymm/namespace.hpp>

#include "contents.hpp"
#include "own_process.hpp"
#include "scratch.hpp"

using namespace pymm;
using namespace pymm::test;

namespace {

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
