// pymm::check(): the files of a shelf in a directory, whatever state they are in.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <pymm/check.hpp>
#include <pymm/namespace.hpp>

#include "catalogue/random.hpp"
#include "check/checker.hpp"
#include "check/saved.hpp"
#include "check/stand_in.hpp"
#include "media/file_lease.hpp"
#include "media/mapped.hpp"
#include "media/size_limit.hpp"
#include "namespace/directory.hpp"

namespace pymm {

using namespace format;

namespace {

[[noreturn]] void fail(const std::string& what, int error) {
    const std::string text = fmt::format("{}: {}", what, std::strerror(error));
    switch (error) {
        case ENOSPC:
        case EDQUOT: throw NoSpaceError(text + "; free space there and try again", error);
        case EFBIG: throw NoSpaceError(text + "; see the file size limit (ulimit -f)", error);
        case EROFS:
        case EACCES:
        case EPERM: throw ReadOnlyError(text + "; ask the owner of the files, or check without repair", error);
        case ENOENT: throw NotFoundError(text, error);
        default: throw IoError(text, error);
    }
}

Fd duplicate(const Fd& fd) {
    Fd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
    if (!copy) fail("duplicating a descriptor", errno);
    return copy;
}

// One of the two files: open, missing, or something else under its name.
struct ShelfFile {
    Fd fd;
    struct stat st{};
    std::string path;
    bool other = false;  // not a regular file
};

class Files {
public:
    Files(const std::string& path, std::string_view shelf, const CheckOptions& options)
        : path_(path), name_(shelf), options_(options), write_(options.repair != Repair::none) {
        dir_ = Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!dir_ && errno == ENOTDIR)
            throw InvalidArgumentError(fmt::format("namespace '{}': not a directory", path));
        if (!dir_) fail(fmt::format("namespace '{}'", path), errno);
    }

