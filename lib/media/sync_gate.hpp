// SyncGate: one failed sync of an open file description is the failure of all of them.
//
// The kernel tells of an error in writing pages back once per description, to whichever call asks first, and takes
// the pages for clean from then on (errseq). All of a MappedMedia's calls share one description: a mapping counts as
// the descriptor that it was made from. So a sync that returns 0 proves nothing alone: another thread's, at the same
// time, may have been told of the error that hit its pages, and two that fail together have one error between them.
//
// Whoever was told of the error of my pages was in the kernel before my call returned. So a sync that returned 0 waits
// until no sync is under way, and then looks whether one has failed. One that failed says so before it leaves.
// No lock is held over a system call. Alone, a sync costs two atomic operations. The wait ends: who waits begins no
// other sync, so each thread adds one at most.
//
// Sources: errseq (Linux, Documentation/core-api/errseq.rst); fsync(2), "Errors".
#pragma once

#include <atomic>
#include <cstdint>

namespace pymm {

class SyncGate {
public:
    /// errno of the first sync that failed; 0: none has.
    int error() const noexcept { return error_.load(std::memory_order_acquire); }

    /// A sync under way, from before its system call to synced(), failed() or the end of its scope; that last is for
    /// calls that have synced nothing.
    class Pass {
    public:
        explicit Pass(SyncGate& gate) noexcept : gate_(gate) { gate.state_.fetch_add(1, std::memory_order_seq_cst); }
        ~Pass() {
            if (inside_) (void)gate_.leave();
        }
        Pass(const Pass&) = delete;
        Pass& operator=(const Pass&) = delete;

        /// The call returned 0. True when what it was asked for is durable; false when a sync has failed.
        bool synced() noexcept {
            inside_ = false;
            gate_.wait(gate_.leave());
            return gate_.error() == 0;
        }
        void failed(int error) noexcept {
            int none = 0;
            gate_.error_.compare_exchange_strong(none, error, std::memory_order_acq_rel);
            inside_ = false;
            (void)gate_.leave();
        }

    private:
        SyncGate& gate_;
        bool inside_ = true;
    };

private:
    static constexpr std::uint64_t kOne = std::uint64_t{1} << 32;  // round
    static std::uint64_t round(std::uint64_t state) { return state / kOne; }

    /// The state afterwards. When nobody is left a round ends.
    std::uint64_t leave() noexcept {
        std::uint64_t before = state_.load(std::memory_order_relaxed), after;
        do {
            after = before - 1;
            if (after % kOne == 0) after += kOne;
        } while (!state_.compare_exchange_weak(before, after, std::memory_order_seq_cst, std::memory_order_relaxed));
        if (after % kOne == 0) state_.notify_all();
        return after;
    }
    void wait(std::uint64_t left) noexcept {
        if (left % kOne == 0) return;  // the round ended with us
        std::uint64_t now = state_.load(std::memory_order_acquire);
        while (round(now) == round(left)) {
            state_.wait(now, std::memory_order_acquire);
            now = state_.load(std::memory_order_acquire);
        }
    }

    std::atomic<std::uint64_t> state_{0};  // syncs under way; in the upper half, rounds that have ended
    std::atomic<int> error_{0};
};

}  // namespace pymm
