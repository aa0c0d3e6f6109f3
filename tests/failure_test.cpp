// Media that fail under an open shelf without a power cut: files that somebody shortens, which is how a test
// gets the bus error that a bad block or a failing disk raises.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

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
