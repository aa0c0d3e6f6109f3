// pymmctl put: a file, standard input or a text becomes a blob.
#include <charconv>

#include "command.hpp"
#include "dtype.hpp"
#include "failure.hpp"
#include "json.hpp"
#include "location.hpp"
#include "npy.hpp"
#include "safetensors.hpp"
#include "text.hpp"
#include "transfer.hpp"

namespace pymmctl {
namespace {

struct Options {
    std::string path, source = "-";
    std::string format = "auto", order = "C";
    std::optional<std::string> dtype, shape;
    bool string = false, bytes = false, keep = false, json = false;
};

/// "1000,1000", "(3,)", "5"; "()" is 0-d.
std::vector<std::int64_t> parse_shape(const std::string& text) {
    const auto wrong = [&text]() -> Failure {
        return {Exit::usage, "--shape " + text + ": give sizes such as 1000,1000"};
    };
    if (text.empty()) throw wrong();
    std::string_view rest = text;
    if (rest.starts_with('(') && rest.ends_with(')')) rest = rest.substr(1, rest.size() - 2);
    std::vector<std::int64_t> shape;
    while (!rest.empty()) {
        rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
        std::int64_t size = 0;
        const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), size);
        if (error != std::errc() || size < 0) throw wrong();
        shape.push_back(size);
        rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
        if (rest.empty()) break;
        if (rest.front() != ',') throw wrong();
        rest.remove_prefix(1);
    }
    return shape;
}

/// The array that `size` bytes are, as --dtype, --shape and --order say.
pymm::Type array_type(const Options& options, const Dtype& dtype, const std::string& where,
                      std::uint64_t size) {
    std::vector<std::int64_t> shape;
    if (options.shape) {
        shape = parse_shape(*options.shape);
    } else {
        if (dtype.itemsize == 0 || size % dtype.itemsize != 0)
            throw Failure(Exit::usage, where + ": its size is no multiple of " +
                                           std::to_string(dtype.itemsize) + " bytes (" +
                                           dtype.text + "): nothing was put");
        shape = {static_cast<std::int64_t>(size / dtype.itemsize)};
    }
    auto type = pymm::Type::array(dtype.text, dtype.itemsize, std::move(shape), options.order == "F");
    if (type.nbytes() != size)
        throw Failure(Exit::usage, where + ": has " + std::to_string(size) + " bytes, but --dtype " +
                                       "and --shape make " + std::to_string(type.nbytes()) +
                                       ": nothing was put");
    return type;
}

Dtype dtype_option(const std::string& text) {
    try {
        return parse_dtype(text);
    } catch (const DtypeError& error) {
        throw Failure(Exit::usage, std::string("--dtype: ") + error.what());
    }
}

/// By its name only: such a file starts with a number.
bool is_safetensors(const Options& options) {
    if (options.format != "auto") return options.format == "safetensors";
    return !options.dtype && !options.string && !options.bytes && options.source.ends_with(".safetensors");
}

bool is_npy(const Options& options, Input& input) {
    if (options.format == "npy") return true;
    if (options.format == "raw" || options.dtype || options.string || options.bytes)
        return false;
    // A name that ends in .npy is a promise: a damaged file must not become raw bytes silently.
    return options.source.ends_with(".npy") || looks_like_npy(input);
}

void put_input(const Options& options, const Location& at, pymm::Shelf& shelf, Input& input,
               Progress& progress) {
    if (is_safetensors(options)) return put_safetensors(shelf, at.blob, input, progress);
    if (is_npy(options, input)) {
        const pymm::Type type = read_npy_header(input);
        return put_sized(shelf, at.blob, type, type.nbytes(), input, progress);
    }
    std::function<pymm::Type(std::uint64_t)> type_for;
    if (options.dtype) {
        type_for = [&, dtype = dtype_option(*options.dtype)](std::uint64_t size) {
            return array_type(options, dtype, input.name(), size);
        };
    } else {
        const pymm::Type type = options.string  ? pymm::Type::value(pymm::Kind::string)
                                : options.bytes ? pymm::Type::value(pymm::Kind::bytes)
                                                : pymm::Type::raw();
        type_for = [type](std::uint64_t) { return type; };
    }
    if (const auto size = input.remaining())
        put_sized(shelf, at.blob, type_for(*size), *size, input, progress, options.string);
    else
        put_unsized(shelf, at.blob, type_for, input, progress, options.string);
}

Exit put(const Options& options, const Context& context) {
    if (options.shape) parse_shape(*options.shape);
    if (options.dtype) dtype_option(*options.dtype);
    const Location at = locate_blob(options.path);
    pymm::check_blob_name(at.blob);
    const bool literal = options.string && options.source != "-";
    std::optional<Input> input;
    if (!literal) input.emplace(options.source);

    // From here on nobody else can write the shelf, also while we wait for a pipe.
    pymm::Shelf shelf = open_for_writing(at);
    if (options.keep && shelf.contains(at.blob))
        throw Failure(Exit::exists, at.given + ": exists: not replaced");
    if (literal) {
        const auto text = std::as_bytes(std::span(options.source));
        if (!is_utf8(text)) throw Failure(Exit::usage, "the text is not UTF-8: use --bytes");
        shelf.put(at.blob, text, pymm::Type::value(pymm::Kind::string));
    } else {
        Progress progress(context.quiet, at.blob, input->remaining());
        put_input(options, at, shelf, *input, progress);
    }
    std::string described;
    if (options.json) described = blob_json(find_blob(shelf, at), 2) + "\n";
    shelf.close();
    TextOutput out;
    out << described;
    out.flush();
    return Exit::success;
}

}  // namespace

void add_put(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    auto* command = app.add_subcommand("put", "Store a file, standard input or a text");
    command->add_option("PATH", options->path, "NAMESPACE/SHELF/BLOB")->required();
    command->add_option("SOURCE", options->source,
                        "A file, or '-' (also when not given) for standard input; with --string the "
                        "text itself");
    auto* format = command
                       ->add_option("--format", options->format,
                                    "npy, safetensors, raw, or auto: .npy by name or first bytes, .safetensors by name, else raw")
                       ->check(CLI::IsMember({"auto", "npy", "raw", "safetensors"}));
    auto* dtype = add_text(
        command, "--dtype", options->dtype, "The bytes are an array of this: float64, <i4, M8[us] ...");
    add_text(command, "--shape", options->shape, "Its shape: 1000,1000; one dimension if not given")
        ->needs(dtype);
    command->add_option("--order", options->order, "Its order: C (last index fastest) or F")
        ->check(CLI::IsMember({"C", "F"}))
        ->needs(dtype);
    auto* string = command->add_flag("--string", options->string, "Store text (UTF-8)");
    auto* bytes = command->add_flag("--bytes", options->bytes, "Store as a Python bytes value");
    string->excludes(dtype)->excludes(format)->excludes(bytes);
    bytes->excludes(dtype)->excludes(format);
    dtype->excludes(format);
    command->add_flag("-n,--no-replace", options->keep, "Fail (exit code 4) if the blob exists");
    command->add_flag("--json", options->json, "Describe the new blob in JSON");
    on_run(command, context, options, put);
}

}  // namespace pymmctl
