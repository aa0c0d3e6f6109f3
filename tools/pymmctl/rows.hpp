// Tables of a listing, and the shelves of a namespace with their figures.
#pragma once

#include <string>
#include <vector>

#include "json.hpp"
#include "output.hpp"

namespace pymmctl {

/// Columns are as wide as their widest cell; `align` has one letter per column, 'l' or 'r'. The last
/// column is never padded.
void print_table(TextOutput& out, const std::vector<std::vector<std::string>>& rows,
                 const std::string& align);

/// All shelves of a namespace, or only `shelf`. One that cannot be opened has its problem noted.
std::vector<ShelfRow> shelf_rows(const pymm::Namespace& space, const std::string& shelf = {});

}  // namespace pymmctl
