#include "transfer.hpp"

#include <algorithm>
#include <memory>
#include <stdexcept>

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

namespace {

/// An extent of the first of these sizes for which there is space; none is below the last.
pymm::Staged stage_one_of(pymm::Shelf& shelf, std::span<const std::uint64_t> sizes) {
    for (const std::uint64_t size : sizes.first(sizes.size() - 1)) {
        if (size < sizes.back()) continue;
        try {
            return shelf.stage(pymm::Type::raw(), size);
        } catch (const pymm::NoSpaceError&) {
        }
    }
    return shelf.stage(pymm::Type::raw(), sizes.back());
}

/// Room for `need` bytes, of which `filled` are there: in place if there is any behind, else in another extent.
void make_room(pymm::Shelf& shelf, pymm::Staged& staged, std::uint64_t filled, std::uint64_t need) {
    const std::uint64_t size = staged.size();
    const std::uint64_t wanted[] = {2 * size, size + size / 2, size + size / 4, need};
    for (const std::uint64_t room : wanted)
        if (room >= need && staged.resize(pymm::Type::raw(), room)) return;
    pymm::Staged other = stage_one_of(shelf, wanted);
    const std::span<const std::byte> bytes = staged.memory().first(static_cast<std::size_t>(filled));
    for (std::size_t at = 0; at < bytes.size(); at += piece_size)
        other.write(at, bytes.subspan(at, std::min(piece_size, bytes.size() - at)));
    staged = std::move(other);  // the space of the first is free again
}

}  // namespace

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

    // The final size is known only at the end: the extent grows while bytes come, and what is left over goes back.
    const std::uint64_t wanted[] = {2 * piece_size, total};
    pymm::Staged staged = stage_one_of(shelf, wanted);
    staged.write(0, first.bytes());
    progress.advance(total);
    for (;;) {
        const std::size_t got = input.read(first.bytes());
        if (total + got > staged.size()) make_room(shelf, staged, total, total + got);
        staged.write(total, first.bytes().first(got));
        total += got;
        progress.advance(got);
        if (got < first.bytes().size()) break;
    }
    if (!staged.resize(type_for(total), total)) throw std::logic_error("a staged extent that does not shrink");
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
