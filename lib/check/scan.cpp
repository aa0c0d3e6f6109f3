#include "check/scan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "catalogue/commit_sweep.hpp"
#include "check/pages.hpp"
#include "format/crc_sweep.hpp"
#include "format/superblock.hpp"

namespace pymm {

using namespace format;

Extent FoundHeader::header() const noexcept {
    return {fixed.own_offset, extent_header_size(name.size(), type.size())};
}

namespace {

// Holes are looked for at the begin of each: a file that is mostly holes costs about what is stored in it.
constexpr std::uint64_t kPiece = 64 << 10;

// Structures that are sound each, in the order of their ends. True ones lie side by side; forged ones can all claim the
// same bytes, and whoever reads them one by one reads those bytes as often. So of those that overlap others as many count
// as add up to the bytes that were looked at: reading them all costs no more than twice the area. What ends first goes
// first: a forged one around true ones comes too late to push them out.
class SideBySide {
public:
    void looked_at(std::uint64_t size) { budget_ += size; }
    bool take(std::uint64_t begin, std::uint64_t size) {
        if (begin < end_) {
            if (size > budget_) {
                ++left_out_;
                return false;
            }
            budget_ -= size;
        }
        end_ = begin + size;
        return true;
    }
    std::uint64_t left_out() const { return left_out_; }

private:
    std::uint64_t end_ = 0;
    std::uint64_t budget_ = 0;
    std::uint64_t left_out_ = 0;
};

class Scanner {
public:
    Scanner(Image& image, std::uint64_t capacity, const std::optional<Uuid>& uuid, bool metadata, Scan& out)
        : image_(image), capacity_(capacity), uuid_(uuid), metadata_(metadata), out_(out),
          sweep_([this](const CrcSweep::Sound& s) { s.tag == kCommitMagic ? commit(s) : header(s); }) {}

    void range(std::uint64_t from, std::uint64_t to) {
        buffer_.resize(kPiece);
        for_each_stored(image_.target.data, round_up(from, kLine), to, kPiece, [&](std::uint64_t at, std::uint64_t n) {
            if (image_.read(at, n, buffer_.data())) lines(at, n);
            else by_pages(at, n);
            return true;
        });
    }

    void report() {
        const std::uint64_t n = sweep_.given_up() + commits_.left_out() + headers_.left_out();
        if (n != 0)
            image_.data_finding(Cure::none, Severity::note, "data area", kDataStart, "structures side by side",
                                fmt::format("so many that claim the same bytes that {} were not looked at", n));
    }

private:
    // Somewhere in it is a place that cannot be read: the rest still can.
    void by_pages(std::uint64_t at, std::uint64_t size) {
        for (const std::uint64_t end = at + size; at < end;) {
            const std::uint64_t n = std::min(end, (at / kPage + 1) * kPage) - at;
            if (image_.read(at, n, buffer_.data())) lines(at, n);
            at += n;
        }
    }

    void lines(std::uint64_t at, std::uint64_t size) {
        commits_.looked_at(size);
        headers_.looked_at(size);
        sweep_.piece(at, buffer_.data(), size);
        for (std::uint64_t i = 0; i + 8 <= size; i += kLine) {
            std::uint64_t magic;
            std::memcpy(&magic, buffer_.data() + i, sizeof magic);
            if (magic == kExtentMagic) expect_header(at + i);
            if (!metadata_) continue;
            if (static_cast<std::uint32_t>(magic) == kCommitMagic) expect_commit(at + i);
            if ((at + i) % kPage == 0 && static_cast<std::uint32_t>(magic) == kPageMagic) page(at + i);
        }
        sweep_.pass(at + size);
    }

    void expect_header(std::uint64_t at) {
        ExtentHeader fixed;
        if (!image_.read(at, sizeof fixed, &fixed) || fixed.own_offset != at || fixed.name_size > kMaxName ||
            fixed.type_size > kMaxType || (uuid_ && fixed.uuid != *uuid_))
            return;
        if (extent_header_size(fixed.name_size, fixed.type_size) > capacity_ - at) return;
        ExtentHeader summed = fixed;
        summed.update = 0;
        summed.crc = 0;
        sweep_.pass(at);
        sweep_.expect(sizeof fixed + fixed.name_size + fixed.type_size, fixed.crc, &fixed, &summed, sizeof fixed, 0);
    }

    void header(const CrcSweep::Sound& s) {
        if (!headers_.take(s.begin, s.size)) return;
        ExtentHeader fixed;
        if (!image_.read(s.begin, sizeof fixed, &fixed)) return;
        const std::uint64_t size = extent_header_size(fixed.name_size, fixed.type_size);
        if (size - s.size >= kLine) return;
        bytes_.resize(size);
        ExtentHeaderView view;
        if (!image_.read(s.begin, size, bytes_.data()) ||
            decode_extent_header(bytes_, s.begin, fixed.uuid, view) != nullptr)
            return;
        out_.headers.push_back({view.fixed, std::string(view.name), {view.type.begin(), view.type.end()}, false});
    }

    void expect_commit(std::uint64_t at) {
        CommitHeader h;
        if (!image_.read(at, sizeof h, &h)) return;
        sweep_.pass(at);
        pymm::expect_commit(sweep_, h, capacity_ - at, kCommitMagic);
    }

    void commit(const CrcSweep::Sound& s) {
        CommitHeader h;
        if (!commits_.take(s.begin, s.size) || !image_.read(s.begin, sizeof h, &h)) return;
        if (h.sequence >= kPlausibleSequence) return;
        out_.commits.push_back({s.begin, s.size, h.sequence, h.salt});
    }

    void page(std::uint64_t at) {
        if (!image_.read(at, kPage, page_.bytes)) return;
        const PageHeader h = page_.header();
        PageProblem ignored;
        const std::uint64_t before = std::uint64_t{h.number} * kPage;
        if (before > at - kDataStart || h.run_id >= kIdLimit || !page_sound(page_, h.run_id, h.number, ignored)) return;
        out_.runs[{h.run_id, at - before}].push_back(h.number);
    }

    Image& image_;
    std::uint64_t capacity_;
    const std::optional<Uuid>& uuid_;
    bool metadata_;
    Scan& out_;
    CrcSweep sweep_;
    SideBySide commits_, headers_;
    std::vector<std::byte> buffer_;
    std::vector<std::byte> bytes_;
    PageBuffer page_;
};

}  // namespace

void scan_data(Image& image, std::uint64_t capacity, const std::vector<Extent>& skip,
               const std::optional<Uuid>& uuid, bool metadata, Scan& out) {
    Scanner scanner(image, capacity, uuid, metadata, out);
    for_each_missing({{kDataStart, capacity - kDataStart}}, skip,
                     [&](Extent e) { scanner.range(e.offset, e.offset + e.size); });
    scanner.report();
}

}  // namespace pymm
