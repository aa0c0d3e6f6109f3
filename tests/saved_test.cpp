// What a repair saves before it replaces it, where blocks can be shared and where room is short; sparse shelves on XFS.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <pymm/check.hpp>
#include <pymm/namespace.hpp>

#include "contents.hpp"
#include "format/superblock.hpp"
#include "own_process.hpp"
#include "scratch.hpp"

using namespace pymm;
using namespace pymm::test;

namespace {

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

}  // namespace

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
