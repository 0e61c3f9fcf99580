// SPDX-License-Identifier: Apache-2.0
// For tests only: the reference data of tests/golden. CARAT_GOLDEN may name another folder laid out
// like it; what that one lacks comes from the repository.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace carat::test {

// The file or folder `name` ("text/e2b"), an empty path when it is nowhere: for what the repository
// leaves out.
inline std::filesystem::path FindGolden(const std::string& name) {
  const char* const env = std::getenv("CARAT_GOLDEN");
  const std::string folders[] = {
      env != nullptr ? env : "", CARAT_TEST_DATA "/golden",
      CARAT_TEST_UNPACKED "/golden"};  // the repository's archives, as the build unpacked them
  for (const std::filesystem::path folder : folders) {
    if (!folder.empty() && std::filesystem::exists(folder / name)) return folder / name;
  }
  return {};
}

// The same for what the repository holds: a test without it has failed.
inline std::filesystem::path Golden(const std::string& name) {
  const std::filesystem::path path = FindGolden(name);
  EXPECT_FALSE(path.empty()) << "tests/golden has no " << name;
  return path.empty() ? std::filesystem::path(CARAT_TEST_DATA "/golden") / name : path;
}

// The reason given to GTEST_SKIP, which by itself is easily overlooked.
inline std::string Loudly(const std::string& reason) {
  std::cerr << "\n*** SKIPPED: " << reason << " ***\n\n";
  return reason;
}

// The folders of text/ with a checkpoint of the text decoder.
inline std::vector<std::filesystem::path> TextCheckpoints() {
  std::vector<std::filesystem::path> folders;
  for (const char* name : {"e2b", "e4b", "dense31", "moe26", "unified12", "gemma3", "gemma3-text"})
    folders.push_back(Golden(std::string("text/") + name));
  folders.push_back(FindGolden("text/e2b-realheads"));  // the repository leaves it out
  if (folders.back().empty()) {
    Loudly("no text/e2b-realheads here");
    folders.pop_back();
  }
  return folders;
}

// A file that must be there.
inline std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.is_open()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}
inline Json ReadJson(const std::filesystem::path& path) {
  auto json = ParseJson(ReadFile(path), path.string());
  EXPECT_TRUE(json) << json.error().message;
  return json ? std::move(*json) : Json();
}
// What the index of a folder of cases lists.
inline Json ReadIndex(const std::filesystem::path& folder) {
  return ReadJson(folder / "index.json");
}
// The file to open for an entry of gguf/bad or gguf/weird.
inline std::filesystem::path FileOf(const std::filesystem::path& folder, const Json& entry) {
  const std::filesystem::path path = folder / entry["file"].get<std::string>();
  return entry.contains("open") ? path / entry["open"].get<std::string>() : path;
}

}  // namespace carat::test
