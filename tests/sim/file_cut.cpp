#include "sim/file_cut.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <filesystem>
#include <random>
#include <stdexcept>

#ifndef RWF_DSYNC
#define RWF_DSYNC 0x00000002
#endif

namespace pymm::sim {

namespace fs = std::filesystem;

namespace {

FileCut* current = nullptr;

constexpr std::size_t kPage = sizeof(FileBytes::Page);
constexpr unsigned kVariants = 4;  // of one file's contents

FileBytes read_file(int fd) {
    struct stat st;
    if (::fstat(fd, &st) != 0) throw std::runtime_error("fstat");
    FileBytes file;
    file.size = static_cast<std::uint64_t>(st.st_size);
    FileBytes::Page page;
    for (off_t at = 0; at < st.st_size; at += static_cast<off_t>(kPage)) {
        page.fill(std::byte{0});
        if (::pread(fd, page.data(), page.size(), at) < 0) throw std::runtime_error("pread");
        if (std::any_of(page.begin(), page.end(), [](std::byte b) { return b != std::byte{0}; }))
            file.pages[static_cast<std::uint64_t>(at) / kPage] = page;
    }
    return file;
}

FileBytes read_file(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) throw std::runtime_error("open " + path);
    FileBytes file = read_file(fd);
    ::close(fd);
    return file;
}

ino_t inode_of(const std::string& path) {
    struct stat st;
    if (::lstat(path.c_str(), &st) != 0) throw std::runtime_error("lstat " + path);
    return st.st_ino;
}

}  // namespace

FileTree read_tree(const std::string& directory) {
    FileTree tree;
    for (const auto& item : fs::directory_iterator(directory))
        if (!item.is_directory()) tree[item.path().filename().string()] = read_file(item.path().string());
    return tree;
}

void write_tree(const std::string& directory, const FileTree& tree) {
    fs::remove_all(directory);
    fs::create_directory(directory);
    for (const auto& [name, file] : tree) {
        const int fd = ::open((directory + "/" + name).c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(file.size)) != 0) throw std::runtime_error("writing " + name);
        for (const auto& [number, page] : file.pages) {
            const std::size_t size = std::min<std::uint64_t>(kPage, file.size - number * kPage);
            if (::pwrite(fd, page.data(), size, static_cast<off_t>(number * kPage)) != static_cast<ssize_t>(size))
                throw std::runtime_error("writing " + name);
        }
        ::close(fd);
    }
}

FileCut::FileCut(const std::string& directory, std::function<void(const std::string&)> at_cut)
    : directory_(directory), at_cut_(std::move(at_cut)) {
    if (current != nullptr) throw std::logic_error("one FileCut at a time");
    struct stat st;
    if (::stat(directory.c_str(), &st) != 0) throw std::runtime_error("stat " + directory);
    device_ = st.st_dev;
    inode_ = st.st_ino;
    for (const auto& item : fs::directory_iterator(directory)) {
        if (item.is_directory()) continue;
        const std::uint64_t file = files_.size() + 1;
        files_[inode_of(item.path().string())] = file;
        durable_[item.path().filename().string()] = file;
        synced_[file] = read_file(item.path().string());
    }
    current = this;
}

FileCut::~FileCut() { current = nullptr; }

FileCut* FileCut::active() noexcept { return current != nullptr && !current->busy_ ? current : nullptr; }

bool FileCut::concerns(int fd) const {
    struct stat st;
    if (::fstat(fd, &st) != 0) return false;
    if (S_ISDIR(st.st_mode)) return st.st_dev == device_ && st.st_ino == inode_;
    return st.st_dev == device_ && st.st_nlink != 0 && files_.contains(st.st_ino);
}

std::uint64_t FileCut::file_of(const std::string& leaf) const { return files_.at(inode_of(directory_ + "/" + leaf)); }

void FileCut::before(const char* call) {
    busy_ = true;
    try {
        at_cut_(call);
    } catch (...) {
        busy_ = false;
        throw;
    }
    busy_ = false;
}

void FileCut::created(int fd, const std::string& leaf) {
    if (!concerns(fd)) return;
    const std::uint64_t file = synced_.size() + 1;
    files_[inode_of(directory_ + "/" + leaf)] = file;
    synced_[file] = {};
    pending_.push_back({"", leaf, file});
}

void FileCut::renamed(int fd, const std::string& from, const std::string& to) {
    if (concerns(fd)) pending_.push_back({from, to, file_of(to)});
}

void FileCut::linked(int fd, const std::string&, const std::string& to) {
    if (concerns(fd)) pending_.push_back({"", to, file_of(to)});
}

