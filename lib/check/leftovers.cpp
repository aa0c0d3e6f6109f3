#include <pymm/leftovers.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

#include <pymm/error.hpp>

#include "format/layout.hpp"
#include "format/names.hpp"
#include "namespace/directory.hpp"

namespace pymm {

using namespace format;

std::string_view leftover_name(Leftover::Kind kind) noexcept {
    switch (kind) {
        case Leftover::Kind::temporary: return "temporary";
        case Leftover::Kind::unfinished: return "unfinished";
        case Leftover::Kind::orphan: return "orphan";
        case Leftover::Kind::backup: return "backup";
    }
    return "unknown";
}

std::string_view leftover_text(Leftover::Kind kind) noexcept {
    switch (kind) {
        case Leftover::Kind::temporary:
            return "left by a creation that was cut short, or part of one under way; the next creation of that shelf "
                   "removes it";
        case Leftover::Kind::unfinished:
            return "left by a creation that was cut short, or part of one under way; nothing was ever stored in it, and "
                   "the next creation of that shelf removes it";
        case Leftover::Kind::orphan:
            return "a shelf that has lost its .map; restore the .map, or let a check make it anew from the .data";
        case Leftover::Kind::backup:
            return "what a repair replaced; remove it when the shelf is as you want it";
    }
    return "";
}

namespace {

bool is_hex(std::string_view text) noexcept {
    return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// The shelf whose temporary .map this is: ".NAME.map." and 16 hexadecimal digits.
std::optional<std::string_view> shelf_of_temporary(std::string_view leaf) noexcept {
    constexpr std::string_view middle = ".map.";
    constexpr std::size_t digits = 16;
    if (!leaf.starts_with('.') || leaf.size() <= 1 + middle.size() + digits) return std::nullopt;
    if (!is_hex(leaf.substr(leaf.size() - digits))) return std::nullopt;
    leaf = leaf.substr(1, leaf.size() - 1 - digits);
    if (!leaf.ends_with(middle)) return std::nullopt;
    return leaf.substr(0, leaf.size() - middle.size());
}

/// The shelf whose backup this is: "NAME.fsck-" and a time, 20250131T120000Z, perhaps with a number behind it.
std::optional<std::string_view> shelf_of_backup(std::string_view leaf) noexcept {
    constexpr std::string_view middle = ".fsck-";
    const std::size_t at = leaf.rfind(middle);
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view time = leaf.substr(at + middle.size());
    constexpr std::string_view shape = "########T######Z";
    if (time.size() < shape.size()) return std::nullopt;
    for (std::size_t i = 0; i < shape.size(); ++i) {
        const bool digit = time[i] >= '0' && time[i] <= '9';
        if (shape[i] == '#' ? !digit : time[i] != shape[i]) return std::nullopt;
    }
    return leaf.substr(0, at);
}

/// What a .data without its .map is; nothing when it is none of ours.
std::optional<Leftover::Kind> kind_of_data(int directory, const std::string& leaf) {
    // O_NONBLOCK: a FIFO under that name must not hang us.
    const Fd fd(::openat(directory, leaf.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    struct stat st;
    if (!fd || ::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return std::nullopt;
    if (st.st_size % static_cast<off_t>(kPage) == 0 && never_used(fd.get())) return Leftover::Kind::unfinished;
    std::uint64_t magic = 0;
    const ssize_t n = ::pread(fd.get(), &magic, sizeof magic, 0);
    return n == static_cast<ssize_t>(sizeof magic) && magic == kDataMagic ? std::optional(Leftover::Kind::orphan)
                                                                          : std::nullopt;
}

}  // namespace

std::vector<Leftover> find_leftovers(const std::string& path) {
    const Directory checked(path);  // throws what its callers expect
    Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    DIR* const dir = fd ? ::fdopendir(fd.get()) : nullptr;
    if (dir == nullptr) throw IoError(fmt::format("reading {}: {}", path, std::strerror(errno)), errno);
    const int directory = fd.release();  // the stream's now
    const std::unique_ptr<DIR, int (*)(DIR*)> closer(dir, ::closedir);
    std::vector<Leftover> all;
    const auto add = [&](Leftover::Kind kind, std::string_view leaf, std::string_view shelf) {
        if (shelf_name_problem(shelf) == nullptr) all.push_back({kind, std::string(leaf), std::string(shelf)});
    };
    constexpr std::string_view suffix = ".data";
    while (const dirent* item = ::readdir(dir)) {
        const std::string leaf = item->d_name;
        if (const auto temporary = shelf_of_temporary(leaf)) {
            add(Leftover::Kind::temporary, leaf, *temporary);
        } else if (const auto backup = shelf_of_backup(leaf)) {
            add(Leftover::Kind::backup, leaf, *backup);
        } else if (leaf.ends_with(suffix)) {
            const std::string shelf = leaf.substr(0, leaf.size() - suffix.size());
            struct stat st;
            if (::fstatat(directory, (shelf + ".map").c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) continue;
            if (const auto kind = kind_of_data(directory, leaf)) add(*kind, leaf, shelf);
        }
    }
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.file < b.file; });
    return all;
}

}  // namespace pymm
