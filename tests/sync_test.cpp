// Syncs that fail, and what counts afterwards: the C library's calls are replaced by ones that the test can make fail, as
// kernels do. An error of writing pages back is told once for each open file description, and the pages are clean then.
#include <doctest/doctest.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <pymm/pymm.hpp>

#include "media/mapped.hpp"
#include "media/sync_gate.hpp"
#include "memory_shelf.hpp"
#include "scratch.hpp"

#ifndef RWF_DSYNC
#define RWF_DSYNC 0x00000002
#endif

using namespace pymm;
using pymm::test::Scratch;

namespace {

// An errno instead of what the call would do; 0: it goes on as ever. Set while no other thread calls.
std::function<int(std::size_t size)> on_msync;
std::function<int(std::size_t size, int flags)> on_write;
std::function<int()> on_fdatasync;
std::function<int()> on_sync_file_range;
std::atomic<long> file_system{0};  // what fstatfs says it is; 0: the truth
std::atomic<int> msyncs{0};

struct Hooks {
    ~Hooks() {
        on_msync = nullptr;
        on_write = nullptr;
        on_fdatasync = nullptr;
        on_sync_file_range = nullptr;
        file_system = 0;
    }
};

template <class F>
F* next(const char* name) {
    return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}
int real_msync(void* at, std::size_t size) {
    static auto* const call = next<int(void*, std::size_t, int)>("msync");
    return call(at, size, MS_SYNC);
}

}  // namespace

