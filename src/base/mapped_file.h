// SPDX-License-Identifier: Apache-2.0
// A read-only memory map of a whole file, and reads that do not go through the map.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"

namespace carat {

// Owner of the descriptor and the map; shared by everything that points into it. Thread-safe.
class MappedFile {
 public:
  // The size is taken from the open descriptor. Directories, devices and pipes are refused.
  // Errors: kNotFound, kBadFile. An empty file maps to an empty span.
  static Result<std::shared_ptr<const MappedFile>> Open(const std::filesystem::path& path);
  // Bytes that are in memory already (tests, fuzzing), under a name for messages.
  static std::shared_ptr<const MappedFile> FromBytes(std::vector<std::byte> bytes,
                                                     std::filesystem::path name);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  uint64_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_, static_cast<size_t>(size_)}; }

  // Copies `out.size()` bytes at `offset` by pread: only the page cache is touched, the process's
  // resident memory does not grow. Errors: kBadFile (past the end, I/O error).
  Status ReadAt(uint64_t offset, std::span<std::byte> out) const;

  // Gives the resident pages that lie wholly inside the range back to the system.
  void Drop(uint64_t offset, uint64_t length) const;

 private:
  MappedFile() = default;
  std::filesystem::path path_;
  int fd_ = -1;  // -1: made by FromBytes, data_ points into owned_
  std::vector<std::byte> owned_;
  const std::byte* data_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace carat
