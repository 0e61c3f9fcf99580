// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/checked.h"
#include "base/json.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "io/safetensors.h"

namespace carat {
namespace {

tl::unexpected<Error> Failed(const std::filesystem::path& path, const char* what) {
  return BadFile("{}: {}: {}", path.string(), what, std::strerror(errno));
}

std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// A new file beside `target` that disappears unless it is renamed to it.
class TempFile {
 public:
  static Result<TempFile> Create(const std::filesystem::path& target) {
    std::filesystem::path path;
    for (int i = 0; i < 1000; ++i) {
      path = target;
      path += fmt::format(".tmp{}-{}", ::getpid(), i);
      const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd >= 0) return TempFile(std::move(path), fd);
      if (errno != EEXIST) break;
    }
    return Failed(path, "cannot be created");
  }
  TempFile() = default;
  TempFile(std::filesystem::path path, int fd) : path_(std::move(path)), fd_(fd) {}
  TempFile(TempFile&& o) noexcept
      : path_(std::exchange(o.path_, {})), fd_(std::exchange(o.fd_, -1)) {}
  TempFile& operator=(TempFile&& o) noexcept {
    std::swap(path_, o.path_);
    std::swap(fd_, o.fd_);
    return *this;
  }
  ~TempFile() {
    if (fd_ >= 0) ::close(fd_);
    Forget();
  }

  int fd() const { return fd_; }
  // Removes the name; the open file stays usable.
  void Forget() {
    if (!path_.empty()) ::unlink(path_.c_str());
    path_.clear();
  }
  Status Write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return Failed(path_, "cannot be written");
      bytes = bytes.subspan(static_cast<size_t>(n));
    }
    return {};
  }
  Status RenameTo(const std::filesystem::path& target) {
    if (::fsync(fd_) != 0) return Failed(path_, "cannot be written");
    if (::rename(path_.c_str(), target.c_str()) != 0) return Failed(target, "cannot be replaced");
    path_.clear();
    return {};
  }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

// The entries of a header under construction.
class HeaderWriter {
 public:
  Status Add(const TensorToWrite& t) {
    if (t.name == "__metadata__" || !IsValidUtf8(t.name))
      return InvalidArgument("tensor \"{}\": not a name for safetensors", Printable(t.name));
    if (FromSafetensors(Name(t.dtype)) != t.dtype)
      return InvalidArgument("tensor \"{}\": safetensors has no type {}", Printable(t.name),
                             Name(t.dtype));
    uint64_t elements = 1;
    bool fits = true;
    for (const uint64_t d : t.shape) fits = fits && CheckedMul(elements, d, &elements);
    const auto bytes = fits ? RowBytes(t.dtype, elements) : std::nullopt;
    if (!bytes || *bytes != t.bytes.size())
      return InvalidArgument("tensor \"{}\": {} bytes do not fit its shape and type {}",
                             Printable(t.name), t.bytes.size(), Name(t.dtype));
    if (!names_.insert(t.name).second)
      return InvalidArgument("tensor \"{}\" twice", Printable(t.name));
    entries_ +=
        fmt::format(R"({}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", Quoted(t.name),
                    Name(t.dtype), DumpJson(Json(t.shape)), end_, end_ + *bytes);
    entries_ += ',';
    end_ += *bytes;
    return {};
  }

  // Length and header, padded so that the data begin at a multiple of 8.
  std::string Finish(const SafetensorsMetadata& metadata) const {
    std::string json = "{";
    if (!metadata.empty()) json += "\"__metadata__\":" + DumpJson(Json(metadata)) + ",";
    json += entries_;
    if (json.size() > 1) json.pop_back();
    json += '}';
    json.resize((json.size() + 7) / 8 * 8, ' ');
    const uint64_t length = json.size();
    std::string out(sizeof length, '\0');
    std::memcpy(out.data(), &length, sizeof length);
    return out + json;
  }

 private:
  static std::string Quoted(const std::string& text) { return DumpJson(Json(text)); }

  std::set<std::string> names_;
  std::string entries_;  // each with a comma behind
  uint64_t end_ = 0;
};

}  // namespace

Status WriteSafetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                        const SafetensorsMetadata& metadata) {
  HeaderWriter header;
  for (const TensorToWrite& t : tensors) CARAT_RETURN_IF_ERROR(header.Add(t));
  CARAT_ASSIGN_OR_RETURN(TempFile file, TempFile::Create(path));
  CARAT_RETURN_IF_ERROR(file.Write(Bytes(header.Finish(metadata))));
  for (const TensorToWrite& t : tensors) CARAT_RETURN_IF_ERROR(file.Write(t.bytes));
  return file.RenameTo(path);
}

struct SafetensorsWriter::Impl {
  std::filesystem::path path;
  HeaderWriter header;
  TempFile data;
};

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter::~SafetensorsWriter() = default;

Result<SafetensorsWriter> SafetensorsWriter::Create(const std::filesystem::path& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  CARAT_ASSIGN_OR_RETURN(impl->data, TempFile::Create(path));
  impl->data.Forget();
  return SafetensorsWriter(std::move(impl));
}

Status SafetensorsWriter::Add(const TensorToWrite& tensor) {
  CARAT_RETURN_IF_ERROR(impl_->header.Add(tensor));
  return impl_->data.Write(tensor.bytes);
}

Status SafetensorsWriter::Finish(const SafetensorsMetadata& metadata) {
  CARAT_ASSIGN_OR_RETURN(TempFile file, TempFile::Create(impl_->path));
  CARAT_RETURN_IF_ERROR(file.Write(Bytes(impl_->header.Finish(metadata))));
  std::vector<std::byte> buffer(size_t{1} << 20);
  off_t at = 0;
  for (;;) {
    const ssize_t n = ::pread(impl_->data.fd(), buffer.data(), buffer.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed(impl_->path, "temporary data cannot be read");
    if (n == 0) break;
    CARAT_RETURN_IF_ERROR(file.Write(std::span(buffer).first(static_cast<size_t>(n))));
    at += n;
  }
  return file.RenameTo(impl_->path);
}

}  // namespace carat