extern "C" {

int msync(void* at, size_t size, int flags) {
    static auto* const call = next<int(void*, size_t, int)>("msync");
    ++msyncs;
    if (const int error = on_msync ? on_msync(size) : 0; error != 0) {
        errno = error;
        return -1;
    }
    return call(at, size, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec* pieces, int count, off64_t offset, int flags) {
    static auto* const call = next<ssize_t(int, const struct iovec*, int, off64_t, int)>("pwritev64v2");
    std::size_t size = 0;
    for (int i = 0; i < count; ++i) size += pieces[i].iov_len;
    if (const int error = on_write ? on_write(size, flags) : 0; error != 0) {
        errno = error;
        return -1;
    }
    return call(fd, pieces, count, offset, flags);
}

int fdatasync(int fd) {
    static auto* const call = next<int(int)>("fdatasync");
    if (const int error = on_fdatasync ? on_fdatasync() : 0; error != 0) {
        errno = error;
        return -1;
    }
    return call(fd);
}

int sync_file_range(int fd, off64_t offset, off64_t size, unsigned flags) {
    static auto* const call = next<int(int, off64_t, off64_t, unsigned)>("sync_file_range");
    if (const int error = on_sync_file_range ? on_sync_file_range() : 0; error != 0) {
        errno = error;
        return -1;
    }
    return call(fd, offset, size, flags);
}

int fstatfs64(int fd, struct statfs64* buffer) {
    static auto* const call = next<int(int, struct statfs64*)>("fstatfs64");
    const int result = call(fd, buffer);
    if (result == 0 && file_system != 0) buffer->f_type = file_system;
    return result;
}

}  // extern "C"

namespace {

std::vector<std::byte> bytes(std::size_t size, int value) { return std::vector<std::byte>(size, std::byte(value)); }

/// A shelf on page media with a blob "x" of two pages.
struct OnPages {
    explicit OnPages(bool checksum = false) {
        ::setenv("PMEM2_FORCE_GRANULARITY", "PAGE", 1);
        shelf = Namespace::open(scratch.path()).create("s", {.capacity = 32 << 20, .checksum = checksum});
        shelf.put("x", bytes(8192, 1));
    }
    ~OnPages() { ::unsetenv("PMEM2_FORCE_GRANULARITY"); }

    Scratch scratch;
    Shelf shelf;
    Hooks hooks;
};

template <class F>
int io_error(F&& work) {
    try {
        work();
    } catch (const IoError& error) {
        return error.os_error();
    } catch (const std::exception& error) {
        FAIL("another error: " << error.what());
    }
    return 0;
}

/// Waits without a limit that a test could miss: another thread is on its way.
void until(const std::function<bool()>& condition) {
    while (!condition()) std::this_thread::sleep_for(std::chrono::microseconds(100));
}

}  // namespace

// ---- Lack of space -----------------------------------------------------------------------------------

TEST_CASE("whatever errno a sync fails with, the media has failed: nothing is acknowledged any more") {
    for (const int error : {EIO, ENOSPC, EDQUOT, EFBIG}) {
        CAPTURE(error);
        OnPages on;
        View view = on.shelf.get("x", Access::write);
        view.writable_bytes()[0] = std::byte{2};
        bool first = true;
        on_msync = [&](std::size_t) { return std::exchange(first, false) ? error : 0; };
        CHECK(io_error([&] { view.persist(0, 64); }) == error);
        // The pages are clean now: this one would write nothing.
        CHECK_THROWS_AS(view.persist(0, 64), ReadOnlyError);
        CHECK_THROWS_AS(on.shelf.put("y", bytes(10, 1)), ReadOnlyError);
        CHECK_FALSE(on.shelf.stat().writable);
    }
}

TEST_CASE("a synced write without space: told apart from a sync that found none") {
    for (const int error : {ENOSPC, EDQUOT}) {
        CAPTURE(error);
        {  // nowhere to write to: nothing has changed, and the shelf goes on
            OnPages on;
            on_write = [&](std::size_t size, int) { return size == 8192 ? error : 0; };
            CHECK_THROWS_AS(on.shelf.put("y", bytes(8192, 2)), NoSpaceError);
            on_write = nullptr;
            CHECK_FALSE(on.shelf.contains("y"));
            on.shelf.put("y", bytes(8192, 2));
        }
        {  // the write succeeds, its sync does not
            OnPages on;
            on_write = [&](std::size_t size, int flags) { return size == 8192 && (flags & RWF_DSYNC) != 0 ? error : 0; };
            CHECK(io_error([&] { on.shelf.put("y", bytes(8192, 2)); }) == error);
            on_write = nullptr;
            CHECK_THROWS_AS(on.shelf.put("y", bytes(8192, 2)), ReadOnlyError);
        }
        {  // over a network a write may report what a sync found
            OnPages on;
            file_system = NFS_SUPER_MAGIC;
            on_write = [&](std::size_t size, int) { return size == 8192 ? error : 0; };
            CHECK(io_error([&] { on.shelf.put("y", bytes(8192, 2)); }) == error);
            on_write = nullptr;
            CHECK_THROWS_AS(on.shelf.put("y", bytes(8192, 2)), ReadOnlyError);
        }
        {  // a file system that syncs whole files only
            OnPages on;
            on_write = [&](std::size_t size, int flags) {
                return (flags & RWF_DSYNC) != 0 ? EOPNOTSUPP : size == 9000 ? error : 0;
            };
            CHECK_THROWS_AS(on.shelf.put("y", bytes(9000, 2)), NoSpaceError);
            on.shelf.put("y", bytes(8192, 2));
            on_fdatasync = [&] { return error; };
            CHECK(io_error([&] { on.shelf.put("z", bytes(8192, 2)); }) == error);
            on_fdatasync = nullptr;
            CHECK_THROWS_AS(on.shelf.put("z", bytes(8192, 2)), ReadOnlyError);
        }
    }
}

// ---- Pieces, and one sync behind them ------------------------------------------------------------------

namespace {

constexpr std::size_t kLarge = (4 << 20) + 4096;  // one piece, and another

void put_in_pieces(Shelf& shelf, const std::string& name) {
    Staged staged = shelf.stage(Type::raw(), 300'000);
    staged.write(0, bytes(100'000, 2));
    staged.write(100'000, bytes(200'000, 3));
    shelf.put(name, std::move(staged));
}

void put_large(Shelf& shelf, const std::string& name) { shelf.put(name, bytes(kLarge, 2)); }

}  // namespace

TEST_CASE("what is written in pieces is synced once, and nothing names it before") {
    for (const bool checksum : {false, true}) {
        CAPTURE(checksum);
        OnPages on(checksum);
        for (auto* put : {put_in_pieces, put_large}) {
            // All plain pieces come before the sync, the names' synced writes behind it.
            std::size_t plain = 0, synced = 0;
            on_write = [&](std::size_t size, int flags) {
                if ((flags & RWF_DSYNC) == 0) {
                    CHECK(synced == 0);
                    plain += size;
                } else if (plain != 0) {
                    CHECK(synced >= plain);
                }
                return 0;
            };
            on_msync = [&](std::size_t size) { return synced += size, 0; };
            put(on.shelf, "y");
            CHECK(plain >= 300'000);
            CHECK(synced >= plain);
            CHECK(synced < plain + 3 * 4096);
            on_write = nullptr;
            on_msync = nullptr;
        }
        const View view = on.shelf.get("y");
        CHECK(view.bytes().size() == kLarge);
        CHECK(view.bytes().back() == std::byte{2});
    }
}

TEST_CASE("a failed sync behind pieces: nothing names them, and the media has failed") {
    for (const bool checksum : {false, true})
        for (auto* put : {put_in_pieces, put_large})
            for (const int error : {EIO, ENOSPC})
                for (const bool beginning : {false, true}) {
                    CAPTURE(checksum);
                    CAPTURE(error);
                    CAPTURE(beginning);
                    OnPages on(checksum);
                    if (beginning) on_sync_file_range = [&] { return error; };
                    else on_msync = [&](std::size_t) { return error; };
                    CHECK(io_error([&] { put(on.shelf, "y"); }) == error);
                    on_msync = nullptr;
                    on_sync_file_range = nullptr;
                    CHECK_THROWS_AS(put(on.shelf, "y"), ReadOnlyError);
                    CHECK_FALSE(on.shelf.contains("y"));
                }
}

TEST_CASE("a piece without space: nothing has changed, unless a network may have reported a sync") {
    for (auto* put : {put_in_pieces, put_large})
        for (const bool network : {false, true}) {
            CAPTURE(network);
            OnPages on;
            if (network) file_system = NFS_SUPER_MAGIC;
            int pieces = 0;
            on_write = [&](std::size_t, int flags) { return (flags & RWF_DSYNC) == 0 && ++pieces == 2 ? ENOSPC : 0; };
            if (network) CHECK(io_error([&] { put(on.shelf, "y"); }) == ENOSPC);
            else CHECK_THROWS_AS(put(on.shelf, "y"), NoSpaceError);
            CHECK(pieces == 2);
            CHECK_FALSE(on.shelf.contains("y"));
            if (network) CHECK_THROWS_AS(put(on.shelf, "y"), ReadOnlyError);
            else put(on.shelf, "y");
        }
}

TEST_CASE("where writing back cannot be begun ahead, the sync does all of it") {
    for (const int error : {ENOSYS, EINVAL, ESPIPE, EPERM}) {
        OnPages on;
        on_sync_file_range = [&] { return error; };
        put_large(on.shelf, "y");
        CHECK(on.shelf.get("y").bytes().size() == kLarge);
    }
}

TEST_CASE("a piece that is written after another thread's sync has failed counts for nothing") {
    OnPages on;
    View view = on.shelf.get("x", Access::write);
    Staged staged = on.shelf.stage(Type::raw(), 300'000);
    staged.write(0, bytes(100'000, 2));
    on_msync = [](std::size_t) { return EIO; };
    CHECK(io_error([&] { view.persist(); }) == EIO);
    on_msync = nullptr;
    int written = 0;
    on_write = [&](std::size_t, int) { return ++written, 0; };
    CHECK_THROWS_AS(staged.write(100'000, bytes(200'000, 3)), Error);
    CHECK_THROWS_AS(on.shelf.put("y", std::move(staged)), Error);
    CHECK(written == 0);
}

// ---- One error, several calls ------------------------------------------------------------------------

TEST_CASE("an error that another thread's call was told of is everybody's") {
    // The page of x could not be written back. Both calls below would be told, but there is one error only.
    OnPages on;
    View view = on.shelf.get("x", Access::write);
    view.writable_bytes()[0] = std::byte{2};
    std::atomic<int> pending{EIO};
    std::atomic<bool> told{false}, asked{false};
    on_write = [&](std::size_t size, int) {
        if (size < 100'000) return 0;
        const int error = pending.exchange(0);
        told = true;
        until([&] { return asked.load(); });
        // Still on its way out of the kernel, while the other one has left it.
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        return error;
    };
    on_msync = [&](std::size_t) {
        asked = true;
        return pending.exchange(0);
    };
    int in_put = 0;
    std::thread other([&] { in_put = io_error([&] { on.shelf.put("big", bytes(200'000, 1)); }); });
    until([&] { return told.load(); });
    CHECK(io_error([&] { view.persist(); }) == EIO);
    other.join();
    CHECK(in_put == EIO);
    CHECK_THROWS_AS(view.persist(), ReadOnlyError);
}

TEST_CASE("media: after one failed sync every other one fails, be it asked for later or by another way") {
    const Scratch scratch;
    const Hooks hooks;
    ::setenv("PMEM2_FORCE_GRANULARITY", "PAGE", 1);
    for (const bool by_write : {false, true}) {
        CAPTURE(by_write);
        const std::string path = scratch.path() + "/file";
        const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        REQUIRE(fd >= 0);
        REQUIRE(::ftruncate(fd, 1 << 20) == 0);
        const auto media = MappedMedia::open(fd, path, true, false);
        media->flush(0, 4096);
        on_msync = [](std::size_t) { return EIO; };
        on_write = [](std::size_t, int) { return EIO; };
        CHECK(io_error([&] { by_write ? media->fill_zero(0, 100) : media->flush(0, 100); }) == EIO);
        on_msync = nullptr;
        on_write = nullptr;
        const int before = msyncs;
        CHECK(io_error([&] { media->flush(8192, 1); }) == EIO);
        CHECK(io_error([&] { media->write(8192, "x", 1); }) == EIO);
        CHECK(msyncs == before);
        CHECK(media->data()[8192] == std::byte{0});
    }
    ::unsetenv("PMEM2_FORCE_GRANULARITY");
}

TEST_CASE("media: what the source of a write cannot give is no failure of the media") {
    const Scratch scratch;
    ::setenv("PMEM2_FORCE_GRANULARITY", "PAGE", 1);
    const std::string path = scratch.path() + "/file";
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(::ftruncate(fd, 1 << 20) == 0);
    const auto media = MappedMedia::open(fd, path, true, false);
    CHECK(io_error([&] { media->write(0, reinterpret_cast<const void*>(8), 100); }) == EFAULT);
    media->write(0, "x", 1);
    media->flush(0, 1);
    ::unsetenv("PMEM2_FORCE_GRANULARITY");
}

TEST_CASE("sync gate: whoever overlaps a failure is told, nobody else waits") {
    for (int round = 0; round < 300; ++round) {
        SyncGate gate;
        std::atomic<int> inside{0}, unsound{0};
        constexpr int threads = 4;
        std::vector<std::thread> all;
        for (int t = 0; t < threads; ++t)
            all.emplace_back([&, t] {
                for (int i = 0; i < 20; ++i) {
                    SyncGate::Pass pass(gate);
                    ++inside;
                    if (t == 0 && i == 10) {
                        // All that are inside now, and leave from now on, must hear of it.
                        until([&] { return inside > 10; });
                        pass.failed(EIO);
                        continue;
                    }
                    const bool late = gate.error() != 0;
                    if (pass.synced() && late) ++unsound;
                }
            });
        for (std::thread& t : all) t.join();
        CHECK(unsound == 0);
        CHECK(gate.error() == EIO);
        SyncGate::Pass after(gate);
        CHECK_FALSE(after.synced());
    }
    SyncGate gate;
    {
        SyncGate::Pass first(gate), second(gate);
        std::atomic<bool> left{false}, sound{true};
        std::thread waits([&] {
            SyncGate::Pass third(gate);
            sound = third.synced();
            left = true;
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        CHECK_FALSE(left);
        first.failed(ENOSPC);
        { const SyncGate::Pass nothing_synced(gate); }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        CHECK_FALSE(left);
        second.failed(EIO);
        waits.join();
        CHECK_FALSE(sound);
        CHECK(gate.error() == ENOSPC);  // the first
    }
}

// ---- persist() ---------------------------------------------------------------------------------------

TEST_CASE("persist() remembers what is stored while it runs, though the view is gone when it ends") {
    OnPages on;
    auto view = std::make_unique<View>(on.shelf.get("x", Access::write));
    view->writable_bytes()[0] = std::byte{2};
    std::atomic<int> stage{0};
    const std::byte* at = view->bytes().data() - view->info().offset % 4096;
    on_msync = [&](std::size_t size) {
        if (stage != 0) return 0;
        // The kernel is past the page when the store comes.
        CHECK(real_msync(const_cast<std::byte*>(at), size) == 0);
        stage = 1;
        until([&] { return stage == 2; });
        return 0;
    };
    std::thread other([&] { on.shelf.persist(); });
    until([&] { return stage == 1; });
    view->writable_bytes()[1] = std::byte{3};
    view.reset();
    stage = 2;
    other.join();
    int before = msyncs;
    on.shelf.persist();
    CHECK(msyncs > before);
    // Now it is durable, and nobody can have stored since.
    before = msyncs;
    on.shelf.persist();
    CHECK(msyncs == before);
}

namespace {

/// Tells of each flush, and lets the test come between persist()'s fence and the rest of it.
class TellingMedia final : public sim::MediaRef {
public:
    TellingMedia(Media& target, std::function<void()>& on_drain, int& flushes)
        : MediaRef(target), on_drain_(on_drain), flushes_(flushes) {}
    void flush(std::uint64_t offset, std::uint64_t size) override {
        ++flushes_;
        MediaRef::flush(offset, size);
    }
    void drain() override {
        MediaRef::drain();
        if (on_drain_) std::exchange(on_drain_, nullptr)();
    }

private:
    std::function<void()>& on_drain_;
    int& flushes_;
};

}  // namespace

TEST_CASE("persist() does not take another blob at the same place for the one that it flushed") {
    test::MemoryShelf m(1 << 20);
    m.shelf.close();
    std::function<void()> on_drain;
    int flushes = 0;
    m.shelf = sim::open_shelf(std::make_unique<sim::MediaRef>(m.map),
                              std::make_unique<TellingMedia>(m.data, on_drain, flushes), m.locks, Mode::read_write);
    Shelf& s = m.shelf;
    s.put("x", bytes(100'000, 1));
    { View view = s.get("x", Access::write); }  // idle, and still to be flushed
    const std::uint64_t place = s.find("x")->offset;
    bool reused = false;
    on_drain = [&] {
        s.erase("x");
        for (int i = 0; i < 8 && !reused; ++i) {
            const std::string name = "y" + std::to_string(i);
            s.put(name, bytes(100'000, 2));
            if (s.find(name)->offset != place) continue;
            reused = true;
            View view = s.get(name, Access::write);
            view.writable_bytes()[0] = std::byte{3};
        }
    };
    s.persist();
    REQUIRE(reused);
    flushes = 0;
    s.persist();
    CHECK(flushes == 1);
    s.persist();
    CHECK(flushes == 1);
}
