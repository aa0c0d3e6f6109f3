// A program outside the tree, which scripts/test builds against what was installed: the public
// headers and the pkg-config file must be enough.
#include <pymm/pymm.hpp>

#include <cstdio>
#include <filesystem>
#include <numeric>
#include <span>
#include <vector>

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    std::filesystem::create_directories(argv[1]);
    auto space = pymm::Namespace::open(argv[1]);
    std::vector<double> values(1000);
    std::iota(values.begin(), values.end(), 0.0);
    {
        auto shelf = space.create("consumer", {.capacity = 8 << 20, .force = true});
        shelf.put("x", std::as_bytes(std::span(values)), pymm::Type::array("<f8", 8, {1000}));
        shelf.close();
    }
    auto shelf = space.shelf("consumer", pymm::Mode::read_only);
    auto view = shelf.get("x");
    auto elements = view.array<double>().elements();
    double sum = std::accumulate(elements.begin(), elements.end(), 0.0);
    std::printf("pymm %s: sum of x is %g\n", pymm::version(), sum);
    return sum == 499500.0 ? 0 : 1;
}
