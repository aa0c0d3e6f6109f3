// A shelf's two files in a directory: opening, creating, erasing. Order of the steps: docs/DESIGN.md,
// "The file pair".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <pymm/namespace.hpp>

#include "namespace/registry.hpp"
#include "shelf/core.hpp"

namespace pymm {

/// A descriptor, closed with the object.
class Fd {
public:
    explicit Fd(int fd = -1) noexcept : fd_(fd) {}
    ~Fd();
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept;
    int get() const noexcept { return fd_; }
    int release() noexcept { return std::exchange(fd_, -1); }
    explicit operator bool() const noexcept { return fd_ >= 0; }

private:
    int fd_;
};

/// True for a data file that a creation left that was cut short: ours as far as it goes, and nothing was ever stored in
/// it. Reads what has storage, until something is there.
bool never_used(int data);
/// Renames within a directory, never replacing what bears the new name: 0, or an errno, EEXIST if something does.
int rename_new(int directory, const std::string& from, const std::string& to) noexcept;

class Directory {
public:
    /// Throws NotFoundError, InvalidArgumentError.
    explicit Directory(const std::string& path);

    struct Opened {
        ShelfParts parts;
        Registry::Key key;
        ino_t data_inode;
    };
    /// True while the names still mean the files that were opened: asked again once the lock is held, since
    /// an eraser may have come between.
    bool still_named(std::string_view name, const Registry::Key& key, ino_t data_inode) const;
    /// Identity of the shelf's map file; throws NotFoundError.
    Registry::Key key(std::string_view name, Mode mode) const;
    Opened open(std::string_view name, const OpenOptions& options) const;
    Opened create(std::string_view name, const CreateOptions& options) const;
    void erase(std::string_view name) const;
    std::vector<ShelfEntry> list() const;
    bool contains(std::string_view name) const;
    SpaceInfo space() const;

private:
    class Exclusive;  // keeps other creators and erasers out of the directory
    std::string file(std::string_view name, const char* suffix) const;
    Fd open_file(const std::string& leaf, int flags, std::string_view shelf) const;
    void make_room(std::string_view name, bool force) const;
    void erase_files(std::string_view name) const;
    void remove_leftovers(std::string_view name) const;
    void sync() const;
    [[noreturn]] void fail(const char* action, const std::string& leaf, int error) const;

    std::string path_;
    Fd fd_;
};

}  // namespace pymm
