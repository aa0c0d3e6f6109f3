#include "shelf/planner.hpp"

#include <fmt/format.h>

#include "shelf/transaction.hpp"

namespace pymm {

using namespace format;

Planner::Known Planner::look_up(std::string_view name, bool with_bytes) const {
    if (!single_) {
        const auto it = known_.find(std::string(name));
        if (it != known_.end()) return it->second;
    }
    Known known;
    EntryView entry;
    known.exists = catalogue_.find(name, entry);
    if (known.exists) {
        known.fixed = entry.fixed;
        if (with_bytes) {
            known.type.assign(entry.type.begin(), entry.type.end());
            known.value.assign(entry.value.begin(), entry.value.end());
        }
    }
    return known;
}

void Planner::remember(std::string_view name, Known known) {
    if (!single_) known_.insert_or_assign(std::string(name), std::move(known));
}

// Header and data lie side by side for small blobs: one record is enough then.
void Planner::extents(const Entry& e, void (CommitBuilder::*record)(Extent)) {
    if ((e.flags & kEntryInline) != 0) return;
    if (e.header_offset + e.header_size == e.offset) {
        (builder_.*record)({e.header_offset, e.header_size + e.extent});
    } else {
        (builder_.*record)({e.header_offset, e.header_size});
        (builder_.*record)({e.offset, e.extent});
    }
}

void Planner::refuse(const char* operation, std::string_view name, const Known& old) const {
    if (others_ != nullptr) others_->refuse(operation, name, old.exists ? &old.fixed : nullptr);
}

void Planner::require_unsealed(const char* operation, std::string_view name, const Entry& entry) {
    if ((entry.flags & kEntrySealed) == 0) return;
    throw ReadOnlyError(fmt::format("{} '{}': the blob of that name is sealed; erase it first, or use another name",
                                    operation, name));
}

void Planner::put(const Version& version, std::uint64_t now_ns) {
    const Known old = look_up(version.name, false);
    refuse("put", version.name, old);
    if (old.exists) require_unsealed("put", version.name, old.fixed);
    Entry entry = version.entry;
    entry.sequence = catalogue_.sequence() + 1;
    entry.created_ns = old.exists ? old.fixed.created_ns : now_ns;
    entry.modified_ns = now_ns;
    if (old.exists) give_back(old.fixed);
    take(entry);
    builder_.put(entry, version.name, version.type, version.value, !old.exists);
    if (!single_)
        remember(version.name, {true, entry, {version.type.begin(), version.type.end()},
                                {version.value.begin(), version.value.end()}});
}

void Planner::append(const Version& version, std::uint64_t now_ns) {
    const Known known = look_up(version.name, false);
    refuse("append to", version.name, known);
    if (!known.exists) throw NotFoundError(fmt::format("append to '{}': no such blob", version.name));
    const Entry& old = known.fixed;
    require_unsealed("append to", version.name, old);
    if ((old.flags & kEntryInline) != 0 || old.offset != version.entry.offset) return put(version, now_ns);
    Entry entry = version.entry;
    entry.sequence = catalogue_.sequence() + 1;
    entry.created_ns = old.created_ns;
    entry.modified_ns = now_ns;
    builder_.free({old.header_offset, old.header_size});
    builder_.alloc({entry.header_offset, entry.header_size});
    if (entry.extent > old.extent) builder_.alloc({old.offset + old.extent, entry.extent - old.extent});
    builder_.put(entry, version.name, version.type, version.value, false);
    if (!single_) remember(version.name, {true, entry, {version.type.begin(), version.type.end()}, {}});
}

void Planner::erase(std::string_view name) {
    const Known old = look_up(name, false);
    refuse("erase", name, old);
    if (!old.exists) throw NotFoundError(fmt::format("erase '{}': no such blob", name));
    give_back(old.fixed);
    builder_.erase(name);
    remember(name, {});
}

void Planner::rename(std::string_view from, std::string_view to, bool replace) {
    Known moved = look_up(from, true);
    refuse("rename", from, moved);
    if (!moved.exists) throw NotFoundError(fmt::format("rename '{}': no such blob", from));
    if (from == to) return;
    const Known old = look_up(to, false);
    refuse("rename to", to, old);
    if (old.exists && !replace)
        throw ExistsError(fmt::format("rename '{}' to '{}': the new name is taken; ask for it to be "
                                      "replaced, or erase it first", from, to));
    if (old.exists) {
        require_unsealed("rename to", to, old.fixed);
        give_back(old.fixed);
    }
    builder_.erase(from);
    builder_.put(moved.fixed, to, moved.type, moved.value, !old.exists);
    remember(from, {});
    remember(to, std::move(moved));
}

void Planner::mark(std::string_view name, std::uint32_t flags, std::uint32_t content_crc) {
    Known known = look_up(name, true);
    if (!known.exists) throw NotFoundError(fmt::format("'{}': no such blob", name));
    known.fixed.flags = flags;
    known.fixed.content_crc = content_crc;
    builder_.put(known.fixed, name, known.type, known.value, false);
    remember(name, std::move(known));
}

}  // namespace pymm
