#include <daxctl/libdaxctl.h>
#include <fmt/format.h>
#include <ndctl/libndctl.h>

#include <memory>
#include <system_error>

#include <pymm/device.hpp>
#include <pymm/error.hpp>

namespace pymm {

namespace {

struct Unref {
    void operator()(ndctl_ctx* context) const noexcept { ndctl_unref(context); }
};
using Context = std::unique_ptr<ndctl_ctx, Unref>;

// A library does not write to stderr: what ndctl cannot read shows as an empty or unknown field.
void discard_log(ndctl_ctx*, int, const char*, int, const char*, const char*, va_list) {}

std::string text(const char* from) { return from != nullptr ? from : ""; }

std::string device_path(const char* name) {
    return name != nullptr && *name != '\0' ? "/dev/" + std::string(name) : "";
}

std::string mode_name(ndctl_namespace* space) {
    switch (ndctl_namespace_get_mode(space)) {
        case NDCTL_NS_MODE_FSDAX: return "fsdax";
        case NDCTL_NS_MODE_SECTOR: return "sector";
        case NDCTL_NS_MODE_RAW: return "raw";
        case NDCTL_NS_MODE_DEVDAX: return "devdax";
        default: return "unknown";
    }
}

std::string domain_name(ndctl_region* region) {
    switch (ndctl_region_get_persistence_domain(region)) {
        case PERSISTENCE_MEM_CTRL: return "memory_controller";
        case PERSISTENCE_CPU_CACHE: return "cpu_cache";
        default: return "unknown";
    }
}

/// The character device of a devdax namespace; none while it serves as system RAM.
std::string dax_device(ndctl_dax* dax) {
    daxctl_region* region = ndctl_dax_get_daxctl_region(dax);
    if (region == nullptr) return "";
    daxctl_dev* dev = nullptr;
    daxctl_dev_foreach(region, dev) {
        if (daxctl_dev_get_size(dev) == 0 || daxctl_dev_get_memory(dev) != nullptr) continue;
        return device_path(daxctl_dev_get_devname(dev));
    }
    return "";
}

// A device namespace is claimed by at most one personality, which then knows its usable size.
DeviceNamespace describe(ndctl_namespace* space, ndctl_region* region) {
    DeviceNamespace found;
    found.name = text(ndctl_namespace_get_devname(space));
    found.region = text(ndctl_region_get_devname(region));
    found.mode = mode_name(space);
    found.size = ndctl_namespace_get_size(space);
    found.numa_node = ndctl_namespace_get_numa_node(space);
    found.persistence_domain = domain_name(region);

    if (ndctl_dax* dax = ndctl_namespace_get_dax(space)) {
        found.device = dax_device(dax);
        found.size = ndctl_dax_get_size(dax);
        found.alignment = ndctl_dax_get_align(dax);
    } else if (ndctl_pfn* pfn = ndctl_namespace_get_pfn(space)) {
        found.device = device_path(ndctl_pfn_get_block_device(pfn));
        found.size = ndctl_pfn_get_size(pfn);
        found.alignment = ndctl_pfn_has_align(pfn) != 0 ? ndctl_pfn_get_align(pfn) : 0;
    } else if (ndctl_btt* btt = ndctl_namespace_get_btt(space)) {
        found.device = device_path(ndctl_btt_get_block_device(btt));
        found.size = ndctl_btt_get_size(btt);
    } else if (ndctl_namespace_is_enabled(space) != 0) {
        found.device = device_path(ndctl_namespace_get_block_device(space));
    }
    return found;
}

}  // namespace

std::vector<DeviceNamespace> list_devices() {
    ndctl_ctx* raw = nullptr;
    if (const int result = ndctl_new(&raw); result < 0)
        throw IoError(fmt::format("listing persistent-memory devices: libndctl cannot start: {}; is /sys "
                                  "mounted?",
                                  std::generic_category().message(-result)),
                      -result);
    const Context context(raw);
    ndctl_set_log_fn(context.get(), discard_log);

    std::vector<DeviceNamespace> all;
    ndctl_bus* bus = nullptr;
    ndctl_region* region = nullptr;
    ndctl_namespace* space = nullptr;
    ndctl_bus_foreach(context.get(), bus) {
        ndctl_region_foreach(bus, region) {
            ndctl_namespace_foreach(region, space) {
                // Each region carries an unused one (the "seed") from which the next is made.
                if (ndctl_namespace_get_size(space) == 0 && !ndctl_namespace_is_active(space)) continue;
                all.push_back(describe(space, region));
            }
        }
    }
    return all;
}

}  // namespace pymm
