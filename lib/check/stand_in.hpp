// A map file that is not there, or too short, as bytes of this process: checked and mended like any other, and
// written out as a file when all of it is right.
#pragma once

#include <cassert>
#include <cstring>
#include <new>
#include <string>

#include "format/layout.hpp"
#include "media/media.hpp"

namespace pymm {

class StandInMap final : public Media {
public:
    StandInMap(std::string name, const void* bytes, std::size_t size) : Media(std::move(name), Granularity::byte, true) {
        data_ = static_cast<std::byte*>(::operator new(format::kMapSize, std::align_val_t{format::kPage}));
        size_ = format::kMapSize;
        std::memset(data_, 0, size_);
        if (size != 0) std::memcpy(data_, bytes, size);
    }
    ~StandInMap() override { ::operator delete(data_, std::align_val_t{format::kPage}); }

    void reserve(std::uint64_t, std::uint64_t) override {}
    void write(std::uint64_t offset, const void* source, std::size_t size) override {
        assert(offset <= size_ && size <= size_ - offset);
        std::memcpy(data_ + offset, source, size);
    }
    void fill_zero(std::uint64_t offset, std::uint64_t size) override {
        assert(offset <= size_ && size <= size_ - offset);
        std::memset(data_ + offset, 0, size);
    }
    void flush(std::uint64_t, std::uint64_t) override {}
    void drain() override {}
};

}  // namespace pymm
