// Appending to blobs: what comes behind the end, in place or by a copy, and what views, checksums, readers and a shelf
// without its catalogue make of it.
#include <doctest/doctest.h>
#include <rapidcheck.h>
#include <sys/stat.h>

#include <pymm/check.hpp>
#include <pymm/pymm.hpp>

#include <atomic>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "contents.hpp"
#include "format/crc32c.hpp"
#include "scratch.hpp"

using namespace pymm;
using namespace pymm::test;

namespace {

Type rows(std::int64_t n, std::string dtype = "<f8") { return Type::array(std::move(dtype), 8, {n, 8}); }

void sound(const Namespace& ns, std::string_view name) {
    CheckOptions options;
    options.scrub = true;
    const CheckReport report = check(ns.path(), name, options);
    std::string text;
    for (const Finding& finding : report.findings) text += finding.message() + "\n";
    CHECK_MESSAGE(report.uncorrected() == 0, text);
}

}  // namespace

TEST_CASE("append: rows come one by one, and the extent moves rarely") {
    const Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    std::string all;
    {
        Shelf s = ns.create("s", {.capacity = 64 << 20});
        s.put("x", {}, rows(0));
        const BlobInfo first = *s.find("x");
        std::uint64_t moves = 0, offset = 0;
        for (unsigned i = 0; i < 3000; ++i) {
            all += pattern(64, i);
            const BlobInfo info = s.append("x", bytes_of(all).last(64));
            CHECK(info.id == first.id);
            CHECK(info.created == first.created);
            CHECK(info.size == all.size());
            CHECK(info.type == rows(i + 1));
            CHECK(info.extent >= info.size);
            moves += info.offset != offset;
            offset = info.offset;
            if (i % 500 != 0) continue;
            const BlobInfo found = *s.find("x");
            CHECK(found.sequence == info.sequence);
            CHECK(found.modified == info.modified);
            CHECK(found.offset == info.offset);
            CHECK(found.extent == info.extent);
            CHECK(found.mode == info.mode);
        }
        CHECK(moves <= 8);  // twice the size each time, or longer where it lies
        CHECK(text_of(s.get("x")) == all);
        CHECK(s.size() == 1);
    }
    sound(ns, "s");
    Shelf s = ns.shelf("s");
    CHECK(text_of(s.get("x")) == all);
    const std::string more = pattern(64 * 50000, 1);
    all += more;
    CHECK(s.append("x", bytes_of(more)).type == rows(53000));
    CHECK(text_of(s.get("x")) == all);
    s.erase("x");
    s.close();
    sound(ns, "s");
}

TEST_CASE("append: views keep their size and bytes, whether the extent moves or not") {
    const Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("s", {.capacity = 8 << 20});
    const std::string old = pattern(5000, 1), little = pattern(100, 2), much = pattern(9000, 3);
    s.put("x", bytes_of(old));
    s.put("neighbour", bytes_of(old));  // so that it must move
    View before = s.get("x", Access::write);
    CHECK(s.append("x", bytes_of(little)).offset == before.info().offset);
    CHECK(before.bytes().size() == old.size());
    before.writable_bytes()[7] = std::byte{77};  // the same memory as that of the new version
    CHECK(s.get("x").bytes()[7] == std::byte{77});
    CHECK(s.append("x", bytes_of(much)).offset != before.info().offset);
    CHECK(s.get("x").bytes()[7] == std::byte{77});
    before.writable_bytes()[8] = std::byte{88};  // reaches nobody any more
    const View now = s.get("x");
    CHECK(now.bytes()[8] == std::byte(old[8]));
    CHECK(text_of(now).substr(9) == old.substr(9) + little + much);
    CHECK(text_of(before).substr(9) == old.substr(9));
    // The old extent is not reused while the view lives.
    for (int i = 0; i < 20; ++i) s.put("n" + std::to_string(i), bytes_of(pattern(8000, 9)));
    CHECK(text_of(before).substr(9) == old.substr(9));
}

