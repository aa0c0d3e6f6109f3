// Type descriptors: what can be, what is refused, and the way to bytes and back.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <complex>
#include <limits>

#include <pymm/array.hpp>
#include <pymm/error.hpp>
#include <pymm/type.hpp>

#include "format/type_codec.hpp"

using namespace pymm;
using format::decode_type;
using format::encode_type;
using format::encoded_type_size;
using format::type_problem;

namespace {

std::vector<std::byte> encoded(const Type& type) {
    std::vector<std::byte> bytes(encoded_type_size(type));
    encode_type(type, bytes.data());
    return bytes;
}

Type any_type() {
    Type type;
    type.kind = static_cast<Kind>(*rc::gen::inRange(0, 14));
    type.dtype = *rc::gen::arbitrary<std::string>();
    type.itemsize = *rc::gen::arbitrary<std::uint32_t>();
    const auto n = *rc::gen::inRange<std::size_t>(0, 65);
    type.shape = *rc::gen::container<std::vector<std::int64_t>>(n, rc::gen::arbitrary<std::int64_t>());
    type.strides = *rc::gen::container<std::vector<std::int64_t>>(n, rc::gen::arbitrary<std::int64_t>());
    return type;
}

constexpr std::int64_t kBig = std::numeric_limits<std::int64_t>::max();

}  // namespace

TEST_CASE("any descriptor survives encoding, and no shorter or longer bytes are taken for it") {
    REQUIRE(rc::check([] {
        const Type type = any_type();
        std::vector<std::byte> bytes = encoded(type);
        Type again;
        RC_ASSERT(decode_type(bytes, again));
        RC_ASSERT(again == type);
        const auto cut = *rc::gen::inRange<std::size_t>(0, bytes.size());
        RC_ASSERT(!decode_type(std::span(bytes).first(cut), again));
        bytes.push_back(std::byte{0});
        RC_ASSERT(!decode_type(bytes, again));
    }));
}

TEST_CASE("arbitrary bytes are refused or come back the same") {
    REQUIRE(rc::check([](const std::vector<std::uint8_t>& raw) {
        std::vector<std::byte> bytes(raw.size());
        for (std::size_t i = 0; i < raw.size(); ++i) bytes[i] = std::byte{raw[i]};
        if (bytes.size() > 3) {  // likely lengths, so that some are accepted
            bytes[1] &= std::byte{3};
            const std::size_t rest = bytes.size() - 8 - 16 * std::to_integer<std::size_t>(bytes[1]);
            if (bytes.size() >= 8 && rest < 200) bytes[2] = static_cast<std::byte>(rest), bytes[3] = std::byte{0};
        }
        Type type;
        if (!decode_type(bytes, type)) return;
        RC_ASSERT(encoded(type) == bytes);
        (void)type_problem(type, 100);
        (void)type.describe();
        (void)type.c_contiguous();
        (void)type.f_contiguous();
    }));
}

TEST_CASE("more than 64 dimensions are no descriptor") {
    std::vector<std::byte> bytes(8 + 16 * 65);
    bytes[0] = std::byte{1};
    bytes[1] = std::byte{65};
    Type type;
    CHECK(!decode_type(bytes, type));
    bytes[1] = std::byte{64};
    bytes.resize(8 + 16 * 64);
    CHECK(decode_type(bytes, type));
}

TEST_CASE("the bytes of one descriptor, written out") {
    const std::vector<std::byte> bytes = encoded(Type::array("<f8", 8, {2, 3}));
    const std::vector<std::uint8_t> expected{1, 2, 3, 0, 8, 0, 0, 0,                           // header
                                             2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,   // shape
                                             24, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0,  // strides
                                             '<', 'f', '8'};
    REQUIRE(bytes.size() == expected.size());
    for (std::size_t i = 0; i < bytes.size(); ++i) CHECK(bytes[i] == std::byte{expected[i]});
}

