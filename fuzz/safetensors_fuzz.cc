// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as a safetensors file. What is accepted covers the data exactly, and every
// message is one line. Each input is also tried with a length field that makes all of it header, so
// that mutations of the JSON are not lost to that field.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/json.h"
#include "io/safetensors.h"

namespace {

void Parse(std::vector<std::byte> bytes) {
  const auto file =
      carat::ParseSafetensors(carat::MappedFile::FromBytes(std::move(bytes), "fuzz.safetensors"));
  if (!file) {
    CARAT_CHECK(file.error().code == carat::Code::kBadFile);
    CARAT_CHECK(file.error().message.find_first_of(std::string_view("\n\r\0", 3)) ==
                std::string::npos);
    return;
  }
  const uint64_t size = file->file->size();
  uint64_t covered = 0;
  for (const carat::TensorEntry& t : file->tensors) {
    CARAT_CHECK(t.offset >= 10 && t.offset <= size && t.bytes <= size - t.offset);
    covered += t.bytes;
  }
  uint64_t header = 0;
  std::memcpy(&header, file->file->bytes().data(), sizeof header);
  CARAT_CHECK(covered == size - 8 - header);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> bytes(begin, begin + size);
  Parse(bytes);
  if (size > 8) {
    const uint64_t header = size - 8;
    std::memcpy(bytes.data(), &header, sizeof header);
    Parse(bytes);
    // The general JSON reader sees the same text; what it writes it must read back.
    const auto json =
        carat::ParseJson({reinterpret_cast<const char*>(data) + 8, size - 8}, "fuzz.json");
    if (json) {
      const auto again = carat::ParseJson(carat::DumpJson(*json), "again.json");
      CARAT_CHECK(again && *again == *json);
    }
  }
  return 0;
}
