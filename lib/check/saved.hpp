// What a repair replaces is saved first: a directory NAME.fsck-TIME beside the shelf, which is a namespace of
// its own with a shelf of the same name. Its .map is a copy; its .data is a sparse file of the same size that has
// the replaced bytes in their places (in whole blocks, shared with the shelf's file, where the file system can).
#pragma once

#include <string>

#include "check/checker.hpp"

namespace pymm {

struct ShelfFiles {
    int directory;
    std::string path;  ///< of the directory
    std::string name;  ///< of the shelf
    int map;           ///< -1: there is none
    int data;
};

/// Durable when it returns the path of the new directory. Throws NoSpaceError, IoError; then nothing is left behind.
std::string save_replaced(const ShelfFiles& files, const Replaced& replaced);

}  // namespace pymm
