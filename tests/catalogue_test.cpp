// The catalogue alone, on media in memory, against a plain map: small logs, large commits, reopening with and
// without a clean end, readers beside the writer. After each phase the check must find nothing.
#include <doctest/doctest.h>

#include <map>
#include <random>
#include <string>

#include "catalogue_bench.hpp"

using namespace pymm;
using namespace pymm::format;
using namespace pymm::test;

namespace {

std::string value(std::mt19937_64& random) {
    const std::size_t sizes[] = {0, 1, 20, 20, 256, 257, 1000, 4095};
    return std::string(sizes[random() % 8], static_cast<char>('a' + random() % 26));
}

}  // namespace

TEST_CASE("an empty shelf") {
    Bench b;
    compare(*b.catalogue, b.map, b.data, {});
    const std::uint64_t written = b.map.written() + b.data.written();
    b.open();
    CHECK(b.map.written() + b.data.written() == written);  // opening writes nothing
    CHECK(b.catalogue->sequence() == 0);
    b.start();
    b.close();
    compare(*b.catalogue, b.map, b.data, {});
}

TEST_CASE("random commits, reopened at random, agree with a map") {
    for (unsigned seed = 1; seed <= 6; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random(seed);
        Bench b(seed % 2 != 0 ? 32 << 20 : 80 << 20, seed % 3 == 0 ? 16384 : 4096);
        Model model;
        const auto name = [&] {
            std::string n = (random() % 5 == 0 ? "dir/" : "n") + std::to_string(random() % 400);
            if (random() % 40 == 0) n.resize(1024, 'x');
            return n;
        };
        for (int round = 0; round < 12; ++round) {
            b.start();
            for (int i = 0; i < 100; ++i) {
                const int ops = random() % 4 != 0 ? 1 : static_cast<int>(random() % 12);
                for (int k = 0; k < ops; ++k) {
                    const std::string n = name(), v = value(random);
                    if (random() % 3 == 0) {
                        if (b.erase(n)) model.erase(n);
                    } else if (b.put(n, v)) {
                        model[n] = v;
                    }
                }
                b.commit();
            }
            compare(*b.catalogue, b.map, b.data, model);
            const auto how = random() % 3;
            if (how == 0) b.close();
            if (how == 1) b.crash();
            compare(*b.catalogue, b.map, b.data, model);
        }
        // All erased: nothing but page 0, log, zone table and runs is left.
        b.start();
        for (const auto& [n, v] : model) {
            b.erase(n);
            b.commit();
        }
        b.close();
        compare(*b.catalogue, b.map, b.data, {});
    }
}

TEST_CASE("commits larger than the log, and larger than many logs") {
    Bench b;
    Model model;
    for (const int n : {100, 5000, 1, 20000}) {
        b.start();
        for (int i = 0; i < n; ++i) {
            const std::string key = "k" + std::to_string(i), v = std::to_string(i * n);
            REQUIRE(b.put(key, v));
            model[key] = v;
        }
        b.commit();
        CHECK(b.catalogue->root().log_size == b.catalogue->root().base_log_size);  // folded at once
        b.crash();
        compare(*b.catalogue, b.map, b.data, model);
    }
    b.start();
    for (const auto& [n, v] : model) b.erase(n);
    b.commit();
    b.close();
    compare(*b.catalogue, b.map, b.data, {});
}

TEST_CASE("a log that ends exactly at its end") {
    // 40 + 8 + 104 + 1 + 8 + n bytes, in slots of 256: sixteen commits fill 4,096 bytes.
    for (const std::size_t last : {60u, 95u}) {  // the last commit ends in its slot, or with it
        Bench b;
        b.start();
        Model model;
        for (int i = 0; i < 16; ++i) {
            const std::string name(1, static_cast<char>('a' + i));
            const std::string v(i == 15 ? last : 90, 'v');
            b.put(name, v);
            model[name] = v;
            b.commit();
            REQUIRE(b.catalogue->log_bytes() == 256u * static_cast<unsigned>(i + 1));
        }
        const std::uint64_t generation = b.catalogue->root().generation;
        b.crash();
        CHECK(b.catalogue->log_bytes() == 4096);
        compare(*b.catalogue, b.map, b.data, model);
        CHECK(b.catalogue->root().generation == generation);
        b.start();
        b.put("more", "v");
        model["more"] = "v";
        b.commit();
        b.crash();
        compare(*b.catalogue, b.map, b.data, model);
    }
}