TEST_CASE("append: refusals change nothing") {
    const Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("s", {.capacity = 4 << 20});
    const std::string row(64, 'r');
    s.put("text", bytes_of("abc"), Type::value(Kind::string));
    s.put("fortran", bytes_of(pattern(128, 1)), Type::array("<f8", 8, {2, 8}, true));
    s.put("point", bytes_of(pattern(8, 1)), Type::array("<f8", 8, {}));
    s.put("nothing", {}, Type::array("<f8", 8, {3, 0}));
    s.put("two", bytes_of(row + row), rows(2, "<f8 grows<=3"));
    s.put("sealed", bytes_of(row), rows(1));
    s.seal("sealed");
    const std::uint64_t sequence = s.stat().sequence, used = s.stat().used;
    for (const char* name : {"text", "fortran", "point", "nothing"}) {
        CAPTURE(name);
        CHECK_THROWS_AS(s.append(name, bytes_of(row)), InvalidArgumentError);
    }
    CHECK_THROWS_AS(s.append("missing", bytes_of(row)), NotFoundError);
    CHECK_THROWS_AS(s.append("sealed", bytes_of(row)), ReadOnlyError);
    CHECK_THROWS_AS(s.append("two", bytes_of("abc")), InvalidArgumentError);
    CHECK_THROWS_AS(s.append("two", bytes_of(row + row)), InvalidArgumentError);  // four rows
    CHECK_THROWS_AS(s.append("two", bytes_of(row), {.id = 12345}), NotFoundError);
    CHECK_THROWS_AS(s.append("two", bytes_of(row), {.size = 64}), InvalidArgumentError);
    CHECK_THROWS_AS(s.append("two", bytes_of(std::string(64 << 20, 'x'))), Error);
    s.put("raw", bytes_of("x"));
    const std::string large(1900 << 10, 'x');
    s.append("raw", bytes_of(large));
    CHECK_THROWS_AS(s.append("raw", bytes_of(large)), NoSpaceError);
    CHECK(s.get("raw").bytes().size() == large.size() + 1);
    s.erase("raw");
    CHECK(s.stat().sequence == sequence + 3);
    CHECK(s.stat().used == used);
    CHECK(s.append("two", {}).size == 128);
    CHECK(s.append("two", bytes_of(row), {.id = s.find("two")->id, .size = 128}).type == rows(3, "<f8 grows<=3"));
    s.close();
    CHECK_THROWS_AS(s.append("two", bytes_of(row)), ClosedError);
    CHECK_THROWS_AS(ns.shelf("s", Mode::read_only).append("two", bytes_of(row)), ReadOnlyError);
    sound(ns, "s");
}

