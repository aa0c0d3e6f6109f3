// Transactions beside other threads, and media that fail under them: the other's step is taken at a chosen write or
// fence of the first, so that every order that matters is tried.
#include <doctest/doctest.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include <pymm/transaction.hpp>

#include "memory_shelf.hpp"
#include "shelf/core.hpp"

using namespace pymm;

namespace {

std::vector<std::byte> bytes_of(std::size_t size, int value) { return std::vector(size, static_cast<std::byte>(value)); }

int first_of(const Shelf& shelf, const std::string& name) { return static_cast<int>(shelf.get(name).bytes()[0]); }

/// Called in front of each write, and behind each fence, of the data.
struct Hooks {
    std::function<void(std::size_t size)> write;
    std::function<void()> drain;
};

class HookedMedia final : public sim::MediaRef {
public:
    HookedMedia(Media& target, Hooks& hooks) : MediaRef(target), hooks_(hooks) {}
    void write(std::uint64_t offset, const void* source, std::size_t size) override {
        if (hooks_.write) hooks_.write(size);
        MediaRef::write(offset, source, size);
    }
    void drain() override {
        MediaRef::drain();
        if (hooks_.drain) hooks_.drain();
    }

private:
    Hooks& hooks_;
};

struct HookedShelf : test::MemoryShelf {
    Hooks hooks;
    explicit HookedShelf(bool checksum = false) : MemoryShelf(8 << 20, 0, checksum) {
        shelf.close();
        shelf = {};
        shelf = sim::open_shelf(std::make_unique<sim::MediaRef>(map), std::make_unique<HookedMedia>(data, hooks), locks,
                                Mode::read_write);
    }
    ~HookedShelf() {
        hooks = {};
        shelf = {};  // which has media that refer to the hooks
    }
    /// As the next process finds it.
    void come_again() {
        hooks = {};
        try {
            shelf.close();
        } catch (const Error&) {
        }
        open();
    }
};

/// `work` in another thread, to its end; what it threw, if anything.
std::string elsewhere(const std::function<void()>& work) {
    std::string said;
    std::thread([&] {
        try {
            work();
        } catch (const std::exception& e) {
            said = e.what();
        }
    }).join();
    return said;
}

void store(Shelf& shelf, const std::string& name, int value) {
    View view = shelf.get(name, Access::write);
    std::memset(view.writable_bytes().data(), value, view.writable_bytes().size());
}

bool checksum_is_right(test::MemoryShelf& m, const std::string& name) {
    const BlobInfo blob = *m.shelf.find(name);
    return blob.checksum && *blob.checksum == checksum_in_place(m.data, blob.offset, blob.size, name);
}

}  // namespace

TEST_CASE("transaction: how many blobs there are is right at any moment") {
    HookedShelf m;
    m.shelf.put("x", bytes_of(5000, 1));
    std::atomic<bool> stop = false;
    std::atomic<std::size_t> looks = 0, wrong = 0;
    std::thread other([&] {
        do {
            if (m.shelf.size() != 1) ++wrong;
            ++looks;
        } while (!stop);
    });
    for (int i = 0; i < 300 || looks < 300; ++i) {
        Transaction tx = m.shelf.transaction();
        const View x = m.shelf.get("x", Access::write);
        tx.add(x, 0, 64);
        tx.add(x, 1024, 64);
        if (i % 2 == 0) tx.commit();
        else tx.rollback();
    }
    stop = true;
    other.join();
    CHECK(wrong == 0);
}