TEST_CASE("a torn last commit is dropped; a damaged one before others is an error") {
    const auto prepared = [] {
        auto b = std::make_unique<Bench>();
        b->start();
        for (int i = 0; i < 5; ++i) {
            b->put("n" + std::to_string(i), "v");
            b->commit();
        }
        return b;
    };
    {
        auto b = prepared();
        const auto& root = b->catalogue->root();
        const std::uint64_t slot = b->catalogue->log_bytes() / 5;
        b->map, b->data.data()[root.log_offset + 4 * slot + 50] ^= std::byte{1};
        b->crash();
        compare(*b->catalogue, b->map, b->data, {{"n0", "v"}, {"n1", "v"}, {"n2", "v"}, {"n3", "v"}});
        b->start();  // goes on from there
        b->put("n4", "again");
        b->commit();
        b->crash();
        compare(*b->catalogue, b->map, b->data, {{"n0", "v"}, {"n1", "v"}, {"n2", "v"}, {"n3", "v"}, {"n4", "again"}});
    }
    for (std::uint64_t victim = 0; victim < 4; ++victim) {
        auto b = prepared();
        const auto& root = b->catalogue->root();
        const std::uint64_t slot = b->catalogue->log_bytes() / 5;
        b->map, b->data.data()[root.log_offset + victim * slot + 50] ^= std::byte{1};
        CHECK_THROWS_AS(b->open(), CorruptError);
    }
}

TEST_CASE("old commits in a reused log segment are never replayed") {
    Bench b(1 << 20, 4096);
    Model model;
    std::mt19937_64 random(3);
    for (int session = 0; session < 60; ++session) {
        b.start();
        const int n = static_cast<int>(random() % 6);
        for (int i = 0; i < n; ++i) {
            const std::string name = "n" + std::to_string(random() % 10);
            b.put(name, std::to_string(session));
            model[name] = std::to_string(session);
            b.commit();
        }
        if (random() % 2 != 0) b.crash();
        else b.close();
        compare(*b.catalogue, b.map, b.data, model);
    }
}

TEST_CASE("a shelf that is filled to the brim can still be emptied") {
    const std::pair<std::size_t, std::size_t> kinds[] = {{8, 2000},  {8, 10},      {1024, 10},
                                                         {1024, 256}, {1024, 4095}, {200, 300}};
    for (const auto& kind : kinds) {
        const std::size_t name_size = kind.first, value_size = kind.second;
        CAPTURE(name_size);
        Bench b(1 << 20, 4096);
        Model model;
        b.start();
        for (int i = 0;; ++i) {
            std::string name = std::to_string(100000 + i);
            name.resize(name_size, 'x');
            try {
                // As a shelf does: where runs are in the way, they are made one.
                if (!b.catalogue->ensure_spare()) b.catalogue->compact(), b.give_back();
                if (!b.catalogue->ensure_spare()) break;
                b.put(name, std::string(value_size, 'v'));
                b.commit();
                model[name] = std::string(value_size, 'v');
            } catch (const NoSpaceError&) {
                break;
            }
        }
        CHECK(model.size() * (name_size + value_size + sizeof(Entry)) > 64 << 10);
        b.crash();
        compare(*b.catalogue, b.map, b.data, model);
        b.start();
        for (const auto& [name, v] : model) {
            b.erase(name);
            b.commit();
        }
        b.close();
        compare(*b.catalogue, b.map, b.data, {});
    }
}

TEST_CASE("readers beside the writer: nothing vanishes under them, and refresh catches up") {
    SharedMarks marks;
    TestLease writer_lease(marks), reader_lease(marks);
    Bench b;
    b.lease = &writer_lease;
    b.start();
    Model model, seen;
    std::mt19937_64 random(5);
    {
        Catalogue reader(b.map, b.data, &reader_lease);
        for (int i = 0; i < 1500; ++i) {
            // Inline values only: what an extent held is kept by marks of the shelf, not of the catalogue.
            const std::string name = "n" + std::to_string(random() % 200);
            if (random() % 3 == 0) {
                if (b.erase(name)) model.erase(name);
            } else {
                b.put(name, std::to_string(i));
                model[name] = std::to_string(i);
            }
            b.commit();
            if (random() % 50 == 0) {
                reader.refresh();
                seen = model;
            }
            if (random() % 10 == 0) {  // old or new: whole
                REQUIRE(reader.blobs() == seen.size());
                auto it = seen.begin();
                reader.for_each("", [&](const EntryView& e) {
                    REQUIRE(e.name == it->first);
                    REQUIRE(value_of(e, b.data) == it->second);
                    return ++it, true;
                });
            }
        }
        reader.refresh();
        CHECK(!reader.refresh());
        compare(reader, b.map, b.data, model);
        CHECK(marks.size() == reader.metadata_extents().size());
    }
    CHECK(marks.empty());
    b.give_back();
    CHECK(b.waiting.empty());
    compare(*b.catalogue, b.map, b.data, model);
}
