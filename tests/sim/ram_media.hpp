// RamMedia: a Media over bytes that somebody else owns; durable or not is not its business. For opening
// a crash image quickly.
#pragma once

#include <cassert>
#include <cstring>
#include <span>
#include <string>

#include "media/media.hpp"

namespace pymm::sim {

class RamMedia final : public Media {
public:
    /// `bytes` must be page-aligned, as mapped files are.
    RamMedia(std::string name, std::span<std::byte> bytes,
             Granularity granularity = Granularity::cache_line, bool may_write = true)
        : Media(std::move(name), granularity, may_write) {
        data_ = bytes.data();
        size_ = bytes.size();
    }

    void reserve(std::uint64_t, std::uint64_t) override {}
    void write(std::uint64_t offset, const void* source, std::size_t size) override {
        check(offset, size);
        if (size != 0) std::memmove(data_ + offset, source, size);
    }
    void fill_zero(std::uint64_t offset, std::uint64_t size) override {
        check(offset, size);
        if (size != 0) std::memset(data_ + offset, 0, size);
    }
    void flush(std::uint64_t offset, std::uint64_t size) override { check(offset, size); }
    void drain() override {}

private:
    void check([[maybe_unused]] std::uint64_t offset, [[maybe_unused]] std::uint64_t size) const {
        assert(writable_);
        assert(offset <= size_ && size <= size_ - offset);
    }
};

}  // namespace pymm::sim
