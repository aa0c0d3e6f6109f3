// Namespace: what lives at one path and holds shelves. In this version: a directory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <pymm/shelf.hpp>

namespace pymm {

/// Smallest capacity of a shelf.
inline constexpr std::uint64_t min_capacity = 1ull << 20;
inline constexpr std::uint64_t max_capacity = 1ull << 46;

struct CreateOptions {
    std::uint64_t capacity = 32ull << 20;  ///< bytes of the data file; rounded up to whole pages
    bool sparse = false;   ///< do not promise the capacity now: space is taken blob by blob
    bool force = false;    ///< discard an existing shelf of that name (never one in use)
    std::uint32_t mode = 0600;             ///< permissions of the two files
    std::uint64_t log_size = 0;            ///< bytes of a redo-log segment; 0 chooses
    bool checksum = false;                 ///< record a checksum of the content at every put
    std::uint64_t address = 0;             ///< as OpenOptions::address; for this process, not kept on media
};

struct OpenOptions {
    Mode mode = Mode::read_write;
    /// Where the data file is to be mapped: blobs are at this address plus BlobInfo::offset. A multiple of the page
    /// size; 0: anywhere. A wish: where not all of it is free, and where the process has the shelf open already, the
    /// shelf is elsewhere, which is logged (PYMM_DEBUG=1). ShelfInfo::address tells. Nothing on media depends on it.
    std::uint64_t address = 0;
};

/// One shelf as found in a namespace, without opening it.
struct ShelfEntry {
    std::string name;
    std::uint64_t capacity = 0;   ///< size of the data file
    std::uint64_t allocated = 0;  ///< bytes the file system has given to both files
    std::string problem;          ///< empty, or why it could not be opened (data file missing, ...)
};

/// Bytes of the file system under a namespace (statvfs(3)).
struct SpaceInfo {
    std::uint64_t total = 0;
    std::uint64_t available = 0;  ///< to this user
    std::string file_system;      ///< "ext4", "tmpfs", ... or the magic number in hexadecimal
};

/// Throws InvalidArgumentError unless `name` is a legal shelf name: UTF-8, 1..200 bytes, no '/', no
/// NUL, not starting with '.'.
void check_shelf_name(std::string_view name);

/// Handle of a namespace. Cheap to copy; holds no file open. Thread-safe.
class Namespace {
public:
    /// Throws NotFoundError when nothing is at `path`, InvalidArgumentError when it is no directory.
    static Namespace open(const std::string& path);

    const std::string& path() const noexcept { return path_; }
    std::vector<ShelfEntry> list() const;  ///< sorted by name
    bool contains(std::string_view name) const;

    /// Creates a shelf and opens it for writing. Throws ExistsError, NoSpaceError (capacity is promised
    /// here unless `sparse`), BusyError when `force` meets a shelf in use, InvalidArgumentError.
    Shelf create(std::string_view name, const CreateOptions& options = {}) const;
    /// Throws NotFoundError, BusyError (another process writes it), CorruptError, VersionError.
    /// InvalidArgumentError for an address that can never be had.
    Shelf shelf(std::string_view name, const OpenOptions& options) const;
    Shelf shelf(std::string_view name, Mode mode = Mode::read_write) const;
    /// Erases the shelf and all its blobs. Throws NotFoundError, BusyError.
    void erase(std::string_view name) const;
    SpaceInfo space() const;

private:
    explicit Namespace(std::string path) : path_(std::move(path)) {}
    std::string path_;
};

}  // namespace pymm
