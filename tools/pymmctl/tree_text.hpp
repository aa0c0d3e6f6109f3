// Containers as text: what `cat` prints for a list, tuple or dict.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace pymmctl {

/// As Python would print it, escaped, and cut off where it becomes too long to look at. Arrays are shown by their
/// type and shape. Throws CorruptError.
std::string tree_text(std::span<const std::byte> tree);

/// All of it as JSON. Tuples become arrays; dicts become objects, or arrays of pairs where a key is no text; what JSON
/// has no word for (bytes, complex numbers, infinities, long integers) becomes what tree_text() shows, as a text;
/// arrays become objects that tell dtype and shape. Throws CorruptError.
std::string tree_json(std::span<const std::byte> tree);

/// Both of a linked list.
std::string list_text(std::span<const std::byte> list);
std::string list_json(std::span<const std::byte> list);

}  // namespace pymmctl
