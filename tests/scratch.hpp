// A namespace directory for one test, removed afterwards.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <stdexcept>
#include <string>

namespace pymm::test {

class Scratch {
public:
    Scratch() {
        const char* base = ::getenv("PYMM_TEST_DIR");
        std::string pattern =
            (base != nullptr ? std::string(base) : std::filesystem::temp_directory_path().string()) +
            "/pymm-test-XXXXXX";
        if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
        path_ = pattern;
    }
    ~Scratch() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    const std::string& path() const noexcept { return path_; }

private:
    std::string path_;
};

}  // namespace pymm::test
