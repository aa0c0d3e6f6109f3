// View, PrivateMemory, Staged and Batch: what users hold.
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "media/guarded_read.hpp"
#include "media/log.hpp"
#include "shelf/core.hpp"
#include "shelf/planner.hpp"

namespace pymm {

using namespace format;

// ---- View -------------------------------------------------------------------------------------------

View::State::~State() {
    if (pinned) core->unpin(*this);
}

View::View() noexcept = default;
View::View(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
View::~View() = default;
View::View(View&&) noexcept = default;
View& View::operator=(View&&) noexcept = default;

namespace {
[[noreturn]] void empty_view() { throw InvalidArgumentError("view: it was moved from, or never obtained"); }
}  // namespace

const BlobInfo& View::info() const {
    if (!state_) empty_view();
    return state_->info;
}

std::span<const std::byte> View::bytes() const {
    if (!state_) empty_view();
    return {state_->data, static_cast<std::size_t>(state_->info.size)};
}

void View::check_readable(std::uint64_t offset, std::uint64_t size) const {
    constexpr std::uint64_t page = 4096;
    const BlobInfo& blob = info();
    if (offset > blob.size || size > blob.size - offset)
        throw InvalidArgumentError(fmt::format("check_readable of '{}': {} bytes from {} reach outside its {} bytes",
                                               blob.name, size, offset, blob.size));
    if (size == 0 || blob.inlined) return;
    const std::byte* fault = nullptr;
    const bool sound = survives_bus_error(
        [&]() noexcept {
            const volatile std::byte* bytes = state_->data;
            for (std::uint64_t at = offset; at < offset + size; at = (at / page + 1) * page) (void)bytes[at];
        },
        fault);
    if (sound) return;
    const Media& media = *state_->core->parts_.data;
    const auto* reached = fault == nullptr ? state_->data + offset : fault;
    const std::uint64_t at = std::max<std::int64_t>(reached - state_->data, static_cast<std::int64_t>(offset));
    throw_bus_error(media, blob.offset + offset, size, fault, fmt::format("blob '{}' at its byte {}", blob.name, at));
}

bool View::is_writable() const noexcept { return state_ && state_->writable; }

std::span<std::byte> View::writable_bytes() {
    if (!state_) empty_view();
    if (!state_->writable)
        throw ReadOnlyError(fmt::format("view of '{}': obtained for reading; get it with Access::write",
                                        state_->info.name));
    return {state_->data, static_cast<std::size_t>(state_->info.size)};
}

void View::persist() { persist(0, info().size); }

void View::persist(std::uint64_t offset, std::uint64_t size) {
    if (!state_) empty_view();
    const BlobInfo& info = state_->info;
    if (offset > info.size || size > info.size - offset)
        throw InvalidArgumentError(fmt::format("persist of '{}': {} bytes from {} reach outside its {} bytes",
                                               info.name, size, offset, info.size));
    if (!state_->writable || size == 0 || info.inlined) return;
    if (state_->core->forked_.load())
        throw ClosedError(fmt::format("persist of '{}': the shelf belongs to the parent of this process; what is "
                                      "stored here reaches nobody", info.name));
    state_->core->persist_range(info.offset + offset, size);
}

PrivateMemory View::private_memory() const {
    const BlobInfo& blob = info();
    PrivateMemory memory;
    memory.size_ = blob.size;
    const bool patched = !state_->patched.bytes().empty();
    if (!blob.inlined && !patched && blob.size >= kPage && blob.offset % kPage == 0) {
        const std::uint64_t whole = round_up(blob.size, kPage);
        memory.data_ = state_->core->parts_.data->map_private(blob.offset, whole);
        if (memory.data_ != nullptr) {
            memory.mapped_ = whole;
            return memory;
        }
    }
    check_readable();
    memory.data_ = static_cast<std::byte*>(std::aligned_alloc(kLine, round_up(std::max<std::uint64_t>(blob.size, 1), kLine)));
    if (memory.data_ == nullptr) throw std::bad_alloc();
    if (blob.size != 0) std::memcpy(memory.data_, state_->data, blob.size);
    return memory;
}

PrivateMemory::~PrivateMemory() {
    if (mapped_ != 0) ::munmap(data_, mapped_);
    else std::free(data_);
}

// ---- Staged -----------------------------------------------------------------------------------------

Staged::State::~State() {
    if (!core || core->forked_.load()) return;
    std::unique_lock lock(core->mutex_);
    core->release_staged(extent);
    core->drop_writable_use();
}

Staged::Staged() noexcept = default;
Staged::Staged(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Staged::~Staged() = default;
Staged::Staged(Staged&&) noexcept = default;
Staged& Staged::operator=(Staged&&) noexcept = default;

namespace {
[[noreturn]] void empty_staged() { throw InvalidArgumentError("staged: it was already put, or never obtained"); }
}  // namespace

const Type& Staged::type() const {
    if (!state_) empty_staged();
    return state_->type;
}

std::uint64_t Staged::size() const noexcept { return state_ ? state_->size : 0; }

void Staged::write(std::uint64_t offset, std::span<const std::byte> data) {
    if (!state_) empty_staged();
    State& s = *state_;
    if (offset > s.size || data.size() > s.size - offset)
        throw InvalidArgumentError(fmt::format("staged: {} bytes at {} reach outside its {} bytes", data.size(),
                                               offset, s.size));
    if (data.empty()) return;
    if (s.inlined) {
        std::copy(data.begin(), data.end(), s.value.begin() + static_cast<std::ptrdiff_t>(offset));
        return;
    }
    s.core->require_writable();
    Media& media = *s.core->parts_.data;
    try {
        // The fence belongs to the writing thread; the put may come from another.
        if (data.size() == s.size) {
            media.write(s.extent.offset, data.data(), data.size());
        } else {
            s.behind = true;
            media.write_behind(s.extent.offset + offset, data.data(), data.size());
        }
        media.drain();
        // What comes out of order is not counted; it costs a put with a checksum another write, nothing else.
        std::uint64_t written = s.written.load();
        while (offset <= written && written < offset + data.size() &&
               !s.written.compare_exchange_weak(written, offset + data.size())) {
        }
    } catch (const IoError& error) {
        if (error.os_error() == EFAULT) throw;
        s.core->fail(error);
    }
}

std::span<std::byte> Staged::memory() {
    if (!state_) empty_staged();
    State& s = *state_;
    if (s.inlined) return s.value;
    if (!s.exposed.load()) {
        s.core->require_writable();
        s.core->parts_.data->reserve(s.extent.offset, s.extent.size);
        s.exposed = true;
    }
    return {s.core->parts_.data->data() + s.extent.offset, static_cast<std::size_t>(s.size)};
}

bool Staged::resize(const Type& type, std::uint64_t size) {
    if (!state_) empty_staged();
    return state_->core->resize(*state_, type, size);
}

void Staged::zero() {
    if (!state_) empty_staged();
    State& s = *state_;
    if (s.inlined) {
        std::fill(s.value.begin(), s.value.end(), std::byte{0});
        return;
    }
    s.core->require_writable();
    s.core->guarded([&] {
        s.core->parts_.data->fill_zero(s.extent.offset, s.extent.size);
        s.core->parts_.data->drain();
    });
    s.written = s.size;
}

// ---- Batch ------------------------------------------------------------------------------------------

Batch::Batch(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Batch::~Batch() = default;
Batch::Batch(Batch&&) noexcept = default;
Batch& Batch::operator=(Batch&&) noexcept = default;

Batch ShelfCore::batch() {
    require_writable();
    auto state = std::make_unique<Batch::State>();
    state->core = shared_from_this();
    return Batch(std::move(state));
}

std::size_t Batch::size() const noexcept { return state_ ? state_->ops.size() : 0; }

namespace {
[[noreturn]] void empty_batch() { throw InvalidArgumentError("batch: already committed"); }
}  // namespace

void Batch::put(std::string_view name, std::span<const std::byte> data, const Type& type) {
    if (!state_) empty_batch();
    check_blob_name(name);
    state_->ops.push_back({State::Op::put, std::string(name), {}, state_->core->prepare(name, data, type)});
}

void Batch::put(std::string_view name, Staged staged) {
    if (!state_) empty_batch();
    check_blob_name(name);
    state_->ops.push_back({State::Op::put, std::string(name), {}, state_->core->prepare(name, std::move(staged))});
}

void Batch::erase(std::string_view name) {
    if (!state_) empty_batch();
    check_blob_name(name);
    state_->ops.push_back({State::Op::erase, std::string(name), {}, nullptr});
}

void Batch::rename(std::string_view from, std::string_view to) {
    if (!state_) empty_batch();
    check_blob_name(from);
    check_blob_name(to);
    state_->ops.push_back({State::Op::rename, std::string(from), std::string(to), nullptr});
}

void Batch::commit() {
    if (!state_) empty_batch();
    ShelfCore& core = *state_->core;
    if (core.joins()) {
        core.batch_in_transaction(*state_);
    } else {
        const auto lock = core.exclusive();
        core.require_writable();
        if (!state_->ops.empty()) {
            core.start_writing();
            const std::uint64_t now = now_ns();
            Planner plan(*core.catalogue_, core.builder_, state_->ops.size() == 1, core.others_transaction());
            for (const State::Op& op : state_->ops) {
                if (op.what == State::Op::put) plan.put(op.prepared->version(), now);
                else if (op.what == State::Op::erase) plan.erase(op.name);
                else plan.rename(op.name, op.to, true);
            }
            if (!core.builder_.empty()) core.commit_built("(batch)", now);
            for (State::Op& op : state_->ops)
                if (op.prepared) op.prepared->header = op.prepared->data = {};
        }
    }
    state_.reset();
}

}  // namespace pymm
