#include "transient.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "file_memory.hpp"
#include "numpy_allocator.hpp"

namespace py = pybind11;

namespace pymm::python {

namespace {

// Smaller arrays stay in DRAM: a range of its own in a file is at least a page, and costs system calls.
constexpr std::size_t kLarge = 64 << 10;
constexpr const char* kName = "pymm_transient";

// Files that are asked one after the other.
class Transient final : public DataAllocator {
public:
    void add(std::unique_ptr<FileMemory> file) { files_.push_back(std::move(file)); }

    void* allocate(std::size_t size, bool zero) noexcept override {
        for (const auto& file : files_)
            if (void* memory = file->allocate(size, zero)) return memory;
        return nullptr;
    }
    bool owns(const void* memory) const noexcept override { return owner(memory) != nullptr; }
    std::size_t size_of(const void* memory) const noexcept override { return owner(memory)->size_of(memory); }
    void release(void* memory) noexcept override { owner(memory)->release(memory); }
    // A forked child gets no more from the parent's files.
    bool otherwise_before() const noexcept override { return files_.front()->inherited(); }
    // Arrays that are there, small ones too, keep this, and so the files.
    void retire() noexcept override {
        for (const auto& file : files_) file->retire();
    }

private:
    FileMemory* owner(const void* memory) const noexcept {
        const auto it = std::find_if(files_.begin(), files_.end(), [&](const auto& f) { return f->owns(memory); });
        return it == files_.end() ? nullptr : it->get();
    }

    std::vector<std::unique_ptr<FileMemory>> files_;  // never empty
};

bool disable() {
    const Ref before = allocator_before(kName);
    if (before) restore_allocator(before.get());
    return static_cast<bool>(before);
}

// Each file: directory, most bytes, whether it gives storage back at once.
void enable(const std::vector<std::tuple<std::string, std::uint64_t, bool>>& files) {
    if (files.empty()) throw py::value_error("enable_transient: no file");
    auto made = std::make_unique<Transient>();
    for (const auto& [directory, size, give_back] : files)
        made->add(std::make_unique<FileMemory>(directory, size, give_back));
    disable();
    install_allocator(std::move(made), kName, kLarge);
}

}  // namespace

void add_transient_memory(py::module_& module) {
    module.def("enable_transient", &enable, py::arg("files"));
    module.def("disable_transient", &disable);
}

}  // namespace pymm::python
