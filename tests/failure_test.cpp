// Media that fail under an open shelf without a power cut: files that somebody shortens, which is how a test
// gets the bus error that a bad block or a failing disk raises.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include <pymm/pymm.hpp>

#include "media/guarded_read.hpp"
#include "media/mapped.hpp"
#include "scratch.hpp"

using namespace pymm;

namespace {

std::unique_ptr<MappedMedia> file_of(const std::string& path, std::uint64_t size) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    REQUIRE(::ftruncate(fd, static_cast<off_t>(size)) == 0);
    return MappedMedia::open(fd, path, true, false);
}

}  // namespace

TEST_CASE("guarded reads: a bus error is an IoError that names path and offset") {
    const test::Scratch scratch;
    const std::string path = scratch.path() + "/file";
    const auto media = file_of(path, 64 << 10);
    std::vector<std::byte> bytes(20000);
    guarded_copy(bytes.data(), *media, 100, bytes.size(), "test");  // nothing wrong yet
    REQUIRE(::truncate(path.c_str(), 12 << 10) == 0);
    guarded_copy(bytes.data(), *media, 0, 12 << 10, "test");  // what is left is still read
    for (int again = 0; again < 3; ++again) {
        try {
            guarded_copy(bytes.data(), *media, 5000, bytes.size(), "blob 'x'");
            FAIL("read past the end of the file");
        } catch (const IoError& error) {
            const std::string text = error.what();
            CHECK(error.os_error() == EIO);
            CHECK(text.find(path) != std::string::npos);
            CHECK(text.find("blob 'x'") != std::string::npos);
            CHECK(text.find("offset 12288") != std::string::npos);
            CHECK(text.find("shortened") != std::string::npos);
        }
    }
}

TEST_CASE("guarded reads: the other side of a copy is told apart") {
    const test::Scratch scratch;
    const auto media = file_of(scratch.path() + "/file", 64 << 10);
    const std::string other = scratch.path() + "/other";
    const auto gone = file_of(other, 8192);
    REQUIRE(::truncate(other.c_str(), 0) == 0);
    try {
        guarded_copy(gone->data(), *media, 0, 100, "test");
        FAIL("wrote to no file");
    } catch (const IoError& error) {
        CHECK(error.os_error() == EFAULT);
    }
}

TEST_CASE("guarded reads: guards nest") {
    const test::Scratch scratch;
    const std::string path = scratch.path() + "/file";
    const auto media = file_of(path, 64 << 10);
    REQUIRE(::truncate(path.c_str(), 4096) == 0);
    const std::byte* fault = nullptr;
    bool inner = true, behind = false;
    const bool outer = survives_bus_error(
        [&]() noexcept {
            const std::byte* address = nullptr;
            inner = survives_bus_error([&]() noexcept { (void)*const_cast<const volatile std::byte*>(media->data() + 8192); },
                                       address);
            (void)*const_cast<const volatile std::byte*>(media->data() + 40000);
            behind = true;
        },
        fault);
    CHECK_FALSE(inner);
    CHECK_FALSE(outer);
    CHECK_FALSE(behind);
    CHECK(fault >= media->data() + 36864);
    CHECK(fault <= media->data() + 40000);
}

// ---- Shelves whose files are shortened while they are open ------------------------------------------

namespace {

std::string bytes_text(std::size_t size, char first) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(first + i % 61);
    return text;
}
std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

/// What the IoError says; any other outcome fails the test.
template <class F>
std::string io_error(F&& work) {
    try {
        work();
    } catch (const IoError& error) {
        return error.what();
    } catch (const std::exception& error) {
        FAIL("another error: " << error.what());
    }
    FAIL("no error");
    return {};
}
bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

/// A shelf of many names, so that its catalogue is in runs, beside some data.
void furnish(Shelf& s) {
    for (int i = 0; i < 3000; ++i) s.put("name/" + std::to_string(i), bytes_of("some text"), Type::value(Kind::string));
    s.put("data", bytes_of(bytes_text(3 << 20, 'a')));
    s.put("wide", bytes_of(bytes_text(8, 'b')),
          Type::array("[('" + std::string(3000, 'f') + "', '<f8')]", 8, {1}));
}

struct Forced {
    explicit Forced(const char* value) { ::setenv("PMEM2_FORCE_GRANULARITY", value, 1); }
    ~Forced() { ::unsetenv("PMEM2_FORCE_GRANULARITY"); }
};

}  // namespace

