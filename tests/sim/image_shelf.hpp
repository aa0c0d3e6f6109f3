// Shelves over simulated media and over crash images, and comparing them with a model.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include <pymm/shelf.hpp>

#include "format/layout.hpp"
#include "media/media.hpp"
#include "sim/crash_run.hpp"
#include "sim/sim_lease.hpp"

namespace pymm::sim {

/// A Media that forwards to one that outlives it: a shelf owns its media, but the simulated ones stay for
/// the next session.
class MediaRef : public Media {
public:
    explicit MediaRef(Media& target)
        : Media(target.name(), target.granularity(), target.writable()), target_(target) {
        data_ = target.data();
        size_ = target.size();
    }
    void reserve(std::uint64_t offset, std::uint64_t size) override { target_.reserve(offset, size); }
    void prepare_for_writing() override { target_.prepare_for_writing(); }
    void write(std::uint64_t offset, const void* source, std::size_t size) override {
        target_.write(offset, source, size);
    }
    void fill_zero(std::uint64_t offset, std::uint64_t size) override { target_.fill_zero(offset, size); }
    void flush(std::uint64_t offset, std::uint64_t size) override { target_.flush(offset, size); }
    void drain() override { target_.drain(); }

protected:
    /// write_behind() of the target. Here it is what it is by default, so that who overrides write() sees all writes.
    void write_behind_to_target(std::uint64_t offset, const void* source, std::size_t size) {
        target_.write_behind(offset, source, size);
    }

private:
    Media& target_;
};

void format_image(Media& map, Media& data, const format::Uuid& uuid, std::uint64_t log_size,
                  bool checksum = false);

Shelf open_shelf(std::unique_ptr<Media> map, std::unique_ptr<Media> data, SimLocks& locks, Mode mode);
Shelf open_image(std::vector<std::span<std::byte>>& image, SimLocks& locks, Granularity granularity,
                 Mode mode);

/// Empty when the shelf holds exactly what the model says, and every checksum that it claims is right.
std::string compare(const Shelf& shelf, const State& model);
/// The open shelf's catalogue, under its lock.
void inspect_shelf(const Shelf& shelf, const std::function<void(Catalogue&)>& visit);
/// Empty when fsck finds no damage on these media.
std::string check_shelf(Media& map, Media& data);
/// The same of an image. `cut`: of a power cut that nobody has written to since, so that one of the superblock's
/// copies may be torn.
std::string check_image(const std::vector<std::span<std::byte>>& image, bool cut);
/// fsck -y of an image; empty when it left nothing uncorrected.
std::string repair_image(const std::vector<std::span<std::byte>>& image);

}  // namespace pymm::sim
