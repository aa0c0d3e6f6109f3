// FileCut: what a power cut leaves of the files of a directory, between any two system calls.
//
// A program that links this object has its (and the library's) file-changing system calls pass through here.
// While a FileCut lives, each of them in its directory is a place where the power may go. Model of the file
// system (POSIX promises no more; ext4 and xfs do better):
//
//  * Names: what was created, renamed, linked or removed since the directory's last fsync(2) is durable or
//    not, each change for itself and each whole.
//  * Contents: after fsync(2) of a file, or a write with RWF_DSYNC, those bytes and the size they need. What
//    came later is there, is not there, is there in words of 8 bytes, or its size is there alone.
//
// Folders in the directory are no part of this. Stores through mappings count as written and never synced, except by fsync(2). One at a time; one thread.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace pymm::sim {

/// Bytes of a file; pages of zeros are left out.
struct FileBytes {
    using Page = std::array<std::byte, 4096>;
    std::uint64_t size = 0;
    std::map<std::uint64_t, Page> pages;  // by page number
    bool operator==(const FileBytes&) const = default;
};

using FileTree = std::map<std::string, FileBytes>;

FileTree read_tree(const std::string& directory);
/// Makes `directory` hold exactly these files.
void write_tree(const std::string& directory, const FileTree& tree);

class FileCut {
public:
    /// `at_cut` is called before each system call that changes something, with that call's name.
    FileCut(const std::string& directory, std::function<void(const std::string&)> at_cut);
    ~FileCut();
    FileCut(const FileCut&) = delete;
    FileCut& operator=(const FileCut&) = delete;

    /// From now on the file system has no renames that do not replace; nor, perhaps, links.
    void lack_noreplace(bool links_too) noexcept {
        noreplace_ = false;
        links_ = !links_too;
    }
    bool has_noreplace() const noexcept { return noreplace_; }
    bool has_links() const noexcept { return links_; }

    /// What may be found after the power went now: all combinations up to `most`, then a sample.
    std::vector<FileTree> images(std::size_t most, std::uint64_t seed) const;
    /// What another process finds now, after this one was killed.
    FileTree now() const { return read_tree(directory_); }

    // For the calls that pass through.
    void before(const char* call);
    void created(int directory_fd, const std::string& leaf);
    void renamed(int directory_fd, const std::string& from, const std::string& to);
    void linked(int directory_fd, const std::string& from, const std::string& to);
    void removed(int directory_fd, const std::string& leaf);
    void synced(int fd);
    void written_through(int fd, std::uint64_t offset, std::uint64_t size);
    static FileCut* active() noexcept;
    bool concerns(int fd) const;

private:
    struct Change {
        std::string gone;  // empty: nothing goes
        std::string come;
        std::uint64_t file = 0;
    };
    using Names = std::map<std::string, std::uint64_t>;
    static void apply(Names& names, const Change& change);
    std::uint64_t file_of(const std::string& leaf) const;
    FileBytes content(std::uint64_t file, unsigned variant, std::uint64_t seed) const;

    const std::string directory_;
    const std::function<void(const std::string&)> at_cut_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
    Names durable_;
    std::vector<Change> pending_;
    std::map<ino_t, std::uint64_t> files_;  // numbers of our own: inodes' are used again
    std::map<std::uint64_t, FileBytes> synced_;
    bool busy_ = false;
    bool noreplace_ = true;
    bool links_ = true;
};

}  // namespace pymm::sim