TEST_CASE("append: a nearly full shelf gives what it has") {
    const Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("s", {.capacity = 8 << 20});
    std::string all = pattern(600'000, 1);
    s.put("x", bytes_of(all));
    int filling = 0;
    try {
        for (;; ++filling) s.put("fill" + std::to_string(filling), bytes_of(std::string(30'000, 'f')));
    } catch (const NoSpaceError&) {
    }
    // As soon as there is room for what is wanted it is used, though not for as much again.
    const std::string more = pattern(5000, 2);
    std::optional<BlobInfo> grown;
    for (int i = 0; !grown && i < filling; ++i) {
        try {
            grown = s.append("x", bytes_of(more));
        } catch (const NoSpaceError&) {
            CHECK(text_of(s.get("x")) == all);
            s.erase("fill" + std::to_string(i));
        }
    }
    all += more;
    REQUIRE(grown);
    CHECK(grown->extent < all.size() + 4096);
    CHECK(text_of(s.get("x")) == all);
    s.close();
    sound(ns, "s");
}

TEST_CASE("append: a checksum grows with the data, is right or absent") {
    const Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("s", {.capacity = 32 << 20, .checksum = true});
    std::string all = pattern(1000, 1);
    s.put("x", bytes_of(all));
    const auto grow = [&](std::size_t size) {
        const std::string more = pattern(size, static_cast<unsigned>(size));
        all += more;
        const BlobInfo info = s.append("x", bytes_of(more));
        CHECK(s.find("x")->checksum == info.checksum);
        CHECK(text_of(s.get("x")) == all);
        if (info.checksum) CHECK(*info.checksum == crc32c(all.data(), all.size()));
        return info.checksum.has_value();
    };
    for (const std::size_t size : {8, 16, 4000, 1, 9000, 5 << 20}) CHECK(grow(size));
    {
        View view = s.get("x", Access::write);  // void from here on
        view.writable_bytes()[0] = std::byte{'!'};
        all[0] = '!';
        CHECK(!grow(10));
    }
    CHECK(!grow(11));
    s.seal("x");
    CHECK_THROWS_AS(s.append("x", bytes_of("y")), ReadOnlyError);
    // A copy is summed anew.
    const std::string old = pattern(1000, 5), little = pattern(8, 6), much = pattern(5000, 7);
    s.put("y", bytes_of(old));
    (void)s.get("y", Access::write);
    CHECK(!s.append("y", bytes_of(little)).checksum);
    const std::string whole = old + little + much;
    CHECK(s.append("y", bytes_of(much)).checksum == crc32c(whole.data(), whole.size()));
    s.close();
    sound(ns, "s");
}

TEST_CASE("append: from several threads, each whole, with seals, renames and replacements between") {
    const Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("s", {.capacity = 64 << 20});
    s.put("x", {}, rows(0));
    constexpr int threads = 4, each = 300;
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t)
        all.emplace_back([&s, t] {
            for (int i = 0; i < each; ++i) {
                std::vector<std::int64_t> row(8, t * 1000 + i);
                s.append("x", std::as_bytes(std::span(row)));
            }
        });
    // Erased and made anew under others' feet: each append is to one of them, whole.
    std::atomic<bool> done{false};
    std::thread other([&] {
        for (int i = 0; i < 100; ++i) {
            s.put("y", {}, rows(0));
            s.append("y", bytes_of(std::string(64, 'y')));
            s.rename("y", "z", true);
            s.seal("z");
            s.erase("z");
        }
        done = true;
    });
    std::uint64_t appended = 0;
    for (int i = 0; !done; ++i) {
        try {
            const std::uint64_t size = s.append(i % 2 == 0 ? "y" : "z", bytes_of(std::string(64, 'y'))).size;
            CHECK(size % 64 == 0);
            ++appended;
        } catch (const NotFoundError&) {
        } catch (const ReadOnlyError&) {
        }
    }
    for (std::thread& thread : all) thread.join();
    other.join();
    MESSAGE(appended << " appends to what came and went");
    const View view = s.get("x");
    REQUIRE(view.type() == rows(threads * each));
    std::map<std::int64_t, int> next;
    const auto array = view.array<double>();
    const auto* values = reinterpret_cast<const std::int64_t*>(view.bytes().data());
    for (int i = 0; i < threads * each; ++i) {
        for (int k = 1; k < 8; ++k) REQUIRE(values[i * 8 + k] == values[i * 8]);
        REQUIRE(values[i * 8] % 1000 == next[values[i * 8] / 1000]++);  // of one thread in its order
    }
    CHECK(array.size() == threads * each * 8);
    s.close();
    sound(ns, "s");
}

TEST_CASE("append: readers see whole rows, more and more") {
    const Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("s", {.capacity = 64 << 20});
    s.put("x", {}, rows(0));
    std::atomic<bool> done{false};
    std::uint64_t looks = 0;
    std::string problem;
    std::thread reader([&] {
        // As another process does it: locks and mapping of its own.
        std::int64_t last = 0;
        std::vector<View> kept;
        const Shelf mine = ns.shelf("s", Mode::read_only);
        do {
            View view = mine.get("x");
            const std::int64_t n = view.type().shape[0];
            const auto* values = reinterpret_cast<const std::int64_t*>(view.bytes().data());
            if (n < last) problem = "rows are gone";
            for (std::int64_t i = 0; i < n * 8; ++i)
                if (values[i] != i / 8) problem = "a torn row";
            last = n;
            ++looks;
            if (looks % 16 == 0) kept.push_back(std::move(view));
        } while (!done && problem.empty());
        for (const View& view : kept) {
            const auto* values = reinterpret_cast<const std::int64_t*>(view.bytes().data());
            for (std::int64_t i = 0; i < view.type().shape[0] * 8; ++i)
                if (values[i] != i / 8) problem = "an old view shows other rows";
        }
    });
    for (std::int64_t i = 0; i < 4000; ++i) {
        const std::vector<std::int64_t> row(8, i);
        s.append("x", std::as_bytes(std::span(row)));
    }
    done = true;
    reader.join();
    CHECK(problem == "");
    CHECK(looks > 0);
}

TEST_CASE("append: salvage without superblocks, and without any catalogue, finds all rows") {
    for (const bool headers_only : {false, true}) {
        CAPTURE(headers_only);
        const Scratch scratch;
        const Namespace ns = Namespace::open(scratch.path());
        std::map<std::string, std::string> all;
        {
            Shelf s = ns.create("s", {.capacity = 8 << 20});
            for (const std::size_t first : {0, 64, 4096, 20480}) {
                const std::string name = "x" + std::to_string(first);
                all[name] = pattern(first, 1);
                s.put(name, bytes_of(all[name]), rows(static_cast<std::int64_t>(first / 64), "<f8 grows"));
                for (unsigned i = 0; i < 40; ++i) {
                    const std::string more = pattern(i % 9 * 64, i);
                    all[name] += more;
                    s.append(name, bytes_of(more));
                }
            }
        }
        std::fstream map(scratch.path() + "/s.map", std::ios::in | std::ios::out | std::ios::binary);
        map.write(std::string(16384, '\0').data(), 16384);
        map.close();
        if (headers_only) {
            // Of log and runs nothing is left to go by.
            std::fstream file(scratch.path() + "/s.data", std::ios::in | std::ios::out | std::ios::binary);
            std::string data(8 << 20, '\0');
            file.read(data.data(), static_cast<std::streamsize>(data.size()));
            for (std::size_t at = 4096; at < data.size(); at += 64)
                if (data.compare(at, 4, "PMCT") == 0 || data.compare(at, 4, "PMPG") == 0) data.replace(at, 8, 8, '\0');
            file.seekp(0);
            file.write(data.data(), static_cast<std::streamsize>(data.size()));
        }
        CheckOptions options;
        options.repair = Repair::all;
        CHECK(check(ns.path(), "s", options).uncorrected() == 0);
        const Shelf s = ns.shelf("s");
        for (const auto& [name, bytes] : all) {
            CAPTURE(name);
            // Header alone may be an erased blob's: what it tells of is put aside, whole.
            bool found = false;
            for (const BlobInfo& info : s.list(headers_only ? "lost+found/" : name)) {
                if (!info.name.ends_with(name) || info.size != bytes.size()) continue;
                found = text_of(s.get(info.name)) == bytes;
                CHECK(info.type == rows(static_cast<std::int64_t>(bytes.size() / 64), "<f8 grows"));
            }
            CHECK(found);
        }
    }
}

TEST_CASE("append: random puts, appends, erasures and reopenings agree with a map") {
    using Numbers = std::tuple<std::uint8_t, std::uint8_t, std::uint16_t>;
    CHECK(rc::check("agrees with a map", [](const std::vector<Numbers>& steps, bool checksum) {
        const Scratch scratch;
        const Namespace ns = Namespace::open(scratch.path());
        Shelf s = ns.create("s", {.capacity = 8 << 20, .checksum = checksum});
        std::map<std::string, std::string> model;
        std::vector<std::pair<View, std::string>> views;
        unsigned seed = 0;
        for (const auto& [what, which, much] : steps) {
            const std::string name = "n" + std::to_string(which % 4);
            const std::string bytes = pattern(much % 7 == 0 ? much : much % 700, ++seed);
            switch (what % 8) {
                case 0: s.put(name, bytes_of(bytes)), model[name] = bytes; break;
                case 1: if (model.erase(name)) s.erase(name); break;
                case 2: if (model.count(name)) views.emplace_back(s.get(name), model[name]); break;
                case 3:
                    views.clear();
                    s.close();
                    s = ns.shelf("s");
                    break;
                default:
                    if (!model.count(name)) break;
                    s.append(name, bytes_of(bytes));
                    model[name] += bytes;
            }
        }
        for (const auto& [view, bytes] : views) RC_ASSERT(text_of(view) == bytes);
        views.clear();
        RC_ASSERT(s.size() == model.size());
        for (const auto& [name, bytes] : model) RC_ASSERT(text_of(s.get(name)) == bytes);
        s.close();
        CheckOptions options;
        options.scrub = true;
        RC_ASSERT(check(ns.path(), "s", options).uncorrected() == 0u);
    }));
}
