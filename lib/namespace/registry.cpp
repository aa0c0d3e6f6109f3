#include "namespace/registry.hpp"

#include <pthread.h>

namespace pymm {

Registry& Registry::instance() {
    static Registry* registry = new Registry;
    return *registry;
}

Registry::Registry() { ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); }

// Other threads do not exist here, and a lock that one of them held stays locked for ever: only what
// needs none is done.
void Registry::after_fork_in_child() {
    Registry& self = instance();
    for (Open& open : self.open_)
        if (auto core = open.core.lock()) core->detach_in_child();
    self.mutex_.unlock();
}

Shelf Registry::find(const Key& key) {
    std::erase_if(open_, [](const Open& open) { return open.core.expired(); });
    for (Open& open : open_) {
        if (!(open.key == key)) continue;
        const auto core = open.core.lock();
        if (!core) continue;
        if (Shelf shelf = ShelfCore::handle(core)) return shelf;
    }
    return Shelf();
}

Shelf Registry::add(const Key& key, const std::shared_ptr<ShelfCore>& core) {
    open_.push_back({key, core});
    return ShelfCore::handle(core);
}

}  // namespace pymm
