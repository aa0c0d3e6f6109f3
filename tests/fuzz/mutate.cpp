#include "fuzz/mutate.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "format/entry.hpp"
#include "format/layout.hpp"
#include "specimen/checksums.hpp"

namespace pymm::test {

using namespace format;

namespace {

/// A stretch of bytes with a structure in it.
using Target = std::span<std::byte>;

class Mutator {
public:
    Mutator(ShelfImage& image, std::minstd_rand& random) : image_(image), random_(random) {}

    void run() {
        find_targets();
        for (std::uint64_t n = below(4) + 1; n > 0; --n) one();
        if (below(8) != 0) fix_checksums(image_.map, image_.data);
    }

private:
    std::uint64_t below(std::uint64_t n) { return n == 0 ? 0 : (std::uint64_t{random_()} << 31 ^ random_()) % n; }

    template <class T>
    T load(std::uint64_t at) const {
        T value{};
        if (at + sizeof value <= image_.data.size()) std::memcpy(&value, image_.data.data() + at, sizeof value);
        return value;
    }

    void add(PageBytes& file, std::uint64_t at, std::uint64_t size) {
        if (at >= file.size()) return;
        targets_.push_back({file.data() + at, std::min<std::size_t>(size, file.size() - at)});
    }

    void find_targets() {
        for (const std::uint64_t at : kSuperblockOffset) {
            add(image_.map, at, 256);
            Superblock sb;
            std::memcpy(&sb, image_.map.data() + at, sizeof sb);
            if (sb.magic != kSuperblockMagic) continue;
            capacity_ = sb.capacity;
            for (std::uint32_t i = 0; i < std::min(sb.run_count, kMaxRuns); ++i) {
                add(image_.map, at + offsetof(Superblock, runs) + i * sizeof(RunRef), sizeof(RunRef));
                run(sb.runs[i]);
            }
            if (sb.zone_size != 0) add(image_.data, sb.zone_offset, 16);
            log(sb);
        }
        add(image_.map, kLivePageOffset, sizeof(LivePage));
        add(image_.data, 0, sizeof(DataHeader));
        for (std::uint64_t at = kDataStart; at + sizeof(ExtentHeader) <= image_.data.size(); at += kLine) {
            contents(at);
            const auto header = load<ExtentHeader>(at);
            if (header.magic != kExtentMagic) continue;
            add(image_.data, at, sizeof header);
            add(image_.data, at + sizeof header, std::min<std::uint64_t>(header.name_size + std::uint64_t{header.type_size}, 2000));
        }
    }

    /// Structures in the data of blobs.
    void contents(std::uint64_t at) {
        switch (load<std::uint64_t>(at)) {
            case kTreeMagic: {
                const auto header = load<TreeHeader>(at);
                add(image_.data, at, sizeof header);
                add(image_.data, at + sizeof header, std::min<std::uint64_t>(header.meta, 2000));
                break;
            }
            case kListMagic:
                add(image_.data, at, sizeof(ListRoot));
                for (std::uint64_t back = kLine; back <= std::min<std::uint64_t>(at, 512); back += kLine)  // nodes, mostly
                    add(image_.data, at - back, kLine);
                break;
            case kJournalMagic: {
                const auto header = load<JournalHeader>(at);
                add(image_.data, at, sizeof header);
                add(image_.data, at + sizeof header, sizeof(JournalRange) * std::min<std::uint64_t>(header.ranges, 16));
                break;
            }
            default: break;
        }
    }

    void run(const RunRef& ref) {
        if (ref.offset >= image_.data.size()) return;
        const std::uint64_t end = std::min<std::uint64_t>(ref.offset + std::min<std::uint64_t>(ref.size, 1 << 20), image_.data.size());
        for (std::uint64_t at = ref.offset; at + kPage <= end; at += kPage) {
            add(image_.data, at, sizeof(PageHeader));
            const auto header = load<PageHeader>(at);
            switch (header.type) {
                case PageType::run: add(image_.data, at + sizeof header, sizeof(RunHeader) - sizeof header); break;
                case PageType::leaf:
                case PageType::index:
                    add(image_.data, at + kPage - 64, 64);  // slots
                    items(at, header);
                    break;
                case PageType::space: add(image_.data, at + sizeof header, std::min<std::uint64_t>(header.count, 254) * sizeof(SpaceEvent)); break;
                default: break;
            }
        }
    }

    void items(std::uint64_t page, const PageHeader& header) {
        for (std::uint64_t i = 0; i < std::min<std::uint64_t>(header.count, 64); ++i) {
            const std::uint64_t at = load<std::uint16_t>(page + kPage - 2 * (i + 1));
            if (at + sizeof(Entry) > kPage) continue;
            if (header.type == PageType::index) add(image_.data, page + at, sizeof(IndexItem) + 8);
            else entry(page + at);
        }
    }