void FileCut::removed(int fd, const std::string& leaf) {
    if (concerns(fd)) pending_.push_back({leaf, "", 0});
}

void FileCut::synced(int fd) {
    struct stat st;
    if (!concerns(fd) || ::fstat(fd, &st) != 0) return;
    if (S_ISDIR(st.st_mode)) {
        for (const Change& change : pending_) apply(durable_, change);
        pending_.clear();
    } else {
        const std::string path = "/proc/self/fd/" + std::to_string(fd);
        const int again = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);  // the descriptor may be for writing only
        if (again < 0) throw std::runtime_error("open " + path);
        synced_[files_.at(st.st_ino)] = read_file(again);
        ::close(again);
    }
}

void FileCut::written_through(int fd, std::uint64_t offset, std::uint64_t size) {
    struct stat st;
    if (!concerns(fd) || ::fstat(fd, &st) != 0) return;
    FileBytes& file = synced_[files_.at(st.st_ino)];
    file.size = std::max(file.size, offset + size);
    for (std::uint64_t number = offset / kPage; number * kPage < offset + size; ++number) {
        const std::uint64_t from = std::max(offset, number * kPage);
        const std::uint64_t to = std::min(offset + size, (number + 1) * kPage);
        auto [page, fresh] = file.pages.try_emplace(number);
        if (fresh) page->second.fill(std::byte{0});
        const std::string path = "/proc/self/fd/" + std::to_string(fd);
        const int again = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        const ssize_t n = ::pread(again, page->second.data() + (from - number * kPage), to - from,
                                  static_cast<off_t>(from));
        ::close(again);
        if (n != static_cast<ssize_t>(to - from)) throw std::runtime_error("pread " + path);
    }
}

void FileCut::apply(Names& names, const Change& change) {
    if (!change.gone.empty()) names.erase(change.gone);
    if (!change.come.empty()) names[change.come] = change.file;
}

FileBytes FileCut::content(std::uint64_t number, unsigned variant, std::uint64_t seed) const {
    const FileBytes& synced = synced_.at(number);
    FileBytes written = synced;  // where it has no name any more nothing else is known
    for (const auto& item : fs::directory_iterator(directory_))
        if (!item.is_directory() && file_of(item.path().filename().string()) == number) written = read_file(item.path().string());
    if (variant == 0) return synced;
    if (variant == 1) return written;
    FileBytes mixed = synced;
    mixed.size = written.size;
    std::erase_if(mixed.pages, [&](const auto& page) { return page.first * kPage >= mixed.size; });
    if (variant == 2) return mixed;
    std::mt19937_64 random(seed);
    for (const auto& [index, page] : written.pages) {
        auto [to, fresh] = mixed.pages.try_emplace(index);
        if (fresh) to->second.fill(std::byte{0});
        for (std::size_t at = 0; at < kPage; at += 8)
            if (random() % 2 == 0) std::memcpy(to->second.data() + at, page.data() + at, 8);
    }
    return mixed;
}

std::vector<FileTree> FileCut::images(std::size_t most, std::uint64_t seed) const {
    std::mt19937_64 random(seed);
    std::vector<Names> all;
    const std::size_t changes = std::min<std::size_t>(pending_.size(), 10);
    for (std::uint64_t kept = 0; kept < std::uint64_t{1} << changes; ++kept) {
        Names names = durable_;
        for (std::size_t i = 0; i < pending_.size(); ++i)
            if (i >= changes || (kept >> i & 1) != 0) apply(names, pending_[i]);
        if (std::find(all.begin(), all.end(), names) == all.end()) all.push_back(names);
    }
    std::vector<FileTree> trees;
    const auto add = [&](const Names& names, std::uint64_t choice) {
        FileTree tree;
        for (const auto& [name, file] : names) {
            tree[name] = content(file, choice % kVariants, random());
            choice /= kVariants;
        }
        if (std::find(trees.begin(), trees.end(), tree) == trees.end()) trees.push_back(std::move(tree));
    };
    std::uint64_t total = 0;
    for (const Names& names : all) total += std::uint64_t{1} << (2 * std::min<std::size_t>(names.size(), 20));
    if (total <= most) {
        for (const Names& names : all)
            for (std::uint64_t choice = 0; choice < std::uint64_t{1} << (2 * names.size()); ++choice) add(names, choice);
    } else {
        for (std::size_t i = 0; i < most; ++i) add(all[random() % all.size()], random());
    }
    return trees;
}

}  // namespace pymm::sim

// ---- The calls ------------------------------------------------------------------------------------

// Defined in the program, they come before the C library's for every shared library in it.
using pymm::sim::FileCut;