TEST_CASE("a shortened data file: looking up, listing and copying fail by IoError, and name the place") {
    for (const bool reader : {false, true}) {
        CAPTURE(reader);
        const test::Scratch scratch;
        const Namespace ns = Namespace::open(scratch.path());
        Shelf made = ns.create("s", {.capacity = 16 << 20});
        furnish(made);
        if (reader) made.close();
        Shelf s = reader ? ns.shelf("s", Mode::read_only) : made;
        CHECK(s.list().size() == 3002);  // every page has been looked at before
        const BlobInfo info = *s.find("data");
        const View view = s.get("data");
        view.check_readable();

        const std::uint64_t kept = info.offset + (1 << 20);
        REQUIRE(::truncate((scratch.path() + "/s.data").c_str(), static_cast<off_t>(kept)) == 0);
        view.check_readable(0, 1 << 20);
        const std::string text = io_error([&] { view.check_readable(); });
        CHECK(has(text, "blob 'data' at its byte 1048576"));
        CHECK(has(text, "/s.data"));
        CHECK(has(text, "offset " + std::to_string(kept)));
        CHECK(has(text, "shortened"));

        REQUIRE(::truncate((scratch.path() + "/s.data").c_str(), 0) == 0);
        CHECK(has(io_error([&] { view.check_readable(); }), "blob 'data'"));
        // What only the runs know; a name in the tail may still be found.
        CHECK(has(io_error([&] { (void)s.find("name/5"); }), "/s.data"));
        (void)io_error([&] { (void)s.list(); });
        (void)io_error([&] { (void)s.find("a name that does not exist"); });
        (void)io_error([&] { (void)s.get("name/7"); });
        if (!reader) CHECK(has(io_error([&] { s.seal("data"); }), "s.data"));
    }
}

TEST_CASE("a shortened .map: a reader's refresh fails by IoError") {
    const test::Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("s", {.capacity = 16 << 20});
    furnish(s);
    s.close();
    Shelf reader = ns.shelf("s", Mode::read_only);
    CHECK(reader.contains("data"));
    REQUIRE(::truncate((scratch.path() + "/s.map").c_str(), 0) == 0);
    CHECK(has(io_error([&] { (void)reader.find("data"); }), "/s.map"));
    CHECK(has(io_error([&] { (void)reader.list(); }), "/s.map"));
    reader = {};
    CHECK_THROWS_AS((void)ns.shelf("s"), CorruptError);
}

TEST_CASE("a shortened data file: storing to it fails by IoError on every kind of media") {
    for (const char* granularity : {"CACHE_LINE", "PAGE"}) {
        CAPTURE(granularity);
        const Forced forced(granularity);
        const test::Scratch scratch;
        const std::string path = scratch.path() + "/file";
        const auto media = file_of(path, 64 << 10);
        const std::vector<std::byte> bytes(20000, std::byte{1});
        media->write(0, bytes.data(), bytes.size());
        REQUIRE(::truncate(path.c_str(), 0) == 0);
        // What is allocated must not bring the file back, as zeros.
        media->reserve(32 << 10, 4096);
        std::byte byte{};
        CHECK(has(io_error([&] { guarded_copy(&byte, *media, 40 << 10, 1, "test"); }), "shortened"));
        for (const std::size_t size : {std::size_t{8}, bytes.size()}) {
            const std::string text = io_error([&] {
                media->write(0, bytes.data(), size);
            });
            CHECK(has(text, path));
            CHECK(has(text, "writing"));
        }
        (void)io_error([&] { media->fill_zero(0, 4096); });
        (void)io_error([&] { media->flush(0, 4096); });
        CHECK(std::filesystem::file_size(path) == 0);
    }
}

