#include "sim/image_shelf.hpp"

#include <algorithm>
#include <cstring>

#include "check/checker.hpp"
#include "format/crc32c.hpp"
#include "shelf/core.hpp"
#include "sim/ram_media.hpp"

namespace pymm::sim {

namespace {

/// Word by word the durable bytes, or some that were stored.
bool possible(std::span<const std::byte> found, const Value& value) {
    if (found.size() != value.bytes.size()) return false;
    if (std::equal(found.begin(), found.end(), value.bytes.begin())) return true;
    if (value.stored.empty()) return false;
    for (std::size_t at = 0; at < found.size(); at += 8) {
        const std::size_t n = std::min<std::size_t>(8, found.size() - at);
        const auto same = [&](const std::vector<std::byte>& bytes) {
            return std::memcmp(&found[at], &bytes[at], n) == 0;
        };
        if (!same(value.bytes) && std::none_of(value.stored.begin(), value.stored.end(), same)) return false;
    }
    return true;
}

}  // namespace

void format_image(Media& map, Media& data, const format::Uuid& uuid, std::uint64_t log_size, bool checksum) {
    FormatOptions options;
    options.uuid = uuid;
    options.created_ns = 1;
    options.log_size = log_size;
    options.checksum = checksum;
    Catalogue::format(map, data, options);
}

Shelf open_shelf(std::unique_ptr<Media> map, std::unique_ptr<Media> data, SimLocks& locks, Mode mode) {
    ShelfParts parts{"sim", "shelf", std::move(map), std::move(data), std::make_unique<SimLease>(locks)};
    return ShelfCore::handle(ShelfCore::open(std::move(parts), mode));
}

Shelf open_image(std::vector<std::span<std::byte>>& image, SimLocks& locks, Granularity granularity,
                 Mode mode) {
    const bool may_write = mode == Mode::read_write;
    return open_shelf(std::make_unique<RamMedia>("map", image[0], granularity, may_write),
                      std::make_unique<RamMedia>("data", image[1], granularity, may_write), locks, mode);
}

std::string compare(const Shelf& shelf, const State& model) {
    const std::vector<BlobInfo> found = shelf.list();
    auto want = model.begin();
    for (const BlobInfo& info : found) {
        if (want == model.end() || info.name < want->first) return "unexpected blob '" + info.name + "'";
        if (info.name > want->first) return "blob '" + want->first + "' is missing";
        if (info.type != want->second.type) return "blob '" + info.name + "' has another type";
        if (info.sealed != want->second.sealed)
            return "blob '" + info.name + (info.sealed ? "' is sealed" : "' is not sealed");
        if (info.sealed && !info.checksum) return "blob '" + info.name + "' is sealed without a checksum";
        const View view = shelf.get(info.name);
        if (info.checksum && *info.checksum != crc32c(view.bytes().data(), view.bytes().size()))
            return "blob '" + info.name + "' has another checksum than it claims";
        if (!possible(view.bytes(), want->second)) return "blob '" + info.name + "' has other bytes";
        ++want;
    }
    if (want != model.end()) return "blob '" + want->first + "' is missing";
    if (shelf.size() != model.size()) return "the shelf counts " + std::to_string(shelf.size()) + " blobs";
    return {};
}

void inspect_shelf(const Shelf& shelf, const std::function<void(Catalogue&)>& visit) {
    // A handle's identity is its core.
    static_cast<ShelfCore*>(const_cast<void*>(shelf.identity()))->inspect(visit);
}

namespace {

std::string damage(Media& map, Media& data, bool cut) {
    const CheckReport report = check_media({map, data, nullptr, false, {}}, {});
    std::string text;
    bool torn = false;
    for (const Finding& finding : report.findings) {
        if (finding.severity != Severity::error) continue;
        if (cut && !torn && finding.structure.starts_with("superblock copy ")) torn = true;
        else text += (text.empty() ? "fsck: " : "; ") + finding.message();
    }
    return text;
}

}  // namespace

std::string check_image(const std::vector<std::span<std::byte>>& image, bool cut) {
    RamMedia map("map", image[0], Granularity::cache_line, false);
    RamMedia data("data", image[1], Granularity::cache_line, false);
    return damage(map, data, cut);
}

std::string repair_image(const std::vector<std::span<std::byte>>& image) {
    RamMedia map("map", image[0]), data("data", image[1]);
    CheckOptions options;
    options.repair = Repair::all;
    const CheckReport report = check_media({map, data, nullptr, false, [](const Replaced&) { return ""; }}, options);
    if (report.lost_found != 0 || report.lost != 0) return "fsck -y: blobs are lost, or under lost+found";
    if (report.uncorrected() != 0) return "fsck -y: damage is left";
    return damage(map, data, false);
}

std::string check_shelf(Media& map, Media& data) { return damage(map, data, false); }

}  // namespace pymm::sim
