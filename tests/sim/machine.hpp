// SimMachine: a computer whose power can be cut. SimMedia: its persistent memory, a Media that keeps what
// is written apart from what is durable.
//
// How it works. Stores go to `memory` (what data() points to). At every event (write, fill_zero, flush,
// drain) the whole memory is compared with what it was at the event before, so a store that nobody
// flushes is seen too. Each piece that changed is *open*: it keeps every version that was seen, from the
// oldest that may still be found after a power cut (the floor) to the newest. A flush notes the newest
// version; a drain makes what was noted the floor; a piece with one version left is durable and closed.
//
//  * Cache-line (and byte) granularity: pieces are 64-byte lines; write() is store + flush. After a power
//    cut, each aligned 8-byte word of an open line independently has its value of any version from the
//    floor on. That is early eviction, reordering, and tearing, all at once.
//  * Page granularity: pieces are 512-byte sectors, each atomic; write() is durable when it returns and
//    torn while it runs; write_behind() is a store; flush() is msync. Stores through data() may be written back at any time.
//
// Just before each event takes effect (page granularity: also in the middle of it), on_cut is called with
// a CutPoint, which builds images of what a power cut at that moment may leave.
//
// Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "media/media.hpp"
#include "sim/image_buffer.hpp"

namespace pymm::sim {

class CutPoint;
class SimMedia;

enum class EventKind { write, fill_zero, flush, drain, end };
const char* event_name(EventKind kind) noexcept;

struct Options {
    std::uint64_t seed = 1;
    Granularity granularity = Granularity::cache_line;
    // Negative controls. Counted from 1 over all media of the machine; 0 is none.
    std::uint64_t skip_flush = 0;  ///< the k-th flush (or flushing half of a write) does nothing
    std::uint64_t skip_drain = 0;  ///< the k-th drain does nothing
};

class SimMachine {
public:
    explicit SimMachine(Options options) : options_(options) {}
    SimMachine(const SimMachine&) = delete;
    SimMachine& operator=(const SimMachine&) = delete;

    /// Called at each cut point. May throw; must not touch this machine's media.
    std::function<void(CutPoint&)> on_cut;

    const Options& options() const noexcept { return options_; }
    std::uint64_t events() const noexcept { return events_; }
    std::uint64_t flushes() const noexcept { return flushes_; }
    std::uint64_t drains() const noexcept { return drains_; }
    /// The media in order of their making. They must outlive every use of the machine but destruction.
    const std::vector<SimMedia*>& media() const noexcept { return media_; }

    /// What the negative controls left out: "flush 17: write of map+0, 4096 bytes",
    /// "drain 5 after write of data+8192, 512 bytes".
    const std::string& skipped() const noexcept { return skipped_; }

    /// Page granularity: the k-th sync (write, fill_zero or flush) from now fails with EIO.
    void fail_sync_after(std::uint64_t k) noexcept { fail_sync_ = syncs_ + k; }
    bool sync_has_failed() const noexcept { return fail_sync_ != 0 && syncs_ >= fail_sync_; }

    /// The k-th write or fill_zero from now throws NoSpaceError, as a write to a file system may that gives each
    /// write new blocks; `parts` of 2 of its bytes have been stored by then, none of them flushed.
    void fail_write_after(std::uint64_t k, unsigned parts) noexcept {
        fail_write_ = writes_ + k;
        fail_parts_ = parts;
    }
    bool write_has_failed() const noexcept { return fail_write_ != 0 && writes_ >= fail_write_; }

    /// A cut point of its own, after an operation has returned.
    void cut() { event(EventKind::end); }

private:
    friend class SimMedia;

    void event(EventKind kind);
    void offer_cut(EventKind kind);
    bool flush_is_skipped(EventKind kind, const SimMedia& media, std::uint64_t offset, std::uint64_t size);
    bool drain_is_skipped();
    bool sync_fails() { return ++syncs_ == fail_sync_; }
    bool write_fails() { return ++writes_ == fail_write_; }

    Options options_;
    std::vector<SimMedia*> media_;
    std::string skipped_;
    std::string last_flush_;
    std::uint64_t events_ = 0;
    std::uint64_t cuts_ = 0;
    std::uint64_t flushes_ = 0;
    std::uint64_t drains_ = 0;
    std::uint64_t syncs_ = 0;
    std::uint64_t fail_sync_ = 0;
    std::uint64_t writes_ = 0;
    std::uint64_t fail_write_ = 0;
    unsigned fail_parts_ = 0;
};

class SimMedia final : public Media {
public:
    /// Starts with `contents`, all durable. The machine must outlive it.
    SimMedia(SimMachine& machine, std::string name, std::span<const std::byte> contents);
    /// Starts with zeros.
    SimMedia(SimMachine& machine, std::string name, std::uint64_t size);
    ~SimMedia() override;

    void reserve(std::uint64_t, std::uint64_t) override {}
    void write(std::uint64_t offset, const void* source, std::size_t size) override;
    void write_behind(std::uint64_t offset, const void* source, std::size_t size) override;
    void fill_zero(std::uint64_t offset, std::uint64_t size) override;
    void flush(std::uint64_t offset, std::uint64_t size) override;
    void drain() override;

    /// A 64-byte line or 512-byte sector that a power cut may leave in several states.
    struct Piece {
        std::vector<std::vector<std::byte>> versions;  // [0]: the floor; back(): as last seen in memory
        std::size_t flushed = 0;    // version that the next drain makes the floor; 0: none
        std::size_t lost_from = 0;  // page granularity: a failed sync dropped all up to this version
    };
    const std::map<std::uint64_t, Piece>& open_pieces() const noexcept { return open_; }
    std::uint64_t piece_size() const noexcept { return piece_size_; }
    std::span<const std::byte> durable() const noexcept { return durable_.bytes(); }
    ImageBuffer& durable_buffer() noexcept { return durable_; }

private:
    friend class SimMachine;

    void store(EventKind kind, std::uint64_t offset, const std::byte* source, std::uint64_t size, bool behind = false);
    void observe();
    void see(std::uint64_t index);
    template <class F>
    void for_pieces(std::uint64_t offset, std::uint64_t size, F&& visit);
    void mark_flushed(std::uint64_t offset, std::uint64_t size);
    void settle();
    void sync(EventKind kind, std::uint64_t offset, std::uint64_t size);

    SimMachine& machine_;
    const std::uint64_t piece_size_;
    ImageBuffer durable_;
    std::vector<std::byte> seen_;  // memory as of the last event
    std::map<std::uint64_t, Piece> open_;
};

}  // namespace pymm::sim
