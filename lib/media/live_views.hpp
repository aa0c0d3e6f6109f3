// LiveViews: which addresses belong to which shelf and blob, for the message before a process ends by a bus
// error in its own loads and stores.
//
// Written under the lock of the shelf, read by a signal handler at any moment: nodes are recycled, never
// freed while the process lives, and every field that the handler looks at is atomic.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "media/media.hpp"

namespace pymm {

class LiveViews {
public:
    struct Node;

    /// The shelf whose data is `data`. `shelf` is its name.
    LiveViews(const Media& data, const std::string& shelf);
    ~LiveViews();
    LiveViews(const LiveViews&) = delete;
    LiveViews& operator=(const LiveViews&) = delete;

    /// `name`, a blob's, stays where it is until remove(). Calls of one object exclude each other.
    Node* add(const std::byte* at, std::uint64_t size, const std::string& name);
    void remove(Node* node) noexcept;

    struct Region;

private:
    Region* region_;
    Node* free_ = nullptr;
};

/// Async-signal-safe. Writes one message to stderr if the address lies in the data of an open shelf; false,
/// and nothing written, if not.
bool report_bus_error(const void* address) noexcept;

}  // namespace pymm
