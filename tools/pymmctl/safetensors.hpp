// Files of safetensors: eight bytes, a header in JSON, and the elements of tensors. On a shelf they are a dict of tensors.
// Source: https://github.com/huggingface/safetensors, "Format".
#pragma once

#include <string>

#include <pymm/shelf.hpp>

#include "input.hpp"
#include "output.hpp"
#include "progress.hpp"

namespace pymmctl {

/// Puts what the input holds. Its header is checked as hostile input. Throws Failure: corrupt; version for elements that
/// are not known. The shelf is unchanged then.
void put_safetensors(pymm::Shelf& shelf, const std::string& name, Input& input, Progress& progress);

/// A dict of tensors and arrays as such a file.
class SafetensorsOutput {
public:
    /// Throws Failure(usage) where the blob is no such dict, or has what no such file can hold; Failure(corrupt).
    SafetensorsOutput(const pymm::View& view, const std::string& where);
    std::uint64_t size() const noexcept { return size_; }
    void write(OutputFile& file, Progress& progress) const;

private:
    const pymm::View& view_;
    std::string header_;
    struct Part {
        pymm::Type type;
        std::span<const std::byte> bytes;
    };
    std::vector<Part> parts_;
    std::uint64_t size_ = 0;
};

}  // namespace pymmctl