TEST_CASE("a shortened data file is never made longer again by a write") {
    for (const char* granularity : {"CACHE_LINE", "PAGE"}) {
        CAPTURE(granularity);
        const Forced forced(granularity);
        const test::Scratch scratch;
        const std::string path = scratch.path() + "/file";
        const auto media = file_of(path, 8 << 20);
        // Large enough for the way through the descriptor on fine-grained media, too.
        const std::vector<std::byte> bytes(2 << 20, std::byte{1});
        REQUIRE(::truncate(path.c_str(), 3 << 20) == 0);
        const std::string text = io_error([&] { media->write(4 << 20, bytes.data(), bytes.size()); });
        for (const char* part : {path.c_str(), "3145728", "8388608", "shortened", "restore"}) CHECK(has(text, part));
        (void)io_error([&] { media->fill_zero(4 << 20, bytes.size()); });
        CHECK(std::filesystem::file_size(path) == 3 << 20);
    }
    // A shelf: the put fails, nothing is written any more, and what was put before is not read as zeros.
    const Forced forced("PAGE");
    const test::Scratch scratch;
    const std::string path = scratch.path() + "/s.data";
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("s", {.capacity = 16 << 20});
    s.put("first", bytes_of(bytes_text(1 << 20, 'a')));
    s.put("second", bytes_of(bytes_text(1 << 20, 'a')));
    View view = s.get("first", Access::write);
    const std::uint64_t kept = view.info().offset;
    REQUIRE(::truncate(path.c_str(), static_cast<off_t>(kept)) == 0);
    CHECK(has(io_error([&] { view.persist(); }), "shortened"));
    CHECK_THROWS_AS(s.put("third", bytes_of(bytes_text(1 << 20, 'a'))), Error);
    CHECK_THROWS_AS(s.put("text", bytes_of("text"), Type::value(Kind::string)), ReadOnlyError);
    CHECK(std::filesystem::file_size(path) == kept);
    CHECK(has(io_error([&] { view.check_readable(); }), "blob 'first'"));
}

namespace {

/// What a child process printed on stderr, and how it ended.
struct Ended {
    int status = 0;
    std::string text;
};
template <class F>
Ended in_child(F&& work) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::dup2(ends[1], STDERR_FILENO);
        ::close(ends[0]);
        const rlimit none{0, 0};
        ::setrlimit(RLIMIT_CORE, &none);
        // doctest's own handlers would report a crash of the test.
        struct sigaction before {};
        before.sa_handler = SIG_DFL;
        ::sigaction(SIGBUS, &before, nullptr);
        try {
            work();
        } catch (const std::exception& error) {
            (void)!::write(STDERR_FILENO, error.what(), std::strlen(error.what()));
        }
        ::_exit(0);
    }
    ::close(ends[1]);
    Ended ended;
    char part[4096];
    for (ssize_t n; (n = ::read(ends[0], part, sizeof part)) > 0;) ended.text.append(part, static_cast<std::size_t>(n));
    ::close(ends[0]);
    REQUIRE(::waitpid(child, &ended.status, 0) == child);
    return ended;
}

void load_through_a_view(const std::string& directory) {
    const Namespace ns = Namespace::open(directory);
    Shelf s = ns.create("s", {.capacity = 16 << 20, .force = true});
    s.put("other", bytes_of(bytes_text(5000, 'a')));
    s.put("model/weights", bytes_of(bytes_text(3 << 20, 'a')));
    const View other = s.get("other"), view = s.get("model/weights");
    if (::truncate((directory + "/s.data").c_str(), static_cast<off_t>(view.info().offset + 8192)) != 0) ::_exit(3);
    (void)*const_cast<const volatile std::byte*>(&view.bytes()[100]);
    (void)*const_cast<const volatile std::byte*>(&view.bytes()[10000]);
}

void before_us(int, siginfo_t* info, void*) {
    static const char text[] = "the handler before\n";
    (void)!::write(STDERR_FILENO, text, sizeof text - 1);
    ::_exit(info->si_addr != nullptr ? 42 : 43);
}

}  // namespace

TEST_CASE("guarded reads: a handler above ours that blocks the signal and calls us") {
    const test::Scratch scratch;
    const std::string path = scratch.path() + "/file";
    const Ended ended = in_child([&] {
        const auto media = file_of(path, 64 << 10);
        static struct sigaction ours;
        struct sigaction above {};
        above.sa_sigaction = [](int signal, siginfo_t* info, void* context) { ours.sa_sigaction(signal, info, context); };
        above.sa_flags = SA_SIGINFO;  // no SA_NODEFER
        ::sigaction(SIGBUS, &above, &ours);
        (void)::truncate(path.c_str(), 0);
        int errors = 0;
        for (int i = 0; i < 3; ++i) {
            std::byte byte{};
            try {
                guarded_copy(&byte, *media, 0, 1, "test");
            } catch (const IoError&) {
                ++errors;
            }
        }
        if (errors != 3) ::_exit(1);
    });
    CHECK(WIFEXITED(ended.status));
    CHECK(WEXITSTATUS(ended.status) == 0);
}

