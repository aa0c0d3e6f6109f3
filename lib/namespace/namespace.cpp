// The public Namespace: dispatches to what lives at the path. Today that is always a directory.
#include <fmt/format.h>

#include <pymm/namespace.hpp>

#include "format/names.hpp"
#include "media/address_space.hpp"
#include "media/log.hpp"
#include "namespace/directory.hpp"
#include "namespace/registry.hpp"

namespace pymm {

void check_shelf_name(std::string_view name) {
    if (const char* problem = format::shelf_name_problem(name))
        throw InvalidArgumentError(fmt::format("shelf name '{}': {}", format::printable_name(name), problem));
}

Namespace Namespace::open(const std::string& path) {
    const Directory directory(path);  // throws when there is none
    return Namespace(path);
}

std::vector<ShelfEntry> Namespace::list() const { return Directory(path_).list(); }
bool Namespace::contains(std::string_view name) const { return Directory(path_).contains(name); }
SpaceInfo Namespace::space() const { return Directory(path_).space(); }

Shelf Namespace::create(std::string_view name, const CreateOptions& options) const {
    const Directory directory(path_);
    Registry& registry = Registry::instance();
    const auto lock = registry.lock();
    Directory::Opened opened = directory.create(name, options);
    return registry.add(opened.key, ShelfCore::open(std::move(opened.parts), Mode::read_write));
}

Shelf Namespace::shelf(std::string_view name, Mode mode) const { return shelf(name, {.mode = mode}); }

Shelf Namespace::shelf(std::string_view name, const OpenOptions& options) const {
    const Mode mode = options.mode;
    const Directory directory(path_);
    check_address(options.address, 0, fmt::format("shelf '{}'", format::printable_name(name)));
    Registry& registry = Registry::instance();
    const auto lock = registry.lock();
    for (int tries = 5;; --tries) {
        if (Shelf known = registry.find(directory.key(name, mode))) {
            if (options.address != 0 && known.stat().address != options.address)
                log().info("{}/{}: it is open already, and stays at address {:#x}", path_, name, known.stat().address);
            return known;
        }
        Directory::Opened opened = directory.open(name, options);
        std::shared_ptr<ShelfCore> core;
        try {
            core = ShelfCore::open(std::move(opened.parts), mode);
        } catch (const CorruptError&) {
            // Perhaps the halves of two shelves: one erased, one created, between our two looks.
            if (tries == 0 || directory.still_named(name, opened.key, opened.data_inode)) throw;
            continue;
        }
        if (tries == 0 || directory.still_named(name, opened.key, opened.data_inode))
            return registry.add(opened.key, core);
    }
}

void Namespace::erase(std::string_view name) const {
    const Directory directory(path_);
    const auto lock = Registry::instance().lock();
    directory.erase(name);
}

Shelf Shelf::open(const std::string& path, std::string_view name, Mode mode) {
    return Namespace::open(path).shelf(name, mode);
}

}  // namespace pymm
