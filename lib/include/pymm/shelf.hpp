// Shelf: a crash-consistent directory of typed blobs. View: a pinned window on one blob.
//
// Thread safety: all member functions of Shelf may be called from several threads at once; a View,
// Staged or Batch object belongs to one thread at a time. Bytes reached through views are plain
// memory: synchronising stores to them is the caller's business.
//
// Durability: put, Batch::commit, erase and rename are durable and atomic when they return.
// Stores through a writable view are durable after View::persist, Shelf::persist or Shelf::close. What an earlier session
// stored and did not make durable (it was killed, or persist threw) can be seen, and is durable only when it is stored
// again, or sealed: docs/DESIGN.md, A7.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <pymm/array.hpp>
#include <pymm/error.hpp>
#include <pymm/type.hpp>

namespace pymm {

class ShelfCore;  // internal
class PrivateMemory;
class Transaction;

enum class Mode { read_only, read_write };
enum class Access { read, write };

/// Smallest unit in which stores become durable (libpmem2(7), "granularity").
enum class Granularity { byte, cache_line, page };
std::string_view granularity_name(Granularity g) noexcept;

/// Longest blob name in bytes of UTF-8.
inline constexpr std::size_t max_name_size = 1024;

/// Throws InvalidArgumentError unless `name` is a legal blob name: UTF-8, 1..max_name_size bytes, no
/// NUL, no empty, "." or ".." component between slashes, no leading or trailing slash.
void check_blob_name(std::string_view name);

using Clock = std::chrono::system_clock;

/// What the catalogue knows of one blob. A copy; stays valid whatever happens to the shelf.
struct BlobInfo {
    std::string name;
    std::uint64_t id = 0;        ///< unique in the shelf, never reused; a rename keeps it, an append too
    Type type;
    std::uint64_t size = 0;      ///< bytes of the user's data
    std::uint64_t offset = 0;    ///< of the data in the data file; 0 when `inlined`
    std::uint64_t extent = 0;    ///< bytes allocated for the data, what append() may use included; 0 when `inlined`
    std::uint64_t sequence = 0;  ///< commit that wrote this version; from 2^63 on: an open transaction has put it
    Clock::time_point created;   ///< when the name first came to be
    Clock::time_point modified;  ///< when this version was put
    std::uint32_t mode = 0600;   ///< permission bits as given; informational
    bool inlined = false;        ///< a small value kept inside the catalogue
    bool sealed = false;         ///< immutable: see Shelf::seal
    /// CRC32C of the data, where one is recorded: for sealed blobs, and in shelves with checksums until a
    /// writable view is asked for.
    std::optional<std::uint32_t> checksum;
};

/// What Shelf::append() expects to find; otherwise it throws.
struct AppendTo {
    std::optional<std::uint64_t> id{};    ///< BlobInfo::id: the blob was not replaced since
    std::optional<std::uint64_t> size{};  ///< BlobInfo::size: nobody appended to it since
};

/// Figures of a whole shelf.
struct ShelfInfo {
    std::string name;        ///< shelf name
    std::string uuid;        ///< 8-4-4-4-12 hexadecimal
    std::uint64_t capacity;  ///< bytes of the data file
    std::uint64_t used;      ///< bytes allocated, catalogue and log included
    std::uint64_t free;      ///< capacity - used
    std::uint64_t largest_free;  ///< an estimate of the largest free extent
    std::uint64_t blobs;     ///< number of blobs
    std::uint64_t sequence;  ///< last durable commit
    std::uint64_t generation;    ///< of the superblock
    std::uint32_t format_version;
    std::uint32_t runs;      ///< sorted runs of the catalogue
    std::uint64_t log_bytes; ///< bytes of the redo log that the next open replays
    Clock::time_point created;
    Granularity granularity;
    std::uint64_t address;   ///< where this process has mapped the data file
    bool writable;
    bool clean;              ///< closed cleanly since the last commit on media
    bool checksum;           ///< puts record checksums of their content: CreateOptions::checksum
};

/// A pinned window on a blob. While it lives, its memory stays mapped and its extent is not reused,
/// whatever is erased, replaced or closed meanwhile. Values kept inside the catalogue are held by
/// copy. Movable, not copyable. After the blob was replaced or erased, the view keeps showing the
/// old bytes; stores through it then reach nobody else.
class View {
public:
    View() noexcept;
    ~View();
    View(View&&) noexcept;
    View& operator=(View&&) noexcept;
    View(const View&) = delete;
    View& operator=(const View&) = delete;

    explicit operator bool() const noexcept { return state_ != nullptr; }

    const BlobInfo& info() const;
    const Type& type() const { return info().type; }

    /// Memory of a file or device: where the file was shortened, or the device fails, a load from it raises
    /// SIGBUS, and the process ends with a message that names the blob. check_readable() tells beforehand.
    std::span<const std::byte> bytes() const;
    /// Reads a byte of each page of the range. Throws IoError that names the blob and the offset where that
    /// cannot be done, InvalidArgumentError out of bounds.
    void check_readable(std::uint64_t offset, std::uint64_t size) const;
    void check_readable() const { check_readable(0, info().size); }
    /// Throws ReadOnlyError unless obtained with Access::write.
    std::span<std::byte> writable_bytes();
    bool is_writable() const noexcept;

