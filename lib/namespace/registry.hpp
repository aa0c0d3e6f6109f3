// Registry: the shelves that this process has open, so that opening one twice gives the same one, and so
// that a forked child lets go of them.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "shelf/core.hpp"

namespace pymm {

class Registry {
public:
    /// The process's only one. Never destroyed: views may outlive static objects.
    static Registry& instance();

    struct Key {
        dev_t device;
        ino_t inode;
        Mode mode;
        bool operator==(const Key&) const = default;
    };

    /// Held around opening, creating and erasing.
    std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }

    // These want the lock.
    /// A handle of the open shelf with this key, or an empty one.
    Shelf find(const Key& key);
    Shelf add(const Key& key, const std::shared_ptr<ShelfCore>& core);

private:
    Registry();
    static void before_fork() { instance().mutex_.lock(); }
    static void after_fork_in_parent() { instance().mutex_.unlock(); }
    static void after_fork_in_child();

    struct Open {
        Key key;
        std::weak_ptr<ShelfCore> core;
    };
    std::mutex mutex_;
    std::vector<Open> open_;
};

}  // namespace pymm
