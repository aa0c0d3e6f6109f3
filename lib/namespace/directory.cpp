#include "namespace/directory.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "catalogue/random.hpp"
#include "format/crc32c.hpp"
#include "format/names.hpp"
#include "media/address_space.hpp"
#include "media/file_lease.hpp"
#include "media/log.hpp"
#include "media/mapped.hpp"
#include "media/size_limit.hpp"

namespace pymm {

using namespace format;

Fd::~Fd() {
    if (fd_ >= 0) ::close(fd_);
}

Fd& Fd::operator=(Fd&& other) noexcept {
    if (this != &other) {
        if (fd_ >= 0) ::close(fd_);
        fd_ = other.release();
    }
    return *this;
}

namespace {

Fd duplicate(const Fd& fd) {
    Fd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
    if (!copy) throw IoError(fmt::format("duplicating a descriptor: {}", std::strerror(errno)), errno);
    return copy;
}

struct stat status(const Fd& fd) {
    struct stat st;
    if (::fstat(fd.get(), &st) != 0) throw IoError(fmt::format("fstat: {}", std::strerror(errno)), errno);
    return st;
}

bool is_tmpfs(const Fd& fd) {
    struct statfs fs;
    return ::fstatfs(fd.get(), &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

// Storage behind every byte: the file system gave it at creation, and no one took it back.
bool fully_backed(const struct stat& st) {
    return static_cast<std::uint64_t>(st.st_blocks) * 512 >= static_cast<std::uint64_t>(st.st_size);
}

// Whatever a session stores, a log above all, is not zeros alone. Holes, and what was only allocated, are not read.
bool zeros_behind(int fd, off_t at) {
    std::array<std::byte, 64 << 10> buffer;
    while ((at = ::lseek(fd, at, SEEK_DATA)) >= 0) {
        const off_t end = ::lseek(fd, at, SEEK_HOLE);
        if (end < 0) return false;
        while (at < end) {
            const auto want = std::min<std::size_t>(buffer.size(), static_cast<std::size_t>(end - at));
            const ssize_t n = ::pread(fd, buffer.data(), want, at);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) return false;
            if (std::any_of(buffer.begin(), buffer.begin() + n, [](std::byte b) { return b != std::byte{}; })) return false;
            at += n;
        }
    }
    return errno == ENXIO;
}

}  // namespace

// Its first write may be torn: any of the header's words may be there, and nothing else. `used` is among them only once
// a session has begun; but no checksum covers it, so it counts only where nothing contradicts it.
bool never_used(int data) {
    std::array<std::byte, kPage> page{};
    if (::pread(data, page.data(), page.size(), 0) < 0) return false;
    DataHeader header;
    std::memcpy(&header, page.data(), sizeof header);
    if (header.used != 0 || (header.version != 0 && header.version != kVersion) ||
        (header.magic != 0 && header.magic != kDataMagic) ||
        !std::all_of(page.begin() + sizeof header, page.end(), [](std::byte b) { return b == std::byte{}; }))
        return false;
    if (header.magic == kDataMagic && header.version != 0 && header.crc == crc32c(&header, offsetof(DataHeader, crc)))
        return zeros_behind(data, kPage);
    // Nothing proves that it is ours: then somebody's zeros are not, either.
    return ::lseek(data, kPage, SEEK_DATA) < 0 && errno == ENXIO;
}

namespace {

// Whether the files, -1 for one that is missing, are a shelf's, damaged or exchanged. Other programs name files so, too.
bool any_is_ours(int map, int data) {
    const auto has = [](int fd, std::uint64_t at, std::uint64_t magic) {
        std::uint64_t found = 0;
        return ::pread(fd, &found, sizeof found, static_cast<off_t>(at)) == sizeof found && found == magic;
    };
    for (const int fd : {map, data})
        if (fd >= 0 && (has(fd, kSuperblockOffset[0], kSuperblockMagic) ||
                        has(fd, kSuperblockOffset[1], kSuperblockMagic) || has(fd, 0, kDataMagic)))
            return true;
    return data >= 0 && never_used(data);
}

}  // namespace

int rename_new(int directory, const std::string& from, const std::string& to) noexcept {
    if (::renameat2(directory, from.c_str(), directory, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) return errno;
    // Without that flag: a link, which never replaces either.
    if (::linkat(directory, from.c_str(), directory, to.c_str(), 0) == 0) {
        ::unlinkat(directory, from.c_str(), 0);
        return 0;
    }
    if (errno != EPERM && errno != ENOSYS && errno != EOPNOTSUPP) return errno;
    // Without links, too: creators keep each other out by a lock; of other programs we see those that came before.
    struct stat st;
    if (::fstatat(directory, to.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) return EEXIST;
    return ::renameat(directory, from.c_str(), directory, to.c_str()) == 0 ? 0 : errno;
}

Directory::Directory(const std::string& path) : path_(path) {
    // The system would stop at a NUL and open another directory than the one that was named.
    if (path.find('\0') != std::string::npos)
        throw InvalidArgumentError(fmt::format("namespace '{}': a NUL in its path", printable_name(path)));
    while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
    fd_ = Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd_) return;
    if (errno == ENOENT)
        throw NotFoundError(fmt::format("namespace '{}': no such directory; create it first", path));
    if (errno == ENOTDIR) throw InvalidArgumentError(fmt::format("namespace '{}': not a directory", path));
    throw IoError(fmt::format("namespace '{}': {}", path, std::strerror(errno)), errno);
}

void Directory::fail(const char* action, const std::string& leaf, int error) const {
    const std::string message = fmt::format("{} {}/{}: {}", action, path_, leaf, std::strerror(error));
    switch (error) {
        case ENOSPC:
        case EDQUOT: throw NoSpaceError(message + "; choose a smaller size or free space there", error);
        case EROFS: throw ReadOnlyError(message + "; open the shelf read-only", error);
        case EACCES:
        case EPERM: throw ReadOnlyError(message + "; ask the owner of the namespace for leave to change it", error);
        case ELOOP: throw InvalidArgumentError(message + "; symbolic links are not followed here", error);
        case EEXIST: throw ExistsError(message, error);
        case EFBIG: throw InvalidArgumentError(message + "; the file system or a limit allows less", error);
        default: throw IoError(message, error);
    }
}

std::string Directory::file(std::string_view name, const char* suffix) const {
    return fmt::format("{}{}", name, suffix);
}

void Directory::sync() const {
    // EINVAL: file systems that cannot sync directories have nothing to sync.
    if (::fsync(fd_.get()) != 0 && errno != EINVAL) fail("syncing", ".", errno);
}

// flock(2) on the directory: only creators and erasers take it, and only for the time of it.
class Directory::Exclusive {
public:
    explicit Exclusive(const Directory& directory)
        : fd_(::openat(directory.fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
        // A file system without locks has to do without this one.
        while (fd_ && ::flock(fd_.get(), LOCK_EX) != 0 && errno == EINTR) {
        }
    }

private:
    Fd fd_;
};

// ---- Opening ----------------------------------------------------------------------------------------

Fd Directory::open_file(const std::string& leaf, int flags, std::string_view shelf) const {
    // O_NONBLOCK: a FIFO under that name must not hang us.
    Fd fd(::openat(fd_.get(), leaf.c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd) {
        if (errno == ENOENT) throw NotFoundError(fmt::format("shelf '{}' in {}: no file {}", shelf, path_, leaf));
        if (errno == ENXIO || errno == EISDIR)
            throw CorruptError(fmt::format("{}/{}: not a regular file", path_, leaf));
        if (errno == EACCES || errno == EPERM) {
            const int error = errno;
            // Whoever erases follows no links; opening it for reading is of no use to them.
            const char* leave = (flags & O_ACCMODE) == O_RDONLY ? "to read it"
                                : (flags & O_NOFOLLOW) != 0     ? "to write to it"
                                                                : "to write to it, or open the shelf read-only";
            throw ReadOnlyError(fmt::format("opening {}/{}: {}; ask its owner for leave {}", path_, leaf,
                                            std::strerror(error), leave), error);
        }
        fail("opening", leaf, errno);
    }
    if (!S_ISREG(status(fd).st_mode))
        throw CorruptError(fmt::format("{}/{}: not a regular file", path_, leaf));
    return fd;
}

Registry::Key Directory::key(std::string_view name, Mode mode) const {
    check_shelf_name(name);
    struct stat st;
    if (::fstatat(fd_.get(), file(name, ".map").c_str(), &st, 0) != 0) {
        if (errno != ENOENT) fail("looking at", file(name, ".map"), errno);
        const bool data = ::fstatat(fd_.get(), file(name, ".data").c_str(), &st, 0) == 0;
        throw NotFoundError(fmt::format("shelf '{}' in {}: {}", name, path_,
                                        data ? "its .map is missing, only the .data is there" : "no such shelf"));
    }
    return {st.st_dev, st.st_ino, mode};
}

Directory::Opened Directory::open(std::string_view name, const OpenOptions& options) const {
    const Mode mode = options.mode;
    const int flags = mode == Mode::read_write ? O_RDWR : O_RDONLY;
    Fd map = open_file(file(name, ".map"), flags, name);
    Fd data = [&] {
        try {
            return open_file(file(name, ".data"), flags, name);
        } catch (const NotFoundError&) {
            throw CorruptError(fmt::format("shelf '{}' in {}: its .data file is missing; restore it from a copy, or "
                                           "erase the shelf", name, path_));
        }
    }();
    const struct stat map_status = status(map), data_status = status(data);
    if (map_status.st_size < static_cast<off_t>(kMapSize))
        throw CorruptError(fmt::format("{}/{}.map: {} bytes, a map file has {}; restore it from a copy", path_, name,
                                       map_status.st_size, kMapSize));
    if (data_status.st_size < static_cast<off_t>(2 * kPage))
        throw CorruptError(fmt::format("{}/{}.data: only {} bytes; restore it from a copy", path_, name,
                                       data_status.st_size));
    const bool write = mode == Mode::read_write;
    Opened opened{{path_, std::string(name), nullptr, nullptr, nullptr},
                  {map_status.st_dev, map_status.st_ino, mode}, data_status.st_ino};
    opened.parts.lease = std::make_unique<FileLease>(duplicate(map).release(), duplicate(data).release(),
                                                       fmt::format("{}/{}", path_, name));
    opened.parts.map = MappedMedia::open(map.release(), fmt::format("{}/{}.map", path_, name), write, true);
    opened.parts.data = MappedMedia::open(data.release(), fmt::format("{}/{}.data", path_, name), write,
                                          fully_backed(data_status), options.address);
    return opened;
}

bool Directory::still_named(std::string_view name, const Registry::Key& key, ino_t data_inode) const {
    struct stat map, data;
    return ::fstatat(fd_.get(), file(name, ".map").c_str(), &map, 0) == 0 &&
           ::fstatat(fd_.get(), file(name, ".data").c_str(), &data, 0) == 0 && map.st_dev == key.device &&
           map.st_ino == key.inode && data.st_ino == data_inode;
}

// ---- Creating ---------------------------------------------------------------------------------------

// Temporary names of creations that a crash cut short; no other is under way (Exclusive).
void Directory::remove_leftovers(std::string_view name) const {
    const std::string prefix = fmt::format(".{}.map.", name);
    const int fd = ::openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* dir = fd < 0 ? nullptr : ::fdopendir(fd);
    if (dir == nullptr) {
        if (fd >= 0) ::close(fd);
        return;
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> closer(dir, ::closedir);
    while (const dirent* item = ::readdir(dir)) {
        const std::string_view leaf = item->d_name;
        if (leaf.size() == prefix.size() + 16 && leaf.starts_with(prefix)) ::unlinkat(fd_.get(), item->d_name, 0);
    }
}

// Clears the way for a new shelf, or throws ExistsError or BusyError.
void Directory::make_room(std::string_view name, bool force) const {
    struct stat st;
    const bool map = ::fstatat(fd_.get(), file(name, ".map").c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
    const bool data = ::fstatat(fd_.get(), file(name, ".data").c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!map && !data) return;
    if (force) {
        erase_files(name);
        return;
    }
    if (map) throw ExistsError(fmt::format("shelf '{}' in {}: it exists already", name, path_));
    // A data file alone: what a creation left that was cut short, or all that remains of a shelf.
    const Fd fd = open_file(file(name, ".data"), O_RDONLY | O_NOFOLLOW, name);
    // Without a .map nobody can become the writer; one that was there when it vanished still is.
    if (FileLease(-1, duplicate(fd).release(), fmt::format("{}/{}", path_, name)).writer_alive())
        throw BusyError(fmt::format("{}/{}.data exists without its .map, and is open for writing; close it there first",
                                    path_, name));
    if (!never_used(fd.get()))
        throw ExistsError(fmt::format("{}/{}.data exists without its .map: it may hold the data of a lost shelf; "
                                      "move it away, or discard it with force", path_, name));
    log().info("{}/{}.data: left by a creation that was cut short; removed", path_, name);
    if (::unlinkat(fd_.get(), file(name, ".data").c_str(), 0) != 0) fail("removing", file(name, ".data"), errno);
}

Directory::Opened Directory::create(std::string_view name, const CreateOptions& options) const {
    check_shelf_name(name);
    if (options.capacity < min_capacity || options.capacity > max_capacity)
        throw InvalidArgumentError(fmt::format("shelf '{}': a capacity of {} bytes; {} (1 MiB) to {} (64 TiB) are possible", name,
                                               options.capacity, min_capacity, max_capacity));
    const std::uint64_t capacity = round_up(options.capacity, kPage);
    if (options.log_size != 0 && (options.log_size % kPage != 0 || options.log_size > capacity / 16))
        throw InvalidArgumentError(fmt::format("shelf '{}': a log of {} bytes; a multiple of {} up to a 16th of the "
                                               "capacity is possible", name, options.log_size, kPage));
    check_address(options.address, capacity, fmt::format("shelf '{}'", name));
    const Exclusive exclusive(*this);
    make_room(name, options.force);
    remove_leftovers(name);

    const std::string data_leaf = file(name, ".data"), map_leaf = file(name, ".map");
    if (beyond_size_limit(capacity)) fail("sizing", data_leaf, EFBIG);
    const std::string fresh_leaf = fmt::format(".{}.map.{:016x}", name, random_u64());
    const auto make = [&](const std::string& leaf) {
        Fd fd(::openat(fd_.get(), leaf.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                       static_cast<mode_t>(options.mode)));
        if (!fd) fail("creating", leaf, errno);
        return fd;
    };
    Fd data = make(data_leaf);
    bool map_made = false, named = false;
    try {
        if (::ftruncate(data.get(), static_cast<off_t>(capacity)) != 0) fail("sizing", data_leaf, errno);
        // On tmpfs fallocate(2) would take the memory at once: there, space is taken blob by blob.
        const bool promise = !options.sparse && !is_tmpfs(data);
        // Asked first: fallocate(2) takes all there is before it fails, and others would see a full disk.
        struct statvfs vfs;
        if (promise && ::fstatvfs(data.get(), &vfs) == 0 && capacity > std::uint64_t{vfs.f_bfree} * vfs.f_frsize)
            fail("allocating", data_leaf, ENOSPC);
        if (promise && ::fallocate(data.get(), 0, 0, static_cast<off_t>(capacity)) != 0) {
            if (errno != EOPNOTSUPP) fail("allocating", data_leaf, errno);
            log().warn("{}/{}: this file system cannot promise space; it is taken blob by blob", path_, data_leaf);
        }
        Fd map = make(fresh_leaf);
        map_made = true;
        if (::ftruncate(map.get(), static_cast<off_t>(kMapSize)) != 0) fail("sizing", fresh_leaf, errno);
        if (::fallocate(map.get(), 0, 0, static_cast<off_t>(kMapSize)) != 0 && errno != EOPNOTSUPP)
            fail("allocating", fresh_leaf, errno);

        const struct stat map_status = status(map);
        Opened opened{{path_, std::string(name), nullptr, nullptr, nullptr},
                      {map_status.st_dev, map_status.st_ino, Mode::read_write}, status(data).st_ino};
        opened.parts.lease = std::make_unique<FileLease>(duplicate(map).release(), duplicate(data).release(),
                                                       fmt::format("{}/{}", path_, name));
        const Fd map_again = duplicate(map), data_again = duplicate(data);
        opened.parts.map = MappedMedia::open(map.release(), fmt::format("{}/{}", path_, map_leaf), true, true);
        opened.parts.data = MappedMedia::open(data.release(), fmt::format("{}/{}", path_, data_leaf), true,
                                              fully_backed(status(data_again)), options.address);
        FormatOptions format{{}, 0, options.log_size, options.checksum};
        random_bytes(format.uuid.data(), format.uuid.size());
        format.uuid[6] = static_cast<std::uint8_t>((format.uuid[6] & 0x0f) | 0x40);  // RFC 9562, version 4
        format.uuid[8] = static_cast<std::uint8_t>((format.uuid[8] & 0x3f) | 0x80);
        format.created_ns =
            static_cast<std::uint64_t>(Clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
        Catalogue::format(*opened.parts.map, *opened.parts.data, format);
        // The lock is ours before anyone can find the shelf.
        if (!opened.parts.lease->try_acquire_writer())
            throw BusyError(fmt::format("shelf '{}': a new file is locked already", name));

        // Contents, sizes and the .data's name are durable before the .map, the commit point, has its name.
        if (::fsync(data_again.get()) != 0) fail("syncing", data_leaf, errno);
        if (::fsync(map_again.get()) != 0) fail("syncing", fresh_leaf, errno);
        sync();
        if (const int error = rename_new(fd_.get(), fresh_leaf, map_leaf); error != 0) fail("naming", map_leaf, error);
        named = true;
        sync();
        return opened;
    } catch (...) {
        if (map_made) ::unlinkat(fd_.get(), fresh_leaf.c_str(), 0);
        // When the last sync failed, the shelf exists. A .map that somebody else put there belongs to no file of ours.
        if (!named) ::unlinkat(fd_.get(), data_leaf.c_str(), 0);
        throw;
    }
}

// ---- Erasing ----------------------------------------------------------------------------------------

void Directory::erase_files(std::string_view name) const {
    const std::string map_leaf = file(name, ".map"), data_leaf = file(name, ".data");
    struct stat st;
    const bool map = ::fstatat(fd_.get(), map_leaf.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (map && !S_ISREG(st.st_mode))
        throw InvalidArgumentError(fmt::format("{}/{}: not a regular file (symbolic links are not followed); remove it "
                                               "by hand", path_, map_leaf));
    const bool data = ::fstatat(fd_.get(), data_leaf.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (data && !S_ISREG(st.st_mode))
        throw InvalidArgumentError(fmt::format("{}/{}: not a regular file (symbolic links are not followed); remove it "
                                               "by hand", path_, data_leaf));
    if (!map && !data) throw NotFoundError(fmt::format("shelf '{}' in {}: no such shelf", name, path_));
    const auto open_if = [&](bool there, const std::string& leaf) {
        return there ? open_file(leaf, O_RDWR | O_NOFOLLOW, name) : Fd();
    };
    Fd map_fd = open_if(map, map_leaf), data_fd = open_if(data, data_leaf);
    if (!any_is_ours(map_fd.get(), data_fd.get()))
        throw InvalidArgumentError(fmt::format("{}/{}: not a shelf's file, by its content; nothing was removed: if it is to "
                                               "go, remove it by hand", path_, map ? map_leaf : data_leaf));
    FileLease lease(map_fd.release(), data_fd.release(), fmt::format("{}/{}", path_, name));  // until both are gone
    if (!lease.try_acquire_writer())
        throw BusyError(fmt::format("shelf '{}' in {}: it is open for writing; close it first", name, path_));
    if (map) {
        // Without its .map the shelf is gone; the .data alone is never opened.
        if (::unlinkat(fd_.get(), map_leaf.c_str(), 0) != 0) fail("removing", map_leaf, errno);
        sync();
    }
    if (data) {
        if (::unlinkat(fd_.get(), data_leaf.c_str(), 0) != 0) fail("removing", data_leaf, errno);
        sync();
    }
}

void Directory::erase(std::string_view name) const {
    check_shelf_name(name);
    const Exclusive exclusive(*this);
    erase_files(name);
}

// ---- Looking around ---------------------------------------------------------------------------------

bool Directory::contains(std::string_view name) const {
    if (shelf_name_problem(name) != nullptr) return false;
    struct stat st;
    return ::fstatat(fd_.get(), file(name, ".map").c_str(), &st, 0) == 0 && S_ISREG(st.st_mode);
}

std::vector<ShelfEntry> Directory::list() const {
    std::vector<ShelfEntry> shelves;
    const int fd = ::openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* dir = fd < 0 ? nullptr : ::fdopendir(fd);
    if (dir == nullptr) {
        const int error = errno;
        if (fd >= 0) ::close(fd);
        fail("reading", ".", error);
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> closer(dir, ::closedir);
    constexpr std::string_view suffix = ".map";
    while (const dirent* item = ::readdir(dir)) {
        const std::string_view leaf = item->d_name;
        if (!leaf.ends_with(suffix)) continue;
        const std::string_view name = leaf.substr(0, leaf.size() - suffix.size());
        if (shelf_name_problem(name) != nullptr) continue;
        ShelfEntry entry;
        entry.name = name;
        struct stat map{}, data{};
        if (::fstatat(fd_.get(), item->d_name, &map, 0) != 0 || !S_ISREG(map.st_mode)) continue;
        const bool has_data = ::fstatat(fd_.get(), file(name, ".data").c_str(), &data, 0) == 0;
        if (!has_data) {
            // Other programs have .map files too.
            const Fd probe(::openat(fd_.get(), item->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
            if (!probe || !any_is_ours(probe.get(), -1)) continue;
            entry.problem = "the .data file is missing";
        } else if (!S_ISREG(data.st_mode)) {
            entry.problem = "the .data is not a regular file";
        } else if (map.st_size < static_cast<off_t>(kMapSize)) {
            entry.problem = "the .map file is too short";
        }
        entry.capacity = has_data ? static_cast<std::uint64_t>(data.st_size) : 0;
        entry.allocated = 512 * static_cast<std::uint64_t>(map.st_blocks + data.st_blocks);
        shelves.push_back(std::move(entry));
    }
    std::sort(shelves.begin(), shelves.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return shelves;
}

SpaceInfo Directory::space() const {
    struct statvfs vfs;
    struct statfs fs;
    if (::fstatvfs(fd_.get(), &vfs) != 0 || ::fstatfs(fd_.get(), &fs) != 0) fail("statfs of", ".", errno);
    static constexpr std::pair<long, const char*> names[] = {
        {EXT4_SUPER_MAGIC, "ext4"}, {TMPFS_MAGIC, "tmpfs"},   {XFS_SUPER_MAGIC, "xfs"},
        {BTRFS_SUPER_MAGIC, "btrfs"}, {NFS_SUPER_MAGIC, "nfs"}, {OVERLAYFS_SUPER_MAGIC, "overlayfs"},
        {V9FS_MAGIC, "9p"}};
    SpaceInfo info;
    info.total = std::uint64_t{vfs.f_blocks} * vfs.f_frsize;
    info.available = std::uint64_t{vfs.f_bavail} * vfs.f_frsize;
    for (const auto& [magic, text] : names)
        if (fs.f_type == magic) info.file_system = text;
    if (info.file_system.empty()) info.file_system = fmt::format("{:#x}", static_cast<unsigned long>(fs.f_type));
    return info;
}

}  // namespace pymm