TEST_CASE("a program's own load from a shortened file: one message, then the signal") {
    const test::Scratch scratch;
    const Ended ended = in_child([&] { load_through_a_view(scratch.path()); });
    CHECK(WIFSIGNALED(ended.status));
    CHECK(WTERMSIG(ended.status) == SIGBUS);
    CHECK(has(ended.text, "shelf 's', blob 'model/weights' at offset "));
    CHECK(has(ended.text, "s.data at offset "));
    CHECK(std::count(ended.text.begin(), ended.text.end(), '\n') == 1);
}

namespace {

sigjmp_buf recovery;
volatile sig_atomic_t recovered = 0;

void recover(int) {
    recovered = recovered + 1;
    siglongjmp(recovery, 1);
}

/// The program's own load, recovered from by its own handler; false where there was nothing to recover from.
bool load_and_recover(const std::byte* from) {
    if (sigsetjmp(recovery, 1) != 0) return true;
    (void)*const_cast<const volatile std::byte*>(from);
    return false;
}

bool raise_and_recover() {
    if (sigsetjmp(recovery, 1) != 0) return true;
    ::raise(SIGBUS);
    return false;
}

/// As load_and_recover(), so many calls further down the stack.
[[gnu::noinline]] bool recover_below(const std::byte* from, int calls) {
    volatile char room[512];
    room[0] = 0;
    return calls == 0 ? load_and_recover(from) : (recover_below(from, calls - 1) && room[0] == 0);
}

}  // namespace

TEST_CASE("a program whose own handler recovers by a jump: the next bus error is met as the first one was") {
    const test::Scratch scratch;
    const Ended ended = in_child([&] {
        struct sigaction theirs {};
        theirs.sa_handler = recover;
        ::sigaction(SIGBUS, &theirs, nullptr);
        const std::string path = scratch.path() + "/file";
        const auto media = file_of(path, 64 << 10);
        Shelf s = Namespace::open(scratch.path()).create("s", {.capacity = 16 << 20});
        s.put("data", bytes_of(bytes_text(3 << 20, 'a')));
        const View view = s.get("data");
        if (::truncate(path.c_str(), 0) != 0 ||
            ::truncate((scratch.path() + "/s.data").c_str(), static_cast<off_t>(view.info().offset)) != 0)
            ::_exit(3);
        int wanted = 0;
        const auto guarded = [&] {
            std::byte byte{};
            try {
                guarded_copy(&byte, *media, 0, 1, "test");
                ::_exit(4);
            } catch (const IoError&) {
            }
        };
        for (int i = 0; i < 40; ++i) {
            // In a view, for which there is a message; and in other memory.
            for (const std::byte* at : {view.bytes().data() + 10000, static_cast<const std::byte*>(media->data())}) {
                if (!load_and_recover(at)) ::_exit(5);
                if (recovered != ++wanted) ::_exit(6);
                guarded();
                if (recovered != wanted) ::_exit(7);  // theirs had no part in ours
            }
        }
        // Again and again without a guarded read between, in the same place, deeper each time, and back up.
        for (int i = 0; i < 100; ++i)
            if (!load_and_recover(media->data())) ::_exit(8);
        for (const int calls : {2, 4, 6, 8, 10, 12, 3, 5, 1})
            if (!recover_below(media->data(), calls)) ::_exit(9);
        guarded();
        // What is sent to the process is theirs, too, afterwards.
        if (!raise_and_recover()) ::_exit(10);
        if (recovered != wanted + 100 + 9 + 1) ::_exit(11);
        guarded();
        ::_exit(42);
    });
    CHECK(WIFEXITED(ended.status));
    CHECK(WEXITSTATUS(ended.status) == 42);
    // One message for each load through the view, and none besides.
    CHECK(std::count(ended.text.begin(), ended.text.end(), '\n') == 40);
}

TEST_CASE("a handler that mends what is missing lets the program go on") {
    const test::Scratch scratch;
    const Ended ended = in_child([&] {
        static std::string path;
        path = scratch.path() + "/s.data";
        struct sigaction theirs {};
        theirs.sa_handler = [](int) { (void)!::truncate(path.c_str(), 16 << 20); };
        ::sigaction(SIGBUS, &theirs, nullptr);
        Shelf s = Namespace::open(scratch.path()).create("s", {.capacity = 16 << 20});
        s.put("data", bytes_of(bytes_text(3 << 20, 'a')));
        const View view = s.get("data");
        for (int i = 0; i < 3; ++i) {
            (void)::truncate(path.c_str(), static_cast<off_t>(view.info().offset));
            if (*const_cast<const volatile std::byte*>(view.bytes().data()) != std::byte{}) ::_exit(3);
        }
        ::_exit(42);
    });
    CHECK(WIFEXITED(ended.status));
    CHECK(WEXITSTATUS(ended.status) == 42);
    CHECK(std::count(ended.text.begin(), ended.text.end(), '\n') == 3);
}

