// SPDX-License-Identifier: Apache-2.0
// What the kinds of files that `carat inspect` knows have in common.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "carat/carat.h"
#include "io/checkpoint.h"
#include "io/gguf.h"

namespace carat {

// The same facts as JSON and as lines for people.
class ReportBuilder {
 public:
  // Begins with kind and path.
  ReportBuilder(std::string_view kind, const std::filesystem::path& path);
  ~ReportBuilder();
  ReportBuilder(const ReportBuilder&) = delete;
  ReportBuilder& operator=(const ReportBuilder&) = delete;

  // Both: `key` of the JSON, "label   value" for people. A value for people may differ.
  void Add(std::string_view key, const Json& value, std::string_view label, std::string_view shown);
  void Add(std::string_view key, const Json& value);
  void Line(std::string_view label, std::string_view shown);
  void Text(std::string_view text) { text_ += text; }

  // Number of tensors, of elements and of bytes, and tensors by type; with `list`, each tensor.
  void AddTensors(std::span<const TensorEntry* const> tensors, bool list);
  void AddWarnings(std::span<const std::string> warnings);

  InspectReport Finish() const;

 private:
  std::string kind_;
  std::unique_ptr<Json> json_;
  std::string text_;
};

// "1.2 GB (1234567890 bytes)"
std::string ShowBytes(uint64_t bytes);

// Inspectors of each kind. Errors: kNotFound, kBadFile, kInvalidArgument.
Result<InspectReport> InspectContainer(const std::filesystem::path& path, const InspectOptions& o);
Result<InspectReport> InspectSplit(const std::filesystem::path& path, const InspectOptions& o);
Result<InspectReport> InspectSafetensors(const std::filesystem::path& path,
                                         const InspectOptions& o);
Result<InspectReport> InspectIndex(const std::filesystem::path& path, const InspectOptions& o);
Result<InspectReport> InspectAdapter(const std::filesystem::path& path, const InspectOptions& o);
Result<InspectReport> InspectProjector(const std::filesystem::path& path, const InspectOptions& o);
Result<InspectReport> InspectModelFile(const std::filesystem::path& path, const InspectOptions& o);

// The kind of a file by its content. Errors: kNotFound, kBadFile (unreadable, or nothing we know).
Result<std::string> GuessKind(const std::filesystem::path& path);

}  // namespace carat
