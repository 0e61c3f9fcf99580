// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as a GGUF file: parsed, every value read with every getter, checked as adapter
// and as projector. What a parser accepts must keep its promises.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "io/adapter.h"
#include "io/checkpoint.h"
#include "io/gguf.h"
#include "io/gguf_for_test.h"
#include "io/projector.h"

namespace {

using carat::GgufFile;

void CheckMessage(const carat::Error& error) {
  CARAT_CHECK(error.code == carat::Code::kBadFile);
  CARAT_CHECK(error.message.find_first_of(std::string_view("\n\r\0", 3)) == std::string::npos);
}

void ReadEverything(const GgufFile& file) {
  const carat::GgufMetadata& m = *file.metadata;
  for (const auto& [key, value] : m.values) {
    CARAT_CHECK(!Describe(value).empty());
    // Exactly those getters that fit the kind succeed; the others must not read.
    const int fit = m.RequireU32(key).has_value() + m.RequireF32(key).has_value() +
                    m.RequireString(key).has_value() + m.RequireI32(key).has_value() +
                    m.U16Or(key, 0).has_value() + m.BoolOr(key, false).has_value();
    CARAT_CHECK(fit <= 1);
    const auto ints = m.RequireInts(key, true);
    const auto bools = m.RequireBools(key);
    const auto floats = m.RequireF32s(key);
    const auto strings = m.RequireStrings(key);
    if (ints) CARAT_CHECK(ints->size() == value.count);
    if (bools) CARAT_CHECK(bools->size() == value.count);
    if (floats) CARAT_CHECK(floats->size() == value.count);
    if (strings) {
      uint64_t bytes = 0;
      for (const std::string_view s : *strings) bytes += 8 + s.size();
      CARAT_CHECK(bytes == value.bytes.size());
    }
  }
  unsigned sum = 0;
  for (const carat::TensorEntry& t : file.tensors) {
    CARAT_CHECK(t.offset <= file.file->size() && t.bytes <= file.file->size() - t.offset);
    if (t.bytes > 0)
      sum += static_cast<unsigned>(t.data()[0]) + static_cast<unsigned>(t.data()[t.bytes - 1]);
  }
  volatile unsigned sink = sum;  // the reads above must happen
  (void)sink;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  const auto file = carat::ParseGguf(
      carat::MappedFile::FromBytes(std::vector<std::byte>(begin, begin + size), "fuzz.gguf"));
  if (!file) {
    CheckMessage(file.error());
    return 0;
  }
  ReadEverything(*file);
  const carat::Checkpoint model = carat::test::CheckpointOf(*file);
  for (const carat::Checkpoint* base : {static_cast<const carat::Checkpoint*>(nullptr), &model}) {
    if (const auto adapter = carat::CheckAdapter(*file, base); !adapter)
      CheckMessage(adapter.error());
  }
  if (const auto projector = carat::CheckProjector(*file); !projector)
    CheckMessage(projector.error());
  return 0;
}
