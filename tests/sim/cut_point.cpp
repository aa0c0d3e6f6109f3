#include "sim/cut_point.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace pymm::sim {

namespace {

constexpr std::uint64_t kMany = 1ull << 40;

/// Small, and a pure function of what names the image.
class Random {
public:
    explicit Random(const ImageId& id) {
        state_ = id.seed;
        for (const std::uint64_t part : {id.cut, id.image}) state_ = next() ^ (part * 0x9e3779b97f4a7c15);
    }
    std::uint64_t next() {  // splitmix64
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    std::uint64_t below(std::uint64_t n) { return next() % n; }

private:
    std::uint64_t state_;
};

std::uint64_t times(std::uint64_t a, std::uint64_t b) { return a >= kMany / b ? kMany : a * b; }

}  // namespace

std::string ImageId::text() const {
    return std::to_string(seed) + ":" + std::to_string(cut) + ":" + std::to_string(image);
}

std::optional<ImageId> ImageId::parse(const std::string& text) {
    unsigned long long seed = 0;
    unsigned long long cut = 0;
    unsigned long long image = 0;
    if (std::sscanf(text.c_str(), "%llu:%llu:%llu", &seed, &cut, &image) != 3) return std::nullopt;
    return ImageId{seed, cut, image};
}

CutPoint::CutPoint(SimMachine& machine, std::uint64_t number, EventKind before)
    : machine_(machine), number_(number), before_(before) {
    for (std::size_t m = 0; m < machine.media().size(); ++m) {
        const SimMedia& media = *machine.media()[m];
        const std::uint64_t size = media.piece_size() == 512 ? 512 : 8;
        for (const auto& [index, piece] : media.open_pieces()) {
            const bool neighbour = !units_.empty() && units_.back().media == m && units_.back().index + 1 == index;
            if (!neighbour) ++blocks_;
            Unit unit{m, index, &piece, blocks_, {}};
            for (std::size_t w = 0; w * size < media.piece_size(); ++w) {
                std::vector<std::size_t> choices;
                for (std::size_t v = 0; v < piece.versions.size(); ++v) {
                    const auto same = [&](std::size_t other) {
                        return std::memcmp(piece.versions[v].data() + w * size,
                                           piece.versions[other].data() + w * size, size) == 0;
                    };
                    if (std::none_of(choices.begin(), choices.end(), same)) choices.push_back(v);
                }
                if (choices.size() < 2) continue;
                words_ = times(words_, choices.size());
                unit.words.push_back({w, std::move(choices)});
            }
            lines_ = times(lines_, piece.versions.size());
            units_.push_back(std::move(unit));
        }
    }
}

std::uint64_t CutPoint::word_size(const Unit& unit) const {
    return machine_.media()[unit.media]->piece_size() == 512 ? 512 : 8;
}

void CutPoint::put(Image& image, const Unit& unit, std::size_t version) const {
    const std::uint64_t size = machine_.media()[unit.media]->piece_size();
    std::memcpy(image.media[unit.media].data() + unit.index * size, unit.piece->versions[version].data(),
                size);
}

void CutPoint::put_word(Image& image, const Unit& unit, std::size_t word, std::size_t version) const {
    const std::uint64_t size = word_size(unit);
    const std::uint64_t at = unit.index * machine_.media()[unit.media]->piece_size() + word * size;
    std::memcpy(image.media[unit.media].data() + at, unit.piece->versions[version].data() + word * size,
                size);
}

std::uint64_t CutPoint::count(std::uint64_t budget) const { return std::min(words_, budget); }

void CutPoint::images(std::uint64_t budget, const std::function<void(Image&)>& visit) {
    for (std::uint64_t n = 0; n < count(budget); ++n) image(budget, n, visit);
}

void CutPoint::image(std::uint64_t budget, std::uint64_t number,
                     const std::function<void(Image&)>& visit) {
    Image made;
    made.id = {machine_.options().seed, number_, number};
    for (SimMedia* media : machine_.media()) made.media.push_back(media->durable_buffer().scratch());
    build(budget, number, made);
    visit(made);
}

void CutPoint::build(std::uint64_t budget, std::uint64_t number, Image& image) {
    if (words_ <= budget) return fill_words(number, image);
    // Whole lines first, in every combination, and torn ones with what is left of the budget.
    if (lines_ <= budget && number < lines_) return fill_lines(number, image);
    fill_random(number, image);
}

void CutPoint::fill_words(std::uint64_t number, Image& image) {
    for (const Unit& unit : units_)
        for (const Unit::Word& word : unit.words) {
            put_word(image, unit, word.index, word.choices[number % word.choices.size()]);
            number /= word.choices.size();
        }
}

void CutPoint::fill_lines(std::uint64_t number, Image& image) {
    for (const Unit& unit : units_) {
        put(image, unit, number % unit.piece->versions.size());
        number /= unit.piece->versions.size();
    }
}

void CutPoint::fill_random(std::uint64_t number, Image& image) {
    Random random(image.id);
    const std::size_t n = units_.size();
    const auto newest = [](const Unit& unit) { return unit.piece->versions.size() - 1; };

    // The telling ones first: nothing of it; all of it; each block of neighbouring lines (a record, a
    // blob, a superblock) ahead of the rest, or behind it.
    if (number == 0) return;
    const std::uint64_t block = number / 2;  // 0 is none
    if (block <= blocks_) {
        const bool alone = number % 2 == 0;
        for (const Unit& unit : units_)
            if ((unit.block == block) == alone) put(image, unit, newest(unit));
        return;
    }
    const std::uint64_t shape = random.below(6);
    if (shape < 2) {  // one line early, one line late
        const std::size_t odd = random.below(n);
        for (std::size_t i = 0; i < n; ++i)
            if ((i == odd) == (shape == 0)) put(image, units_[i], newest(units_[i]));
        return;
    }
    // A prefix or suffix in address order, as a copy loop interrupted leaves it; then noise at a random
    // density, with torn lines or whole ones.
    const std::uint64_t density = shape == 2 ? 0 : random.below(101);
    const std::size_t boundary = random.below(n + 1);
    const bool forward = random.below(2) == 0;
    const bool torn = random.below(2) == 0;
    for (std::size_t i = 0; i < n; ++i) {
        const Unit& unit = units_[i];
        if (shape == 2) {
            if ((i < boundary) == forward) put(image, unit, newest(unit));
            if (i == boundary && torn)
                for (const Unit::Word& word : unit.words)
                    put_word(image, unit, word.index, word.choices[random.below(word.choices.size())]);
            continue;
        }
        if (torn && random.below(4) == 0) {
            for (const Unit::Word& word : unit.words)
                put_word(image, unit, word.index, word.choices[random.below(word.choices.size())]);
        } else if (random.below(100) < density) {
            // Mostly the newest version; sometimes one in between.
            const std::size_t last = newest(unit);
            put(image, unit, random.below(4) == 0 ? random.below(last + 1) : last);
        }
    }
}

std::string CutPoint::describe() const {
    std::string text = "before " + std::string(event_name(before_)) + ", " +
                       std::to_string(units_.size()) + " open:";
    std::size_t listed = 0;
    for (const Unit& unit : units_) {
        const SimMedia& media = *machine_.media()[unit.media];
        char place[48];
        std::snprintf(place, sizeof place, "+0x%llx (%zu",
                      static_cast<unsigned long long>(unit.index * media.piece_size()),
                      unit.piece->versions.size());
        text += " " + media.name() + place + (unit.piece->flushed != 0 ? " versions, flushed)" : " versions)");
        if (++listed == 12) return text + " ...";
    }
    return text;
}

}  // namespace pymm::sim
