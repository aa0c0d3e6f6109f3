// CutPoint: the moment before an event, and the images that a power cut there may leave behind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/machine.hpp"

namespace pymm::sim {

/// Names one crash image of one run; the same run (same seed, same options) makes it again.
struct ImageId {
    std::uint64_t seed = 0;
    std::uint64_t cut = 0;
    std::uint64_t image = 0;
    std::string text() const;  ///< "seed:cut:image"
    static std::optional<ImageId> parse(const std::string& text);
    bool operator==(const ImageId&) const = default;
};

/// What may be found on the media, one span for each SimMedia of the machine in order. Writable, and
/// valid during the visit.
struct Image {
    ImageId id;
    std::vector<std::span<std::byte>> media;
};

class CutPoint {
public:
    CutPoint(SimMachine& machine, std::uint64_t number, EventKind before);

    std::uint64_t number() const noexcept { return number_; }
    EventKind before() const noexcept { return before_; }
    std::size_t open() const noexcept { return units_.size(); }

    /// Number of images that images() makes within a budget.
    std::uint64_t count(std::uint64_t budget) const;
    /// True when all 8-byte words, or all whole lines, are combined in every way within the budget.
    bool exhaustive(std::uint64_t budget) const { return words_ <= budget || lines_ <= budget; }

    /// Calls `visit` with different images: all combinations where they fit the budget, else nothing
    /// durable, everything durable, each block of neighbours alone, all but each, and then random ones.
    void images(std::uint64_t budget, const std::function<void(Image&)>& visit);
    /// One image again.
    void image(std::uint64_t budget, std::uint64_t number, const std::function<void(Image&)>& visit);

    /// "12 open: map+0x40 (2 versions, flushed) ..." for failure messages.
    std::string describe() const;

private:
    struct Unit {  // an open piece
        std::size_t media;
        std::uint64_t index;
        const SimMedia::Piece* piece;
        std::uint64_t block;  // from 1; neighbouring pieces share one
        // Words (page granularity: the one sector) that differ between versions: index and the
        // versions that show each of its distinct values.
        struct Word {
            std::size_t index;
            std::vector<std::size_t> choices;
        };
        std::vector<Word> words;
    };

    void build(std::uint64_t budget, std::uint64_t number, Image& image);
    void fill_words(std::uint64_t number, Image& image);
    void fill_lines(std::uint64_t number, Image& image);
    void fill_random(std::uint64_t number, Image& image);
    void put(Image& image, const Unit& unit, std::size_t version) const;
    void put_word(Image& image, const Unit& unit, std::size_t word, std::size_t version) const;
    std::uint64_t word_size(const Unit& unit) const;

    SimMachine& machine_;
    std::uint64_t number_;
    EventKind before_;
    std::vector<Unit> units_;
    std::uint64_t blocks_ = 0;
    std::uint64_t words_ = 1;  // combinations, saturated
    std::uint64_t lines_ = 1;
};

}  // namespace pymm::sim
