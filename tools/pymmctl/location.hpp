// Location: what a command-line path NAMESPACE[/SHELF[/BLOB]] names.
//
// Blob names may hold '/', so a path alone does not tell where the namespace ends. The rule, as
// pymmctl(1) states it:
//  1. A path that ends in '/' and is a directory is that namespace.
//  2. Otherwise the namespace is the longest leading directory in which the next component is a
//     shelf ("." for a relative path and "/" count as leading directories).
//  3. When there is none: a path that is a directory is that namespace; else the namespace is the
//     longest leading directory, and the next component is a shelf that does not exist (yet).
// A double slash right after a namespace settles it where two readings exist (NS//SHELF/BLOB).
#pragma once

#include <string>

#include <pymm/namespace.hpp>

namespace pymmctl {

struct Location {
    std::string given;      ///< as typed, for messages
    std::string directory;  ///< of the namespace
    std::string shelf;      ///< empty: the namespace itself
    std::string blob;       ///< empty: the shelf itself

    bool is_namespace() const { return shelf.empty(); }
    bool is_shelf() const { return !shelf.empty() && blob.empty(); }
    bool is_blob() const { return !blob.empty(); }
    /// DIRECTORY/SHELF[/BLOB]
    std::string text() const;
};

Location locate(const std::string& path);

/// Where `list` and `df` look when no path is given: $PYMM_PATH, else the current directory.
std::string default_path();

/// For `create`: the last component is the shelf, whatever exists. Failure(usage) for a directory with a slash
/// behind it.
Location locate_new_shelf(const std::string& path);

/// Same, or Failure(usage) when the path names something else.
Location locate_shelf(const std::string& path);
Location locate_blob(const std::string& path);

pymm::Shelf open_for_reading(const Location& at);
pymm::Shelf open_for_writing(const Location& at);

/// True when both name the same shelf, however their directories are spelt.
bool same_shelf(const Location& a, const Location& b);

/// The blob's entry. Throws Failure(not_found).
pymm::BlobInfo find_blob(const pymm::Shelf& shelf, const Location& at);

}  // namespace pymmctl
