// MappedMedia on real files, in each granularity that can be forced.
#include "media/mapped.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <pymm/device.hpp>
#include <pymm/error.hpp>

using namespace pymm;

namespace {

/// A file of its own, gone at the end of the test.
struct TempFile {
    explicit TempFile(std::uint64_t size) {
        const char* where = std::getenv("PYMM_TEST_DIR");
        std::string pattern =
            (where != nullptr ? std::string(where) : std::filesystem::temp_directory_path().string()) +
            "/pymm-media-XXXXXX";
        const int fd = ::mkstemp(pattern.data());
        REQUIRE(fd >= 0);
        path = pattern;
        REQUIRE(::ftruncate(fd, static_cast<off_t>(size)) == 0);
        ::close(fd);
    }
    ~TempFile() { ::unlink(path.c_str()); }

    std::unique_ptr<MappedMedia> open(bool writable = true, bool promised = false) const {
        const int fd = ::open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
        REQUIRE(fd >= 0);
        return MappedMedia::open(fd, path, writable, promised);
    }
    std::vector<char> contents() const {
        std::ifstream in(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    std::string path;
};

struct Forced {
    explicit Forced(const char* value) {
        if (const char* old = std::getenv(kName)) {
            had = true;
            before = old;
        }
        value != nullptr ? ::setenv(kName, value, 1) : ::unsetenv(kName);
    }
    ~Forced() { had ? ::setenv(kName, before.c_str(), 1) : ::unsetenv(kName); }
    static constexpr const char* kName = "PMEM2_FORCE_GRANULARITY";
    bool had = false;
    std::string before;
};

std::vector<char> random_bytes(std::size_t size, unsigned seed) {
    std::mt19937_64 random(seed);
    std::vector<char> bytes(size);
    for (std::size_t i = 0; i + 8 <= size; i += 8) {
        const auto word = random();
        std::memcpy(&bytes[i], &word, 8);
    }
    return bytes;
}

constexpr std::uint64_t MiB = 1 << 20;

}  // namespace

TEST_CASE("media: granularity is what is forced, else what the mapping gives") {
    const TempFile file(64 << 10);
    const auto granularity = [&](const char* forced) {
        const Forced scope(forced);
        return file.open()->granularity();
    };
    CHECK(granularity("BYTE") == Granularity::byte);
    CHECK(granularity("byte") == Granularity::byte);
    CHECK(granularity("CACHE_LINE") == Granularity::cache_line);
    CHECK(granularity("CacheLine") == Granularity::cache_line);
    CHECK(granularity("PAGE") == Granularity::page);
    CHECK(granularity("nonsense") == granularity(nullptr));
}

TEST_CASE("media: opening takes nothing of which a process has few") {
    // Keys of thread-specific data: libraries that get none end the process.
    const auto free_keys = [] {
        std::vector<pthread_key_t> keys;
        pthread_key_t key;
        while (::pthread_key_create(&key, nullptr) == 0) keys.push_back(key);
        for (const pthread_key_t each : keys) ::pthread_key_delete(each);
        return keys.size();
    };
    const TempFile file(64 << 10);
    for (const char* granularity : {"BYTE", "CACHE_LINE", "PAGE"}) {
        const Forced scope(granularity);
        file.open();
        const std::size_t before = free_keys();
        for (int i = 0; i < 20; ++i) file.open();
        CHECK(free_keys() == before);
    }
}

TEST_CASE("media: what is written is in memory and in the file, whatever its size and place") {
    for (const char* forced : {"BYTE", "CACHE_LINE", "PAGE"}) {
        CAPTURE(forced);
        const Forced scope(forced);
        constexpr std::uint64_t size = 13 * MiB + 4096;
        const TempFile file(size);
        std::vector<char> model(size, 0);
        {
            const auto media = file.open();
            CHECK(media->size() == size);
            CHECK(media->writable());
            CHECK(reinterpret_cast<std::uintptr_t>(media->data()) % (2 * MiB) == 0);
            media->reserve(0, size);
            std::mt19937_64 random(7);
            const std::uint64_t sizes[] = {0,       1,        7,           64,          4095,        4096,
                                           100'001, 2 * MiB, 2 * MiB - 1, 5 * MiB + 3, 6 * MiB + 64};
            unsigned seed = 0;
            for (int round = 0; round < 6; ++round) {
                for (const std::uint64_t n : sizes) {
                    // Both unaligned and huge-page aligned places; repeated, so that each of the chunk
                    // states is met.
                    std::uint64_t at = random() % (size - n);
                    if (round % 2 == 1) at = at / (2 * MiB) * (2 * MiB);
                    if (random() % 4 == 0) {
                        media->fill_zero(at, n);
                        std::fill_n(model.begin() + static_cast<long>(at), n, '\0');
                    } else {
                        const auto bytes = random_bytes(n, ++seed);
                        media->write(at, bytes.data(), n);
                        std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<long>(at));
                    }
                    media->drain();
                }
            }
            // A store through the mapping, up to the last byte.
            media->data()[size - 1] = std::byte{0x5a};
            model[size - 1] = 0x5a;
            media->persist(size - 1, 1);
            CHECK(std::memcmp(media->data(), model.data(), size) == 0);
        }
        CHECK(file.contents() == model);
    }
}

TEST_CASE("media: pieces that continue each other, again and again, meet every state of a chunk") {
    constexpr std::uint64_t size = 12 * MiB, piece = 3 * MiB + 4160;
    for (const char* granularity : {"CACHE_LINE", "PAGE"})
        for (const bool behind : {false, true}) {
            CAPTURE(granularity);
            CAPTURE(behind);
            const Forced scope(granularity);
            const TempFile file(size);
            const auto media = file.open();
            std::vector<char> model(size, 0);
            for (unsigned round = 1; round <= 4; ++round) {
                const std::vector<char> bytes = random_bytes(3 * piece, round);
                std::copy(bytes.begin(), bytes.end(), model.begin() + 4096);
                for (std::uint64_t at = 0; at < bytes.size(); at += piece) {
                    if (behind) media->write_behind(4096 + at, &bytes[at], piece);
                    else media->write(4096 + at, &bytes[at], piece);
                }
                media->sync_behind(0, size);
                media->drain();
                CHECK(std::memcmp(media->data(), model.data(), size) == 0);
                CHECK(file.contents() == model);
            }
        }
}

TEST_CASE("media: a file that ends inside a page") {
    for (const char* forced : {"CACHE_LINE", "PAGE"}) {
        const Forced scope(forced);
        const TempFile file(5000);
        const auto media = file.open();
        CHECK(media->size() == 5000);
        media->reserve(0, 5000);
        media->write(4999, "x", 1);
        media->persist(0, 5000);
        CHECK(file.contents().size() == 5000);
        CHECK(file.contents().back() == 'x');
    }
}

TEST_CASE("media: threads may write disjoint ranges at once") {
    for (const char* forced : {"CACHE_LINE", "PAGE"}) {
        const Forced scope(forced);
        constexpr std::uint64_t part = 3 * MiB + 8;  // neighbours share a chunk
        const TempFile file(4 * part);
        const auto media = file.open();
        std::vector<std::thread> threads;
        std::vector<std::vector<char>> parts;
        for (unsigned i = 0; i < 4; ++i) parts.push_back(random_bytes(part, i + 1));
        for (unsigned i = 0; i < 4; ++i)
            threads.emplace_back([&, i] {
                for (int round = 0; round < 3; ++round) {
                    media->reserve(i * part, part);
                    media->write(i * part, parts[i].data(), part);
                    media->drain();
                }
            });
        for (auto& thread : threads) thread.join();
        for (unsigned i = 0; i < 4; ++i)
            CHECK(std::memcmp(media->data() + i * part, parts[i].data(), part) == 0);
    }
}

TEST_CASE("media: read-only") {
    const TempFile file(8192);
    const auto media = file.open(false);
    CHECK_FALSE(media->writable());
    CHECK(media->data()[0] == std::byte{0});
    CHECK_THROWS_AS(media->write(0, "x", 1), ReadOnlyError);
    CHECK_THROWS_AS(media->flush(0, 1), ReadOnlyError);
}

TEST_CASE("media: what cannot be mapped is an error that names the file") {
    const TempFile empty(0);
    CHECK_THROWS_AS(empty.open(), CorruptError);
    const int directory = ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK_THROWS_WITH_AS(MappedMedia::open(directory, "some/name", false, false),
                         doctest::Contains("some/name"), IoError);
    // The descriptor was taken over, on failure too.
    CHECK(::fcntl(directory, F_GETFD) == -1);
}

TEST_CASE("media: reserving allocates, once") {
    const TempFile file(8 * MiB);
    const auto blocks = [&] {
        struct stat st {};
        REQUIRE(::stat(file.path.c_str(), &st) == 0);
        return static_cast<std::uint64_t>(st.st_blocks) * 512;
    };
    const auto media = file.open();
    CHECK(blocks() == 0);
    media->reserve(3 * MiB, 1);
    CHECK(blocks() == 2 * MiB);
    media->reserve(2 * MiB, 2 * MiB);
    CHECK(blocks() == 2 * MiB);
    media->reserve(0, 8 * MiB);
    CHECK(blocks() == 8 * MiB);
}

TEST_CASE("media: where data begins behind a hole") {
    const TempFile file(64 << 20);
    const auto media = file.open();
    CHECK(media->next_data(0) == 64 << 20);
    media->write((40 << 20) + 100, "x", 1);
    // A file system may give more than was asked for; what is stored is never passed over.
    const std::uint64_t at = media->next_data(4096);
    CHECK(at > 4096);
    CHECK(at <= (40 << 20) + 100);
    CHECK(media->next_data((40 << 20) + 100) == (40 << 20) + 100);
    // A store through the mapping counts, too.
    media->data()[8 << 20] = std::byte{1};
    CHECK(media->next_data(4096) <= 8 << 20);
    CHECK(media->next_data(64 << 20) == 64 << 20);
    CHECK(media->next_data((64 << 20) + 5) == (64 << 20) + 5);
}

TEST_CASE("media: a source that cannot be read is an error, not a signal") {
    const Forced scope("PAGE");
    const TempFile file(64 << 10);
    const auto media = file.open();
    const auto* nowhere = reinterpret_cast<const void*>(std::uintptr_t{4096});
    try {
        media->write(0, nowhere, 4096);
        FAIL("written from nowhere");
    } catch (const IoError& error) {
        CHECK(error.os_error() == EFAULT);
        CHECK(std::string(error.what()).find(file.path) != std::string::npos);
    }
}

TEST_CASE("media: a forked child's stores stay with it") {
    const TempFile file(64 << 10);
    const auto media = file.open();
    media->reserve(0, 64 << 10);
    media->write(0, "parent", 6);
    media->persist(0, 6);
    const pid_t child = ::fork();
    if (child == 0) {
        media->detach_in_child();
        bool right = std::memcmp(media->data(), "parent", 6) == 0;
        std::memcpy(media->data(), "child!", 6);
        right = right && std::memcmp(media->data(), "child!", 6) == 0;
        try {
            media->write(0, "x", 1);
            right = false;
        } catch (const ClosedError&) {
        }
        ::_exit(right ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(std::memcmp(media->data(), "parent", 6) == 0);
    CHECK(std::string(file.contents().data(), 6) == "parent");
}

TEST_CASE("media: little address space costs alignment, not correctness") {
    const TempFile file(4 * MiB);
    const pid_t child = ::fork();
    if (child == 0) {
        std::uint64_t pages = 0;
        std::ifstream("/proc/self/statm") >> pages;
        // Room for the mapping (4 MiB), not for the one 2 MiB larger that alignment takes.
        struct rlimit limit {};
        limit.rlim_cur = limit.rlim_max = pages * 4096 + 4 * MiB + MiB;
        if (::setrlimit(RLIMIT_AS, &limit) != 0) ::_exit(2);
        try {
            const auto media = file.open();
            media->write(0, "x", 1);
            media->persist(0, 1);
            ::_exit(0);
        } catch (const std::exception&) {
            ::_exit(1);
        }
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    CHECK(status == 0);
#endif
}

TEST_CASE("devices: a machine without persistent memory has none, and no error") {
    const auto devices = list_devices();
    for (const auto& device : devices) {
        CHECK_FALSE(device.name.empty());
        CHECK_FALSE(device.mode.empty());
    }
    MESSAGE(devices.size() << " device namespaces");
}
