// Planner: turns puts, erases and renames into the records of one commit.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "catalogue/catalogue.hpp"

namespace pymm {

struct TransactionState;

/// What a name is to mean: an entry, all but sequence and times.
struct Version {
    std::string_view name;
    format::Entry entry;
    format::Bytes type;   // empty when it is in the extent header
    format::Bytes value;  // inline
};

/// Later operations see earlier ones. Throws NotFoundError, ExistsError, or ReadOnlyError where something
/// sealed would be replaced; the builder's contents are then to be thrown away. Wants the core's lock.
class Planner {
public:
    /// `single`: only one operation will come, so nothing has to be remembered.
    /// `others`: another thread's transaction, whose names and extents are not to be touched: BusyError.
    Planner(const Catalogue& catalogue, CommitBuilder& builder, bool single, const TransactionState* others = nullptr)
        : catalogue_(catalogue), builder_(builder), single_(single), others_(others) {
        builder_.clear();
    }

    void put(const Version& version, std::uint64_t now_ns);
    /// The same blob with more bytes: where it lies, or, moved, elsewhere. Its header is another one.
    void append(const Version& version, std::uint64_t now_ns);
    void erase(std::string_view name);
    void rename(std::string_view from, std::string_view to, bool replace);
    /// The same version under other flags, and perhaps with a checksum: its extents stay where they are.
    void mark(std::string_view name, std::uint32_t flags, std::uint32_t content_crc);

    // For those that say themselves what names mean: the extents of an entry are given back, or taken.
    void give_back(const format::Entry& entry) { extents(entry, &CommitBuilder::free); }
    void take(const format::Entry& entry) { extents(entry, &CommitBuilder::alloc); }

    /// Throws ReadOnlyError when the entry that bears the name is sealed.
    static void require_unsealed(const char* operation, std::string_view name, const format::Entry& entry);

private:
    struct Known {
        bool exists = false;
        format::Entry fixed{};
        std::vector<std::byte> type;
        std::vector<std::byte> value;
    };
    Known look_up(std::string_view name, bool with_bytes) const;
    void remember(std::string_view name, Known known);
    void refuse(const char* operation, std::string_view name, const Known& old) const;
    void extents(const format::Entry& entry, void (CommitBuilder::*record)(format::Extent));

    const Catalogue& catalogue_;
    CommitBuilder& builder_;
    bool single_;
    const TransactionState* others_;
    std::unordered_map<std::string, Known> known_;
};

}  // namespace pymm
