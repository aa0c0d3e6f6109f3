// CrashRun: a shelf on simulated media, beside a model of what it must hold. Every operation goes to
// both; at every cut point the crash images are opened as a user would after the power came back, and
// compared with the model as it was before the operation in flight, or as it is after it.
//
// Each image: opened read-only, compared whole, checked as fsck does. A part of them also
// opened for writing, written to, closed and compared again; and a part of those with the power cut
// once more in the middle of that.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <pymm/error.hpp>
#include <pymm/shelf.hpp>

#include "catalogue/catalogue.hpp"
#include "sim/cut_point.hpp"
#include "sim/machine.hpp"
#include "sim/sim_lease.hpp"

namespace pymm::sim {

struct Value {
    Type type;
    std::vector<std::byte> bytes;
    /// Stored in place but not persisted: each 8-byte word may be found as in any of these instead, the
    /// last of which is what memory holds.
    std::vector<std::vector<std::byte>> stored;
    bool sealed = false;
    bool abandoned = false;  ///< the process that stored is gone: nobody will persist that
    bool operator==(const Value&) const = default;
};
using State = std::map<std::string, Value>;

/// Bytes that tell which value, and which part of it, they belong to.
std::vector<std::byte> make_bytes(std::uint64_t size, std::uint64_t seed);
/// Small ones become `bytes` values (kept inline), larger ones byte arrays, those that are multiples of
/// 8 sometimes arrays of floats.
Value make_value(std::uint64_t size, std::uint64_t seed);

struct CrashOptions {
    std::string workload;
    Options machine;
    std::uint64_t capacity = 1 << 20;
    std::uint64_t log_size = 4096;       // tiny, so that logs wrap
    bool checksum = false;               // every put records a checksum of its content
    std::uint64_t images = 24;           // most per cut point
    std::uint64_t write_again_every = 5; // 0: never
    std::uint64_t recut_every = 97;      // 0: never
    std::uint64_t recut_images = 6;
    bool stop_at_first = true;           // no more images after one was wrong
    /// Called with each image before it is opened: a negative control's way to leave a check out.
    std::function<void(Image&)> tamper;
    bool images_after_death_only = false;
    bool images_after_fault_only = false;  // of SimMachine::fail_write_after()
    /// Negative control: every superblock goes to the first copy's place.
    bool one_superblock = false;
};

/// Thrown through the library in place of SIGKILL; from then on its media do nothing. To the library an error of
/// the media like any other, which it passes on as it is.
struct Killed : IoError {
    Killed() : IoError("the process is killed here") {}
};

struct CrashTotals {
    std::uint64_t cuts = 0;
    std::uint64_t images = 0;
    std::uint64_t written_again = 0;
    std::uint64_t recuts = 0;      // recoveries that were cut
    std::uint64_t recut_images = 0;
    CrashTotals& operator+=(const CrashTotals& other);
};

class CrashRun {
public:
    explicit CrashRun(CrashOptions options);
    ~CrashRun();
    CrashRun(const CrashRun&) = delete;
    CrashRun& operator=(const CrashRun&) = delete;

    // ---- Operations, on the shelf and on the model ----
    // False where there was no space for it; then nothing has changed.
    bool put(const std::string& name, const Value& value);
    bool put(const std::string& name, std::uint64_t size) { return put(name, make_value(size, ++value_)); }
    /// By way of stage(): `in_memory` fills it through memory(), else by two writes.
    bool put_staged(const std::string& name, std::uint64_t size, bool in_memory);
    /// By Shelf::replace(): other bytes for the blob that there is.
    bool replace(const std::string& name, std::uint64_t size);
    /// `size` bytes more, of an array rounded down to whole rows.
    bool append(const std::string& name, std::uint64_t size);
    bool erase(const std::string& name);
    bool rename(const std::string& from, const std::string& to);
    bool seal(const std::string& name);
    struct BatchOp {
        enum { put, erase, rename } what;
        std::string name;
        std::string to;
        std::uint64_t size = 0;
    };
    bool batch(const std::vector<BatchOp>& ops);
    struct TransactionOp {
        enum { put, erase, rename, store, append } what;
        std::string name;
        std::string to;
        std::uint64_t size = 0;    // of the value, or of what is stored or appended
        std::uint64_t offset = 0;  // store
        bool whole = false;        // store: all of the blob takes part, not just these bytes
    };
    /// Together or not at all; not at all without `commit`.
    bool transaction(const std::vector<TransactionOp>& ops, bool commit);
    /// Stores through a writable view; durable when `persist`, else whenever.
    bool store(const std::string& name, std::uint64_t offset, std::uint64_t size, bool persist);
    void persist();
    void reopen();
    void close();

    // ---- Death of the process, not of the machine: what it wrote stays in memory, flushed or not ----
    enum class Death { before, in_the_middle, after };  ///< of the copying of a write
    /// The k-th call from now of write, fill_zero, flush or drain does not return: it throws Killed.
    void kill_at(std::uint64_t k, Death death);
    bool alive() const noexcept { return !switch_->dead; }
    /// Another process opens the shelf, after Killed was thrown or the shelf has failed.
    void revive();

    const State& state() const noexcept { return state_; }
    Shelf& shelf() { return shelf_; }
    void inspect(const std::function<void(Catalogue&)>& visit);
    SimMachine& machine() noexcept { return machine_; }
    const CrashTotals& totals() const noexcept { return totals_; }
    /// Empty, or what the first wrong image showed, with its id.
    const std::string& failure() const noexcept { return failure_; }
    /// The open shelf against the model, and what fsck finds; empty when right.
    std::string compare_now();

private:
    friend class ProcessMedia;
    struct KillSwitch {
        std::uint64_t countdown = 0;  // 0: never
        Death death = Death::before;
        bool dead = false;
    };

    void open();
    void require_alive() const;
    void all_persisted();
    template <class F>
    bool change(State next, F&& operation);
    void on_cut(CutPoint& cut);
    void check(CutPoint& cut, Image& image);
    std::string check_read(std::vector<std::span<std::byte>>& image, const State** found);
    std::string write_again(std::vector<std::span<std::byte>>& image, const State& found);
    std::string cut_again(std::vector<std::span<std::byte>>& image, const State& found,
                          const ImageId& id);

    CrashOptions options_;
    std::optional<ImageId> only_;  // replay
    SimMachine machine_;
    SimMedia map_;
    SimMedia data_;
    SimLocks locks_;
    Shelf shelf_;
    State state_;                 // acknowledged
    std::optional<State> next_;   // when the operation in flight has returned
    // What a killed process may have left, too, until another one commits, or has persisted what it stored.
    std::optional<State> other_;
    std::shared_ptr<KillSwitch> switch_ = std::make_shared<KillSwitch>();
    std::uint64_t value_ = 0;
    std::uint64_t checked_ = 0;
    CrashTotals totals_;
    bool revived_ = false;
    std::string failure_;
};

}  // namespace pymm::sim
