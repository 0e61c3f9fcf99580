// SPDX-License-Identifier: Apache-2.0
#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>

namespace carat {

Result<std::shared_ptr<const MappedFile>> MappedFile::Open(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const int err = errno;
    if (err == ENOENT || err == ENOTDIR) return NotFound("{}: no such file", path.string());
    return BadFile("{}: cannot be opened: {}", path.string(), std::strerror(err));
  }
  auto file = std::shared_ptr<MappedFile>(new MappedFile);
  file->path_ = path;
  file->fd_ = fd;
  struct stat st;
  if (::fstat(fd, &st) != 0)
    return BadFile("{}: cannot be examined: {}", path.string(), std::strerror(errno));
  if (!S_ISREG(st.st_mode)) return BadFile("{}: expected a regular file", path.string());
  file->size_ = static_cast<uint64_t>(st.st_size);
  if (file->size_ > std::numeric_limits<size_t>::max())
    return BadFile("{}: {} bytes, more than this machine can map", path.string(), file->size_);
  if (file->size_ > 0) {
    void* p = ::mmap(nullptr, file->size_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
      return BadFile("{}: cannot be mapped: {}", path.string(), std::strerror(errno));
    file->data_ = static_cast<const std::byte*>(p);
  }
  return std::shared_ptr<const MappedFile>(std::move(file));
}

std::shared_ptr<const MappedFile> MappedFile::FromBytes(std::vector<std::byte> bytes,
                                                        std::filesystem::path name) {
  auto file = std::shared_ptr<MappedFile>(new MappedFile);
  file->path_ = std::move(name);
  file->owned_ = std::move(bytes);
  file->data_ = file->owned_.data();
  file->size_ = file->owned_.size();
  return file;
}

MappedFile::~MappedFile() {
  if (data_ && fd_ >= 0) ::munmap(const_cast<std::byte*>(data_), size_);
  if (fd_ >= 0) ::close(fd_);
}

Status MappedFile::ReadAt(uint64_t offset, std::span<std::byte> out) const {
  if (offset > size_ || out.size() > size_ - offset)
    return BadFile("{}: {} bytes wanted at offset {}, the file has {}", path_.string(), out.size(),
                   offset, size_);
  if (fd_ < 0) {
    if (!out.empty()) std::memcpy(out.data(), data_ + offset, out.size());
    return {};
  }
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n =
        ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return BadFile("{}: read failed at offset {}: {}", path_.string(), offset + done,
                     n < 0 ? std::strerror(errno) : "the file became shorter");
    done += static_cast<size_t>(n);
  }
  return {};
}

void MappedFile::Drop(uint64_t offset, uint64_t length) const {
  if (fd_ < 0 || !data_ || offset >= size_) return;
  const uint64_t page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t end = length > size_ - offset ? size_ : offset + length;
  const uint64_t first = (offset + page - 1) / page * page;
  const uint64_t last = end == size_ ? (end + page - 1) / page * page : end / page * page;
  if (last > first) ::madvise(const_cast<std::byte*>(data_) + first, last - first, MADV_DONTNEED);
}

}  // namespace carat