    CheckReport run() {
        // Two looks at two names: an eraser and a creator may come between.
        for (int tries = 5;; --tries) {
            CheckReport report = once();
            if (report.uncorrected() == 0 || report.repaired || tries == 0 || still_named()) return report;
        }
    }

private:
    void open(ShelfFile& file, const char* suffix) {
        const std::string leaf = name_ + suffix;
        file.fd = Fd();
        file.other = false;
        file.path = fmt::format("{}/{}", path_, leaf);
        // O_NONBLOCK: a FIFO under that name must not hang us.
        const int flags = (write_ ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
        file.fd = Fd(::openat(dir_.get(), leaf.c_str(), flags));
        if (!file.fd) {
            if (errno == ENOENT) return;
            if ((errno == EACCES || errno == EPERM) && !write_)
                throw ReadOnlyError(fmt::format("opening {}: {}; ask its owner for leave to read it", file.path,
                                                std::strerror(errno)), errno);
            if (errno != EISDIR && errno != ENXIO) fail("opening " + file.path, errno);
            file.other = true;
            return;
        }
        if (::fstat(file.fd.get(), &file.st) != 0) fail("looking at " + file.path, errno);
        file.other = !S_ISREG(file.st.st_mode);
    }

    bool still_named() const {
        const auto same = [&](const ShelfFile& file, const char* suffix) {
            struct stat now;
            if (::fstatat(dir_.get(), (name_ + suffix).c_str(), &now, 0) != 0) return !file.fd && !file.other;
            return file.other || (file.fd && now.st_dev == file.st.st_dev && now.st_ino == file.st.st_ino);
        };
        return same(map_, ".map") && same(data_, ".data");
    }

    // What stands in the way of any check: said in a report, not thrown.
    static CheckReport hopeless(const ShelfFile& file, const char* structure, std::string expected,
                                std::string found, std::string action) {
        CheckReport report;
        report.findings.push_back({Severity::error, structure, file.path, 0, std::move(expected), std::move(found), {},
                                   false, std::move(action)});
        return report;
    }

    CheckReport once() {
        // Creators and erasers stay out while a .map comes to be.
        Fd exclusive;
        if (write_) {
            exclusive = Fd(::openat(dir_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
            while (exclusive && ::flock(exclusive.get(), LOCK_EX) != 0 && errno == EINTR) {
            }
        }
        open(map_, ".map");
        open(data_, ".data");
        if (!map_.fd && !map_.other && !data_.fd && !data_.other)
            throw NotFoundError(fmt::format("shelf '{}' in {}: no such shelf", name_, path_));
        if (map_.other)
            return hopeless(map_, "map file", "a regular file", "something else",
                            "move it away, then check again");
        if (data_.other)
            return hopeless(data_, "data file", "a regular file", "something else",
                            "put the shelf's data file there");
        if (!data_.fd)
            return hopeless(data_, "data file", "a file", "none", "restore it from a copy, or erase the shelf");
        if (data_.st.st_size < static_cast<off_t>(2 * kPage))
            return hopeless(data_, "data file", fmt::format("at least {} bytes", 2 * kPage),
                            fmt::format("{}", data_.st.st_size), "restore it from a copy, or erase the shelf");

        const bool stand_in = !map_.fd || map_.st.st_size < static_cast<off_t>(kMapSize);
        // Where somebody took the .map away from under a writer, the writer's lock on the .data is still there.
        FileLease lease(map_.fd ? duplicate(map_.fd).release() : -1, duplicate(data_.fd).release(),
                        fmt::format("{}/{}", path_, name_));
        if (write_ && !lease.try_acquire_writer())
            throw BusyError(fmt::format("{}: shelf '{}' is open for writing; close it there, or check it without "
                                        "repair", path_, name_));
        // With the lock, nobody erases or replaces a shelf that has its .map: others need not wait for us.
        if (!stand_in) exclusive = Fd();
        // A size that no shelf has: what is behind the last whole page is kept, in a page.
        if (options_.repair == Repair::all && data_.st.st_size % static_cast<off_t>(kPage) != 0) {
            const auto whole = static_cast<off_t>(round_up(static_cast<std::uint64_t>(data_.st.st_size), kPage));
            if (beyond_size_limit(static_cast<std::uint64_t>(whole))) fail("sizing " + data_.path, EFBIG);
            if (::ftruncate(data_.fd.get(), whole) != 0) fail("sizing " + data_.path, errno);
        }
        std::unique_ptr<Media> map;
        if (stand_in) {
            std::byte bytes[kMapSize];
            ssize_t n = 0;
            if (map_.fd) n = ::pread(map_.fd.get(), bytes, sizeof bytes, 0);
            if (n < 0) fail("reading " + map_.path, errno);
            map = std::make_unique<StandInMap>(map_.path, bytes, static_cast<std::size_t>(n));
        } else {
            map = MappedMedia::open(duplicate(map_.fd).release(), map_.path, write_, true);
        }
        const bool backed = static_cast<std::uint64_t>(data_.st.st_blocks) * 512 >=
                            static_cast<std::uint64_t>(data_.st.st_size);
        const std::unique_ptr<Media> data =
            MappedMedia::open(duplicate(data_.fd).release(), data_.path, write_, backed);
        if (write_) data->prepare_for_writing();

        CheckTarget target{*map, *data, &lease, !map_.fd, {}};
        if (write_)
            target.save = [&](const Replaced& replaced) {
                return save_replaced({dir_.get(), path_, name_, map_.fd ? map_.fd.get() : -1, data_.fd.get()},
                                     replaced);
            };
        CheckReport report = check_media(target, options_);
        if (map_.fd && stand_in) report.findings.insert(report.findings.begin(), short_map(report.repaired));
        if (stand_in && report.repaired) {
            publish(*map);
            // Whoever still reads the old file never learns of the new one.
            report.reopen = lease.extent_marked(0, max_capacity);
        }
        return report;
    }

    Finding short_map(bool corrected) const {
        return {Severity::error, "map file", map_.path, 0, fmt::format("{} bytes", kMapSize),
                fmt::format("{}", map_.st.st_size), {}, corrected, corrected ? "written anew" : ""};
    }

    // The new .map appears whole, by rename, and durable.
    void publish(const Media& map) {
        const std::string leaf = name_ + ".map";
        const std::string fresh = fmt::format(".{}.map.{:016x}", name_, random_u64());
        Fd fd(::openat(dir_.get(), fresh.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
        if (!fd) fail("creating " + path_ + "/" + fresh, errno);
        try {
            // As the one before, else as the .data is: the same people may read and write it.
            const struct stat& like = map_.fd ? map_.st : data_.st;
            if (::geteuid() == 0 && ::fchown(fd.get(), like.st_uid, like.st_gid) != 0)
                fail("giving away " + fresh, errno);
            if (::fchmod(fd.get(), like.st_mode & 0777) != 0) fail("setting the mode of " + fresh, errno);
            if (beyond_size_limit(kMapSize)) fail("writing " + fresh, EFBIG);
            if (::pwrite(fd.get(), map.data(), kMapSize, 0) != static_cast<ssize_t>(kMapSize))
                fail("writing " + fresh, errno != 0 ? errno : EIO);
            if (::fsync(fd.get()) != 0 || ::fsync(data_.fd.get()) != 0) fail("syncing " + fresh, errno);
            // One that is too short is replaced. Where there was none, one that came meanwhile is not ours to replace.
            const int error = !map_.fd ? rename_new(dir_.get(), fresh, leaf)
                              : ::renameat(dir_.get(), fresh.c_str(), dir_.get(), leaf.c_str()) == 0 ? 0 : errno;
            if (error == EEXIST)
                throw BusyError(fmt::format("{}: somebody put it there while one was made; it was left as it is: check "
                                            "the shelf again", map_.path));
            if (error != 0) fail("naming " + leaf, error);
        } catch (...) {
            ::unlinkat(dir_.get(), fresh.c_str(), 0);
            throw;
        }
        if (::fsync(dir_.get()) != 0 && errno != EINVAL) fail("syncing " + path_, errno);
    }

    std::string path_;
    std::string name_;
    const CheckOptions& options_;
    bool write_;
    Fd dir_;
    ShelfFile map_;
    ShelfFile data_;
};

}  // namespace

CheckReport check(const std::string& path, std::string_view shelf, const CheckOptions& options) {
    check_shelf_name(shelf);
    return Files(path, shelf, options).run();
}

}  // namespace pymm
