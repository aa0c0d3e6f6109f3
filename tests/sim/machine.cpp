#include "sim/machine.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>

#include <pymm/error.hpp>

#include "sim/cut_point.hpp"

namespace pymm::sim {

namespace {
constexpr std::uint64_t kPage = 4096;
// A line that is stored to again and again but never flushed keeps its floor and the latest few.
constexpr std::size_t kMaxVersions = 5;

std::byte* new_memory(std::uint64_t size) {
    const std::uint64_t rounded = (size + kPage - 1) / kPage * kPage;
    void* at = std::aligned_alloc(kPage, rounded);
    if (at == nullptr) throw std::bad_alloc();
    return static_cast<std::byte*>(std::memset(at, 0, rounded));
}
}  // namespace

const char* event_name(EventKind kind) noexcept {
    switch (kind) {
        case EventKind::write: return "write";
        case EventKind::fill_zero: return "fill_zero";
        case EventKind::flush: return "flush";
        case EventKind::drain: return "drain";
        case EventKind::end: break;
    }
    return "end";
}

// ---- SimMachine ---------------------------------------------------------------------------------

void SimMachine::event(EventKind kind) {
    ++events_;
    for (SimMedia* media : media_) media->observe();
    offer_cut(kind);
}

void SimMachine::offer_cut(EventKind kind) {
    if (!on_cut) return;
    CutPoint cut(*this, ++cuts_, kind);
    on_cut(cut);
}

bool SimMachine::flush_is_skipped(EventKind kind, const SimMedia& media, std::uint64_t offset,
                                  std::uint64_t size) {
    const bool skip = ++flushes_ == options_.skip_flush;
    // Text costs more than a flush: only where somebody will ask.
    if (!skip && options_.skip_drain == 0) return false;
    last_flush_ = std::string(event_name(kind)) + " of " + media.name() + "+" + std::to_string(offset) + ", " +
                  std::to_string(size) + " bytes";
    if (skip) skipped_ = "flush " + std::to_string(flushes_) + ": " + last_flush_;
    return skip;
}

bool SimMachine::drain_is_skipped() {
    if (++drains_ != options_.skip_drain) return false;
    skipped_ = "drain " + std::to_string(drains_) + " after " + last_flush_;
    return true;
}

// ---- SimMedia -----------------------------------------------------------------------------------

SimMedia::SimMedia(SimMachine& machine, std::string name, std::span<const std::byte> contents)
    : SimMedia(machine, std::move(name), contents.size()) {
    std::memcpy(data_, contents.data(), contents.size());
    std::memcpy(seen_.data(), contents.data(), contents.size());
    std::memcpy(durable_.bytes().data(), contents.data(), contents.size());
}

SimMedia::SimMedia(SimMachine& machine, std::string name, std::uint64_t size)
    : Media(std::move(name), machine.options().granularity, true),
      machine_(machine),
      piece_size_(granularity_ == Granularity::page ? 512 : 64),
      durable_(size),
      seen_(size) {
    assert(size % piece_size_ == 0);
    data_ = new_memory(size);
    size_ = size;
    machine_.media_.push_back(this);
}

SimMedia::~SimMedia() {
    std::erase(machine_.media_, this);
    std::free(data_);
}

template <class F>
void SimMedia::for_pieces(std::uint64_t offset, std::uint64_t size, F&& visit) {
    const std::uint64_t last = (offset + size - 1) / piece_size_;
    for (auto it = open_.lower_bound(offset / piece_size_); it != open_.end() && it->first <= last; ++it)
        visit(it->second);
}

void SimMedia::write(std::uint64_t offset, const void* source, std::size_t size) {
    store(EventKind::write, offset, static_cast<const std::byte*>(source), size);
}

void SimMedia::write_behind(std::uint64_t offset, const void* source, std::size_t size) {
    store(EventKind::write, offset, static_cast<const std::byte*>(source), size, granularity_ == Granularity::page);
}

void SimMedia::fill_zero(std::uint64_t offset, std::uint64_t size) {
    store(EventKind::fill_zero, offset, nullptr, size);
}

void SimMedia::store(EventKind kind, std::uint64_t offset, const std::byte* source, std::uint64_t size, bool behind) {
    assert(offset <= size_ && size <= size_ - offset);
    if (size == 0) return;
    machine_.event(kind);
    const bool fails = machine_.write_fails();
    if (fails) size = size * machine_.fail_parts_ / 2;
    if (source != nullptr)
        std::memmove(data_ + offset, source, size);
    else
        std::memset(data_ + offset, 0, size);
    observe();
    if (fails) throw NoSpaceError(name() + ": simulated lack of space for a write", ENOSPC);
    // Written anew the pages are dirty anew, be the bytes the same: what a failed sync lost is back.
    for_pieces(offset, size, [](Piece& piece) { piece.lost_from = 0; });
    if (!behind) sync(kind, offset, size);
}

void SimMedia::flush(std::uint64_t offset, std::uint64_t size) {
    assert(offset <= size_ && size <= size_ - offset);
    if (size == 0) return;
    machine_.event(EventKind::flush);
    sync(EventKind::flush, offset, size);
}

void SimMedia::sync(EventKind kind, std::uint64_t offset, std::uint64_t size) {
    const bool skipped = machine_.flush_is_skipped(kind, *this, offset, size);
    if (granularity_ != Granularity::page) {
        if (!skipped) mark_flushed(offset, size);
        return;
    }
    // The power may go while the sectors are on their way.
    machine_.offer_cut(kind);
    if (machine_.sync_fails()) {
        // The kernel takes the pages for clean from here on: a later sync says nothing about them.
        for_pieces(offset, size, [](Piece& piece) { piece.lost_from = piece.versions.size() - 1; });
        throw IoError(name() + ": simulated failure of a sync", EIO);
    }
    if (!skipped) {
        mark_flushed(offset, size);
        settle();
    }
}

void SimMedia::drain() {
    machine_.event(EventKind::drain);
    // A fence belongs to the processor, not to one mapping.
    if (granularity_ == Granularity::page || machine_.drain_is_skipped()) return;
    for (SimMedia* media : machine_.media_) media->settle();
}

void SimMedia::observe() {
    for (std::uint64_t page = 0; page < size_; page += kPage) {
        const std::uint64_t end = std::min(size_, page + kPage);
        if (std::memcmp(data_ + page, seen_.data() + page, end - page) == 0) continue;
        for (std::uint64_t at = page; at < end; at += piece_size_)
            if (std::memcmp(data_ + at, seen_.data() + at, piece_size_) != 0) see(at / piece_size_);
    }
}

void SimMedia::see(std::uint64_t index) {
    const std::uint64_t at = index * piece_size_;
    Piece& piece = open_[index];
    if (piece.versions.empty()) {
        const auto floor = durable_.bytes().subspan(at, piece_size_);
        piece.versions.emplace_back(floor.begin(), floor.end());
    }
    piece.versions.emplace_back(data_ + at, data_ + at + piece_size_);
    std::memcpy(seen_.data() + at, data_ + at, piece_size_);
    if (piece.versions.size() > kMaxVersions) {
        const std::size_t drop = piece.flushed == 1 ? 2 : 1;
        piece.versions.erase(piece.versions.begin() + static_cast<std::ptrdiff_t>(drop));
        if (piece.flushed > drop) --piece.flushed;
        if (piece.lost_from >= drop) --piece.lost_from;
    }
}

void SimMedia::mark_flushed(std::uint64_t offset, std::uint64_t size) {
    for_pieces(offset, size, [](Piece& piece) {
        const std::size_t newest = piece.versions.size() - 1;
        if (piece.lost_from < newest) piece.flushed = newest;
    });
}

void SimMedia::settle() {
    for (auto it = open_.begin(); it != open_.end();) {
        Piece& piece = it->second;
        if (piece.flushed != 0) {
            const auto& floor = piece.versions[piece.flushed];
            std::memcpy(durable_.bytes().data() + it->first * piece_size_, floor.data(), piece_size_);
            piece.versions.erase(piece.versions.begin(),
                                 piece.versions.begin() + static_cast<std::ptrdiff_t>(piece.flushed));
            piece.flushed = piece.lost_from = 0;
        }
        it = piece.versions.size() == 1 ? open_.erase(it) : std::next(it);
    }
}

}  // namespace pymm::sim
