// Transaction: changes of one shelf that become durable together or not at all: puts, erases and renames, and stores
// through views.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include <pymm/shelf.hpp>

namespace pymm {

/// What Shelf::transaction() gives.
///
///     Transaction tx = shelf.transaction();
///     tx.add("x");                       // before the first store to it
///     view.writable_bytes()[0] = ...;    // a view of x
///     shelf.put("y", bytes);
///     tx.commit();                       // both, or neither
///
/// *Stores.* What is to be stored to through views takes part by add(): its bytes are copied to a journal on the shelf,
/// durably, before add() returns. rollback() brings them back; after a crash the next open for writing does, by itself, before
/// anybody sees them; one for reading shows them as they were. The copy takes space, and time: that of a put of so
/// many bytes. View::persist of bytes that take part does nothing; commit() makes them durable.
///
/// *Names.* Puts, erases, renames and batches of the thread that began it belong to it. All threads of the process see
/// them at once; other processes, and what is found after a crash, know nothing of them before the commit. Other
/// threads go on as ever, each change for itself; where it touches what takes part it is a BusyError. Nothing can be
/// sealed by this thread meanwhile.
///
/// Readers in other processes see stores as they are made, as ever.
///
/// One transaction at a time in a shelf. If the thread that has one begins another, that belongs to it: its commit()
/// is one of the outer one; when it is rolled back, or dropped, the outer one can only be rolled back.
///
/// Dropped without a commit, it is rolled back (if that fails, it is logged, and the shelf is read-only from then on). So it
/// is when the shelf is closed. Movable, not copyable; belongs to one thread.
class Transaction {
public:
    Transaction() noexcept = default;
    ~Transaction();
    Transaction(Transaction&& other) noexcept = default;
    Transaction& operator=(Transaction&& other) noexcept;

    /// True until commit() has returned, or rollback() was called.
    bool is_active() const noexcept { return inner_ != nullptr; }

    /// All bytes of a blob as it is now. Nothing to do for values, which are only replaced, and for what this transaction
    /// has put. Throws NotFoundError, NoSpaceError (nothing has changed then), IoError.
    void add(std::string_view name);
    /// What a writable view shows, or `size` bytes from `offset` of it. InvalidArgumentError out of bounds, and where the
    /// blob was replaced or erased since, so that nobody will find what is stored there.
    void add(const View& view);
    void add(const View& view, std::uint64_t offset, std::uint64_t size);
    /// Whatever writable views show that there are now in this process, and those that this thread gets from now on,
    /// from Shelf::get.
    void add_views();

    /// Makes all of it durable, in one commit. Throws as Batch::commit does, and IoError; the transaction is then as it
    /// was, to be rolled back.
    void commit();
    /// Restores the shelf, and the memory that views show, durably. Throws IoError. Where the media fails, or has failed
    /// before, memory stays as it is, and the next open finds all that was committed, or restores it.
    void rollback();

private:
    friend class ShelfCore;
    struct Inner;
    explicit Transaction(std::shared_ptr<Inner> inner) noexcept;
    Inner& inner() const;

    std::shared_ptr<Inner> inner_;
};

}  // namespace pymm
