#include "sim/crash_run.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include <pymm/transaction.hpp>

#include "shelf/core.hpp"
#include "sim/image_shelf.hpp"

namespace pymm::sim {

namespace {

std::uint64_t mix(std::uint64_t z) {
    z += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/// PYMM_SIM_REPLAY=WORKLOAD/SEED:CUT:IMAGE checks this one image only.
std::optional<ImageId> replay_of(const std::string& workload) {
    const char* text = std::getenv("PYMM_SIM_REPLAY");
    if (text == nullptr) return std::nullopt;
    const std::string wanted = text;
    const std::size_t slash = wanted.rfind('/');
    if (slash == std::string::npos || wanted.substr(0, slash) != workload) return ImageId{0, 0, 0};
    return ImageId::parse(wanted.substr(slash + 1));
}

format::Uuid test_uuid() {
    format::Uuid uuid{};
    for (std::size_t i = 0; i < uuid.size(); ++i) uuid[i] = static_cast<std::uint8_t>(0xa0 + i);
    return uuid;
}

void fill(View& view, std::uint64_t offset, const std::vector<std::byte>& bytes) {
    std::copy(bytes.begin(), bytes.end(),
              view.writable_bytes().begin() + static_cast<std::ptrdiff_t>(offset));
}

}  // namespace

/// The media as one process has it: it may die at any call, and it may be a build with a bug.
class ProcessMedia final : public MediaRef {
public:
    ProcessMedia(Media& target, std::shared_ptr<CrashRun::KillSwitch> kill, bool one_superblock)
        : MediaRef(target), kill_(std::move(kill)), one_superblock_(one_superblock) {}

