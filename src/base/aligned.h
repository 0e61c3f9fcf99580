// SPDX-License-Identifier: Apache-2.0
// Page-backed, 64-byte aligned memory for weights, caches and scratch.
#pragma once

#include <cstddef>
#include <utility>

namespace carat {

// Anonymous zeroed memory straight from the system (large pages where it gives them), so that
// freeing returns it and untouched parts cost nothing. Move-only.
class PageBuffer {
 public:
  PageBuffer() = default;
  explicit PageBuffer(size_t bytes);  // aborts when the system has no address space left
  ~PageBuffer();
  PageBuffer(PageBuffer&& o) noexcept { *this = std::move(o); }
  PageBuffer& operator=(PageBuffer&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(bytes_, o.bytes_);
    return *this;
  }

  std::byte* data() const { return data_; }
  size_t size() const { return bytes_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace carat
