// What names mean in an open transaction, and how puts, erases and renames change that.
#include <fmt/format.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "format/names.hpp"
#include "shelf/planner.hpp"
#include "shelf/transaction.hpp"

namespace pymm {

using namespace format;

namespace {

EntryView view_of(const Prepared& prepared) {
    EntryView entry;
    entry.fixed = prepared.entry;
    entry.name = prepared.name;
    entry.type = prepared.type;
    entry.value = prepared.value;
    return entry;
}

}  // namespace

bool ShelfCore::look_up(std::string_view name, EntryView& out) const {
    if (!tx_) return catalogue_->find(name, out);
    const auto it = tx_->changes.find(name);
    if (it == tx_->changes.end()) return catalogue_->find(name, out);
    const TransactionState::Change& change = it->second;
    switch (change.what) {
        case TransactionState::Change::erased: return false;
        case TransactionState::Change::put: out = view_of(*change.prepared); break;
        case TransactionState::Change::moved:
            if (!catalogue_->find(change.origin, out)) return false;
            break;
    }
    out.name = it->first;
    return true;
}

void ShelfCore::for_each_seen(std::string_view prefix, const std::function<bool(const EntryView&)>& visit) const {
    if (!tx_) {
        catalogue_->for_each(prefix, [&](const EntryView& entry) { return is_internal_name(entry.name) || visit(entry); });
        return;
    }
    auto it = tx_->changes.lower_bound(prefix);
    const auto end = tx_->changes.end();
    bool go_on = true;
    // Those of the transaction up to `name`, or all.
    const auto changed = [&](const std::string_view* name) {
        for (; go_on && it != end && it->first.starts_with(prefix) && (name == nullptr || it->first <= *name); ++it) {
            EntryView entry;
            if (look_up(it->first, entry)) go_on = visit(entry);
        }
        return go_on;
    };
    catalogue_->for_each(prefix, [&](const EntryView& entry) {
        if (is_internal_name(entry.name)) return true;
        const bool ours = tx_->changes.contains(entry.name);
        const std::string_view name = entry.name;
        return changed(&name) && (ours || (go_on = visit(entry)));
    });
    changed(nullptr);
}

std::uint64_t ShelfCore::count_seen() {
    EntryView entry;
    std::uint64_t blobs = catalogue_->blobs();
    if (!tx_) {
        if (!recovered_ && has_journals())
            catalogue_->for_each(kJournalName, [&](const EntryView&) { return blobs != 0 && --blobs != 0; });
        return blobs;
    }
    TransactionState& tx = *tx_;
    if (!tx.counted || tx.counted_at != catalogue_->sequence()) {
        tx.more = 0;
        for (std::uint32_t n = 0; catalogue_->find(journal_name(n), entry); ++n) --tx.more;
        for (const auto& [name, change] : tx.changes)
            tx.more += (change.what != TransactionState::Change::erased ? 1 : 0) - (catalogue_->find(name, entry) ? 1 : 0);
        tx.counted = true;
        tx.counted_at = catalogue_->sequence();
    }
    return blobs + static_cast<std::uint64_t>(tx.more);
}

// Gives the space of a version back that no commit has named; behind its views, where there are any.
void ShelfCore::drop(Prepared& p) noexcept {
    const auto pin = pins_.find(p.data.offset);
    if (p.data.size != 0) touched_.erase(p.data.offset);
    if (p.data.size != 0 && pin != pins_.end()) {
        pin->second.freed = true;
        p.data = {};
    }
    release_staged(p.data);
    release_staged(p.header);
    p.data = p.header = {};
}

// Takes `prepared`, unless it throws. `old`: what is to be destroyed behind the lock.
void ShelfCore::set_change(std::string_view name, std::unique_ptr<Prepared>& prepared, std::unique_ptr<Prepared>& old) {
    EntryView entry;
    TransactionState& tx = own_transaction();
    if (look_up(name, entry)) {
        Planner::require_unsealed("put", name, entry.fixed);
        prepared->entry.created_ns = entry.fixed.created_ns;
    }
    auto& change = tx.changes[std::string(name)];
    old = std::move(change.prepared);
    if (old) drop(*old);
    prepared->entry.sequence = ++tx_versions_;  // each another, as after a commit
    change = {TransactionState::Change::put, std::move(prepared), {}};
    tx.counted = false;
}

void ShelfCore::put_in_transaction(std::unique_ptr<Prepared> prepared, const std::function<void()>& check) {
    std::unique_ptr<Prepared> old;
    prepared->entry.created_ns = prepared->entry.modified_ns = now_ns();
    const std::string name = prepared->name;
    const auto lock = exclusive();
    require_writable();
    if (check) check();
    set_change(name, prepared, old);
}

void ShelfCore::erase_in_transaction(std::string_view name, std::unique_ptr<Prepared>& old) {
    TransactionState& tx = own_transaction();
    EntryView entry;
    const bool known = catalogue_->find(name, entry);
    const auto it = known ? tx.changes.try_emplace(std::string(name)).first : tx.changes.find(name);
    old = std::move(it->second.prepared);
    if (old) drop(*old);
    if (known) it->second = {};
    else tx.changes.erase(it);
    tx.counted = false;
}

void ShelfCore::rename_in_transaction(std::string_view from, std::string_view to, bool replace,
                                      std::unique_ptr<Prepared>& old) {
    using Change = TransactionState::Change;
    TransactionState& tx = own_transaction();
    EntryView entry;
    if (look_up(to, entry)) {
        if (!replace)
            throw ExistsError(fmt::format("rename '{}' to '{}': the new name is taken; ask for it to be replaced, or erase "
                                          "it first", from, to));
        Planner::require_unsealed("rename to", to, entry.fixed);
    }
    // What needs memory comes first: in the middle of a move there must be enough.
    auto& changes = tx.changes;
    std::map<std::string, Change, std::less<>> fresh;
    const auto new_source = fresh.try_emplace(std::string(from)).first, new_target = fresh.try_emplace(std::string(to)).first;
    std::string name(to);
    Change moved{Change::moved, nullptr, std::string(from)};
    const bool known = catalogue_->find(from, entry);

    auto source = changes.find(from), target = changes.find(to);
    if (source != changes.end()) moved = std::move(source->second);
    if (moved.prepared) moved.prepared->name.swap(name);
    if (target != changes.end()) {
        old = std::move(target->second.prepared);
        if (old) drop(*old);
    } else {
        target = changes.insert(fresh.extract(new_target)).position;
    }
    if (known && source == changes.end()) source = changes.insert(fresh.extract(new_source)).position;
    if (known) source->second = {};
    else if (source != changes.end()) changes.erase(source);
    // Back under its own name it is no change.
    if (moved.what == Change::moved && moved.origin == to) changes.erase(target);
    else target->second = std::move(moved);
    tx.counted = false;
}

// All of it or nothing. What can fail comes first; then it is known what each name is to mean, and there is a node for
// each that changes. The rest takes no memory and looks nothing up on the media.
void ShelfCore::batch_in_transaction(Batch::State& batch) {
    using Op = Batch::State::Op;
    struct Meaning {
        bool known = false;  // to the catalogue
        bool exists = false;
        Entry fixed{};
        std::string origin;                            // what the catalogue calls it, unless ...
        std::unique_ptr<Prepared>* version = nullptr;  // ... this transaction has put it: who has it
    };
    std::vector<std::unique_ptr<Prepared>> old;  // destroyed behind the lock
    const auto lock = exclusive();
    require_writable();
    TransactionState& tx = own_transaction();
    std::map<std::string, Meaning, std::less<>> names;
    const auto meaning = [&](const std::string& name) -> Meaning& {
        const auto [it, added] = names.try_emplace(name);
        Meaning& m = it->second;
        if (!added) return m;
        EntryView entry;
        m.known = m.exists = catalogue_->find(name, entry);
        const auto change = tx.changes.find(name);
        if (change != tx.changes.end()) m.exists = look_up(name, entry);
        if (!m.exists) return m;
        m.fixed = entry.fixed;
        if (change == tx.changes.end()) m.origin = name;
        else if (change->second.prepared) m.version = &change->second.prepared;
        else m.origin = change->second.origin;
        return m;
    };
    const std::uint64_t now = now_ns();
    for (Op& op : batch.ops) {
        Meaning& m = meaning(op.name);
        if (op.what == Op::put) {
            if (m.exists) Planner::require_unsealed("put", op.name, m.fixed);
            op.prepared->entry.created_ns = m.exists ? m.fixed.created_ns : now;
            op.prepared->entry.modified_ns = now;
            m = {m.known, true, op.prepared->entry, {}, &op.prepared};
            continue;
        }
        const bool rename = op.what == Op::rename;
        if (!m.exists)
            throw NotFoundError(fmt::format("{} '{}': no such blob", rename ? "rename" : "erase", op.name));
        if (rename && op.name == op.to) continue;
        if (rename) {
            Meaning& target = meaning(op.to);
            if (target.exists) Planner::require_unsealed("rename to", op.to, target.fixed);
            target = {target.known, true, m.fixed, std::move(m.origin), m.version};
        }
        m = {m.known, false, {}, {}, nullptr};
    }
    std::map<std::string, TransactionState::Change, std::less<>> fresh;
    for (const auto& [name, m] : names) {
        if (m.exists ? m.origin == name : !m.known) continue;  // as in the catalogue
        TransactionState::Change& change = fresh[name];
        if (m.exists) change.what = m.version != nullptr ? TransactionState::Change::put : TransactionState::Change::moved;
        change.origin = m.version != nullptr ? name : m.origin;
    }
    old.reserve(names.size() + batch.ops.size());

    for (Op& op : batch.ops)
        if (op.prepared) op.prepared->entry.sequence = ++tx_versions_;
    for (auto& [name, change] : fresh) {
        if (change.what != TransactionState::Change::put) continue;
        change.prepared = std::move(*names.find(name)->second.version);
        change.prepared->name.swap(change.origin);
        change.origin.clear();
    }
    const auto give_up = [&](std::unique_ptr<Prepared>& version) {
        if (!version) return;
        drop(*version);
        old.push_back(std::move(version));
    };
    for (const auto& [name, m] : names) {
        const auto change = tx.changes.find(name);
        if (change == tx.changes.end()) continue;
        give_up(change->second.prepared);
        tx.changes.erase(change);
    }
    for (Op& op : batch.ops) give_up(op.prepared);
    tx.changes.merge(fresh);
    tx.counted = false;
}

}  // namespace pymm