    void write(std::uint64_t offset, const void* source, std::size_t size) override {
        if (one_superblock_ && offset == format::kSuperblockOffset[1]) offset = format::kSuperblockOffset[0];
        if (step([&](std::uint64_t part) { std::memmove(data_ + offset, source, part); }, size))
            MediaRef::write(offset, source, size);
    }
    void write_behind(std::uint64_t offset, const void* source, std::size_t size) override {
        if (step([&](std::uint64_t part) { std::memmove(data_ + offset, source, part); }, size))
            write_behind_to_target(offset, source, size);
    }
    void fill_zero(std::uint64_t offset, std::uint64_t size) override {
        if (step([&](std::uint64_t part) { std::memset(data_ + offset, 0, part); }, size))
            MediaRef::fill_zero(offset, size);
    }
    void flush(std::uint64_t offset, std::uint64_t size) override {
        if (step([](std::uint64_t) {}, 0)) MediaRef::flush(offset, size);
    }
    void drain() override {
        if (step([](std::uint64_t) {}, 0)) MediaRef::drain();
    }

private:
    /// False in a dead process. At its death, `store` is done as far as it came.
    template <class F>
    bool step(F&& store, std::uint64_t size) {
        if (kill_->dead) return false;
        if (kill_->countdown == 0 || --kill_->countdown != 0) return true;
        kill_->dead = true;
        if (kill_->death == CrashRun::Death::in_the_middle) store(size / 2);
        if (kill_->death == CrashRun::Death::after) store(size);
        throw Killed();
    }
    std::shared_ptr<CrashRun::KillSwitch> kill_;
    bool one_superblock_;
};

std::vector<std::byte> make_bytes(std::uint64_t size, std::uint64_t seed) {
    std::vector<std::byte> bytes(size);
    for (std::uint64_t at = 0; at < size; at += 8) {
        const std::uint64_t word = mix(seed * 0x10001 + at);
        std::memcpy(&bytes[at], &word, std::min<std::uint64_t>(8, size - at));
    }
    return bytes;
}

Value make_value(std::uint64_t size, std::uint64_t seed) {
    Value value;
    value.bytes = make_bytes(size, seed);
    if (size <= format::kMaxInline && seed % 2 == 0)
        value.type = Type::value(Kind::bytes);
    else if (size % 8 == 0 && seed % 3 == 0)
        value.type = Type::array("<f8", 8, {static_cast<std::int64_t>(size / 8)});
    return value;
}

CrashTotals& CrashTotals::operator+=(const CrashTotals& other) {
    cuts += other.cuts;
    images += other.images;
    written_again += other.written_again;
    recuts += other.recuts;
    recut_images += other.recut_images;
    return *this;
}

// ---- The run ------------------------------------------------------------------------------------

CrashRun::CrashRun(CrashOptions options)
    : options_(std::move(options)),
      only_(replay_of(options_.workload)),
      machine_(options_.machine),
      map_(machine_, "map", format::kMapSize),
      data_(machine_, "data", options_.capacity) {
    // Until the .map has its name, a crash leaves no shelf at all: creation is not cut here.
    format_image(map_, data_, test_uuid(), options_.log_size, options_.checksum);
    open();
    machine_.on_cut = [this](CutPoint& cut) { on_cut(cut); };
    machine_.cut();
}

CrashRun::~CrashRun() {
    machine_.on_cut = nullptr;
    shelf_ = {};
}

void CrashRun::open() {
    shelf_ = open_shelf(std::make_unique<ProcessMedia>(map_, switch_, options_.one_superblock),
                        std::make_unique<ProcessMedia>(data_, switch_, false), locks_, Mode::read_write);
}

/// Runs one operation. While it does, either state may be found; when it has returned, only the new one.
/// After an I/O error it stays open which.
template <class F>
bool CrashRun::change(State next, F&& operation) {
    next_ = std::move(next);
    bool done = true;
    try {
        operation();
        require_alive();
        state_ = std::move(*next_);
        other_.reset();
    } catch (const NoSpaceError&) {
        done = false;
    }
    next_.reset();
    machine_.cut();
    return done;
}

bool CrashRun::put(const std::string& name, const Value& value) {
    State next = state_;
    next[name] = value;
    return change(std::move(next), [&] { shelf_.put(name, value.bytes, value.type); });
}

bool CrashRun::put_staged(const std::string& name, std::uint64_t size, bool in_memory) {
    const Value value = make_value(size, ++value_);
    State next = state_;
    next[name] = value;
    return change(std::move(next), [&] {
        Staged staged = shelf_.stage(value.type, size);
        const std::span<const std::byte> bytes(value.bytes);
        if (in_memory) {
            std::copy(bytes.begin(), bytes.end(), staged.memory().begin());
        } else {
            staged.zero();
            staged.write(0, bytes.first(size / 3));
            staged.write(size / 3, bytes.subspan(size / 3));
        }
        shelf_.put(name, std::move(staged));
    });
}

bool CrashRun::replace(const std::string& name, std::uint64_t size) {
    const Value value = make_value(size, ++value_);
    State next = state_;
    next.at(name) = value;
    const BlobInfo before = *shelf_.find(name);
    const bool done = change(std::move(next), [&] {
        Staged staged = shelf_.stage(value.type, size);
        staged.write(0, value.bytes);
        shelf_.replace(name, std::move(staged), before.id, before.size);
    });
    if (done && failure_.empty() && shelf_.find(name)->id != before.id)
        failure_ = options_.workload + ": '" + name + "' is another blob since it was replaced";
    return done;
}

bool CrashRun::append(const std::string& name, std::uint64_t size) {
    State next = state_;
    Value& value = next.at(name);
    if (is_array(value.type.kind)) {
        size -= size % value.type.itemsize;
        value.type = Type::array(value.type.dtype, value.type.itemsize,
                                 {value.type.shape.at(0) + static_cast<std::int64_t>(size / value.type.itemsize)});
    }
    const std::vector<std::byte> bytes = make_bytes(size, ++value_);
    const BlobInfo info = *shelf_.find(name);
    const std::uint64_t grown = info.size + size;
    // A copy takes along what was stored in place, durably. Whether there is one nobody can tell beforehand who does not
    // know what lies behind the extent.
    const bool stays = !info.inlined && grown <= info.extent &&
                       (grown < format::kPage || (info.offset % format::kPage == 0 && info.extent % format::kPage == 0));
    std::vector<std::vector<std::byte>*> all{&value.bytes};
    for (std::vector<std::byte>& stored : value.stored) all.push_back(&stored);
    for (std::vector<std::byte>* one : all) one->insert(one->end(), bytes.begin(), bytes.end());
    std::optional<BlobInfo> after;
    const bool done = change(std::move(next), [&] { after = shelf_.append(name, bytes); });
    if (!done || !after) return done;
    if (failure_.empty() && size != 0 && stays && after->offset != info.offset)
        failure_ = options_.workload + ": an append that fits copied '" + name + "'";
    Value& now = state_.at(name);
    if (after->offset != info.offset && !now.stored.empty()) {
        now.bytes = std::move(now.stored.back());
        now.stored.clear();
        now.abandoned = false;
        machine_.cut();
    }
    return true;
}

bool CrashRun::erase(const std::string& name) {
    State next = state_;
    next.erase(name);
    return change(std::move(next), [&] { shelf_.erase(name); });
}

bool CrashRun::rename(const std::string& from, const std::string& to) {
    State next = state_;
    auto node = next.extract(from);
    next.erase(to);
    node.key() = to;
    next.insert(std::move(node));
    return change(std::move(next), [&] { shelf_.rename(from, to, true); });
}

bool CrashRun::seal(const std::string& name) {
    State next = state_;
    Value& value = next.at(name);
    // What was stored in place becomes durable, before the seal does.
    if (!value.stored.empty()) value.bytes = std::move(value.stored.back());
    value.stored.clear();
    value.sealed = true;
    return change(std::move(next), [&] { shelf_.seal(name); });
}

bool CrashRun::batch(const std::vector<BatchOp>& ops) {
    State next = state_;
    std::vector<Value> values;
    for (const BatchOp& op : ops) {
        values.push_back(make_value(op.size, ++value_));
        if (op.what == BatchOp::put) {
            next[op.name] = values.back();
        } else if (op.what == BatchOp::erase) {
            next.erase(op.name);
        } else if (op.name != op.to) {
            auto node = next.extract(op.name);
            next.erase(op.to);
            node.key() = op.to;
            next.insert(std::move(node));
        }
    }
    return change(std::move(next), [&] {
        Batch batch = shelf_.batch();
        for (std::size_t i = 0; i < ops.size(); ++i) {
            const BatchOp& op = ops[i];
            if (op.what == BatchOp::put)
                batch.put(op.name, values[i].bytes, values[i].type);
            else if (op.what == BatchOp::erase)
                batch.erase(op.name);
            else
                batch.rename(op.name, op.to);
        }
        batch.commit();
    });
}

bool CrashRun::transaction(const std::vector<TransactionOp>& ops, bool commit) {
    using Op = TransactionOp;
    State next = state_;
    std::vector<Value> values;
    for (const Op& op : ops) {
        values.push_back(make_value(op.size, ++value_));
        if (op.what == Op::put) {
            next[op.name] = values.back();
        } else if (op.what == Op::erase) {
            next.erase(op.name);
        } else if (op.what == Op::rename) {
            auto node = next.extract(op.name);
            next.erase(op.to);
            node.key() = op.to;
            next.insert(std::move(node));
        } else if (op.what == Op::append) {
            std::vector<std::byte>& all = next.at(op.name).bytes;
            all.insert(all.end(), values.back().bytes.begin(), values.back().bytes.end());
        } else {
            // All that takes part is durable in the end, also what was stored before.
            Value& value = next.at(op.name);
            const auto at = static_cast<std::ptrdiff_t>(op.offset), end = at + static_cast<std::ptrdiff_t>(op.size);
            std::vector<std::byte> now(value.stored.empty() ? value.bytes : value.stored.back());
            std::copy(values.back().bytes.begin(), values.back().bytes.end(), now.begin() + at);
            for (std::vector<std::byte>& old : value.stored) std::copy(now.begin() + at, now.begin() + end, old.begin() + at);
            std::copy(now.begin() + at, now.begin() + end, value.bytes.begin() + at);
            std::erase(value.stored, value.bytes);
        }
    }
    return change(commit ? std::move(next) : state_, [&] {
        Transaction tx = shelf_.transaction();
        for (std::size_t i = 0; i < ops.size(); ++i) {
            const Op& op = ops[i];
            if (op.what == Op::put) {
                shelf_.put(op.name, values[i].bytes, values[i].type);
            } else if (op.what == Op::erase) {
                shelf_.erase(op.name);
            } else if (op.what == Op::rename) {
                shelf_.rename(op.name, op.to, true);
            } else if (op.what == Op::append) {
                shelf_.append(op.name, values[i].bytes);
            } else {
                View view = shelf_.get(op.name, Access::write);
                if (op.whole) tx.add(op.name);
                else tx.add(view, op.offset, op.size);
                fill(view, op.offset, values[i].bytes);
            }
            machine_.cut();
            require_alive();
        }
        if (commit) tx.commit();
        else tx.rollback();
    });
}

bool CrashRun::store(const std::string& name, std::uint64_t offset, std::uint64_t size, bool persist) {
    const std::vector<std::byte> bytes = make_bytes(size, ++value_);
    View view;
    try {
        view = shelf_.get(name, Access::write);
    } catch (const NoSpaceError&) {
        machine_.cut();
        return false;
    }
    // Until it is persisted, both are possible, word by word; from before the store, for the store itself
    // is no event.
    Value& value = state_.at(name);
    const auto put_in = [&](std::vector<std::byte>& whole) {
        std::copy(bytes.begin(), bytes.end(), whole.begin() + static_cast<std::ptrdiff_t>(offset));
    };
    value.stored.push_back(value.stored.empty() ? value.bytes : value.stored.back());
    put_in(value.stored.back());
    fill(view, offset, bytes);
    if (!persist) {
        machine_.cut();
        return true;
    }
    view.persist(offset, size);
    require_alive();
    put_in(value.bytes);
    for (std::vector<std::byte>& stored : value.stored) put_in(stored);
    std::erase(value.stored, value.bytes);
    other_.reset();
    machine_.cut();
    return true;
}

void CrashRun::persist() {
    shelf_.persist();
    require_alive();
    all_persisted();
    machine_.cut();
}

/// All that this process stored is durable.
void CrashRun::all_persisted() {
    for (auto& [name, value] : state_) {
        if (value.stored.empty() || value.abandoned) continue;
        value.bytes = std::move(value.stored.back());
        value.stored.clear();
        other_.reset();
    }
}

void CrashRun::close() {
    shelf_.close();
    shelf_ = {};
    require_alive();
    all_persisted();
    machine_.cut();
}

void CrashRun::reopen() {
    close();
    open();
    machine_.cut();
}

/// The library reports errors of a close to nobody, and so a death in it.
void CrashRun::require_alive() const {
    if (switch_->dead) throw Killed();
}

void CrashRun::kill_at(std::uint64_t k, Death death) {
    switch_->countdown = k;
    switch_->death = death;
}

void CrashRun::revive() {
    revived_ = true;
    shelf_ = {};
    switch_ = std::make_shared<KillSwitch>();
    open();
    other_ = std::exchange(next_, std::nullopt);
    for (State* state : {&state_, other_ ? &*other_ : &state_})
        for (auto& [name, value] : *state) value.abandoned = !value.stored.empty();
    if (const std::string problem = compare(shelf_, state_); !problem.empty()) {
        const std::string new_problem = other_ ? compare(shelf_, *other_) : problem;
        if (!new_problem.empty() && failure_.empty())
            failure_ = options_.workload + ": after the death of a process: neither the old state (" + problem +
                       ") nor the new (" + new_problem + ")";
        if (other_) std::swap(state_, *other_);
    }
    machine_.cut();
}

void CrashRun::inspect(const std::function<void(Catalogue&)>& visit) {
    inspect_shelf(shelf_, visit);
}

std::string CrashRun::compare_now() {
    if (std::string problem = compare(shelf_, state_); !problem.empty()) return problem;
    return check_shelf(map_, data_);
}

// ---- Images -------------------------------------------------------------------------------------

void CrashRun::on_cut(CutPoint& cut) {
    if (!failure_.empty() && options_.stop_at_first) return;
    if (options_.images_after_death_only && !revived_) return;
    if (options_.images_after_fault_only && !machine_.write_has_failed()) return;
    const auto visit = [&](Image& image) {
        if (failure_.empty() || !options_.stop_at_first) check(cut, image);
    };
    if (only_) {
        if (only_->cut == cut.number() && only_->seed == options_.machine.seed)
            cut.image(options_.images, only_->image, visit);
        return;
    }
    ++totals_.cuts;
    cut.images(options_.images, visit);
}

void CrashRun::check(CutPoint& cut, Image& image) {
    ++totals_.images;
    ++checked_;
    if (options_.tamper) options_.tamper(image);
    const State* found = nullptr;
    std::string problem = check_read(image.media, &found);
    const auto due = [&](std::uint64_t every) { return only_ || (every != 0 && checked_ % every == 0); };
    if (problem.empty() && due(options_.recut_every)) problem = cut_again(image.media, *found, image.id);
    if (problem.empty() && due(options_.write_again_every)) problem = write_again(image.media, *found);
    if (problem.empty() || !failure_.empty()) return;
    failure_ = options_.workload + "/" + image.id.text() + " (" + cut.describe() + "): " + problem;
}

/// Opens the image and looks at everything in it. Tells which state it holds.
std::string CrashRun::check_read(std::vector<std::span<std::byte>>& image, const State** found) {
    try {
        SimLocks locks;
        const Shelf shelf = open_image(image, locks, options_.machine.granularity, Mode::read_only);
        std::string problem;
        *found = nullptr;
        for (const State* state : {&state_, next_ ? &*next_ : nullptr, other_ ? &*other_ : nullptr}) {
            if (state == nullptr || *found != nullptr) continue;
            const std::string difference = compare(shelf, *state);
            if (difference.empty()) *found = state;
            else problem += (problem.empty() ? "not the old state (" : "; nor the new (") + difference + ")";
        }
        if (*found == nullptr) return problem;
        return check_image(image, true);
    } catch (const std::exception& error) {
        return std::string("cannot be read: ") + error.what();
    }
}

/// Goes on working with the image as if the power cut had been the end of a day.
std::string CrashRun::write_again(std::vector<std::span<std::byte>>& image, const State& found) {
    ++totals_.written_again;
    try {
        if (totals_.written_again % 4 == 0)
            if (std::string problem = repair_image(image); !problem.empty()) return problem;
        State model = found;
        SimLocks locks;
        {
            Shelf shelf = open_image(image, locks, options_.machine.granularity, Mode::read_write);
            const auto put = [&](const std::string& name, std::uint64_t size) {
                if (model.count(name) && model.at(name).sealed) shelf.erase(name);
                const Value value = make_value(size, 1'000'000 + checked_ + size);
                shelf.put(name, value.bytes, value.type);
                model[name] = value;
            };
            try {
                put("after/small", 40);
                put("after/large", 5000);
                if (!found.empty()) {
                    put(found.begin()->first, 300);
                    shelf.erase(found.rbegin()->first);
                    model.erase(found.rbegin()->first);
                }
            } catch (const NoSpaceError&) {
                // A full shelf is no fault of recovery; what was there must still be.
            }
            if (std::string problem = compare(shelf, model); !problem.empty())
                return "written to after recovery: " + problem;
            if (std::string problem = check_image(image, false); !problem.empty())
                return "written to after recovery: " + problem;
            shelf.close();
        }
        const Shelf shelf = open_image(image, locks, options_.machine.granularity, Mode::read_only);
        if (std::string problem = compare(shelf, model); !problem.empty())
            return "reopened after recovery: " + problem;
        return check_image(image, false);
    } catch (const std::exception& error) {
        return std::string("cannot be written to: ") + error.what();
    }
}

/// Recovery writes too: cuts the power in its first commits, to depth two.
std::string CrashRun::cut_again(std::vector<std::span<std::byte>>& image, const State& found,
                                const ImageId& id) {
    ++totals_.recuts;
    Options options = options_.machine;
    options.seed = mix(id.seed ^ mix(id.cut ^ mix(id.image)));
    options.skip_flush = options.skip_drain = 0;
    SimMachine machine(options);
    SimMedia map(machine, "map", image[0]);
    SimMedia data(machine, "data", image[1]);
    const Value value = make_value(100, 7);
    State after = found;
    after["again"] = value;
    bool done = false;
    std::string problem;
    machine.on_cut = [&](CutPoint& cut) {
        if (!problem.empty()) return;
        cut.images(options_.recut_images, [&](Image& inner) {
            if (!problem.empty()) return;
            ++totals_.recut_images;
            try {
                SimLocks locks;
                const Shelf shelf = open_image(inner.media, locks, options.granularity, Mode::read_only);
                const std::string old = compare(shelf, found);
                if (const std::string now = compare(shelf, after);
                    !now.empty() && (done || !old.empty()))
                    problem = "neither old (" + old + ") nor new (" + now + ")";
                else
                    problem = check_image(inner.media, true);
            } catch (const std::exception& error) {
                problem = std::string("cannot be read: ") + error.what();
            }
            if (!problem.empty())
                problem = "recovery cut at " + inner.id.text() + " (" + cut.describe() + "): " + problem;
        });
    };
    try {
        SimLocks locks;
        Shelf shelf = open_shelf(std::make_unique<MediaRef>(map), std::make_unique<MediaRef>(data), locks,
                                 Mode::read_write);
        shelf.put("again", value.bytes, value.type);
        done = true;
        shelf.close();
        shelf = {};
        machine.cut();
    } catch (const NoSpaceError&) {
    } catch (const std::exception& error) {
        if (problem.empty()) problem = std::string("recovery failed: ") + error.what();
    }
    machine.on_cut = nullptr;
    return problem;
}

}  // namespace pymm::sim