    void entry(std::uint64_t at) {
        const auto e = load<Entry>(at);
        add(image_.data, at, sizeof e);
        add(image_.data, at + sizeof e, e.name_size);
        add(image_.data, at + sizeof e + e.name_size, e.type_size);  // the type descriptor
    }

    void log(const Superblock& sb) {
        std::uint64_t at = sb.log_offset;
        for (int commits = 0; commits < 64; ++commits) {
            const auto header = load<CommitHeader>(at);
            if (header.magic != kCommitMagic || header.size < sizeof header) return;
            add(image_.data, at, sizeof header);
            std::uint64_t record = at + sizeof header;
            for (std::uint32_t i = 0; i < std::min<std::uint32_t>(header.records, 32); ++i) {
                const auto head = load<RecordHeader>(record);
                add(image_.data, record, sizeof head);
                if (head.type <= 2) entry(record + sizeof head);
                else add(image_.data, record + sizeof head, sizeof(Extent));
                record += std::max<std::uint64_t>(head.size, 8);
            }
            at += round_up(header.size, kLine);
        }
    }

    Target target() {
        if (targets_.empty() || below(16) == 0) {
            PageBytes& file = below(4) == 0 ? image_.map : image_.data;
            const std::uint64_t at = below(file.size() / kLine) * kLine;
            return {file.data() + at, kLine};
        }
        for (int tries = 0; tries < 8; ++tries)
            if (const Target t = targets_[below(targets_.size())]; !t.empty()) return t;
        return targets_.front();
    }

    /// A number that means something in this image, or at the edge of what numbers can be.
    std::uint64_t number() {
        const std::uint64_t capacity = below(2) != 0 ? image_.data.size() : capacity_;
        switch (below(10)) {
            case 0: return 0;
            case 1: return ~std::uint64_t{0} >> below(64);
            case 2: return std::uint64_t{1} << below(64);
            case 3: return capacity;
            case 4: return capacity - kLine * (below(65) + 1);
            case 5: return below(capacity / kPage + 1) * kPage;
            case 6: return below(capacity / kLine + 1) * kLine;
            case 7: return below(300);
            default: {  // one that stands somewhere
                const Target t = target();
                std::uint64_t value = 0;
                if (t.size() >= 8) std::memcpy(&value, t.data() + below(t.size() / 8) * 8, 8);
                return value;
            }
        }
    }

    void one() {
        const Target t = target();
        if (t.empty()) return;
        const std::uint64_t width = std::uint64_t{1} << below(4);
        const std::uint64_t at = t.size() < width ? 0 : below(t.size() / width) * width;
        const std::size_t size = std::min<std::size_t>(width, t.size() - at);
        std::uint64_t value = 0;
        std::memcpy(&value, t.data() + at, size);
        switch (below(9)) {
            case 0: value ^= std::uint64_t{1} << below(size * 8); break;
            case 1: value = random_(); break;
            case 2: value += below(130) - 65; break;
            case 3: value += (below(2) != 0 ? std::uint64_t{1} : ~std::uint64_t{0}) << below(size * 8); break;  // plus or minus a power of two
            case 4: {  // the same kind of thing from elsewhere
                const Target from = target();
                std::memmove(t.data(), from.data(), std::min(t.size(), from.size()));
                return;
            }
            case 5: {  // a page or a line from elsewhere
                const std::uint64_t unit = below(2) != 0 ? kPage : kLine;
                std::byte* const to = image_.data.data() + below(image_.data.size() / unit) * unit;
                std::memmove(to, image_.data.data() + below(image_.data.size() / unit) * unit, unit);
                return;
            }
            default: value = number();
        }
        std::memcpy(t.data() + at, &value, size);
    }

    ShelfImage& image_;
    std::minstd_rand& random_;
    std::vector<Target> targets_;
    std::uint64_t capacity_ = 0;
};

}  // namespace

void mutate(ShelfImage& image, std::minstd_rand& random) { Mutator(image, random).run(); }

void cross(ShelfImage& image, const ShelfImage& other, std::minstd_rand& random) {
    const auto take = [&](PageBytes& to, const PageBytes& from) {
        const std::size_t pages = std::min(to.size(), from.size()) / kPage;
        for (std::size_t i = 0; i < pages; ++i)
            if (random() % 3 == 0) std::memcpy(to.data() + i * kPage, from.data() + i * kPage, kPage);
    };
    take(image.map, other.map);
    take(image.data, other.data);
    fix_checksums(image.map, image.data);
}

}  // namespace pymm::test
