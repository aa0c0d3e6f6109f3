// Input: a file or standard input, read once from front to back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace pymmctl {

class Input {
public:
    /// "-" is standard input. Throws Failure.
    explicit Input(const std::string& path);
    ~Input();
    Input(const Input&) = delete;
    Input& operator=(const Input&) = delete;

    /// For messages.
    const std::string& name() const noexcept { return name_; }
    /// Bytes still to be read; nothing for pipes and such.
    std::optional<std::uint64_t> remaining() const noexcept { return remaining_; }

    /// Up to `size` of the next bytes, without consuming them; fewer only at the end.
    std::span<const std::byte> peek(std::size_t size);
    /// Fills `out`; returns less than its size only at the end. Throws Failure.
    std::size_t read(std::span<std::byte> out);
    /// True when nothing is left. Blocks until that is known.
    bool at_end() { return peek(1).empty(); }

private:
    std::size_t read_some(std::span<std::byte> out);

    std::string name_;
    int fd_ = -1;
    bool owned_ = false;
    std::optional<std::uint64_t> remaining_;
    std::vector<std::byte> ahead_;  // peeked at, not consumed
};

}  // namespace pymmctl
