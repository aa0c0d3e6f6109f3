// What the parts of a dump share: making items and passing them on.
#pragma once

#include <pymm/dump.hpp>

#include "check/dump_file.hpp"
#include "format/entry.hpp"
#include "format/layout.hpp"

namespace pymm {

/// Builds an item: DumpMaker("page", 1, offset, size).number("count", 3).item.
struct DumpMaker {
    DumpMaker(std::string_view kind, unsigned depth, std::uint64_t offset, std::uint64_t size, bool in_map = false)
        : item{kind, depth, in_map, offset, size, {}, {}} {}
    DumpMaker& number(std::string_view name, std::uint64_t value) { return add(name, DumpField::Form::number, value); }
    DumpMaker& hex(std::string_view name, std::uint64_t value) { return add(name, DumpField::Form::hex, value); }
    DumpMaker& time(std::string_view name, std::uint64_t value) { return add(name, DumpField::Form::time, value); }
    DumpMaker& text(std::string_view name, std::string value) {
        item.fields.push_back({name, DumpField::Form::text, 0, std::move(value)});
        return *this;
    }
    DumpMaker& problem(std::string what) {
        if (item.problem.empty()) item.problem = std::move(what);
        return *this;
    }
    /// Fields of an entry, its name first.
    DumpMaker& entry(const format::EntryView& entry);

    DumpItem item;

private:
    DumpMaker& add(std::string_view name, DumpField::Form form, std::uint64_t value) {
        item.fields.push_back({name, form, value, {}});
        return *this;
    }
};

/// Passes items on. When only one name is wanted, items that hold others wait until one of theirs speaks of it.
class DumpSink {
public:
    struct Stopped {};  ///< thrown when the visitor has seen enough

    DumpSink(const std::function<bool(const DumpItem&)>& visit, std::string only)
        : visit_(visit), only_(std::move(only)) {}

    void item(const DumpItem& item) {
        if (!visit_(item)) throw Stopped();
    }
    /// One that has parts.
    void parent(DumpItem item);
    /// One that speaks of `name`, or of none.
    void part(const DumpItem& item, std::string_view name = {});
    const std::string& only() const noexcept { return only_; }

private:
    void release();
    const std::function<bool(const DumpItem&)>& visit_;
    std::string only_;
    std::vector<DumpItem> waiting_;
};

// The parts. `sb` is the root, with numbers that were not checked.
void dump_superblocks(const DumpFile& map, const DumpFile& data, DumpSink& sink);
void dump_zones(const format::Superblock& sb, const DumpFile& data, DumpSink& sink);
void dump_log(const format::Superblock& sb, const DumpFile& data, DumpSink& sink);
void dump_runs(const format::Superblock& sb, const DumpFile& data, DumpSink& sink);

}  // namespace pymm
