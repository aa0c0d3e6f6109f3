#include "specimen/exercise.hpp"

#include <algorithm>
#include <vector>

#include <pymm/list.hpp>
#include <pymm/transaction.hpp>
#include <pymm/tree.hpp>

#include "check/checker.hpp"
#include "media/log.hpp"
#include "sim/image_shelf.hpp"
#include "sim/ram_media.hpp"
#include "sim/sim_lease.hpp"

namespace pymm::test {

namespace {

Shelf open(ShelfImage& image, sim::SimLocks& locks, Mode mode) {
    auto spans = image.spans();
    return sim::open_image(spans, locks, Granularity::cache_line, mode);
}

/// Runs what may meet damage; true when it met none.
template <class F>
bool tolerate(F&& work) {
    try {
        work();
        return true;
    } catch (const Error&) {
        return false;
    }
}

volatile unsigned char g_sink;

void read_bytes(std::span<const std::byte> bytes) {
    unsigned char sum = 0;
    for (const std::byte b : bytes) sum = static_cast<unsigned char>(sum + static_cast<unsigned char>(b));
    g_sink = sum;
}

/// All that there is to see of a container, whatever its bytes are.
void read_container(Kind kind, std::span<const std::byte> bytes) {
    const auto node = [](const TreeNode& n) {
        if (!n.is_container()) read_bytes(n.bytes());
        else if (n.is_dict()) (void)n.find("first");
        return true;
    };
    if (kind == Kind::tree || kind == Kind::pickled) {
        tolerate([&] { Tree(bytes).check(); });
        tolerate([&] { Tree(bytes).walk([&](const TreeNode& n, unsigned) { return node(n); }); });
    } else if (kind == Kind::linked_list) {
        tolerate([&] { LinkedList(bytes).check(); });
        tolerate([&] { LinkedList(bytes).for_each(node); });
        tolerate([&] { (void)LinkedList(bytes).at(3); });
    }
}

/// The names that can be listed, in order; all that stand before the damage.
std::vector<std::string> read_all(const Shelf& shelf, Exercised& done) {
    std::vector<std::string> names;
    tolerate([&] {
        shelf.for_each("", [&](const BlobInfo& info) {
            names.push_back(info.name);
            (void)info.type.describe();
            (void)info.type.c_contiguous();
            return true;
        });
    });
    for (const std::string& name : names)
        tolerate([&] {
            const View view = shelf.get(name);
            read_bytes(view.bytes());
            ++done.blobs;
            read_container(view.info().type.kind, view.bytes());
            (void)view.array<double>();  // checks bounds by the type
        });
    tolerate([&] { (void)shelf.list("often/"); });
    tolerate([&] { (void)shelf.find("no/such/name"); });
    tolerate([&] { (void)shelf.find("a"); });
    tolerate([&] { (void)shelf.stat(); });
    tolerate([&] { (void)shelf.size(); });
    return names;
}

void read(ShelfImage& image, Exercised& done) {
    tolerate([&] {
        sim::SimLocks locks;
        const Shelf shelf = open(image, locks, Mode::read_only);
        done.opened = true;
        read_all(shelf, done);
    });
}

void write(ShelfImage& image, Exercised& done) {
    Exercised ignored;
    tolerate([&] {
        sim::SimLocks locks;
        Shelf shelf = open(image, locks, Mode::read_write);
        const std::vector<std::string> names = read_all(shelf, ignored);
        const std::vector<std::byte> value(5000, std::byte{0xcd});
        const auto part = [&](std::size_t n) { return std::span(value).first(n); };
        done.written |= tolerate([&] { shelf.put("w/inline", part(20), Type::value(Kind::bytes)); });
        tolerate([&] { shelf.put("w/small", part(700)); });
        tolerate([&] { shelf.put("w/pages", part(5000)); });
        tolerate([&] {
            Staged staged = shelf.stage(Type::raw(), 4500);
            staged.memory()[0] = std::byte{1};
            shelf.put("w/staged", std::move(staged));
        });
        for (std::size_t i = 0; i < names.size(); ++i) {
            const std::string& name = names[i];
            switch (i % 7) {
                case 0: tolerate([&] { shelf.put(name, part(900)); }); break;
                case 1: tolerate([&] { shelf.erase(name); }); break;
                case 2: tolerate([&] { shelf.rename(name, "w/renamed", true); }); break;
                case 3:
                    // Stores in place: in a hostile shelf a blob may lie over the catalogue.
                    tolerate([&] {
                        View view = shelf.get(name, Access::write);
                        const auto bytes = view.writable_bytes();
                        std::fill(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(bytes.size(), 64)), std::byte{0xee});
                        view.persist();
                    });
                    break;
                case 4: tolerate([&] { shelf.append(name, part(640)); }); break;
                case 5:
                    tolerate([&] {
                        Transaction tx = shelf.transaction();
                        tx.add(name);
                        View view = shelf.get(name, Access::write);
                        tx.add(view);
                        const auto bytes = view.writable_bytes();
                        std::fill(bytes.begin(), bytes.end(), std::byte{0xdd});
                        shelf.put("w/in a transaction", part(4097));
                        if (i % 2 == 0) tx.commit();
                        else tx.rollback();
                    });
                    break;
                default:
                    tolerate([&] {
                        Batch batch = shelf.batch();
                        batch.put("w/batch", part(4096));
                        batch.erase(name);
                        batch.rename("w/inline", "w/moved");
                        batch.commit();
                    });
            }
        }
        for (int i = 0; i < 14; ++i)  // folds the log
            tolerate([&] { shelf.put("w/" + std::to_string(i % 7), part(250), Type::value(Kind::bytes)); });
        read_all(shelf, ignored);
        shelf.close();
    });
    read(image, ignored);
}

void check(ShelfImage& image, Exercised& done) {
    tolerate([&] {
        sim::RamMedia map("map", image.map, Granularity::cache_line, false);
        sim::RamMedia data("data", image.data, Granularity::cache_line, false);
        CheckOptions options;
        options.scrub = true;
        const CheckReport report = check_media({map, data, nullptr, false, {}}, options);
        done.findings = report.findings.size() + report.omitted;
        for (const Finding& finding : report.findings) (void)finding.message();
    });
}

void repair(ShelfImage& image, Exercised& done) {
    tolerate([&] {
        sim::RamMedia map("map", image.map), data("data", image.data);
        sim::SimLocks locks;
        sim::SimLease lease(locks);
        if (!lease.try_acquire_writer()) return;
        CheckOptions options;
        options.repair = Repair::all;
        const CheckReport report = check_media({map, data, &lease, false, [](const Replaced&) { return std::string("saved"); }}, options);
        done.repaired = report.repaired;
        (void)report.exit_code();
    });
    Exercised ignored;
    read(image, ignored);
}

}  // namespace

Exercised exercise(ShelfImage& image, Exercise what) {
    // Of a thousand damaged shelves nobody wants to read a thousand warnings.
    [[maybe_unused]] static const bool quiet = (log().set_level(spdlog::level::off), true);
    Exercised done;
    read(image, done);
    check(image, done);
    static thread_local ShelfImage copy;  // kept: a fresh one costs more than its use
    if (what != Exercise::write_only) {
        copy = image;
        repair(copy, done);
    }
    if (what != Exercise::repair_only) {
        copy = image;
        write(copy, done);
    }
    return done;
}

}  // namespace pymm::test
