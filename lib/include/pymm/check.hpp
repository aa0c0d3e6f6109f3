// Checking a shelf, and mending what can be mended ("fsck").
//
// check() believes nothing that it reads: damage is reported, not thrown. It verifies both superblocks, the
// data header, every commit of the log, every page of every run, every entry with its extent header, that no
// two extents overlap, and that the accounts of free space say exactly what the blobs occupy. With `scrub`
// it reads all data, too, and verifies the content checksums that blobs carry.
//
// Beside a live writer a check without repair is safe and reports no false alarm; repair refuses such a shelf.
// A repair is atomic: cut short at any moment it leaves the shelf as it was, or mended. It never moves or
// overwrites a blob's data. What it replaces it saves first: see CheckReport::backup.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <pymm/error.hpp>

namespace pymm {

enum class Severity {
    note,   ///< normal, or harmless: a commit that a crash cut short
    error,  ///< damage: something is lost, or would be, or a promise of the format is broken
};

/// One thing that is not as it should be. Plain data.
struct Finding {
    Severity severity = Severity::error;
    std::string structure;     ///< "superblock copy 0", "log commit 17", "run 12 page 3", "blob 'x' extent header"
    std::string file;          ///< path of the file it lies in
    std::uint64_t offset = 0;  ///< in that file, bytes
    std::string expected;      ///< what the format asks for; may be empty
    std::string found;         ///< what is there
    std::string blob;          ///< name of the blob concerned, if any
    bool corrected = false;
    std::string action;        ///< what was done about it, or what can be done; may be empty

    /// One line of text: file, structure, offset, expected, found, action.
    std::string message() const;
};

enum class Repair {
    none,  ///< change nothing (fsck -n)
    safe,  ///< what needs no guess: a superblock copy from the other one, the data header, free-space accounts,
           ///< leaked bytes, the fold of a torn tail (fsck -p)
    all,   ///< also a catalogue that is damaged or lost: it is made anew from what is left (fsck -y)
};

struct CheckOptions {
    Repair repair = Repair::none;
    bool scrub = false;  ///< read all data and verify content checksums
    /// Called now and then from the calling thread, `done` growing to `total`, in bytes to be read. May throw: the
    /// check is then given up, and nothing was repaired.
    std::function<void(std::uint64_t done, std::uint64_t total)> progress;
};

struct CheckReport {
    /// In the order of discovery. At most max_findings are kept; `omitted` counts the others.
    std::vector<Finding> findings;
    std::uint64_t omitted = 0;
    std::uint64_t omitted_errors = 0;  ///< of these, errors that were not corrected
    static constexpr std::size_t max_findings = 10'000;

    std::uint64_t blobs = 0;         ///< readable entries, after repair
    std::uint64_t bytes = 0;         ///< allocated to them, extent headers included
    std::uint64_t metadata = 0;      ///< log, runs, zone table
    std::uint64_t leaked = 0;        ///< bytes found taken that no blob has
    std::uint64_t scrubbed = 0;      ///< blobs whose content checksum was verified
    std::uint64_t scrubbed_bytes = 0;
    std::uint64_t unverified = 0;    ///< blobs without a content checksum

    std::uint64_t salvaged = 0;      ///< blobs that a new catalogue took over under their names
    std::uint64_t lost_found = 0;    ///< blobs put under lost+found/
    std::uint64_t lost = 0;          ///< names known to be lost

    bool repaired = false;           ///< something was written
    bool reopen = false;             ///< another process has the shelf open and must open it again
    std::string backup;              ///< directory with what was replaced; empty when nothing was

    std::uint64_t corrected() const noexcept;    ///< errors that were corrected
    std::uint64_t uncorrected() const noexcept;  ///< errors that are left
    bool clean() const noexcept { return corrected() == 0 && uncorrected() == 0; }

    /// As fsck(8): 0 clean, 1 corrected, 2 should be reopened, 4 left uncorrected; combined by or.
    unsigned exit_code() const noexcept;
};

/// Checks the shelf `shelf` of the directory namespace at `path`. The shelf need not open; one of its two files may
/// be missing. Throws NotFoundError (neither file is there), InvalidArgumentError (names), BusyError (repair of a
/// shelf that a writer holds), VersionError (written by a newer version: never repaired), NoSpaceError (a repair lacks
/// space; nothing was changed), ReadOnlyError, IoError.
CheckReport check(const std::string& path, std::string_view shelf, const CheckOptions& options = {});

}  // namespace pymm