TEST_CASE("transaction: what another thread does to a blob while it is copied for an append is not lost") {
    for (const bool erased : {false, true}) {
        HookedShelf m;
        m.shelf.put("x", bytes_of(5000, 1));
        Transaction tx = m.shelf.transaction();
        bool once = false;
        std::string said;
        m.hooks.write = [&](std::size_t size) {
            if (once || size < 4000) return;
            once = true;
            said = elsewhere([&] {
                if (erased) m.shelf.erase("x");
                else m.shelf.append("x", bytes_of(7, 2));
            });
        };
        if (erased) CHECK_THROWS_AS(m.shelf.append("x", bytes_of(3, 3)), NotFoundError);
        else m.shelf.append("x", bytes_of(3, 3));
        tx.commit();
        CHECK(once);
        CHECK(said == "");
        CHECK(m.shelf.contains("x") != erased);
        if (!erased) CHECK(m.shelf.find("x")->size == 5010);
        m.hooks = {};
        CHECK(m.check() == "");
    }
}

TEST_CASE("transaction: a commit of which nobody knows whether it is durable leaves no half of it") {
    HookedShelf m;
    m.shelf.put("x", bytes_of(8000, 1));
    m.shelf.put("y", bytes_of(100, 1));
    {
        Transaction tx = m.shelf.transaction();
        tx.add("x");
        store(m.shelf, "x", 2);
        m.shelf.put("y", bytes_of(100, 2));
        int fences = 0;
        m.hooks.drain = [&] {
            if (++fences == 2) throw IoError("the fence of the commit, says the test", EIO);
        };
        CHECK_THROWS_AS(tx.commit(), IoError);
        CHECK(fences == 2);
        m.hooks.drain = nullptr;
    }
    m.come_again();
    CHECK(first_of(m.shelf, "x") == first_of(m.shelf, "y"));
}

TEST_CASE("transaction: a shelf that is closed by another thread in the middle of a commit or rollback") {
    for (const bool close_first : {false, true}) {
        HookedShelf m;
        m.shelf.put("x", bytes_of(8000, 1));
        Transaction tx = m.shelf.transaction();
        tx.add("x");
        store(m.shelf, "x", 2);
        m.shelf.put("y", bytes_of(5000, 2));
        std::promise<void> begun;
        std::atomic<bool> first{true};
        std::thread other;
        std::string said;
        const auto end = [&] {
            try {
                tx.commit();
            } catch (const ClosedError& e) {
                said = e.what();
            }
        };
        if (close_first) {
            m.hooks.write = [&](std::size_t) {
                if (first.exchange(false)) begun.set_value();
            };
            other = std::thread([&] { m.shelf.close(); });
            begun.get_future().wait();
            end();
        } else {
            m.hooks.drain = [&] {
                if (first.exchange(false)) other = std::thread([&] { m.shelf.close(); });
            };
            end();
        }
        other.join();
        CHECK_FALSE(m.shelf.is_open());
        tx = {};
        m.come_again();
        const bool committed = said.empty();
        CHECK(first_of(m.shelf, "x") == (committed ? 2 : 1));
        CHECK(m.shelf.contains("y") == committed);
        CHECK(m.check() == "");
    }
}

TEST_CASE("transaction: one that begins while the shelf is being closed is rolled back, too") {
    HookedShelf m;
    m.shelf.put("x", bytes_of(8000, 1));
    store(m.shelf, "x", 1);
    std::promise<void> closing, go;
    std::atomic<bool> first{true};
    std::thread other([&] {
        const auto me = std::this_thread::get_id();
        m.hooks.drain = [&, me] {
            if (std::this_thread::get_id() != me || !first.exchange(false)) return;
            closing.set_value();
            go.get_future().wait();
        };
        m.shelf.close();
    });
    closing.get_future().wait();
    Transaction tx = m.shelf.transaction();
    tx.add("x");
    store(m.shelf, "x", 2);
    go.set_value();
    other.join();
    CHECK_THROWS_AS(tx.commit(), ClosedError);
    m.come_again();
    CHECK(first_of(m.shelf, "x") == 1);
    store(m.shelf, "x", 3);
    tx = {};
    CHECK(first_of(m.shelf, "x") == 3);
}

