// The public Shelf: a handle that forwards to its core.
#include <fmt/format.h>

#include <pymm/shelf.hpp>
#include <pymm/transaction.hpp>
#include <pymm/version.hpp>

#include "format/names.hpp"
#include "shelf/core.hpp"

namespace pymm {

#define PYMM_TEXT_(x) #x
#define PYMM_TEXT(x) PYMM_TEXT_(x)
const char* version() noexcept {
    return PYMM_TEXT(PYMM_VERSION_MAJOR) "." PYMM_TEXT(PYMM_VERSION_MINOR) "." PYMM_TEXT(PYMM_VERSION_PATCH);
}

std::string_view granularity_name(Granularity g) noexcept {
    switch (g) {
        case Granularity::byte: return "byte";
        case Granularity::cache_line: return "cache-line";
        case Granularity::page: return "page";
    }
    return "unknown";
}

void check_blob_name(std::string_view name) {
    if (const char* problem = format::blob_name_problem(name))
        throw InvalidArgumentError(fmt::format("blob name '{}': {}", format::printable_name(name), problem));
}

ShelfCore& Shelf::core() const {
    if (!core_) throw ClosedError("shelf: the handle is empty; open a shelf first");
    return *core_;
}

const std::string& Shelf::name() const { return core().name(); }
const std::string& Shelf::path() const { return core().path(); }
bool Shelf::writable() const { return core().writable(); }
bool Shelf::is_open() const noexcept { return core_ && core_->is_open(); }

void Shelf::put(std::string_view name, std::span<const std::byte> data, const Type& type) {
    core().put(name, data, type);
}
void Shelf::put(std::string_view name, Staged staged) { core().put(name, std::move(staged)); }
void Shelf::replace(std::string_view name, Staged staged, std::uint64_t id, std::uint64_t size) {
    core().replace(name, std::move(staged), id, size);
}
Staged Shelf::stage(const Type& type, std::uint64_t size) { return core().stage(type, size); }

bool Shelf::contains(std::string_view name) const { return find(name).has_value(); }
std::optional<BlobInfo> Shelf::find(std::string_view name) const { return core().find(name); }
View Shelf::get(std::string_view name, Access access) const { return core().get(name, access); }

void Shelf::erase(std::string_view name) { core().erase(name); }
void Shelf::rename(std::string_view from, std::string_view to, bool replace) {
    core().rename(from, to, replace);
}
BlobInfo Shelf::append(std::string_view name, std::span<const std::byte> data, const AppendTo& to) {
    return core().append(name, data, to);
}
void Shelf::seal(std::string_view name) { core().seal(name); }
Batch Shelf::batch() { return core().batch(); }
Transaction Shelf::transaction() { return core().transaction(*this); }

void Shelf::for_each(std::string_view prefix, const std::function<bool(const BlobInfo&)>& visit) const {
    core().for_each(prefix, visit);
}

std::vector<BlobInfo> Shelf::list(std::string_view prefix) const {
    std::vector<BlobInfo> all;
    for_each(prefix, [&all](const BlobInfo& info) {
        all.push_back(info);
        return true;
    });
    return all;
}

std::uint64_t Shelf::size() const { return core().size(); }
void Shelf::persist() { core().persist(); }
ShelfInfo Shelf::stat() const { return core().stat(); }
void Shelf::close() {
    if (core_) core_->close();
}

}  // namespace pymm
