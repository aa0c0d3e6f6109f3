// C++ and Python on the same shelf, with no copy between them.
//
//   interop read  NAMESPACE SHELF   reads the array `weights` and the dict `run` that Python wrote, in place
//   interop write NAMESPACE SHELF   writes the array `answers` for Python to read
//
// interop.py is the other side; run.sh runs both.
#include <cstring>
#include <iostream>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include <pymm/pymm.hpp>

namespace {

void read(const std::string& path, const std::string& shelf_name) {
    // Read-only: works while Python still has the shelf open for writing.
    const pymm::Shelf shelf = pymm::Shelf::open(path, shelf_name, pymm::Mode::read_only);
    const pymm::View view = shelf.get("weights");  // pins the extent: no copy, valid while `view` lives
    const auto weights = view.array<double>();
    double sum = 0;
    for (std::int64_t row = 0; row < weights.shape()[0]; ++row)
        for (std::int64_t column = 0; column < weights.shape()[1]; ++column) sum += weights(row, column);
    std::cout << "weights " << view.type().describe() << " sum " << sum << "\n";

    // A dict: only what is asked for is read.
    const pymm::View run = shelf.get("run");
    const std::optional<pymm::TreeNode> biases = pymm::Tree(run.bytes()).root().find("biases");
    if (biases) std::cout << "bias 2 of the run is " << biases->array<double>()(2) << "\n";
}

void write(const std::string& path, const std::string& shelf_name) {
    pymm::Shelf shelf = pymm::Shelf::open(path, shelf_name);
    const std::string text = "written by C++";

    // Filled in place on the media, then named: durable and whole when put() returns.
    const auto type = pymm::Type::array("<i8", 8, {3, 5});
    pymm::Staged staged = shelf.stage(type, type.nbytes());
    auto* values = reinterpret_cast<std::int64_t*>(staged.memory().data());
    std::iota(values, values + 15, 0);

    // Both names appear together or not at all.
    pymm::Batch batch = shelf.batch();
    batch.put("answers", std::move(staged));
    batch.put("note", std::as_bytes(std::span(text)), pymm::Type::value(pymm::Kind::string));
    batch.commit();

    // In place, at memory speed; durable after persist().
    pymm::View view = shelf.get("answers", pymm::Access::write);
    view.writable_array<std::int64_t>()(2, 4) = 42;
    view.persist();
    std::cout << "answers written\n";
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::cerr << "usage: interop read|write NAMESPACE SHELF\n";
        return 2;
    }
    try {
        if (std::strcmp(argv[1], "read") == 0) read(argv[2], argv[3]);
        else write(argv[2], argv[3]);
    } catch (const pymm::Error& error) {
        std::cerr << "interop: " << error.what() << "\n";
        return 1;
    }
}
