#include "location.hpp"

#include <cstdlib>
#include <filesystem>
#include <optional>

#include "failure.hpp"

namespace pymmctl {
namespace {

bool is_directory(const std::string& path) {
    std::error_code ignored;  // unreadable counts as absent: a shorter prefix may still be right
    return std::filesystem::is_directory(path, ignored);
}

bool has_shelf(const std::string& directory, const std::string& shelf) {
    try {
        return pymm::Namespace::open(directory).contains(shelf);
    } catch (const pymm::InvalidArgumentError&) {
        return false;  // not even a legal shelf name
    } catch (const pymm::NotFoundError&) {
        return false;
    }
}

/// The path cut before component `at` (the offset of its first byte).
std::string leading(const std::string& path, std::size_t at) {
    if (at == 0) return ".";
    const std::size_t end = path.find_last_not_of('/', at - 1);
    return end == std::string::npos ? "/" : path.substr(0, end + 1);
}

Location split(const std::string& path, std::size_t at) {
    const std::size_t end = path.find('/', at);
    Location location{path, leading(path, at), path.substr(at, end - at), {}};
    if (end != std::string::npos) {
        const std::size_t blob = path.find_first_not_of('/', end);
        if (blob != std::string::npos) location.blob = path.substr(blob);
    }
    return location;
}

}  // namespace

std::string Location::text() const {
    std::string text = directory;
    if (shelf.empty()) return text;
    if (text.back() != '/') text += '/';
    text += shelf;
    if (!blob.empty()) text += '/' + blob;
    return text;
}

Location locate(const std::string& path) {
    if (path.empty())
        throw Failure(Exit::usage, "empty path: give NAMESPACE[/SHELF[/BLOB]]");
    if (path.find('\0') != std::string::npos)
        throw Failure(Exit::usage, path + ": a path cannot hold a NUL byte");
    const bool directory = is_directory(path);
    if (directory && path.back() == '/') return {path, leading(path, path.size()), {}, {}};

    if (const std::size_t mark = path.rfind("//"); mark != std::string::npos) {
        const std::size_t at = path.find_first_not_of('/', mark);
        if (at != std::string::npos) {
            const Location marked = split(path, at);
            if (has_shelf(marked.directory, marked.shelf)) return marked;
        }
    }

    // From the longest leading directory to the shortest.
    std::optional<Location> longest;
    for (std::size_t end = path.size(); end > 0;) {
        const std::size_t last = path.find_last_not_of('/', end - 1);
        if (last == std::string::npos) break;  // only the root is left
        const std::size_t slash = path.find_last_of('/', last);
        const std::size_t at = slash == std::string::npos ? 0 : slash + 1;
        if (Location candidate = split(path, at); is_directory(candidate.directory)) {
            if (has_shelf(candidate.directory, candidate.shelf)) return candidate;
            if (!longest) longest = std::move(candidate);
        }
        end = at;
    }
    if (directory) return {path, path, {}, {}};
    if (!longest)  // the root and "." always exist, unless the working directory was removed
        throw Failure(Exit::not_found, path + ": no such directory");
    return *longest;
}

std::string default_path() {
    const char* const path = std::getenv("PYMM_PATH");
    return path != nullptr && *path != '\0' ? path : ".";
}

Location locate_new_shelf(const std::string& path) {
    const std::size_t last = path.find_last_not_of('/');
    if (last == std::string::npos)
        throw Failure(Exit::usage, (path.empty() ? "empty path" : path) +
                                       std::string(": names no shelf: give NAMESPACE/SHELF"));
    // As completion leaves it: a shelf beside that directory is not what is meant.
    if (path.back() == '/' && is_directory(path))
        throw Failure(Exit::usage, path + ": names a namespace: give NAMESPACE/SHELF");
    const std::size_t slash = path.find_last_of('/', last);
    const std::size_t at = slash == std::string::npos ? 0 : slash + 1;
    return {path, leading(path, at), path.substr(at, last + 1 - at), {}};
}

Location locate_shelf(const std::string& path) {
    Location at = locate(path);
    if (!at.is_shelf())
        throw Failure(Exit::usage, path + ": names a " + (at.is_blob() ? "blob" : "namespace") +
                                       ": give NAMESPACE/SHELF");
    return at;
}

Location locate_blob(const std::string& path) {
    Location at = locate(path);
    if (!at.is_blob())
        throw Failure(Exit::usage, path + ": names a " + (at.is_shelf() ? "shelf" : "namespace") +
                                       ": give NAMESPACE/SHELF/BLOB");
    return at;
}

pymm::Shelf open_for_reading(const Location& at) {
    return pymm::Shelf::open(at.directory, at.shelf, pymm::Mode::read_only);
}

pymm::Shelf open_for_writing(const Location& at) {
    return pymm::Shelf::open(at.directory, at.shelf, pymm::Mode::read_write);
}

bool same_shelf(const Location& a, const Location& b) {
    if (a.shelf != b.shelf) return false;
    std::error_code error;
    return std::filesystem::equivalent(a.directory, b.directory, error);
}

pymm::BlobInfo find_blob(const pymm::Shelf& shelf, const Location& at) {
    pymm::check_blob_name(at.blob);
    auto info = shelf.find(at.blob);
    if (!info)
        throw Failure(Exit::not_found, at.given + ": no blob '" + at.blob + "' in shelf '" +
                                           at.shelf + "': see 'pymmctl list'");
    return *std::move(info);
}

}  // namespace pymmctl
