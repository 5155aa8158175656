// All calls to HDF5, reading and writing, and all suspicion against what is read: longer than a
// file should be, so that none of them stands elsewhere.
#include "common/files/hdf5_file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <system_error>
#include <utility>

#include "common/check.hpp"

namespace eggroll::hdf5 {
namespace {

// Far beyond any model here, far below what would hurt a machine.
constexpr uint64_t kMaxRowElements = uint64_t{1} << 24;
constexpr uint64_t kMaxElements = uint64_t{1} << 48;
constexpr uint64_t kMaxChunkBytes = uint64_t{1} << 28;
// Of a dataset in pieces, which only files from elsewhere have.
constexpr uint64_t kMaxChunkedBytes = uint64_t{1} << 28;
constexpr uint64_t kSmallPieceBytes = 1 << 20;
constexpr uint64_t kMaxLinks = ParameterLayout::kMaxTensors;
constexpr size_t kMaxTextBytes = 1 << 20;

// Numbers are stored little-endian and handed over as they lie in memory.
static_assert(std::endian::native == std::endian::little);

void prepare_library() {
  static const bool prepared = [] {
    H5dont_atexit();  // at exit it would fall over a file that it could not write (full disk)
    H5PLset_loading_state(0);  // no file makes this process load a filter from elsewhere
    return true;
  }();
  // Errors are thrown, not printed; the library asks each thread for itself.
  thread_local const bool is_quiet = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;
  static_cast<void>(prepared);
  static_cast<void>(is_quiet);
}

// Why the library's last call failed: the operating system's words where it has some.
std::string library_reason() {
  struct Reason {
    std::string innermost;
    std::string system;
  } reason;
  const auto visit = [](unsigned, const H5E_error2_t* entry, void* data) -> herr_t {
    Reason& found = *static_cast<Reason*>(data);
    const std::string text = entry->desc ? entry->desc : "";
    if (found.innermost.empty()) found.innermost = text;
    const std::string mark = "error message = '";
    const size_t at = text.find(mark);
    if (at != std::string::npos && found.system.empty())
      found.system =
          text.substr(at + mark.size(), text.find('\'', at + mark.size()) - at - mark.size());
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, visit, &reason);
  std::string text = !reason.system.empty() ? reason.system : reason.innermost;
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.empty() ? "no reason given" : text;
}

Handle file_access() {
  Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  // From format 1.10 on every piece of metadata carries a checksum, so damage there is an error
  // and not a wrong turn inside the library.
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110);
  // A file is complete before it has its name, so no lock is needed; some file systems have none.
  H5Pset_file_locking(access.get(), /*use_file_locking=*/0, /*ignore_when_disabled=*/1);
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
  return access;
}

struct ElementTypes {
  Element element;
  hid_t file, memory;
};

// A function, as HDF5's types are there once it has started.
std::array<ElementTypes, 4> element_types() {
  return {{{Element::int8, H5T_STD_I8LE, H5T_NATIVE_INT8},
           {Element::int32, H5T_STD_I32LE, H5T_NATIVE_INT32},
           {Element::int64, H5T_STD_I64LE, H5T_NATIVE_INT64},
           {Element::float32, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT}}};
}

ElementTypes types_of(Element element) {
  const std::array<ElementTypes, 4> all = element_types();
  return *std::ranges::find(all, element, &ElementTypes::element);
}

std::optional<Element> element_of(hid_t type) {
  for (const ElementTypes& types : element_types())
    if (H5Tequal(type, types.file) > 0) return types.element;
  if (H5Tequal(type, H5T_STD_I8BE) > 0) return Element::int8;  // a byte has no order
  return std::nullopt;
}

// What a type is called that is none of ours: big-endian float64.
std::string type_text(hid_t type) {
  const H5T_class_t kind = H5Tget_class(type);
  if (kind != H5T_INTEGER && kind != H5T_FLOAT) return "no numbers";
  const size_t bits = 8 * H5Tget_size(type);
  if (H5Tget_precision(type) != bits) return "numbers of odd bits";
  const char* name = kind == H5T_FLOAT                   ? "float"
                     : H5Tget_sign(type) == H5T_SGN_NONE ? "uint"
                                                         : "int";
  return fmt::format("{}{}{}", H5Tget_order(type) == H5T_ORDER_BE ? "big-endian " : "", name, bits);
}

// file and memory space of `rows` rows from `first` on.
struct Spaces {
  Handle file;
  Handle memory;
};

Spaces select_rows(const Dataset& dataset, uint64_t first, uint64_t rows) {
  std::vector<hsize_t> start(dataset.shape.size(), 0);
  std::vector<hsize_t> count(dataset.shape.begin(), dataset.shape.end());
  start[0] = first;
  count[0] = rows;
  const int dimensions = static_cast<int>(count.size());
  Spaces spaces{Handle(H5Dget_space(dataset.handle.get()), H5Sclose),
                Handle(H5Screate_simple(dimensions, count.data(), nullptr), H5Sclose)};
  H5Sselect_hyperslab(spaces.file.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(),
                      nullptr);
  return spaces;
}

}  // namespace

