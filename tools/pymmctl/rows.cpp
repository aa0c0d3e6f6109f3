#include "rows.hpp"

#include <algorithm>
#include <utility>

#include "failure.hpp"

namespace pymmctl {
namespace {

/// Columns that a terminal needs: bytes that start a UTF-8 character (wide ones count as one).
std::size_t width_of(const std::string& text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    }));
}

}  // namespace

void print_table(TextOutput& out, const std::vector<std::vector<std::string>>& rows,
                 const std::string& align) {
    std::vector<std::size_t> widths(align.size());
    for (const auto& row : rows)
        for (std::size_t i = 0; i < row.size(); ++i)
            widths[i] = std::max(widths[i], width_of(row[i]));
    for (const auto& row : rows) {
        for (std::size_t i = 0; i < row.size(); ++i) {
            const std::string padding(widths[i] - width_of(row[i]), ' ');
            if (i > 0) out << "  ";
            if (align[i] == 'r') out << padding;
            out << row[i];
            if (align[i] == 'l' && i + 1 < row.size()) out << padding;
        }
        out << "\n";
    }
}

std::vector<ShelfRow> shelf_rows(const pymm::Namespace& space, const std::string& shelf) {
    std::vector<ShelfRow> rows;
    for (pymm::ShelfEntry& entry : space.list()) {
        if (!shelf.empty() && entry.name != shelf) continue;
        ShelfRow row{std::move(entry), {}};
        try {
            row.info = space.shelf(row.entry.name, pymm::Mode::read_only).stat();
        } catch (const pymm::Error& error) {
            if (row.entry.problem.empty()) row.entry.problem = error.what();
        }
        rows.push_back(std::move(row));
    }
    if (!shelf.empty() && rows.empty())
        throw Failure(Exit::not_found,
                      space.path() + ": has no shelf '" + shelf + "': see 'pymmctl list'");
    return rows;
}

}  // namespace pymmctl