TEST_CASE("strides of arrays made by us, in both orders") {
    const Type c = Type::array("<f8", 8, {2, 3, 5});
    CHECK(c.strides == std::vector<std::int64_t>{120, 40, 8});
    CHECK(c.c_contiguous());
    CHECK(!c.f_contiguous());
    CHECK(c.nbytes() == 240);
    const Type f = Type::array("<f8", 8, {2, 3, 5}, true);
    CHECK(f.strides == std::vector<std::int64_t>{8, 16, 48});
    CHECK(f.f_contiguous());
    CHECK(!f.c_contiguous());
    const Type point = Type::array("<i4", 4, {});
    CHECK(point.nbytes() == 4);
    CHECK(point.c_contiguous());
    CHECK(point.f_contiguous());
    const Type empty = Type::array("<i4", 4, {3, 0, 2});
    CHECK(empty.nbytes() == 0);
    CHECK(empty.strides == std::vector<std::int64_t>{8, 8, 4});
    CHECK(Type::array("<i4", 4, {7, 1}).f_contiguous());
}

TEST_CASE("sizes that overflow are refused before anything else") {
    CHECK_THROWS_AS(Type::array("<f8", 8, {kBig}), InvalidArgumentError);
    CHECK_THROWS_AS(Type::array("<f8", 8, {1 << 30, 1 << 30, 8}), InvalidArgumentError);
    CHECK_THROWS_AS(Type::array("<f8", 8, {-1}), InvalidArgumentError);
    CHECK_THROWS_AS(Type::array("<f8", 8, {0, -1}), InvalidArgumentError);
    CHECK_THROWS_AS(Type::array("|u1", 1, std::vector<std::int64_t>(65, 1)), InvalidArgumentError);
    CHECK_NOTHROW(Type::array("|u1", 1, std::vector<std::int64_t>(64, 1)));
    CHECK(Type::array("|u1", 1, {kBig}).nbytes() == static_cast<std::uint64_t>(kBig));
    CHECK(Type::array("<f8", 8, {kBig, kBig, 0}).nbytes() == 0);
    CHECK(Type::array("|S0", 0, {kBig, kBig}).nbytes() == 0);
}

TEST_CASE("what a blob of some size can be") {
    const auto value = [](Kind kind, std::uint64_t size) { return type_problem(Type::value(kind), size) == nullptr; };
    CHECK(value(Kind::raw, 0));
    CHECK(value(Kind::raw, 1000));
    CHECK(value(Kind::string, 0));
    CHECK(value(Kind::bytes, 17));
    CHECK(value(Kind::integer, 1));
    CHECK(!value(Kind::integer, 0));
    CHECK(value(Kind::integer, 1000));
    CHECK(value(Kind::real, 8));
    CHECK(!value(Kind::real, 4));
    CHECK(value(Kind::complex, 16));
    CHECK(!value(Kind::complex, 8));
    CHECK(value(Kind::boolean, 1));
    CHECK(!value(Kind::boolean, 0));
    CHECK(value(Kind::none, 0));
    CHECK(!value(Kind::none, 1));
    CHECK(value(Kind::tree, 48));
    CHECK(!value(Kind::tree, 47));
    CHECK(value(Kind::pickled, 48));
    CHECK(!value(Kind::pickled, 47));
    CHECK(value(Kind::linked_list, 64));
    CHECK(!value(Kind::linked_list, 56));
    CHECK(!value(Kind::linked_list, 68));
    CHECK(!value(static_cast<Kind>(14), 1));
    CHECK(!value(static_cast<Kind>(255), 0));
    Type shaped = Type::value(Kind::string);
    shaped.shape = shaped.strides = {1};
    CHECK(type_problem(shaped, 1) != nullptr);
}

TEST_CASE("what an array of some size can be") {
    const auto fits = [](const Type& type, std::uint64_t size) { return type_problem(type, size) == nullptr; };
    const Type good = Type::array("<f8", 8, {2, 3});
    CHECK(fits(good, 48));
    CHECK(!fits(good, 47));
    CHECK(!fits(good, 49));
    CHECK(fits(Type::array("<f8", 8, {}), 8));
    CHECK(fits(Type::array("<f8", 8, {0, 5}), 0));
    CHECK(!fits(Type::array("<f8", 8, {0, 5}), 8));

    Type t = good;
    t.strides = {8, 16};
    CHECK(fits(t, 48));
    t.strides = {24, 16};  // reaches byte 24 + 32 + 8
    CHECK(!fits(t, 48));
    t.strides = {0, 8};  // overlapping elements stay inside
    CHECK(fits(t, 48));
    t.strides = {-24, 8};
    CHECK(!fits(t, 48));
    t.strides = {kBig, 8};
    CHECK(!fits(t, 48));
    t.strides = {24};
    CHECK(!fits(t, 48));
    t = good;
    t.shape = {kBig, kBig};
    CHECK(!fits(t, 48));
    t.shape = {-2, -3};
    CHECK(!fits(t, 48));
    t = good;
    t.dtype.clear();
    CHECK(!fits(t, 48));
    t.dtype = "\xff";
    CHECK(!fits(t, 48));
    t.dtype = std::string(65535 - 8 - 32, 'a');
    CHECK(fits(t, 48));
    t.dtype += 'a';
    CHECK(!fits(t, 48));

    Type scalar = Type::array("<f4", 4, {});
    scalar.kind = Kind::scalar;
    CHECK(fits(scalar, 4));
    CHECK(!fits(scalar, 8));
    scalar.shape = scalar.strides = {1};
    CHECK(!fits(scalar, 4));
}

