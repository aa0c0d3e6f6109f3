#include "transfer.hpp"

#include <algorithm>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "failure.hpp"
#include "text.hpp"

namespace pymmctl {
namespace {

// Large enough that on ordinary disks, where each piece is synced, syncing does not dominate.
constexpr std::size_t piece_size = 4u << 20;

/// Memory that is not zeroed before it is read into.
class Buffer {
public:
    explicit Buffer(std::size_t size) : bytes_(new std::byte[size]), size_(size) {}
    std::span<std::byte> bytes() const { return {bytes_.get(), size_}; }

private:
    std::unique_ptr<std::byte[]> bytes_;
    std::size_t size_;
};

void check_text(const Input& input, std::span<const std::byte> bytes) {
    if (!is_utf8(bytes))
        throw Failure(Exit::usage, input.name() + ": is not UTF-8: put it with --bytes, or raw");
}

[[noreturn]] void too_short(const Input& input, std::uint64_t got, std::uint64_t size) {
    throw Failure(Exit::corrupt, fmt::format("{}: ends after {} of {} bytes: nothing was put",
                                             input.name(), got, size));
}

void check_end(Input& input, std::uint64_t size) {
    if (!input.at_end())
        throw Failure(Exit::corrupt,
                      fmt::format("{}: goes on after the {} bytes that belong there: nothing was put",
                                  input.name(), size));
}

}  // namespace

void put_sized(pymm::Shelf& shelf, const std::string& name, const pymm::Type& type,
               std::uint64_t size, Input& input, Progress& progress, bool text) {
    if (size < stage_from) {
        const Buffer buffer(static_cast<std::size_t>(size));
        const std::size_t got = input.read(buffer.bytes());
        if (got != size) too_short(input, got, size);
        check_end(input, size);
        if (text) check_text(input, buffer.bytes());
        shelf.put(name, buffer.bytes(), type);
        return;
    }
    // A short file is told before space is taken for what it claims to hold.
    if (const auto remaining = input.remaining(); remaining && *remaining < size)
        too_short(input, *remaining, size);
    pymm::Staged staged = shelf.stage(type, size);
    const Buffer buffer(piece_size);
    for (std::uint64_t done = 0; done < size;) {
        const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(size - done, piece_size));
        const std::size_t got = input.read(buffer.bytes().first(piece));
        staged.write(done, buffer.bytes().first(got));
        done += got;
        progress.advance(got);
        if (got < piece) too_short(input, done, size);
    }
    check_end(input, size);
    if (text) check_text(input, staged.memory());
    shelf.put(name, std::move(staged));
}

void put_unsized(pymm::Shelf& shelf, const std::string& name,
                 const std::function<pymm::Type(std::uint64_t)>& type_for, Input& input,
                 Progress& progress, bool text) {
    const Buffer first(static_cast<std::size_t>(stage_from));
    std::uint64_t total = input.read(first.bytes());
    if (total < stage_from || input.at_end()) {
        const auto bytes = first.bytes().first(static_cast<std::size_t>(total));
        if (text) check_text(input, bytes);
        shelf.put(name, bytes, type_for(total));
        return;
    }

    // A staged extent has a fixed size, and the final one is known only at the end. Growing by a
    // quarter of what is there keeps the waste at a quarter; two pieces are the least worth syncing.
    std::vector<pymm::Staged> waiting;
    std::uint64_t room = 0, filled = 0;  // of waiting.back()
    const auto append = [&](std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            if (filled == room) {
                room = std::max<std::uint64_t>(total / 4, 2 * piece_size);
                waiting.push_back(shelf.stage(pymm::Type::raw(), room));
                filled = 0;
            }
            const auto part =
                bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), room - filled)));
            waiting.back().write(filled, part);
            filled += part.size();
            bytes = bytes.subspan(part.size());
        }
    };
    progress.advance(total);
    append(first.bytes());
    for (;;) {
        const std::size_t got = input.read(first.bytes());
        append(first.bytes().first(got));
        total += got;
        progress.advance(got);
        if (got < first.bytes().size()) break;
    }

    pymm::Staged staged = shelf.stage(type_for(total), total);
    std::uint64_t done = 0;
    for (pymm::Staged& part : waiting) {
        const auto bytes = part.memory().first(
            static_cast<std::size_t>(std::min(part.size(), total - done)));
        for (std::size_t at = 0; at < bytes.size(); at += piece_size)
            staged.write(done + at, bytes.subspan(at, std::min(piece_size, bytes.size() - at)));
        done += bytes.size();
        part = pymm::Staged();  // its space is free again
    }
    if (text) check_text(input, staged.memory());
    shelf.put(name, std::move(staged));
}

void for_each_piece(const pymm::View& view, const std::function<void(std::span<const std::byte>)>& use) {
    const auto bytes = view.bytes();
    for (std::size_t at = 0; at < bytes.size(); at += piece_size) {
        const auto piece = bytes.subspan(at, std::min(piece_size, bytes.size() - at));
        view.check_readable(at, piece.size());
        use(piece);
    }
}

pymm::Staged stage_copy(pymm::Shelf& shelf, const pymm::View& view, Progress& progress) {
    pymm::Staged staged = shelf.stage(view.type(), view.bytes().size());
    std::uint64_t at = 0;
    for_each_piece(view, [&](std::span<const std::byte> piece) {
        staged.write(at, piece);
        at += piece.size();
        progress.advance(piece.size());
    });
    return staged;
}

}  // namespace pymmctl
