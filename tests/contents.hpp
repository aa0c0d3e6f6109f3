// What a shelf is to hold, as a plain map, and how it differs from that.
#pragma once

#include <map>
#include <random>
#include <span>
#include <string>
#include <string_view>

#include <pymm/shelf.hpp>

namespace pymm::test {

using Contents = std::map<std::string, std::string>;

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string text_of(const View& view) {
    return {reinterpret_cast<const char*>(view.bytes().data()), view.bytes().size()};
}
inline std::string filled(std::size_t size, std::size_t seed) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(seed * 31 + i * 7 + (i >> 8));
    return text;
}

/// Random bytes, always the same of a seed.
inline std::string pattern(std::size_t size, unsigned seed) {
    std::mt19937_64 random(seed);
    std::string text(size, '\0');
    for (char& c : text) c = static_cast<char>(random());
    return text;
}

/// How the shelf differs from the model, or nothing.
inline std::string difference(const Shelf& s, const Contents& model) {
    if (s.size() != model.size())
        return std::to_string(s.size()) + " blobs instead of " + std::to_string(model.size());
    for (const auto& [name, value] : model) {
        if (!s.contains(name)) return "'" + name + "' is missing";
        if (text_of(s.get(name)) != value) return "'" + name + "' has other bytes";
    }
    return {};
}

inline Contents furnish(Shelf& s) {
    Contents model;
    const auto put = [&](const std::string& name, const std::string& value, const Type& type) {
        s.put(name, bytes_of(value), type);
        model[name] = value;
    };
    for (int i = 0; i < 20; ++i) {
        put("text/" + std::to_string(i), "value " + std::to_string(i), Type::value(Kind::string));
        put("page/" + std::to_string(i), filled(5000, static_cast<std::size_t>(i)), Type::raw());
    }
    return model;
}

}  // namespace pymm::test