TEST_CASE("tensors: as arrays, with strides and names of elements of PyTorch's") {
    const Type last = Type::tensor("<f4", 4, {2, 3, 2, 2}, {48, 4, 24, 12});  // channels_last
    CHECK(type_problem(last, 96) == nullptr);
    CHECK(type_problem(last, 95) != nullptr);
    CHECK(!last.c_contiguous());
    CHECK(last.describe() == "tensor <f4 (2, 3, 2, 2)");
    CHECK(type_problem(Type::tensor("bfloat16", 2, {5}, {4}), 10) != nullptr);  // reaches byte 18
    CHECK(type_problem(Type::tensor("bfloat16", 2, {5}, {2, 2}), 10) != nullptr);
    CHECK(type_problem(Type::tensor("", 2, {5}, {2}), 10) != nullptr);
    CHECK_THROWS_AS(Type::tensor("<f4", 4, {kBig, kBig}, {4, 4}), InvalidArgumentError);

    const float values[] = {1, 2};
    const Type grad = Type::tensor("<f4 requires_grad", 4, {2}, {4});
    CHECK(grad.element() == "<f4");
    CHECK(Type::array("<f4 x", 4, {2}).element() == "<f4 x");
    CHECK(Array<const float>(grad, reinterpret_cast<const std::byte*>(values), 8)(1) == 2);
    CHECK_THROWS_AS(Array<const double>(grad, reinterpret_cast<const std::byte*>(values), 8), InvalidArgumentError);
}

TEST_CASE("names of kinds") {
    CHECK(kind_name(Kind::raw) == "raw");
    CHECK(kind_name(Kind::ndarray) == "ndarray");
    CHECK(kind_name(Kind::scalar) == "scalar");
    CHECK(kind_name(Kind::tree) == "tree");
    CHECK(kind_name(Kind::tensor) == "tensor");
    CHECK(kind_name(Kind::pickled) == "pickled");
    CHECK(kind_name(Kind::linked_list) == "linked_list");
    CHECK(kind_name(static_cast<Kind>(14)) == "unknown");
    CHECK(Type::array("<f8", 8, {3}).describe() == "<f8 (3,)");
    CHECK(Type::array("<f8", 8, {3, 4}).describe() == "<f8 (3, 4)");
}

