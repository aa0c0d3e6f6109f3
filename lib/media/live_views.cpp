#include "media/live_views.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace pymm {

struct LiveViews::Node {
    std::atomic<std::uintptr_t> begin{0};  // 0: not in use
    std::atomic<std::uint64_t> size{0};
    std::atomic<const char*> name{nullptr};
    std::atomic<std::size_t> name_size{0};
    Node* next = nullptr;  // of all of a region; set before the node is published
    Node* next_free = nullptr;
};

struct LiveViews::Region {
    std::atomic<bool> taken{true};
    std::atomic<std::uintptr_t> begin{0};  // 0: not in use
    std::atomic<std::uint64_t> size{0};
    std::atomic<const char*> path{nullptr};
    std::atomic<const char*> shelf{nullptr};
    std::atomic<Node*> nodes{nullptr};
    Region* next = nullptr;
};

namespace {

std::atomic<LiveViews::Region*> regions{nullptr};

std::uintptr_t number(const void* at) { return reinterpret_cast<std::uintptr_t>(at); }

// Text for a signal handler: no allocation, no locale, no lock.
class Text {
public:
    void add(std::string_view part) noexcept {
        const std::size_t n = std::min(part.size(), sizeof buffer_ - size_);
        std::memcpy(buffer_ + size_, part.data(), n);
        size_ += n;
    }
    void add(std::uint64_t n) noexcept {
        char digits[20];
        std::size_t count = 0;
        do digits[sizeof digits - ++count] = static_cast<char>('0' + n % 10);
        while ((n /= 10) != 0);
        add(std::string_view(digits + sizeof digits - count, count));
    }
    void write() const noexcept {
        std::size_t done = 0;
        while (done < size_) {
            const ssize_t n = ::write(STDERR_FILENO, buffer_ + done, size_ - done);
            if (n <= 0) return;
            done += static_cast<std::size_t>(n);
        }
    }

private:
    char buffer_[2048];
    std::size_t size_ = 0;
};

}  // namespace

LiveViews::LiveViews(const Media& data, const std::string& shelf) {
    region_ = nullptr;
    for (Region* r = regions.load(std::memory_order_acquire); r != nullptr && region_ == nullptr; r = r->next)
        if (!r->taken.exchange(true, std::memory_order_acquire)) region_ = r;
    if (region_ == nullptr) {
        region_ = new Region;
        region_->next = regions.load(std::memory_order_relaxed);
        while (!regions.compare_exchange_weak(region_->next, region_, std::memory_order_release)) {}
    }
    // Nodes of the region's last user are all unused.
    for (Node* n = region_->nodes.load(std::memory_order_relaxed); n != nullptr; n = n->next) {
        n->next_free = free_;
        free_ = n;
    }
    region_->path.store(data.name().c_str(), std::memory_order_relaxed);
    region_->shelf.store(shelf.c_str(), std::memory_order_relaxed);
    region_->size.store(data.size(), std::memory_order_relaxed);
    region_->begin.store(number(data.data()), std::memory_order_release);
}

LiveViews::~LiveViews() {
    region_->begin.store(0, std::memory_order_release);
    for (Node* n = region_->nodes.load(std::memory_order_relaxed); n != nullptr; n = n->next)
        n->begin.store(0, std::memory_order_relaxed);
    region_->taken.store(false, std::memory_order_release);
}

LiveViews::Node* LiveViews::add(const std::byte* at, std::uint64_t size, const std::string& name) {
    Node* node = free_;
    const bool fresh = node == nullptr;
    if (fresh) node = new Node;
    else free_ = node->next_free;
    node->name.store(name.data(), std::memory_order_relaxed);
    node->name_size.store(name.size(), std::memory_order_relaxed);
    node->size.store(size, std::memory_order_relaxed);
    node->begin.store(number(at), std::memory_order_release);
    if (fresh) {
        node->next = region_->nodes.load(std::memory_order_relaxed);
        region_->nodes.store(node, std::memory_order_release);
    }
    return node;
}

void LiveViews::remove(Node* node) noexcept {
    node->begin.store(0, std::memory_order_release);
    node->next_free = free_;
    free_ = node;
}

bool report_bus_error(const void* address) noexcept {
    const std::uintptr_t at = number(address);
    const auto covers = [at](const auto& range) {
        const std::uintptr_t begin = range.begin.load(std::memory_order_acquire);
        return begin != 0 && at >= begin && at - begin < range.size.load(std::memory_order_relaxed);
    };
    for (const LiveViews::Region* r = regions.load(std::memory_order_acquire); r != nullptr; r = r->next) {
        if (!covers(*r)) continue;
        Text text;
        text.add("pymm: bus error in shelf '");
        text.add(r->shelf.load(std::memory_order_relaxed));
        text.add("', ");
        for (const LiveViews::Node* n = r->nodes.load(std::memory_order_acquire); n != nullptr; n = n->next) {
            if (!covers(*n)) continue;
            text.add("blob '");
            text.add({n->name.load(std::memory_order_relaxed), n->name_size.load(std::memory_order_relaxed)});
            text.add("' at offset ");
            text.add(at - n->begin.load(std::memory_order_relaxed));
            text.add(", ");
            break;  // several views of one blob say the same
        }
        text.add(r->path.load(std::memory_order_relaxed));
        text.add(" at offset ");
        text.add(at - r->begin.load(std::memory_order_relaxed));
        text.add(": the file has become shorter, or its device failed there. A load or store of the program itself "
                 "cannot be turned into an error; run a check of the shelf\n");
        text.write();
        return true;
    }
    return false;
}

}  // namespace pymm
