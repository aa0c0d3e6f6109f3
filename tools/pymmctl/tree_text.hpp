// Containers as text: what `cat` prints for a list, tuple or dict, or for what a Python package made of such.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace pymmctl {

/// As Python would print it, escaped, and cut off where it becomes too long to look at. Arrays are shown by their
/// type and shape. Throws CorruptError.
std::string tree_text(std::span<const std::byte> tree);

/// The name of what a Python package made, where the tree is that as a whole; else empty. Throws CorruptError.
std::string tree_object(std::span<const std::byte> tree);

/// All of it as JSON. Tuples become arrays; dicts become objects, or arrays of pairs where a key is no text; what JSON
/// has no word for (bytes, complex numbers, infinities, long integers) becomes what tree_text() shows, as a text;
/// arrays become objects that tell dtype and shape, tables and matrices of Python packages such that tell name and parts. Throws CorruptError.
std::string tree_json(std::span<const std::byte> tree);

/// Both of a linked list.
std::string list_text(std::span<const std::byte> list);
std::string list_json(std::span<const std::byte> list);

}  // namespace pymmctl