TEST_CASE("typed access: only as what it is") {
    const auto matches = [](std::string_view dtype, char kind, std::size_t size) {
        return detail::dtype_matches(dtype, kind, size);
    };
    CHECK(matches("<f8", 'f', 8));
    CHECK(!matches("<f8", 'f', 4));
    CHECK(!matches("<f8", 'i', 8));
    CHECK(!matches(">f8", 'f', 8));
    CHECK(matches(">u1", 'u', 1));
    CHECK(matches("|u1", 'u', 1));
    CHECK(matches("|b1", 'b', 1));
    CHECK(!matches("<M8[us]", 'i', 8));
    CHECK(!matches("<f8x", 'f', 8));
    CHECK(!matches("f8", 'f', 8));
    CHECK(!matches("", 'f', 8));

    const double values[] = {1, 2, 3, 4, 5, 6};
    const auto* at = reinterpret_cast<const std::byte*>(values);
    const Type type = Type::array("<f8", 8, {2, 3});
    const Array<const double> array(type, at, sizeof values);
    CHECK(array(1, 2) == 6);
    CHECK(array.size() == 6);
    CHECK(array.elements().size() == 6);
    const Type turned = Type::array("<f8", 8, {2, 3}, true);
    CHECK(Array<const double>(turned, at, sizeof values)(1, 2) == 6);
    CHECK(Array<const double>(turned, at, sizeof values)(1, 0) == 2);
    Type wide = Type::array("<f8", 8, {3, 2});
    wide.strides = {8, 24};
    CHECK(Array<const double>(wide, at, sizeof values)(0, 1) == 4);
    wide.shape = {1, 6};
    wide.strides = {0, 8};
    CHECK(Array<const double>(wide, at, sizeof values)(0, 5) == 6);
    CHECK_THROWS_AS(Array<const float>(type, at, sizeof values), InvalidArgumentError);
    CHECK_THROWS_AS(Array<const std::int64_t>(type, at, sizeof values), InvalidArgumentError);
    CHECK_THROWS_AS(Array<const std::complex<double>>(type, at, sizeof values), InvalidArgumentError);
    CHECK_THROWS_AS(Array<const double>(type, at, sizeof values - 8), InvalidArgumentError);
    CHECK_THROWS_AS(Array<const double>(Type::value(Kind::real), at, 8), InvalidArgumentError);
    Type crooked = Type::array("<f8", 8, {2});
    crooked.strides = {4};  // inside, but no double is aligned there
    CHECK_THROWS_AS(Array<const double>(crooked, at, 16), InvalidArgumentError);
    CHECK_THROWS_AS(Array<const double>(Type::array("<f8", 8, {1}), at + 4, 8), InvalidArgumentError);
    CHECK_NOTHROW(Array<const double>(Type::array("<f8", 8, {0}), at + 4, 0));
    Type sparse = Type::array("<f8", 8, {2, 2});
    sparse.strides = {0, 8};
    CHECK_THROWS_AS(Array<const double>(sparse, at, 32).elements(), InvalidArgumentError);
}

TEST_CASE("type: arrays that grow say so behind their dtype") {
    struct Case {
        const char* dtype;
        const char* element;
        std::optional<std::uint64_t> most;
    };
    const std::string longest = "<f8 grows<=" + std::string(18, '9'), too_long = longest + '9';
    const Case cases[] = {
        {"<f8 grows", "<f8", UINT64_MAX},
        {"<f8 grows<=0", "<f8", 0},
        {"<M8[25us] grows<=1234", "<M8[25us]", 1234},
        {longest.c_str(), "<f8", 999'999'999'999'999'999},
        {"[('a b', '<f8'), ('grows', '<i4')]", "[('a b', '<f8'), ('grows', '<i4')]", {}},
        {"[('a b', '<f8'), ('grows', '<i4')] grows<=7", "[('a b', '<f8'), ('grows', '<i4')]", 7},
        // Not what a writer makes: the text is then taken as a whole, and is no dtype.
        {too_long.c_str(), too_long.c_str(), {}},
        {"<f8 grows<=", "<f8 grows<=", {}},
        {"<f8 grows<=-1", "<f8 grows<=-1", {}},
        {"<f8 grows<=1x", "<f8 grows<=1x", {}},
        {"<f8 grows<5", "<f8 grows<5", {}},
        {"<f8 growsmore", "<f8 growsmore", {}},
        {"<f8 grows ", "<f8 grows ", {}},
        {"grows", "grows", {}},
        {" grows", "", UINT64_MAX},
        {"<f8", "<f8", {}},
    };
    for (const Case& c : cases) {
        CAPTURE(c.dtype);
        Type type;
        type.kind = Kind::ndarray;
        type.dtype = c.dtype;
        CHECK(type.element() == c.element);
        CHECK(type.max_rows() == c.most);
        type.kind = Kind::tensor;
        CHECK(!type.max_rows());
    }
    const double values[] = {1, 2};
    const Type two = Type::array("<f8 grows<=2", 8, {2});
    CHECK(Array<const double>(two, reinterpret_cast<const std::byte*>(values), 16)(1) == 2);
    CHECK(two.describe() == "<f8 (2,), appendable up to 2 rows");
    CHECK(Type::array("<f8 grows", 8, {2, 3}).describe() == "<f8 (2, 3), appendable");
    CHECK(format::type_problem(two, 16) == nullptr);
    CHECK(format::type_problem(Type::array("<f8 grows<=1", 8, {2}), 16) != nullptr);
    CHECK(format::type_problem(Type::array("<f8 grows", 8, {}), 8) != nullptr);
}
