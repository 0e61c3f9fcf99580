// SPDX-License-Identifier: Apache-2.0
#include "base/aligned.h"

#include <sys/mman.h>

#include "base/check.h"

namespace carat {
namespace {
constexpr size_t kLargePage = size_t{2} << 20;
}

PageBuffer::PageBuffer(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CARAT_CHECK(p != MAP_FAILED);
  data_ = static_cast<std::byte*>(p);
#ifdef MADV_HUGEPAGE
  // Below a few large pages the rounding would cost more memory than it saves time.
  if (bytes >= 8 * kLargePage) ::madvise(p, bytes, MADV_HUGEPAGE);
#endif
}

PageBuffer::~PageBuffer() {
  if (data_) ::munmap(data_, bytes_);
}

}  // namespace carat
