// docs/FORMAT.md, "Linked lists".
#include <pymm/list.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "format/crc32c.hpp"
#include "format/layout.hpp"
#include "format/list.hpp"
#include "format/tree.hpp"
#include "format/type_codec.hpp"

namespace pymm {

using namespace format;

namespace {

using Bytes = std::span<const std::byte>;

[[noreturn]] void corrupt(std::uint64_t at, std::string_view what) {
    throw CorruptError(fmt::format("list: at its byte {}: {}; restore it from a copy, or erase it", at, what));
}

// A slot's or a child's 16 bytes.
struct Item {
    std::uint64_t head;   // tag and size, or offset
    std::uint64_t value;  // or elements

    std::uint8_t tag() const noexcept { return static_cast<std::uint8_t>(head & 0xff); }
    std::uint64_t size() const noexcept { return head >> 8; }
    bool is_tree() const noexcept { return tag() == kListTree || tag() == kListLeaf; }
    /// Bytes outside of the slot.
    std::uint64_t outside() const noexcept {
        if (is_tree()) return size();
        return size() <= 8 ? 0 : sizeof(std::uint32_t) + size();
    }
};

template <class T>
T load(Bytes bytes, std::uint64_t at) noexcept {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

bool inside(std::uint64_t at, std::uint64_t size, std::uint64_t limit) noexcept {
    return at <= limit && size <= limit - at;
}

/// What is wrong with the root, but for its version.
const char* root_problem(Bytes list, ListRoot& root) noexcept {
    if (list.size() < sizeof(ListRoot) || list.size() % 8 != 0) return "there is no room for a root";
    root = load<ListRoot>(list, list.size() - sizeof root);
    if (root.magic != kListMagic) return "it does not end as a list does";
    if (root.version != kListVersion) return nullptr;
    const std::uint32_t crc = std::exchange(root.crc, 0);
    if (crc32c(&root, sizeof root) != crc) return "the root's checksum is wrong";
    if (root.size != list.size()) return "the root tells another size";
    // Each element has a slot of its own.
    if (root.count > root.size / sizeof(TreeSlot) || root.live > root.size || root.level >= kListLevels ||
        (root.count == 0 && (root.top != 0 || root.level != 0)))
        return "the root tells what cannot be";
    return nullptr;
}

/// A node that is to be at some place.
struct Place {
    std::uint64_t at;
    std::uint64_t count;  // elements below it
    std::uint64_t limit;  // it ends here at most: in front of what refers to it
    unsigned level;
};

const char* node_problem(Bytes list, const Place& place, unsigned& items) noexcept {
    ListNode node;
    if (place.at % 8 != 0 || !inside(place.at, sizeof node, place.limit)) return "no node can be there";
    node = load<ListNode>(list, place.at);
    if (node.items == 0 || node.items > kListFanout) return "a node cannot have as many items";
    const std::uint64_t size = sizeof node + sizeof(ListChild) * node.items;
    if (!inside(place.at, size, place.limit)) return "a node reaches too far";
    const std::uint32_t crc = std::exchange(node.crc, 0);
    const std::uint32_t head = crc32c(&node, sizeof node);
    if (crc32c(list.data() + place.at + sizeof node, size - sizeof node, head) != crc) return "a node's checksum is wrong";
    if (node.offset != place.at || node.level != place.level) return "the node is one of another place";
    items = node.items;
    std::uint64_t sum = items;
    if (place.level != 0) {
        sum = 0;
        for (unsigned i = 0; i < items; ++i) {
            const auto child = load<ListChild>(list, place.at + sizeof node + sizeof(ListChild) * i);
            // None is above the whole, so the sum cannot overflow.
            if (child.count == 0 || child.count > place.count) return "a node below has an impossible number of elements";
            sum += child.count;
        }
    }
    return sum == place.count ? nullptr : "a node has another number of elements";
}

/// Whether what a slot refers to can be there.
const char* slot_problem(const Item& slot, std::uint64_t leaf) noexcept {
    if (slot.is_tree())
        return slot.value % kTreeAlign == 0 && inside(slot.value, slot.size(), leaf) ? nullptr : "a tree cannot be there";
    switch (static_cast<Kind>(slot.tag())) {
        case Kind::string:
        case Kind::bytes:
        case Kind::integer:
        case Kind::complex:
            if (slot.size() > 8)
                return slot.value % 8 == 0 && inside(slot.value, slot.outside(), leaf) ? nullptr : "a value cannot be there";
            break;
        case Kind::real:
        case Kind::boolean:
        case Kind::none: break;
        default: return "a slot's tag is unknown";
    }
    if (slot.size() > 8 || (slot.size() < 8 && (slot.value >> (8 * slot.size())) != 0)) return "there is more than its size";
    return nullptr;
}

Bytes data_of(Bytes list, const Item& slot) noexcept {
    return list.subspan(slot.value + sizeof(std::uint32_t), slot.size());
}

bool is_sound(Bytes list, const Item& slot) noexcept {
    const Bytes data = data_of(list, slot);
    return crc32c(data.data(), data.size()) == load<std::uint32_t>(list, slot.value);
}

/// Calls visit(leaf's offset, slot) for all elements from `first` on of the node, until it returns false.
/// What is wrong is told to report(offset, problem), which ends it, too. False when it ended early.
template <class Visit, class Report>
bool walk(Bytes list, const Place& place, std::uint64_t first, Visit& visit, Report& report) {
    unsigned items = 0;
    if (const char* problem = node_problem(list, place, items)) {
        report(place.at, problem);
        return false;
    }
    for (unsigned i = 0; i < items; ++i) {
        const auto item = load<Item>(list, place.at + sizeof(ListNode) + sizeof(Item) * i);
        const std::uint64_t elements = place.level == 0 ? 1 : item.value;
        if (first >= elements) {
            first -= elements;
            continue;
        }
        if (place.level == 0) {
            if (const char* problem = slot_problem(item, place.at)) {
                report(place.at, problem);
                return false;
            }
            if (!visit(place.at, item)) return false;
        } else if (!walk(list, {item.head, item.value, place.at, place.level - 1}, first, visit, report)) {
            return false;
        }
        first = 0;
    }
    return true;
}

}  // namespace

const char* format::list_problem(Bytes list) noexcept {
    ListRoot root;
    if (const char* problem = root_problem(list, root)) return problem;
    if (root.version != kListVersion || root.count == 0) return nullptr;
    const char* found = nullptr;
    std::uint64_t left = list.size();
    auto visit = [&](std::uint64_t, const Item& slot) noexcept {
        if (slot.outside() > left) found = "parts of it are used several times";
        else if (slot.is_tree()) found = tree_problem(list.subspan(slot.value, slot.size()));
        else if (slot.size() > 8 && !is_sound(list, slot)) found = "a value's checksum is wrong";
        left -= std::min(left, slot.outside());
        return found == nullptr;
    };
    auto report = [&](std::uint64_t, const char* problem) noexcept { found = problem; };
    walk(list, {root.top, root.count, root.size - sizeof root, root.level}, 0, visit, report);
    return found;
}

LinkedList::LinkedList(Bytes bytes) : bytes_(bytes) {
    ListRoot root;
    if (const char* problem = root_problem(bytes, root)) corrupt(0, problem);
    if (root.version != kListVersion)
        throw VersionError(fmt::format("list: it has version {}, this program knows version {}: use a newer one",
                                       root.version, kListVersion));
    count_ = root.count;
    top_ = root.top;
    live_ = root.live;
    level_ = root.level;
}

TreeNode LinkedList::element(std::uint64_t leaf, std::uint64_t head, std::uint64_t value) const {
    const Item slot{head, value};
    if (slot.is_tree()) {
        const TreeNode root = Tree(bytes_.subspan(slot.value, slot.size())).root();
        if (slot.tag() == kListTree) {
            if (root.kind() < TreeKind::list || root.kind() > TreeKind::ordered_dict)
                corrupt(slot.value, "this tree should be a list, tuple or dict");
            return root;
        }
        if (root.kind() != TreeKind::list || root.size() != 1) corrupt(slot.value, "this tree should be a list of one element");
        return root.at(0);
    }
    TreeNode node;
    node.kind_ = static_cast<TreeKind>(slot.tag());
    node.size_ = slot.size();
    node.type_ = Type::value(static_cast<Kind>(slot.tag()));
    if (const char* problem = type_problem(node.type_, node.size_)) corrupt(leaf, problem);
    if (node.size_ > 8) {
        if (!is_sound(bytes_, slot)) corrupt(slot.value, "a value's checksum is wrong");
        node.tree_ = data_of(bytes_, slot);
        node.inside_ = false;
        return node;
    }
    std::memcpy(node.small_, &slot.value, sizeof node.small_);
    if (node.kind_ == TreeKind::boolean && slot.value > 1) corrupt(leaf, "a boolean is 0 or 1");
    return node;
}

TreeNode LinkedList::at(std::uint64_t i) const {
    if (i >= count_) throw InvalidArgumentError(fmt::format("list: element {} of {} was asked for", i, count_));
    TreeNode found;
    auto visit = [&](std::uint64_t leaf, const Item& slot) {
        found = element(leaf, slot.head, slot.value);
        return false;
    };
    auto report = [](std::uint64_t at, const char* problem) { corrupt(at, problem); };
    walk(bytes_, {top_, count_, bytes_.size() - sizeof(ListRoot), level_}, i, visit, report);
    return found;
}

void LinkedList::for_each(const std::function<bool(const TreeNode& element)>& wanted) const {
    if (count_ == 0) return;
    std::uint64_t left = bytes_.size();
    auto visit = [&](std::uint64_t leaf, const Item& slot) {
        if (slot.outside() > left) corrupt(leaf, "parts of it are used several times");
        left -= slot.outside();
        return wanted(element(leaf, slot.head, slot.value));
    };
    auto report = [](std::uint64_t at, const char* problem) { corrupt(at, problem); };
    walk(bytes_, {top_, count_, bytes_.size() - sizeof(ListRoot), level_}, 0, visit, report);
}

void LinkedList::check() const {
    if (const char* problem = list_problem(bytes_)) corrupt(0, problem);
    for_each([](const TreeNode& element) {
        if (element.is_container()) Tree(element.tree_).check();
        return true;
    });
}

}  // namespace pymm