TEST_CASE("transaction: closing a shelf whose media fails under the rollback closes it") {
    HookedShelf m;
    m.shelf.put("x", bytes_of(8000, 1));
    Transaction tx = m.shelf.transaction();
    tx.add("x");
    store(m.shelf, "x", 2);
    m.hooks.write = [](std::size_t) { throw IoError("says the test", EIO); };
    CHECK_THROWS_AS(m.shelf.close(), IoError);
    CHECK_FALSE(m.shelf.is_open());
    m.come_again();
    CHECK(first_of(m.shelf, "x") == 1);
}

TEST_CASE("transaction: a checksum that another thread makes void during an append stays void") {
    HookedShelf m(true);
    Transaction tx = m.shelf.transaction();
    m.shelf.put("x", bytes_of(5000, 1));
    m.shelf.append("x", bytes_of(3, 1));
    bool once = false;
    std::string said;
    View view;
    m.hooks.write = [&](std::size_t size) {
        if (once || size != 777) return;
        once = true;
        said = elsewhere([&] {
            view = m.shelf.get("x", Access::write);
            view.writable_bytes()[0] = std::byte{9};
        });
    };
    m.shelf.append("x", bytes_of(777, 3));
    CHECK(once);
    CHECK(said == "");
    tx.commit();
    CHECK(m.shelf.find("x")->size == 5780);
    CHECK_FALSE(m.shelf.find("x")->checksum);
}

TEST_CASE("transaction: checksums of what it appends to are right, and still tell of damage") {
    for (const bool damaged : {false, true}) {
        HookedShelf m(true);
        m.shelf.put("x", bytes_of(5000, 1));
        if (damaged) m.data.data()[m.shelf.find("x")->offset + 100] ^= std::byte{1};
        Transaction tx = m.shelf.transaction();
        for (int i = 0; i < 5; ++i) m.shelf.append("x", bytes_of(3000, i));
        tx.commit();
        CHECK(m.shelf.find("x")->checksum);
        CHECK(checksum_is_right(m, "x") != damaged);
    }
}

TEST_CASE("transaction: what comes to take part while a seal waits is not sealed") {
    HookedShelf m;
    m.shelf.put("x", bytes_of(5000, 1));
    m.shelf.append("x", bytes_of(3, 1));
    std::promise<void> appending, go;
    std::atomic<bool> first{true};
    m.hooks.write = [&](std::size_t size) {
        if (size != 555 || !first.exchange(false)) return;
        appending.set_value();
        go.get_future().wait();
    };
    std::string sealed;
    std::thread append([&] {
        try {
            m.shelf.append("x", bytes_of(555, 1));
        } catch (const BusyError&) {
        }
    });
    appending.get_future().wait();
    std::thread seal([&] {
        try {
            m.shelf.seal("x");
        } catch (const BusyError& e) {
            sealed = e.what();
        }
    });
    Transaction tx = m.shelf.transaction();
    tx.add("x");
    store(m.shelf, "x", 2);
    go.set_value();
    append.join();
    seal.join();
    tx.rollback();
    CHECK(sealed != "");
    CHECK_FALSE(m.shelf.find("x")->sealed);
    CHECK(first_of(m.shelf, "x") == 1);
}

TEST_CASE("transaction: a sealed blob can be erased, or moved away, and put anew") {
    HookedShelf m;
    m.shelf.put("x", bytes_of(5000, 1));
    m.shelf.seal("x");
    Transaction tx = m.shelf.transaction();
    m.shelf.erase("x");
    m.shelf.put("x", bytes_of(5000, 2));
    tx.commit();
    m.shelf.seal("x");
    tx = m.shelf.transaction();
    m.shelf.rename("x", "kept");
    m.shelf.put("x", bytes_of(5000, 3));
    tx.commit();
    CHECK(first_of(m.shelf, "x") == 3);
    CHECK(first_of(m.shelf, "kept") == 2);
    CHECK(m.shelf.find("kept")->sealed);
    CHECK(m.check() == "");
}
