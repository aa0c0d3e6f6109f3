// Real shelves to damage, and the bytes to damage.
#pragma once

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <pymm/check.hpp>
#include <pymm/pymm.hpp>

#include "format/layout.hpp"
#include "format/superblock.hpp"
#include "scratch.hpp"

namespace pymm::test {

using Contents = std::map<std::string, std::vector<std::byte>>;

inline std::vector<std::byte> filled(std::size_t size, unsigned seed) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(seed * 31 + i * 7 + (i >> 8));
    return bytes;
}

inline std::vector<std::byte> file_bytes(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::vector<std::byte> bytes(std::filesystem::file_size(path));
    in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return bytes;
}

inline void overwrite(const std::string& path, std::uint64_t offset, const void* bytes, std::size_t size) {
    std::fstream out(path, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(static_cast<std::streamoff>(offset));
    out.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size));
    out.flush();
    if (!out) throw std::runtime_error("writing " + path);
}

inline void flip(const std::string& path, std::uint64_t offset) {
    std::ifstream in(path, std::ios::binary);
    in.seekg(static_cast<std::streamoff>(offset));
    char byte = 0;
    in.read(&byte, 1);
    byte = static_cast<char>(byte ^ 0x5a);
    overwrite(path, offset, &byte, 1);
}

/// A shelf with values of every kind, several runs, and erased and renamed names.
struct SampleShelf {
    Scratch scratch;
    std::string path = scratch.path();
    std::string map = path + "/s.map";
    std::string data = path + "/s.data";
    Contents contents;
    std::map<std::string, BlobInfo> infos;

    explicit SampleShelf(int rounds = 40, bool closed = true, std::uint64_t room = 0) {
        CreateOptions options;
        options.capacity = 16 << 20;
        options.log_size = 8192;
        Shelf s = Namespace::open(path).create("s", options);
        // Bytes that are free again, in front of all the rest.
        if (room != 0) s.put("room", std::vector<std::byte>(room));
        fill(s, rounds);
        if (room != 0) s.erase("room");
        if (closed) {
            s.close();
        } else {
            crash(s);
        }
    }

    void put(Shelf& s, const std::string& name, std::vector<std::byte> bytes, const Type& type) {
        s.put(name, bytes, type);
        contents[name] = std::move(bytes);
    }

    void fill(Shelf& s, int rounds) {
        for (int i = 0; i < rounds; ++i) {
            const std::string n = std::to_string(i);
            put(s, "text/" + n, filled(20 + static_cast<unsigned>(i), 1), Type::value(Kind::bytes));
            put(s, "small/" + n, filled(300, static_cast<unsigned>(i)), Type::raw());
            put(s, "page/" + n, filled(5000, static_cast<unsigned>(i)), Type::array("|u1", 1, {5000}));
            put(s, "again", filled(1000 + static_cast<unsigned>(i), 3), Type::raw());
            if (i % 3 == 0) {
                put(s, "gone/" + n, filled(400, 9), Type::raw());
                s.erase("gone/" + n);
                contents.erase("gone/" + n);
            }
            if (i % 5 == 0) {
                put(s, "old/" + n, filled(700, 5), Type::raw());
                s.rename("old/" + n, "new/" + n);
                contents["new/" + n] = contents["old/" + n];
                contents.erase("old/" + n);
            }
        }
        // Its descriptor stands in the extent header.
        std::string dtype = "[";
        for (int i = 0; i < 80; ++i) dtype += "('field" + std::to_string(i) + "', '<f8'), ";
        dtype += "]";
        put(s, "structured", filled(80 * 8 * 3, 4), Type::array(dtype, 640, {3}));
        for (const BlobInfo& info : s.list()) infos[info.name] = info;
    }

    /// The files as a crash would leave them: as they are while the shelf is open.
    void crash(Shelf& s) {
        const std::vector<std::byte> m = file_bytes(map), d = file_bytes(data);
        s.close();
        overwrite(map, 0, m.data(), m.size());
        overwrite(data, 0, d.data(), d.size());
    }

    CheckReport check(Repair repair = Repair::none, bool scrub = false) const {
        CheckOptions options;
        options.repair = repair;
        options.scrub = scrub;
        return pymm::check(path, "s", options);
    }

    format::Superblock root() const {
        const auto bytes = file_bytes(map);
        const auto choice = format::choose_superblock(bytes);
        if (!choice.best) throw std::runtime_error("no superblock");
        return *choice.best;
    }

    void write_root(format::Superblock sb) const {
        format::seal_superblock(sb);
        for (const std::uint64_t at : format::kSuperblockOffset) overwrite(map, at, &sb, sizeof sb);
    }

    /// Names whose contents the shelf lacks or has otherwise.
    std::vector<std::string> missing() const {
        std::vector<std::string> names;
        Shelf s = Namespace::open(path).shelf("s", Mode::read_only);
        for (const auto& [name, bytes] : contents) {
            try {
                const View view = s.get(name);
                const auto found = view.bytes();
                if (!std::equal(found.begin(), found.end(), bytes.begin(), bytes.end())) names.push_back(name);
            } catch (const Error&) {
                names.push_back(name);
            }
        }
        return names;
    }
};

inline std::string text_of(const CheckReport& report) {
    std::string text;
    for (const Finding& f : report.findings) text += f.message() + "\n";
    return text;
}

inline bool mentions(const CheckReport& report, std::string_view structure) {
    for (const Finding& f : report.findings)
        if (f.severity == Severity::error && f.structure.find(structure) != std::string::npos) return true;
    return false;
}

}  // namespace pymm::test