    /// Zero-copy typed array; T must match the itemsize and be naturally aligned.
    /// Throws InvalidArgumentError where the blob is no array of such elements.
    template <class T>
    Array<const T> array() const {
        return Array<const T>(type(), bytes().data(), bytes().size());
    }
    template <class T>
    Array<T> writable_array() {
        return Array<T>(type(), writable_bytes().data(), bytes().size());
    }

    /// Makes stores to the whole blob, or to `size` bytes from `offset`, durable before returning: those made since
    /// this shelf was opened. Throws InvalidArgumentError out of bounds, IoError when the media fails (the shelf is then
    /// read-only, and what was stored since the last persist may be lost: store it again in the next session),
    /// ReadOnlyError when it has failed before. Nothing to do, and no error, for values held by copy.
    void persist();
    void persist(std::uint64_t offset, std::uint64_t size);

    /// Memory with the blob's bytes that may be stored to, whatever the view and the shelf were opened for. What is
    /// stored there reaches nobody: for code that cannot be told that memory is read-only. From 4 KiB on nothing is
    /// copied but the pages that are stored to, when they are; a page that is not shows what the blob's writer stores
    /// in place, as the view does. Smaller blobs, and those of devices that have no private mappings, are copied at
    /// once. The view must outlive it. Throws IoError when it cannot be read, std::bad_alloc.
    PrivateMemory private_memory() const;

    struct State;
private:
    friend class ShelfCore;
    explicit View(std::unique_ptr<State> state) noexcept;
    std::unique_ptr<State> state_;
};

/// What View::private_memory() gives. Movable, not copyable; 64-byte aligned.
class PrivateMemory {
public:
    PrivateMemory() noexcept = default;
    ~PrivateMemory();
    PrivateMemory(PrivateMemory&& other) noexcept { *this = std::move(other); }
    PrivateMemory& operator=(PrivateMemory&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(mapped_, other.mapped_);
        return *this;
    }

    std::span<std::byte> bytes() const noexcept { return {data_, size_}; }

private:
    friend class View;
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t mapped_ = 0;  ///< bytes to unmap; 0: from the heap
};

/// An extent being filled, not yet named: pass it to Shelf::put or Batch::put. Dropping it gives the
/// space back; a crash leaks nothing.
class Staged {
public:
    Staged() noexcept;
    ~Staged();
    Staged(Staged&&) noexcept;
    Staged& operator=(Staged&&) noexcept;
    Staged(const Staged&) = delete;
    Staged& operator=(const Staged&) = delete;

    explicit operator bool() const noexcept { return state_ != nullptr; }
    const Type& type() const;
    std::uint64_t size() const noexcept;

    /// Copies into the extent by the media's fastest durable path. May be called from a thread that
    /// holds no locks; different ranges may be written from several threads.
    void write(std::uint64_t offset, std::span<const std::byte> data);
    /// The memory itself, to be filled in place (contents undefined until written or zeroed). What is
    /// stored here is made durable by the put; nothing may be stored here once that has begun.
    std::span<std::byte> memory();
    /// Zeroes the whole extent, durably.
    void zero();
    /// Another type and size, in bytes, for the same extent: it stays where it is, and so do the bytes that both
    /// sizes have; those that come are undefined. False, and nothing has changed, where there is no room behind it, or
    /// where a value so small has no extent (stage again, and copy). Not while another thread writes to it. Throws
    /// InvalidArgumentError (type and size disagree), NoSpaceError, ReadOnlyError, ClosedError.
    bool resize(const Type& type, std::uint64_t size);

    struct State;
private:
    friend class ShelfCore;
    friend class Batch;
    explicit Staged(std::unique_ptr<State> state) noexcept;
    std::unique_ptr<State> state_;
};

/// Several changes that become durable together or not at all. Nothing is visible before commit().
/// Dropping an uncommitted batch discards it. Data passed to put() is copied to the media at once.
class Batch {
public:
    ~Batch();
    Batch(Batch&&) noexcept;
    Batch& operator=(Batch&&) noexcept;

    void put(std::string_view name, std::span<const std::byte> data, const Type& type = Type::raw());
    void put(std::string_view name, Staged staged);
    void erase(std::string_view name);
    /// Replaces `to` if it exists.
    void rename(std::string_view from, std::string_view to);

    std::size_t size() const noexcept;  ///< number of operations so far
    /// Applies all operations in order. Throws NotFoundError when an erase or rename names nothing at
    /// its turn, ReadOnlyError when a put or rename meets a sealed blob, NoSpaceError when the shelf is too full for
    /// it (a batch larger than the log needs several times its size for a moment); then nothing at all has happened.
    void commit();

    struct State;
private:
    friend class ShelfCore;
    friend class Shelf;
    explicit Batch(std::unique_ptr<State> state) noexcept;
    std::unique_ptr<State> state_;
};

/// Handle of an open shelf. Copies share the same open shelf; close() closes it for all of them.
/// Opening the same shelf twice in one process gives handles of the same open shelf. The writer's
/// lock is given up when the shelf is closed (or the last handle gone) and the last writable view
/// is gone.
class Shelf {
public:
    Shelf() noexcept = default;

