// What a shelf costs against the raw media under it. Usage: foundation [DIRECTORY [BLOBS [small|large|open]]]
//
// DIRECTORY (default: $PYMM_TEST_DIR or the temporary directory) gets a scratch namespace; BLOBS (default
// 1000000) is the size of the large shelf. PMEM2_FORCE_GRANULARITY=CACHE_LINE on a tmpfs shows what DAX
// would do.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <random>

#include <pymm/pymm.hpp>

#include "bench.hpp"
#include "media/mapped.hpp"
#include "../tests/scratch.hpp"

using namespace pymm;
using namespace pymm::perf;

namespace {

std::string self;

std::span<const std::byte> as_span(const std::string& text) { return std::as_bytes(std::span(text)); }

std::unique_ptr<MappedMedia> raw_media(const std::string& path, std::uint64_t size) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(size)) != 0) throw std::runtime_error("cannot make " + path);
    // As a shelf does it: capacity is promised, but not on tmpfs, where that would take the memory.
    struct statfs fs;
    const bool promise = ::fstatfs(fd, &fs) == 0 && fs.f_type != TMPFS_MAGIC;
    if (promise && ::fallocate(fd, 0, 0, static_cast<off_t>(size)) != 0)
        throw std::runtime_error("cannot allocate " + path);
    return MappedMedia::open(fd, path, true, promise);
}

// ---- Opening ----------------------------------------------------------------------------------------

void fill(const Namespace& ns, const std::string& name, int blobs, std::uint64_t capacity) {
    Shelf s = ns.create(name, {.capacity = capacity, .sparse = true});
    const std::string value(64, 'v');
    constexpr int in_batch = 1000;
    for (int i = 0; i < blobs; i += in_batch) {
        Batch batch = s.batch();
        for (int k = i; k < std::min(blobs, i + in_batch); ++k)
            batch.put(fmt::format("dir{}/blob{}", k % 97, k), as_span(value), Type::value(Kind::bytes));
        batch.commit();
    }
    s.put("array", as_span(value), Type::array("|u1", 1, {64}));
}

volatile unsigned char sink;

double open_once(const Namespace& ns, const std::string& name) {
    Shelf s;
    return seconds([&] {
        s = ns.shelf(name);
        sink = static_cast<unsigned char>(s.get("array").bytes()[0]);
    });
}

double open_in_new_process(const std::string& dir, const std::string& name) {
    // The child prints what opening took it; starting a process is not what is measured.
    int pipe[2];
    if (::pipe(pipe) != 0) throw std::runtime_error("pipe");
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(pipe[1], 1);
        ::execl(self.c_str(), self.c_str(), "--open", dir.c_str(), name.c_str(), nullptr);
        ::_exit(127);
    }
    ::close(pipe[1]);
    double s = -1;
    if (::read(pipe[0], &s, sizeof s) != sizeof s) throw std::runtime_error("the child failed");
    ::close(pipe[0]);
    ::waitpid(child, nullptr, 0);
    return s;
}

void opening(const std::string& dir, int blobs) {
    const Namespace ns = Namespace::open(dir);
    fill(ns, "small", 1000, 64 << 20);
    const double filling = seconds([&] { fill(ns, "large", blobs, std::uint64_t{2} << 30); });
    fmt::print("filling {} blobs of 64 bytes in batches of 1000: {} a blob\n", blobs, duration(filling / blobs));
    const auto in_process = [&](const std::string& name) {
        return Alternative{fmt::format("{} blobs", name == "small" ? 1000 : blobs), [&ns, name] {
                               std::vector<double> times;
                               for (int i = 0; i < 50; ++i) times.push_back(open_once(ns, name));
                               return median(times);
                           }};
    };
    compare("open a shelf and read a first byte, same process", {in_process("small"), in_process("large")}, 9);
    const auto fresh = [&](const std::string& name) {
        return Alternative{fmt::format("{} blobs", name == "small" ? 1000 : blobs),
                           [&dir, name] { return open_in_new_process(dir, name); }};
    };
    compare("open a shelf and read a first byte, new process", {fresh("small"), fresh("large")}, 21);

    // Looking up names all over the catalogue.
    Shelf large = ns.shelf("large"), small = ns.shelf("small");
    std::mt19937 random(1);
    const auto look_up = [&](Shelf& s, int n) {
        return [&s, &random, n] {
            constexpr int times = 2000;
            return seconds([&] {
                       for (int i = 0; i < times; ++i) {
                           const unsigned k = random() % static_cast<unsigned>(n);
                           sink = static_cast<unsigned char>(s.get(fmt::format("dir{}/blob{}", k % 97, k)).bytes()[0]);
                       }
                   }) / times;
        };
    };
    compare("get a random 64-byte value",
            {{"1000 blobs", look_up(small, 1000)}, {fmt::format("{} blobs", blobs), look_up(large, blobs)}}, 9);
}