TEST_CASE("a handler that is both below and above ours is called once, then the process ends") {
    const test::Scratch scratch;
    for (const bool by_call : {true, false}) {
#if defined(__SANITIZE_THREAD__)
        if (!by_call) {
            MESSAGE("handed back by raise(3): SKIPPED: the thread sanitizer keeps such a signal until the handler is left");
            continue;
        }
#endif
        CAPTURE(by_call);
        const Ended ended = in_child([&] {
            static struct sigaction below;
            static bool call;
            call = by_call;
            const auto first = file_of(scratch.path() + "/first", 4096);
            struct sigaction theirs {};
            theirs.sa_flags = SA_SIGINFO | SA_NODEFER;
            theirs.sa_sigaction = [](int signal, siginfo_t* info, void* context) {
                static const char text[] = "theirs\n";
                (void)!::write(STDERR_FILENO, text, sizeof text - 1);
                if (call) {
                    below.sa_sigaction(signal, info, context);
                } else {
                    ::sigaction(signal, &below, nullptr);
                    ::raise(signal);
                }
            };
            ::sigaction(SIGBUS, &theirs, &below);
            load_through_a_view(scratch.path());  // which puts ours on top again
        });
        CHECK(WIFSIGNALED(ended.status));
        CHECK(WTERMSIG(ended.status) == SIGBUS);
        CHECK(has(ended.text, "blob 'model/weights'"));
        CHECK(std::count(ended.text.begin(), ended.text.end(), '\n') == 2);
    }
}

TEST_CASE("a handler that was installed for one signal gets one") {
    const test::Scratch scratch;
    const Ended ended = in_child([&] {
        struct sigaction theirs {};
        theirs.sa_handler = recover;
        theirs.sa_flags = static_cast<int>(SA_RESETHAND);
        ::sigaction(SIGBUS, &theirs, nullptr);
        const std::string path = scratch.path() + "/file";
        const auto media = file_of(path, 4096);
        (void)::truncate(path.c_str(), 0);
        if (!load_and_recover(media->data())) ::_exit(3);
        (void)load_and_recover(media->data());
        ::_exit(4);
    });
    CHECK(WIFSIGNALED(ended.status));
    CHECK(WTERMSIG(ended.status) == SIGBUS);
}

TEST_CASE("the SIGBUS handler that was there before gets its turn, with the address") {
    const test::Scratch scratch;
    const auto with_handler = [&](auto&& work) {
        return in_child([&] {
            struct sigaction theirs {};
            theirs.sa_sigaction = before_us;
            theirs.sa_flags = SA_SIGINFO;
            ::sigaction(SIGBUS, &theirs, nullptr);
            work();
        });
    };
    // After the message, for a shelf's data.
    Ended ended = with_handler([&] { load_through_a_view(scratch.path()); });
    CHECK(WIFEXITED(ended.status));
    CHECK(WEXITSTATUS(ended.status) == 42);
    CHECK(has(ended.text, "blob 'model/weights'"));
    CHECK(has(ended.text, "the handler before"));
    // Alone, for memory that is not ours; and again with none before it.
    const auto foreign = [&] {
        Shelf s = Namespace::open(scratch.path()).create("t", {.capacity = 1 << 20, .force = true});
        const int fd = ::open((scratch.path() + "/foreign").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        auto* at = static_cast<volatile char*>(::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0));
        (void)*at;
    };
    ended = with_handler(foreign);
    CHECK(WEXITSTATUS(ended.status) == 42);
    CHECK(ended.text == "the handler before\n");
    ended = in_child(foreign);
    CHECK(WIFSIGNALED(ended.status));
    CHECK(WTERMSIG(ended.status) == SIGBUS);
    CHECK(ended.text == "");
    // Sent by somebody: no guard takes it for its own.
    ended = in_child([&] {
        Shelf s = Namespace::open(scratch.path()).create("t", {.capacity = 1 << 20, .force = true});
        ::kill(::getpid(), SIGBUS);
    });
    CHECK(WIFSIGNALED(ended.status));
    CHECK(WTERMSIG(ended.status) == SIGBUS);
}
