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
    enum class Versions { newest, all };
    /// With all versions, each name comes as often as a run or the log says something about it, newest first.
    explicit EntryStream(const Image& image, Versions versions = Versions::newest);

    /// False at the end. Tombstones come out, too. The entry is valid until the next call. The time grows with the
    /// logarithm of the number of runs: a forged shelf has many.
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
    void push(std::size_t cursor);
    std::size_t pop();

    const Image& image_;
    const bool all_;
    std::vector<std::pair<std::string_view, format::Bytes>> tail_;
    std::size_t at_ = 0;
    std::vector<Cursor> cursors_;     // newest first
    std::vector<std::size_t> heap_;   // of those not at their end: the lowest name is in front, of equal ones the newest
    std::vector<std::byte> encoded_;
    format::EntryView entry_;
    std::size_t source_ = 0;
};

}  // namespace pymm
