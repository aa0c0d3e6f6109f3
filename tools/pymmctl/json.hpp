// JSON that the commands print with --json. Names and keys are part of the interface: pymmctl(1),
// "JSON". Only json.cpp includes the JSON library, which is slow to compile.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <pymm/check.hpp>
#include <pymm/leftovers.hpp>
#include <pymm/namespace.hpp>

namespace pymmctl {

/// A shelf of a listing; `info` where it could be opened.
struct ShelfRow {
    pymm::ShelfEntry entry;
    std::optional<pymm::ShelfInfo> info;
};

/// One line without spaces when `indent` is negative. `object`: what a Python package made of it, if known.
std::string blob_json(const pymm::BlobInfo& info, int indent = -1, const std::string& object = {});
std::string shelf_json(const std::string& directory, const pymm::ShelfInfo& info, int indent = -1);
std::string shelf_row_json(const ShelfRow& row);
std::string namespace_json(const pymm::Namespace& space, std::size_t shelves, int indent = -1);
/// What `df` prints.
std::string space_json(const pymm::Namespace& space, const std::vector<ShelfRow>& shelves);
/// A checked shelf. `report` is null where it could not be checked, `problem` tells why.
std::string check_json(const std::string& shelf, const pymm::CheckReport* report, const std::string& problem,
                       unsigned status);
std::string leftover_json(const pymm::Leftover& leftover);
std::string quoted_json(const std::string& text);

}  // namespace pymmctl
