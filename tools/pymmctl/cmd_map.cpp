// pymmctl map: draws how the space of a shelf is used.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include <pymm/map.hpp>

#include "command.hpp"
#include "json.hpp"
#include "location.hpp"
#include "output.hpp"
#include "text.hpp"

namespace pymmctl {
namespace {

struct Options {
    std::string path;
    std::size_t width = 0, rows = 16;
    bool json = false;
};

std::size_t width_of_output() {
    winsize size{};
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/// The shelf cut into cells of equal size, each drawn as one character.
class Picture {
public:
    Picture(std::uint64_t capacity, std::size_t columns, std::size_t rows)
        : capacity_(capacity), columns_(columns), share_(columns * rows) {
        constexpr std::uint64_t line = 64;  // nothing smaller is ever allocated
        cell_ = std::max(line, (capacity + share_.size() - 1) / share_.size());
        cell_ = (cell_ + line - 1) / line * line;
        share_.resize(static_cast<std::size_t>((capacity + cell_ - 1) / cell_));
    }

    std::uint64_t cell() const noexcept { return cell_; }

    void add(const pymm::SpaceRegion& region) {
        if (region.use == pymm::SpaceUse::free) return;
        std::uint64_t at = region.offset;
        const std::uint64_t end = region.offset + region.size;
        while (at < end) {
            Share& share = share_[static_cast<std::size_t>(at / cell_)];
            const std::uint64_t next = std::min(end, (at / cell_ + 1) * cell_);
            (region.use == pymm::SpaceUse::blobs ? share.blobs : share.metadata) += next - at;
            at = next;
        }
    }

    void draw(TextOutput& out) const {
        for (std::size_t i = 0; i < share_.size(); i += columns_) {
            std::string row;
            for (std::size_t k = i; k < std::min(i + columns_, share_.size()); ++k) row += letter(k);
            out << fmt::format("{:>10}  {}\n", human_size(i * cell_), row);
        }
    }

private:
    struct Share {
        std::uint64_t blobs = 0, metadata = 0;
    };

    char letter(std::size_t index) const {
        const Share& share = share_[index];
        const std::uint64_t used = share.blobs + share.metadata;
        if (used == 0) return '.';
        if (share.metadata >= share.blobs) return '%';
        // The last cell may reach past the end.
        return used == std::min(cell_, capacity_ - index * cell_) ? '#' : '+';
    }

    std::uint64_t capacity_;
    std::uint64_t cell_ = 0;
    std::size_t columns_;
    std::vector<Share> share_;
};

std::string figure_line(const char* what, std::uint64_t bytes, std::uint64_t of, const std::string& more = {}) {
    return fmt::format("{:<14}{:>11}  {:5.1f}%{}\n", what, human_size(bytes),
                       of == 0 ? 0.0 : 100.0 * static_cast<double>(bytes) / static_cast<double>(of), more);
}

void draw(const Options& options, const Location& at, const pymm::Shelf& shelf, TextOutput& out) {
    const std::size_t width = options.width != 0 ? options.width : width_of_output();
    constexpr std::size_t label = 12;
    Picture picture(shelf.stat().capacity, std::max<std::size_t>(width, label + 8) - label, options.rows);
    const pymm::SpaceFigures f = pymm::map_space(shelf, [&](const pymm::SpaceRegion& region) {
        picture.add(region);
        return true;
    });
    out << fmt::format("{}: {}; a character is {}\n\n", for_fd(STDOUT_FILENO, at.directory + "/" + at.shelf),
                       human_size(f.capacity), human_size(picture.cell()));
    picture.draw(out);
    out << "\n# blobs   + blobs in part   % metadata, mostly   . free\n\n";
    out << figure_line("blobs", f.blobs, f.capacity) << figure_line("metadata", f.metadata, f.capacity)
        << figure_line("free", f.free, f.capacity, fmt::format("  in {} extents", f.free_extents))
        << figure_line("largest free", f.largest_free, f.capacity, fmt::format("  {} bytes", f.largest_free))
        << fmt::format("fragmentation {:>11.3f}\n", f.fragmentation());
}

void list(const Location& at, const pymm::Shelf& shelf, TextOutput& out) {
    out << "{\"namespace\": " << quoted_json(at.directory) << ", \"name\": " << quoted_json(at.shelf)
        << ", \"regions\": [";
    const char* separator = "\n  ";
    const pymm::SpaceFigures f = pymm::map_space(shelf, [&](const pymm::SpaceRegion& region) {
        out << fmt::format(R"({}{{"offset": {}, "size": {}, "use": "{}", "what": "{}"}})", separator, region.offset,
                           region.size, pymm::space_use_name(region.use), region.what);
        separator = ",\n  ";
        return true;
    });
    out << fmt::format("\n], \"capacity\": {}, \"blobs\": {}, \"metadata\": {}, \"free\": {}, \"largest_free\": {}, "
                       "\"free_extents\": {}, \"fragmentation\": {:.6f}, \"sequence\": {}}}\n",
                       f.capacity, f.blobs, f.metadata, f.free, f.largest_free, f.free_extents, f.fragmentation(),
                       f.sequence);
}

Exit map(const Options& options, const Context&) {
    const Location at = locate_shelf(options.path);
    const pymm::Shelf shelf = open_for_reading(at);
    TextOutput out;
    if (options.json) list(at, shelf, out);
    else draw(options, at, shelf, out);
    out.flush();
    return Exit::success;
}

}  // namespace

void add_map(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    auto* command = app.add_subcommand("map", "Draw how the space of a shelf is used");
    command->add_option("PATH", options->path, "NAMESPACE/SHELF")->required();
    command->add_option("-w,--width", options->width, "Columns of the drawing; the terminal's if not given")
        ->check(CLI::Range(20, 1000));
    command->add_option("-r,--rows", options->rows, "Its rows; 16 if not given")->check(CLI::Range(1, 1000));
    command->add_flag("--json", options->json, "JSON instead of text: every region");
    on_run(command, context, options, map);
}

}  // namespace pymmctl
