// Output: to descriptors straight from the memory of a view, and to files that appear whole.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace pymmctl {

/// Called with the number of bytes written since the last call.
using Advance = std::function<void(std::size_t)>;

/// Writes all of it, in pieces. Throws OutputClosed on EPIPE, else Failure.
void write_all(int fd, std::span<const std::byte> bytes, const std::string& name,
               const Advance& advance = {});

/// Text on standard output, collected into large writes. Nothing is lost silently: flush() reports.
class TextOutput {
public:
    TextOutput& operator<<(std::string_view text);
    void flush();

private:
    std::string pending_;
};

/// A file being written. A regular one is made under another name in the same directory and gets its
/// own by commit(), so that the final name never shows a part; devices, pipes and "-" are written
/// directly. Dropped without commit(), or on SIGINT, SIGTERM or SIGHUP, the part is removed.
class OutputFile {
public:
    /// `replace` false: commit() fails with Exit::exists if the name is taken.
    OutputFile(const std::string& path, bool replace);
    ~OutputFile();
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    void write(std::span<const std::byte> bytes, const Advance& advance = {});
    void commit();

private:
    void open_directly();
    void open_beside(bool existing);

    std::string path_;
    std::string name_;       // for messages
    std::string temporary_;  // empty when written directly
    int fd_ = -1;
    bool owned_ = true;
    bool replace_;
};

}  // namespace pymmctl