// ---- Small puts -------------------------------------------------------------------------------------

void small_puts(const std::string& dir) {
    const Namespace ns = Namespace::open(dir);
    auto raw = raw_media(dir + "/raw", 64 << 20);
    const bool pages = raw->granularity() == Granularity::page;
    const int times = pages ? 300 : 20000;
    const std::string value(64, 'v');
    std::uint64_t at = 0;
    Shelf s = ns.create("puts", {.capacity = 256 << 20});
    int n = 0;
    std::vector<std::string> names;
    for (int i = 0; i < times * 16; ++i) names.push_back(fmt::format("name{}", i));

    std::vector<Alternative> all{
        {pages ? "raw: one pwritev2(RWF_DSYNC) of 64 bytes" : "raw: 64 bytes stored, flushed, fenced", [&] {
             return seconds([&] {
                        for (int i = 0; i < times; ++i) {
                            at = (at + 64) % (32 << 20);
                            if (pages) {
                                raw->write(at, value.data(), 64);
                            } else {
                                std::memcpy(raw->data() + at, value.data(), 64);
                                raw->flush(at, 64);
                            }
                            raw->drain();
                        }
                    }) / times;
         }}};
    if (pages) {
        all.push_back({"raw: pwrite + fdatasync of 64 bytes", [&] {
                           const int fd = ::open((dir + "/raw2").c_str(), O_RDWR | O_CREAT, 0600);
                           static const bool once = ::posix_fallocate(fd, 0, 64 << 20) == 0;
                           (void)once;
                           const double t = seconds([&] {
                                                for (int i = 0; i < times; ++i) {
                                                    at = (at + 64) % (32 << 20);
                                                    if (::pwrite(fd, value.data(), 64, static_cast<off_t>(at)) != 64 ||
                                                        ::fdatasync(fd) != 0)
                                                        throw std::runtime_error("pwrite");
                                                }
                                            }) / times;
                           ::close(fd);
                           return t;
                       }});
    }
    all.push_back({"put of a 64-byte value, same name", [&] {
                       return seconds([&] {
                                  for (int i = 0; i < times; ++i)
                                      s.put("value", as_span(value), Type::value(Kind::bytes));
                              }) / times;
                   }});
    all.push_back({"put of a 64-byte value, new names", [&] {
                       return seconds([&] {
                                  for (int i = 0; i < times; ++i, ++n)
                                      s.put(names[static_cast<std::size_t>(n) % names.size()], as_span(value),
                                            Type::value(Kind::bytes));
                              }) / times;
                   }});
    all.push_back({"put of a 64-byte array, same name", [&] {
                       const Type type = Type::array("|u1", 1, {64});
                       return seconds([&] {
                                  for (int i = 0; i < times; ++i) s.put("array", as_span(value), type);
                              }) / times;
                   }});
    all.push_back({"store in a view + persist of 64 bytes", [&] {
                       static View view = s.get("array2", Access::write);
                       return seconds([&] {
                                  for (int i = 0; i < times; ++i) {
                                      const std::size_t o = static_cast<std::size_t>(i) * 64 % (1 << 20);
                                      view.writable_bytes()[o] = std::byte{1};
                                      view.persist(o, 64);
                                  }
                              }) / times;
                   }});
    const std::string megabyte(1 << 20, 'a');
    s.put("array2", as_span(megabyte), Type::array("|u1", 1, {1 << 20}));
    compare(fmt::format("durable small writes ({} granularity)", granularity_name(raw->granularity())),
            std::move(all), 9);
}