namespace {

template <class F>
F* real(const char* name) {
    static_assert(std::is_function_v<F>);
    void* at = ::dlsym(RTLD_NEXT, name);
    if (at == nullptr) throw std::runtime_error(name);
    return reinterpret_cast<F*>(at);
}

}  // namespace

extern "C" {

int openat64(int fd, const char* path, int flags, ...) {
    mode_t mode = 0;
    if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    static auto* next = real<int(int, const char*, int, ...)>("openat64");
    FileCut* cut = (flags & O_CREAT) != 0 ? FileCut::active() : nullptr;
    if (cut == nullptr || !cut->concerns(fd)) return next(fd, path, flags, mode);
    const bool there = ::faccessat(fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    cut->before("openat");
    const int made = next(fd, path, flags, mode);
    if (made >= 0 && !there) cut->created(fd, path);
    return made;
}

int ftruncate64(int fd, off64_t size) noexcept {
    static auto* next = real<int(int, off64_t)>("ftruncate64");
    if (FileCut* cut = FileCut::active(); cut != nullptr && cut->concerns(fd)) cut->before("ftruncate");
    return next(fd, size);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size) {
    static auto* next = real<int(int, int, off64_t, off64_t)>("fallocate64");
    if (FileCut* cut = FileCut::active(); cut != nullptr && cut->concerns(fd)) cut->before("fallocate");
    return next(fd, mode, offset, size);
}

int fsync(int fd) {
    static auto* next = real<int(int)>("fsync");
    FileCut* cut = FileCut::active();
    if (cut == nullptr || !cut->concerns(fd)) return next(fd);
    cut->before("fsync");
    const int result = next(fd);
    if (result == 0) cut->synced(fd);
    return result;
}

int fdatasync(int fd) {
    static auto* next = real<int(int)>("fdatasync");
    FileCut* cut = FileCut::active();
    if (cut == nullptr || !cut->concerns(fd)) return next(fd);
    cut->before("fdatasync");
    const int result = next(fd);
    if (result == 0) cut->synced(fd);
    return result;
}

int renameat2(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) noexcept {
    static auto* next = real<int(int, const char*, int, const char*, unsigned)>("renameat2");
    FileCut* cut = FileCut::active();
    if (cut == nullptr || !cut->concerns(to_fd)) return next(from_fd, from, to_fd, to, flags);
    cut->before("renameat2");
    if ((flags & RENAME_NOREPLACE) != 0 && !cut->has_noreplace()) {
        errno = EINVAL;
        return -1;
    }
    const int result = next(from_fd, from, to_fd, to, flags);
    if (result == 0) cut->renamed(to_fd, from, to);
    return result;
}

int renameat(int from_fd, const char* from, int to_fd, const char* to) noexcept {
    static auto* next = real<int(int, const char*, int, const char*)>("renameat");
    FileCut* cut = FileCut::active();
    if (cut == nullptr || !cut->concerns(to_fd)) return next(from_fd, from, to_fd, to);
    cut->before("renameat");
    const int result = next(from_fd, from, to_fd, to);
    if (result == 0) cut->renamed(to_fd, from, to);
    return result;
}

int linkat(int from_fd, const char* from, int to_fd, const char* to, int flags) noexcept {
    static auto* next = real<int(int, const char*, int, const char*, int)>("linkat");
    FileCut* cut = FileCut::active();
    if (cut == nullptr || !cut->concerns(to_fd)) return next(from_fd, from, to_fd, to, flags);
    cut->before("linkat");
    if (!cut->has_links()) {
        errno = EPERM;
        return -1;
    }
    const int result = next(from_fd, from, to_fd, to, flags);
    if (result == 0) cut->linked(to_fd, from, to);
    return result;
}

int unlinkat(int fd, const char* path, int flags) noexcept {
    static auto* next = real<int(int, const char*, int)>("unlinkat");
    FileCut* cut = FileCut::active();
    if (cut == nullptr || !cut->concerns(fd)) return next(fd, path, flags);
    cut->before("unlinkat");
    const int result = next(fd, path, flags);
    if (result == 0) cut->removed(fd, path);
    return result;
}

ssize_t pwritev64v2(int fd, const iovec* pieces, int count, off64_t offset, int flags) {
    static auto* next = real<ssize_t(int, const iovec*, int, off64_t, int)>("pwritev64v2");
    FileCut* cut = FileCut::active();
    if (cut == nullptr || !cut->concerns(fd)) return next(fd, pieces, count, offset, flags);
    cut->before("pwritev2");
    const ssize_t done = next(fd, pieces, count, offset, flags);
    if (done > 0 && (flags & RWF_DSYNC) != 0)
        cut->written_through(fd, static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(done));
    return done;
}

}  // extern "C"
