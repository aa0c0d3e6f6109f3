#include "json.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "text.hpp"

namespace pymmctl {
namespace {

using Json = nlohmann::ordered_json;

// Directory names need not be UTF-8; JSON has to be.
std::string dump(const Json& json, int indent) {
    return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Json time_json(pymm::Clock::time_point time) { return iso_time(time, true); }

Json of(const pymm::BlobInfo& info) {
    const pymm::Type& type = info.type;
    const bool elements = pymm::has_elements(type.kind);
    const bool array = pymm::is_array(type.kind);
    const auto order = order_text(type);
    Json json;
    json["name"] = info.name;
    json["kind"] = pymm::kind_name(type.kind);
    json["dtype"] = elements ? Json(type.max_rows() ? type.element() : std::string_view(type.dtype)) : Json();
    json["itemsize"] = elements ? Json(type.itemsize) : Json();
    json["shape"] = array ? Json(type.shape) : Json();
    json["maxshape"] = Json();
    if (const auto most = type.max_rows()) {
        json["maxshape"] = type.shape;
        json["maxshape"][0] = *most == UINT64_MAX ? Json() : Json(*most);
    }
    json["strides"] = array ? Json(type.strides) : Json();
    json["order"] = order.empty() ? Json() : Json(order);
    json["size"] = info.size;
    json["inlined"] = info.inlined;
    json["offset"] = info.offset;
    json["extent"] = info.extent;
    json["id"] = info.id;
    json["sequence"] = info.sequence;
    json["created"] = time_json(info.created);
    json["modified"] = time_json(info.modified);
    json["mode"] = fmt::format("{:04o}", info.mode);
    json["sealed"] = info.sealed;
    json["checksum"] = info.checksum ? Json(fmt::format("{:#010x}", *info.checksum)) : Json();
    return json;
}

void add_figures(Json& json, const pymm::ShelfInfo& info) {
    json["used"] = info.used;
    json["free"] = info.free;
    json["largest_free"] = info.largest_free;
    json["blobs"] = info.blobs;
    json["uuid"] = info.uuid;
    json["created"] = time_json(info.created);
}

Json of(const ShelfRow& row) {
    Json json;
    json["name"] = row.entry.name;
    json["capacity"] = row.entry.capacity;
    json["allocated"] = row.entry.allocated;
    json["problem"] = row.entry.problem.empty() ? Json() : Json(row.entry.problem);
    if (row.info) add_figures(json, *row.info);
    return json;
}

void add_space(Json& json, const pymm::Namespace& space) {
    const pymm::SpaceInfo info = space.space();
    json["namespace"] = space.path();
    json["file_system"] = info.file_system;
    json["total"] = info.total;
    json["available"] = info.available;
}

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

Json of(const pymm::Finding& finding) {
    Json json;
    json["severity"] = finding.severity == pymm::Severity::error ? "error" : "note";
    json["structure"] = finding.structure;
    json["file"] = finding.file;
    json["offset"] = finding.offset;
    json["expected"] = text_or_null(finding.expected);
    json["found"] = text_or_null(finding.found);
    json["blob"] = text_or_null(finding.blob);
    json["corrected"] = finding.corrected;
    json["action"] = text_or_null(finding.action);
    json["message"] = finding.message();
    return json;
}

}  // namespace

std::string blob_json(const pymm::BlobInfo& info, int indent, const std::string& object) {
    Json json = of(info);
    if (!object.empty()) json["object"] = object;
    return dump(json, indent);
}

std::string shelf_json(const std::string& directory, const pymm::ShelfInfo& info, int indent) {
    Json json;
    json["namespace"] = directory;
    json["name"] = info.name;
    json["capacity"] = info.capacity;
    add_figures(json, info);
    json["sequence"] = info.sequence;
    json["generation"] = info.generation;
    json["format_version"] = info.format_version;
    json["runs"] = info.runs;
    json["log_bytes"] = info.log_bytes;
    json["granularity"] = pymm::granularity_name(info.granularity);
    json["clean"] = info.clean;
    json["checksum"] = info.checksum;
    return dump(json, indent);
}

std::string shelf_row_json(const ShelfRow& row) { return dump(of(row), -1); }

std::string namespace_json(const pymm::Namespace& space, std::size_t shelves, int indent) {
    Json json;
    add_space(json, space);
    json["shelves"] = shelves;
    return dump(json, indent);
}

std::string space_json(const pymm::Namespace& space, const std::vector<ShelfRow>& shelves) {
    Json json;
    add_space(json, space);
    json["shelves"] = Json::array();
    for (const ShelfRow& row : shelves) json["shelves"].push_back(of(row));
    return dump(json, 2);
}

std::string check_json(const std::string& shelf, const pymm::CheckReport* report, const std::string& problem,
                       unsigned status) {
    Json json;
    json["name"] = shelf;
    json["exit_code"] = status;
    json["problem"] = text_or_null(problem);
    if (report != nullptr) {
        json["clean"] = report->clean();
        json["corrected"] = report->corrected();
        json["uncorrected"] = report->uncorrected();
        json["blobs"] = report->blobs;
        json["bytes"] = report->bytes;
        json["metadata"] = report->metadata;
        json["leaked"] = report->leaked;
        json["scrubbed"] = report->scrubbed;
        json["scrubbed_bytes"] = report->scrubbed_bytes;
        json["unverified"] = report->unverified;
        json["salvaged"] = report->salvaged;
        json["lost_found"] = report->lost_found;
        json["lost"] = report->lost;
        json["repaired"] = report->repaired;
        json["reopen"] = report->reopen;
        json["backup"] = text_or_null(report->backup);
        json["omitted"] = report->omitted;
        json["findings"] = Json::array();
        for (const pymm::Finding& finding : report->findings) json["findings"].push_back(of(finding));
    }
    return dump(json, -1);
}

std::string leftover_json(const pymm::Leftover& leftover) {
    Json json;
    json["file"] = leftover.file;
    json["kind"] = pymm::leftover_name(leftover.kind);
    json["shelf"] = leftover.shelf;
    json["text"] = pymm::leftover_text(leftover.kind);
    return dump(json, -1);
}

std::string quoted_json(const std::string& text) { return dump(Json(text), -1); }

}  // namespace pymmctl