// ---- Large puts -------------------------------------------------------------------------------------

void large_puts(const std::string& dir) {
    constexpr std::uint64_t size = 256 << 20;
    const Namespace ns = Namespace::open(dir);
    std::string data(size, '\0');
    std::mt19937_64 random(3);
    for (std::size_t i = 0; i + 8 <= data.size(); i += 8) {
        const std::uint64_t word = random();
        std::memcpy(data.data() + i, &word, 8);
    }
    auto raw = raw_media(dir + "/raw-large", size);
    std::memset(raw->data(), 1, size);  // prefault
    // Twice, so that the media knows its pages are there.
    for (int i = 0; i < 3; ++i) raw->write(0, data.data(), size);
    raw->drain();
    Shelf s = ns.create("large-puts", {.capacity = std::uint64_t{640} << 20});
    const Type type = Type::array("|u1", 1, {static_cast<std::int64_t>(size)});
    // Each extent is written until its pages are known: from then on a put meets prefaulted memory.
    for (int i = 0; i < 8; ++i) s.put("x", as_span(data), type);
    compare(fmt::format("256 MiB, durable ({} granularity)", granularity_name(raw->granularity())),
            {{"raw: media's own copy into prefaulted memory", [&] {
                  return seconds([&] {
                      raw->write(0, data.data(), size);
                      raw->drain();
                  });
              }},
             {"put, replacing, prefaulted extents", [&] {
                  return seconds([&] { s.put("x", as_span(data), type); });
              }}},
            7);
    s.close();
    int n = 0;
    compare(fmt::format("256 MiB, durable, into space never touched ({} granularity)",
                        granularity_name(raw->granularity())),
            {{"raw: pwritev2(RWF_DSYNC) to a new file", [&] {
                  const std::string path = dir + "/raw-new";
                  auto fresh = raw_media(path, size);
                  const double t = seconds([&] {
                      fresh->write(0, data.data(), size);
                      fresh->drain();
                  });
                  ::unlink(path.c_str());
                  return t;
              }},
             {"raw: populate + copy", [&] {
                  const std::string path = dir + "/raw-new";
                  auto fresh = raw_media(path, size);
                  const double t = seconds([&] {
                      std::memcpy(fresh->data(), data.data(), size);
                      fresh->persist(0, size);
                  });
                  ::unlink(path.c_str());
                  return t;
              }},
             {"put, new shelf", [&] {
                  const std::string name = fmt::format("new{}", n++);
                  Shelf fresh = ns.create(name, {.capacity = std::uint64_t{320} << 20});
                  const double t = seconds([&] { fresh.put("x", as_span(data), type); });
                  fresh.close();
                  ns.erase(name);
                  return t;
              }}},
            5);
}

}  // namespace

int main(int argc, char** argv) {
    self = "/proc/self/exe";
    if (argc == 4 && std::strcmp(argv[1], "--open") == 0) {
        const Namespace ns = Namespace::open(argv[2]);
        const double s = open_once(ns, argv[3]);
        return ::write(1, &s, sizeof s) == sizeof s ? 0 : 1;
    }
    if (argc > 1) ::setenv("PYMM_TEST_DIR", argv[1], 1);
    const int blobs = argc > 2 ? std::atoi(argv[2]) : 1000000;
    const pymm::test::Scratch scratch;
    fmt::print("namespace on {}\n", Namespace::open(scratch.path()).space().file_system);
    const std::string only = argc > 3 ? argv[3] : "";
    if (only.empty() || only == "small") small_puts(scratch.path());
    if (only.empty() || only == "large") large_puts(scratch.path());
    if (only.empty() || only == "open") opening(scratch.path(), blobs);
}