uint64_t Dataset::row_elements() const {
  uint64_t elements = 1;
  for (size_t i = 1; i < shape.size(); ++i) elements *= shape[i];
  return elements;
}

std::string shape_text(const std::vector<uint64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

File::File(std::filesystem::path path, Handle handle)
    : path_(std::move(path)), file_(std::move(handle)) {}

void File::fail(const std::string& what) const {
  std::string line = what;  // names and texts of the file may hold anything
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < ' ' || c == 0x7F; }, '?');
  throw Error(fmt::format("{}: {}", path_.string(), line));
}

void File::fail_in_library(const std::string& doing) const {
  fail(fmt::format("cannot {}: {}", doing, library_reason()));
}

void File::check(bool worked, const char* doing) const {
  if (!worked) fail_in_library(doing);
}

// ---- writing ----

File File::create(const std::filesystem::path& path) {
  prepare_library();
  File file(path, {});
  // What a killed run left, or a file that could not be removed when it was abandoned: the library
  // may still hold that one open, and would not open it again.
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  const Handle access = file_access();
  file.file_ = Handle(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), H5Fclose);
  if (!file.file_.is_valid()) {
    const std::string reason = library_reason();
    file.abandon();
    file.fail("cannot create: " + reason);
  }
  return file;
}

void File::write_number(const char* name, uint64_t value) {
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(
      H5Acreate2(file_.get(), name, H5T_STD_U64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose);
  check(attribute.is_valid() && H5Awrite(attribute.get(), H5T_NATIVE_UINT64, &value) >= 0, "write");
}

void File::write_text(const char* name, const std::string& value) {
  // Of fixed length: text of variable length rests in a heap that carries no checksum.
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  const std::string padded = value.empty() ? std::string(1, '\0') : value;
  H5Tset_size(type.get(), padded.size());
  H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(
      H5Acreate2(file_.get(), name, type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  check(attribute.is_valid() && H5Awrite(attribute.get(), type.get(), padded.data()) >= 0, "write");
}

void File::create_group(const std::string& name) {
  const Handle group(H5Gcreate2(file_.get(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                     H5Gclose);
  check(group.is_valid(), "write");
}

Dataset File::create_dataset(const std::string& group, const std::string& name, Element element,
                             std::vector<uint64_t> shape) {
  const std::vector<hsize_t> dimensions(shape.begin(), shape.end());
  const Handle space(
      H5Screate_simple(static_cast<int>(dimensions.size()), dimensions.data(), nullptr), H5Sclose);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_layout(creation.get(), H5D_CONTIGUOUS);
  H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER);  // every element is written
  const Handle parent(H5Gopen2(file_.get(), group.empty() ? "/" : group.c_str(), H5P_DEFAULT),
                      H5Gclose);
  check(parent.is_valid(), "write");
  Dataset dataset{
      .handle = Handle(H5Dcreate2(parent.get(), name.c_str(), types_of(element).file, space.get(),
                                  H5P_DEFAULT, creation.get(), H5P_DEFAULT),
                       H5Dclose),
      .name = group.empty() ? name : group + "/" + name,
      .element = element,
      .shape = std::move(shape)};
  check(dataset.handle.is_valid(), "write");
  return dataset;
}

void File::write_rows(const Dataset& dataset, uint64_t first, uint64_t rows, const void* values) {
  const Spaces spaces = select_rows(dataset, first, rows);
  check(H5Dwrite(dataset.handle.get(), types_of(dataset.element).memory, spaces.memory.get(),
                 spaces.file.get(), H5P_DEFAULT, values) >= 0,
        "write");
}

void File::close() {
  // A flush that fails leaves the file as it was; a close that fails leaves it half open for good.
  check(H5Fflush(file_.get(), H5F_SCOPE_LOCAL) >= 0, "write");
  check(file_.reset(), "write");
}

void File::abandon() {
  // Gives back the room that the file has taken, so that the library finds some on a full disk for
  // the little it still has to write before it lets go.
  std::error_code ignored;
  std::filesystem::resize_file(path_, 0, ignored);
  file_.reset();
  std::filesystem::remove(path_, ignored);
}

// ---- reading ----

File File::open(const std::filesystem::path& path) {
  prepare_library();
  File file(path, {});
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  // A pipe would be waited for; a device has no end.
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    file.fail("cannot read: not a regular file");
  const Handle access = file_access();
  file.file_ = Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
  file.check(file.file_.is_valid(), "read");
  return file;
}

std::optional<uint64_t> File::number(const char* name) const {
  const htri_t exists = H5Aexists(file_.get(), name);
  check(exists >= 0, "read");
  if (exists == 0) return std::nullopt;
  const Handle attribute(H5Aopen(file_.get(), name, H5P_DEFAULT), H5Aclose);
  check(attribute.is_valid(), "read");
  const Handle type(H5Aget_type(attribute.get()), H5Tclose);
  const Handle space(H5Aget_space(attribute.get()), H5Sclose);
  if (H5Tget_class(type.get()) != H5T_INTEGER || H5Tget_size(type.get()) > 8 ||
      H5Sget_simple_extent_npoints(space.get()) != 1)
    fail(fmt::format("attribute {} is not one whole number", name));
  if (H5Tget_sign(type.get()) == H5T_SGN_2) {
    int64_t value = 0;
    check(H5Aread(attribute.get(), H5T_NATIVE_INT64, &value) >= 0, "read");
    if (value < 0) fail(fmt::format("attribute {} is {}, below zero", name, value));
    return static_cast<uint64_t>(value);
  }
  uint64_t value = 0;
  check(H5Aread(attribute.get(), H5T_NATIVE_UINT64, &value) >= 0, "read");
  return value;
}

std::optional<std::string> File::text(const char* name) const {
  const htri_t exists = H5Aexists(file_.get(), name);
  check(exists >= 0, "read");
  if (exists == 0) return std::nullopt;
  const Handle attribute(H5Aopen(file_.get(), name, H5P_DEFAULT), H5Aclose);
  check(attribute.is_valid(), "read");
  const Handle type(H5Aget_type(attribute.get()), H5Tclose);
  const Handle space(H5Aget_space(attribute.get()), H5Sclose);
  if (H5Tget_class(type.get()) != H5T_STRING || H5Sget_simple_extent_npoints(space.get()) != 1)
    fail(fmt::format("attribute {} is not one text", name));

  std::string value;
  if (H5Tis_variable_str(type.get()) > 0) {
    char* read = nullptr;
    check(H5Aread(attribute.get(), type.get(), static_cast<void*>(&read)) >= 0, "read");
    const std::unique_ptr<char, herr_t (*)(void*)> owner(read, H5free_memory);
    if (read != nullptr) value.assign(read, strnlen(read, kMaxTextBytes + 1));
  } else if (H5Tget_size(type.get()) <= kMaxTextBytes) {
    value.resize(H5Tget_size(type.get()));
    check(H5Aread(attribute.get(), type.get(), value.data()) >= 0, "read");
    if (H5Tget_strpad(type.get()) == H5T_STR_SPACEPAD)
      value.erase(value.find_last_not_of(' ') + 1);
    else
      value.resize(strnlen(value.data(), value.size()));
  } else {
    value.resize(kMaxTextBytes + 1);
  }
  if (value.size() > kMaxTextBytes)
    fail(fmt::format("attribute {} is longer than {} bytes", name, kMaxTextBytes));
  return value;
}

Handle File::open_object(hid_t parent, const std::string& name, H5I_type_t type) const {
  H5L_info_t link;
  check(H5Lget_info(parent, name.c_str(), &link, H5P_DEFAULT) >= 0, "read");
  if (link.type != H5L_TYPE_HARD)
    fail(fmt::format("{} is a link to elsewhere; a checkpoint holds its own data", name));
  Handle object(H5Oopen(parent, name.c_str(), H5P_DEFAULT), H5Oclose);
  check(object.is_valid(), "read");
  if (H5Iget_type(object.get()) != type)
    fail(fmt::format("{} is not a {}", name, type == H5I_GROUP ? "group" : "dataset"));
  return object;
}

Handle File::open_group(const std::string& name) const {
  return open_object(file_.get(), name, H5I_GROUP);
}

bool File::has(const std::string& group, const std::string& name) const {
  const Handle parent =
      group.empty() ? Handle(H5Gopen2(file_.get(), "/", H5P_DEFAULT), H5Gclose) : open_group(group);
  check(parent.is_valid(), "read");
  const htri_t exists = H5Lexists(parent.get(), name.c_str(), H5P_DEFAULT);
  check(exists >= 0, "read");
  return exists > 0;
}

std::vector<std::string> File::names(const std::string& group) const {
  const Handle parent = open_group(group);
  H5G_info_t info;
  check(H5Gget_info(parent.get(), &info) >= 0, "read");
  if (info.nlinks > kMaxLinks) fail(fmt::format("{} has {} members", group, info.nlinks));
  std::vector<std::string> names;
  const auto visit = [](hid_t, const char* name, const H5L_info_t*, void* data) -> herr_t {
    static_cast<std::vector<std::string>*>(data)->emplace_back(name);
    return 0;
  };
  check(H5Literate(parent.get(), H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, visit, &names) >= 0,
        "read");
  std::sort(names.begin(), names.end());
  return names;
}

// A dataset in pieces: of a bearable size, and all of them there.
void File::measure_pieces(Dataset& dataset, hid_t creation, uint64_t bytes) const {
  std::vector<hsize_t> sides(dataset.shape.size(), 0);
  const int dimensions = static_cast<int>(sides.size());
  const bool is_known = H5Pget_chunk(creation, dimensions, sides.data()) == dimensions;
  uint64_t piece = bytes_of(dataset.element);
  for (hsize_t side : sides)  // each side is below 2^32 and the product stops growing early
    piece = std::min<uint64_t>(piece * std::min<uint64_t>(side, kMaxChunkBytes + 1),
                               kMaxChunkBytes + 1);
  if (!is_known || piece == 0 || piece > kMaxChunkBytes)
    fail(fmt::format("{} is stored in pieces of more than {} bytes", dataset.name, kMaxChunkBytes));
  if (bytes > kMaxChunkedBytes || piece > std::max(kSmallPieceBytes, 4 * bytes))
    fail(fmt::format("{} is stored in pieces that do not fit its shape {}", dataset.name,
                     shape_text(dataset.shape)));
  uint64_t needed = 1;
  for (size_t i = 0; i < dataset.shape.size(); ++i)
    needed *= (dataset.shape[i] + sides[i] - 1) / sides[i];
  const Handle space(H5Dget_space(dataset.handle.get()), H5Sclose);
  hsize_t present = 0;
  check(H5Dget_num_chunks(dataset.handle.get(), space.get(), &present) >= 0, "read");
  if (present != needed)
    fail(fmt::format("{} has {} of its {} pieces", dataset.name, present, needed));
  dataset.piece_bytes = piece;
}

Dataset File::open_dataset(const std::string& group, const std::string& name) const {
  const std::string full_name = group.empty() ? name : group + "/" + name;
  const Handle parent =
      group.empty() ? Handle(H5Gopen2(file_.get(), "/", H5P_DEFAULT), H5Gclose) : open_group(group);
  check(parent.is_valid(), "read");
  Dataset dataset;
  dataset.handle = open_object(parent.get(), name, H5I_DATASET);
  dataset.name = full_name;

  const Handle type(H5Dget_type(dataset.handle.get()), H5Tclose);
  const std::optional<Element> element = element_of(type.get());
  if (!element)
    fail(fmt::format("{} holds {}; allowed are int8, and int32, int64 and float32, little-endian",
                     full_name, type_text(type.get())));
  dataset.element = *element;

  const Handle space(H5Dget_space(dataset.handle.get()), H5Sclose);
  const int dimensions = H5Sget_simple_extent_ndims(space.get());
  if (dimensions < 1 || dimensions > static_cast<int>(kMaxDimensions))
    fail(fmt::format("{} has {} dimensions", full_name, dimensions));
  dataset.shape.resize(static_cast<size_t>(dimensions));
  std::vector<hsize_t> extent(dataset.shape.size());
  H5Sget_simple_extent_dims(space.get(), extent.data(), nullptr);
  std::copy(extent.begin(), extent.end(), dataset.shape.begin());
  uint64_t row = 1;
  for (size_t i = 1; i < dataset.shape.size(); ++i)
    row = std::min(row * std::min(dataset.shape[i], kMaxRowElements + 1), kMaxRowElements + 1);
  if (row == 0 || row > kMaxRowElements || dataset.shape[0] == 0 ||
      dataset.shape[0] > kMaxElements / row)
    fail(fmt::format("{} has the impossible shape {}", full_name, shape_text(dataset.shape)));

  const Handle creation(H5Dget_create_plist(dataset.handle.get()), H5Pclose);
  const H5D_layout_t layout = H5Pget_layout(creation.get());
  if ((layout != H5D_COMPACT && layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED) ||
      H5Pget_external_count(creation.get()) != 0)
    fail(fmt::format("{} has its data elsewhere; a checkpoint holds its own", full_name));
  dataset.stored_bytes = H5Dget_storage_size(dataset.handle.get());
  const uint64_t stored = dataset.stored_bytes;
  const uint64_t bytes = dataset.bytes();
  if (stored == 0 || (layout != H5D_CHUNKED && stored != bytes))
    fail(fmt::format("{} holds {} bytes, its shape {} needs {}", full_name, stored,
                     shape_text(dataset.shape), bytes));
  if (layout == H5D_CHUNKED) measure_pieces(dataset, creation.get(), bytes);
  hsize_t file_bytes = 0;
  check(H5Fget_filesize(file_.get(), &file_bytes) >= 0, "read");
  if (stored > file_bytes)
    fail(fmt::format("{} holds {} bytes, the whole file has {}", full_name, stored, file_bytes));
  return dataset;
}

void File::read_rows(const Dataset& dataset, uint64_t first, uint64_t rows, void* values) const {
  const Spaces spaces = select_rows(dataset, first, rows);
  if (H5Dread(dataset.handle.get(), types_of(dataset.element).memory, spaces.memory.get(),
              spaces.file.get(), H5P_DEFAULT, values) < 0)
    fail_in_library("read " + dataset.name);
}

std::string library() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("HDF5 {}.{}.{}", major, minor, release);
}

}  // namespace eggroll::hdf5
