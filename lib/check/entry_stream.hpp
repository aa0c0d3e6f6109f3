// The entries of a shelf as far as they can be read: log tail and runs merged by name, the newest wins. What is
// damaged is left out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "check/image.hpp"
#include "check/pages.hpp"

namespace pymm {

class EntryStream {
public:
    explicit EntryStream(const Image& image);

    /// False at the end. Tombstones come out, too. The entry is valid until the next call.
    bool next();
    const format::EntryView& entry() const noexcept { return entry_; }
    format::Bytes encoded() const noexcept { return encoded_; }
    /// Index of the run that it comes from; the number of runs: the log.
    std::size_t source() const noexcept { return source_; }

private:
    struct Cursor {
        std::size_t source;
        const RunImage* run;
        std::unique_ptr<PageBuffer> page;
        std::size_t leaf = 0;
        std::uint32_t slot = 0;
        bool loaded = false;
        bool any = false;
        std::string name;  // current one
        format::Bytes encoded;
    };
    bool advance(Cursor& cursor);

    const Image& image_;
    std::vector<std::pair<std::string_view, format::Bytes>> tail_;
    std::size_t at_ = 0;
    std::vector<Cursor> cursors_;  // newest first, none at its end
    std::vector<std::byte> encoded_;
    format::EntryView entry_;
    std::size_t source_ = 0;
};

}  // namespace pymm
