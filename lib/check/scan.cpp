#include "check/scan.hpp"

#include <algorithm>
#include <cstring>

#include "check/pages.hpp"
#include "format/crc32c.hpp"

namespace pymm {

using namespace format;

Extent FoundHeader::header() const noexcept {
    return {fixed.own_offset, extent_header_size(name.size(), type.size())};
}

namespace {

constexpr std::uint64_t kPiece = 4 << 20;

class Scanner {
public:
    Scanner(Image& image, std::uint64_t capacity, const std::optional<Uuid>& uuid, bool metadata, Scan& out)
        : image_(image), capacity_(capacity), uuid_(uuid), metadata_(metadata), out_(out) {}

    void range(std::uint64_t from, std::uint64_t to) {
        buffer_.resize(kPiece);
        for (std::uint64_t at = round_up(from, kLine); at < to; at += kPiece) {
            const std::uint64_t n = std::min(kPiece, to - at);
            if (image_.read(at, n, buffer_.data())) lines(at, n);
            else by_pages(at, n);
        }
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
        for (std::uint64_t i = 0; i + 8 <= size; i += kLine) {
            std::uint64_t magic;
            std::memcpy(&magic, buffer_.data() + i, sizeof magic);
            if (magic == kExtentMagic) header(at + i);
            if (!metadata_) continue;
            if (static_cast<std::uint32_t>(magic) == kCommitMagic) commit(at + i);
            if ((at + i) % kPage == 0 && static_cast<std::uint32_t>(magic) == kPageMagic) page(at + i);
        }
    }

    void header(std::uint64_t at) {
        ExtentHeader fixed;
        if (!image_.read(at, sizeof fixed, &fixed) || fixed.own_offset != at || fixed.name_size > kMaxName ||
            fixed.type_size > kMaxType || (uuid_ && fixed.uuid != *uuid_))
            return;
        const std::uint64_t size = extent_header_size(fixed.name_size, fixed.type_size);
        if (size > capacity_ - at) return;
        bytes_.resize(size);
        ExtentHeaderView view;
        if (!image_.read(at, size, bytes_.data()) ||
            decode_extent_header(bytes_, at, fixed.uuid, view) != nullptr)
            return;
        out_.headers.push_back({view.fixed, std::string(view.name), {view.type.begin(), view.type.end()}});
    }

    void commit(std::uint64_t at) {
        CommitHeader h;
        if (!image_.read(at, sizeof h, &h) || h.size < sizeof h || h.size % 8 != 0 || h.size > capacity_ - at) return;
        if (copy_commit(image_, at, h.size, h.sequence, h.salt, bytes_))
            out_.commits.push_back({at, h.size, h.sequence, h.salt});
    }

    void page(std::uint64_t at) {
        if (!image_.read(at, kPage, page_.bytes)) return;
        const PageHeader h = page_.header();
        PageProblem ignored;
        const std::uint64_t before = std::uint64_t{h.number} * kPage;
        if (before > at - kDataStart || !page_sound(page_, h.run_id, h.number, ignored)) return;
        std::uint32_t& last = out_.runs[{h.run_id, at - before}];
        last = std::max(last, h.number);
    }

    Image& image_;
    std::uint64_t capacity_;
    const std::optional<Uuid>& uuid_;
    bool metadata_;
    Scan& out_;
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
}

}  // namespace pymm
