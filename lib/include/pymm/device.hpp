// Persistent-memory devices of this machine, as libndctl(3) and libdaxctl(3) report them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pymm {

/// One device namespace (an "ndctl namespace").
struct DeviceNamespace {
    std::string name;        ///< "namespace0.0"
    std::string region;      ///< "region0"
    std::string mode;        ///< "fsdax", "devdax", "sector", "raw"
    std::string device;      ///< "/dev/pmem0" or "/dev/dax0.0"; empty when not enabled
    std::uint64_t size = 0;  ///< bytes
    std::uint64_t alignment = 0;  ///< bytes; 0 when not reported
    int numa_node = -1;
    std::string persistence_domain;  ///< "memory_controller" (ADR), "cpu_cache" (eADR), "unknown"
};

/// Empty on machines without persistent memory (also where the kernel has no nvdimm bus).
/// Throws IoError when the library itself cannot be initialised.
std::vector<DeviceNamespace> list_devices();

}  // namespace pymm
