// Reading a shelf's file for a dump: through the descriptor, so that a file that is cut short meanwhile, or a bad
// block, is an error and no signal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "namespace/directory.hpp"

namespace pymm {

class DumpFile {
public:
    /// Opens LEAF in the directory. `problem()` tells when there is no such regular file.
    DumpFile(int directory, const std::string& leaf);

    const std::string& problem() const noexcept { return problem_; }
    bool missing() const noexcept { return missing_; }
    std::uint64_t size() const noexcept { return size_; }
    bool holds(std::uint64_t offset, std::uint64_t size) const noexcept {
        return offset <= size_ && size <= size_ - offset;
    }

    /// Fills `out`. Empty on success, else what went wrong; `out` is then undefined.
    std::string read(std::uint64_t offset, std::span<std::byte> out) const;

private:
    Fd fd_;
    std::uint64_t size_ = 0;
    std::string problem_;
    bool missing_ = false;
};

}  // namespace pymm
