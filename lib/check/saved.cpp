#include "check/saved.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>
#include <vector>

#include "media/size_limit.hpp"
#include "namespace/directory.hpp"

namespace pymm {

using namespace format;

namespace {

[[noreturn]] void fail(const std::string& what, int error) {
    const char* advice = error == EFBIG ? ", see the file size limit (ulimit -f)" : "";
    const std::string text = fmt::format("saving what a repair replaces: {}: {}{}; nothing was repaired", what,
                                         std::strerror(error), advice);
    if (error == ENOSPC || error == EDQUOT || error == EFBIG) throw NoSpaceError(text, error);
    throw IoError(text, error);
}

std::string utc_text(int attempt) {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    char text[32];
    std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts);
    return attempt == 0 ? std::string(text) : fmt::format("{}-{}", text, attempt);
}

void copy_range(int from, int to, std::uint64_t offset, std::uint64_t size, const std::string& name) {
    std::vector<std::byte> buffer(std::min<std::uint64_t>(size, 1 << 20));
    bool by_pages = false;
    while (size != 0) {
        // The copy was made as long, so holes are there already. Forged sizes may reach over any number of them.
        const off_t data = ::lseek(from, static_cast<off_t>(offset), SEEK_DATA);
        if (data < 0 && errno == ENXIO) return;
        if (data > static_cast<off_t>(offset)) {
            const std::uint64_t hole = static_cast<std::uint64_t>(data) - offset;
            if (hole >= size) return;
            offset += hole;
            size -= hole;
        }
        std::uint64_t want = std::min<std::uint64_t>(size, buffer.size());
        if (by_pages) want = std::min(want, kPage - offset % kPage);
        const ssize_t got = ::pread(from, buffer.data(), want, static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EIO) {
            // What the device cannot give is no loss; what lies around it is saved page by page.
            if (std::exchange(by_pages, true)) {
                offset += want;
                size -= want;
            }
            continue;
        }
        if (got < 0) fail("reading " + name, errno);
        if (got == 0) return;  // the file ends here
        if (beyond_size_limit(offset + static_cast<std::uint64_t>(got))) fail("writing " + name, EFBIG);
        for (ssize_t done = 0; done < got;) {
            const ssize_t n = ::pwrite(to, buffer.data() + done, static_cast<std::size_t>(got - done),
                                       static_cast<off_t>(offset) + done);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) fail("writing " + name, n < 0 ? errno : ENOSPC);
            done += n;
        }
        offset += static_cast<std::uint64_t>(got);
        size -= static_cast<std::uint64_t>(got);
    }
}

// Whole blocks, as only these can be shared; sorted, disjoint. Not page 0: it is written to next, and copied soonest.
std::vector<Extent> in_blocks(std::vector<Extent> ranges, std::uint64_t block, std::uint64_t end) {
    std::sort(ranges.begin(), ranges.end(), [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
    std::vector<Extent> all;
    std::uint64_t at = kPage;  // all before it is dealt with
    for (const Extent& e : ranges) {
        const std::uint64_t from = std::max(e.offset / block * block, at);
        const std::uint64_t to = std::min(round_up(e.offset + e.size, block), end);
        if (from >= to) continue;
        if (!all.empty() && from == at) all.back().size += to - from;
        else all.push_back({from, to - from});
        at = to;
    }
    return all;
}

// Only what is going to be replaced: what is shared has to be unshared before the shelf is written to again
// (Media::prepare_for_writing), and of all the data that would be a copy of the shelf.
void clone_or_copy(int from, int to, const std::vector<Extent>& ranges, const std::string& name) {
    bool clone = true;
    for (const Extent& e : ranges) {
        file_clone_range range{from, e.offset, e.size, e.offset};
        if (clone && ::ioctl(to, FICLONERANGE, &range) == 0) continue;
        // Where it is refused for one reason or another, a copy does as well.
        if (errno == EOPNOTSUPP || errno == ENOTTY || errno == EXDEV || errno == ENOSYS) clone = false;
        copy_range(from, to, e.offset, e.size, name);
    }
}

}  // namespace

std::string save_replaced(const ShelfFiles& files, const Replaced& replaced) {
    std::string leaf;
    for (int attempt = 0;; ++attempt) {
        leaf = fmt::format("{}.fsck-{}", files.name, utc_text(attempt));
        if (::mkdirat(files.directory, leaf.c_str(), 0700) == 0) break;
        if (errno != EEXIST || attempt == 1000) fail("creating " + files.path + "/" + leaf, errno);
    }
    const std::string map_leaf = files.name + ".map", data_leaf = files.name + ".data";
    Fd dir(::openat(files.directory, leaf.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    try {
        if (!dir) fail("opening " + leaf, errno);
        const auto copy = [&](int from, const std::string& name, const std::vector<Extent>* ranges) {
            struct stat st;
            if (::fstat(from, &st) != 0) fail("looking at " + name, errno);
            const Fd to(::openat(dir.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
            if (!to) fail("creating " + name, errno);
            const auto size = static_cast<std::uint64_t>(st.st_size);
            if (beyond_size_limit(size)) fail("sizing " + name, EFBIG);
            if (::ftruncate(to.get(), st.st_size) != 0) fail("sizing " + name, errno);
            if (ranges == nullptr) {
                copy_range(from, to.get(), 0, size, name);
            } else {
                copy_range(from, to.get(), 0, kPage, name);
                struct statfs fs;
                const std::uint64_t block = ::fstatfs(to.get(), &fs) == 0 && fs.f_bsize > 0
                                                ? static_cast<std::uint64_t>(fs.f_bsize) : kPage;
                // What is no regular file (tests) tells no size.
                clone_or_copy(from, to.get(), in_blocks(*ranges, block, size != 0 ? size : UINT64_MAX), name);
            }
            if (::fsync(to.get()) != 0) fail("syncing " + name, errno);
        };
        if (files.map >= 0) copy(files.map, map_leaf, nullptr);
        copy(files.data, data_leaf, &replaced.data);
        if (::fsync(dir.get()) != 0 && errno != EINVAL) fail("syncing " + leaf, errno);
        if (::fsync(files.directory) != 0 && errno != EINVAL) fail("syncing " + files.path, errno);
    } catch (...) {
        if (dir) {
            ::unlinkat(dir.get(), map_leaf.c_str(), 0);
            ::unlinkat(dir.get(), data_leaf.c_str(), 0);
        }
        ::unlinkat(files.directory, leaf.c_str(), AT_REMOVEDIR);
        throw;
    }
    return files.path + "/" + leaf;
}

}  // namespace pymm