    /// Opens the shelf `name` of the directory namespace at `path`; see Namespace::shelf.
    static Shelf open(const std::string& path, std::string_view name, Mode mode = Mode::read_write);

    explicit operator bool() const noexcept { return core_ != nullptr; }
    const std::string& name() const;
    /// Directory that holds it.
    const std::string& path() const;
    bool writable() const;
    bool is_open() const noexcept;

    /// Copies `data` to the shelf under `name`, replacing what was there. The old value, or the new
    /// one, is found after a crash. Throws NoSpaceError, ReadOnlyError, InvalidArgumentError (name, or
    /// size and type disagree); then nothing has changed. ReadOnlyError, too, when `name` is sealed.
    void put(std::string_view name, std::span<const std::byte> data, const Type& type = Type::raw());
    void put(std::string_view name, Staged staged);
    /// Space for a blob of `size` bytes, to be filled and then put.
    Staged stage(const Type& type, std::uint64_t size);

    bool contains(std::string_view name) const;
    std::optional<BlobInfo> find(std::string_view name) const;
    /// Throws NotFoundError; for Access::write, ReadOnlyError when the blob is sealed. A writable view
    /// makes a recorded checksum void, by a commit that is durable on return.
    View get(std::string_view name, Access access = Access::read) const;

    /// Throws NotFoundError. Views of it stay valid; the space is reused after the last is gone. Works on a full
    /// shelf.
    void erase(std::string_view name);
    /// Throws NotFoundError; ExistsError when `to` exists and `replace` is false, ReadOnlyError when it is
    /// sealed; NoSpaceError on a full shelf.
    void rename(std::string_view from, std::string_view to, bool replace = false);
    /// Puts `data` behind the end of a blob: raw bytes, a linked list, or an array in C order, which gets more rows. Durable and atomic on
    /// return: after a crash all of `data` is there, or nothing. What the blob is now is returned; `id` and `created`
    /// stay. It costs what the data does, and a copy of the blob when its extent is full: the new one has room for as
    /// much again, or half as much of large ones. Views keep the size that they had. Those of the last version show the same memory as
    /// new ones until the extent moves (BlobInfo::offset is another then); later stores through them reach
    /// nobody. Stores that were not persisted are kept. Threads may append at once: one after the other, in some
    /// order. Throws NotFoundError, also when `to.id` is not the blob's; InvalidArgumentError for other kinds, for data
    /// that is no whole rows, for more than Type::max_rows(), and when `to.size` is not the blob's size; ReadOnlyError when
    /// it is sealed; NoSpaceError. Then nothing has changed.
    BlobInfo append(std::string_view name, std::span<const std::byte> data, const AppendTo& to = {});
    /// Gives a blob other bytes and another type, as put() does, but it stays the one that it was: `id` and `created`
    /// are kept. Throws NotFoundError when the blob of that name is not the one with this id, or has other than `size` bytes:
    /// somebody else has put or replaced it meanwhile; else what put() throws. Then nothing has changed.
    void replace(std::string_view name, Staged staged, std::uint64_t id, std::uint64_t size);
    Batch batch();
    /// Begins a transaction: <pymm/transaction.hpp>. Throws BusyError when another thread has one, ReadOnlyError.
    Transaction transaction();

    /// Makes a blob immutable, and records a checksum of its bytes, which a scrub verifies. From the return
    /// on, durably: no writable view of it, no put and no rename over its name; erase it first. It may be
    /// erased and renamed. Nothing happens if it is sealed already. Reads all of it, and on page media writes it
    /// again in place, so that the checksum is one of what is durable; other calls go on meanwhile, but a writable
    /// view is refused. Throws NotFoundError, PinnedError while a writable view of it lives in this process (no
    /// other process can have one), IoError when it cannot be read, NoSpaceError.
    void seal(std::string_view name);

    /// Calls `visit` for each blob whose name starts with `prefix`, in order of the names' bytes, until
    /// it returns false. Works on a consistent state; `visit` must not call back into the shelf.
    void for_each(std::string_view prefix, const std::function<bool(const BlobInfo&)>& visit) const;
    std::vector<BlobInfo> list(std::string_view prefix = {}) const;
    std::uint64_t size() const;  ///< number of blobs

    /// Makes all stores durable that were made, before this call, through writable views of this open shelf. Throws
    /// as View::persist does.
    void persist();
    ShelfInfo stat() const;

    /// Persists what views stored, records the clean close, and closes. Views stay valid.
    void close();

    /// Identity of the open shelf: equal for handles of the same one.
    const void* identity() const noexcept { return core_.get(); }

private:
    friend class Namespace;
    friend class ShelfCore;
    explicit Shelf(std::shared_ptr<ShelfCore> core) noexcept : core_(std::move(core)) {}
    ShelfCore& core() const;
    struct Handle;
    std::shared_ptr<ShelfCore> core_;
};

}  // namespace pymm
