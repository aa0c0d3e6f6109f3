// Copying blobs between shelves: what `cp` and `mv` share.
#pragma once

#include "command.hpp"
#include "location.hpp"

namespace pymmctl {

/// Where a blob goes: `path` names a blob, or a shelf in which it keeps its name.
Location locate_target_blob(const std::string& path, const Location& from);

/// Throws Failure(exists) when the blob `to` exists and may not be replaced.
void check_target(const pymm::Shelf& shelf, const Location& to, bool replace);

void copy_blob(const pymm::Shelf& source, const Location& from, pymm::Shelf& target,
               const Location& to, bool replace, const Context& context);

/// Copies every blob. Each arrives whole or not at all, replacing one of that name.
void copy_all(const pymm::Shelf& source, pymm::Shelf& target, const Context& context);

}  // namespace pymmctl
