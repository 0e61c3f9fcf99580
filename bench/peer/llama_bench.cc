// SPDX-License-Identifier: Apache-2.0
// Times llama.cpp's shared library on a GGUF file through its C interface, for a comparison on the
// same weights in the same minutes (bench/compare_llama.py). The library is opened at run time;
// nothing of it is compiled in. Parameter structs travel through memory in the x86-64 calling
// convention, so an opaque block that is too large is harmless, and single fields are set by
// offset; the offsets are those of release 0.5.0.
//
//   llama_bench LIBRARY_FOLDER MODEL THREADS PROMPT GENERATE DEPTH
//
// Prints {"load_s", "prefill_tok_s", "decode_tok_s", "peak_rss_bytes"}.
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <vector>

namespace {

struct Block {
  alignas(16) unsigned char at[512];
};

// The batch as the interface lays it out; `rest` covers fields that later versions append.
struct Batch {
  int32_t n = 0;
  int32_t* token = nullptr;
  float* embd = nullptr;
  int32_t* pos = nullptr;
  int32_t* n_seq = nullptr;
  int32_t** seq = nullptr;
  int8_t* want = nullptr;
  int64_t rest[4] = {0, 0, 0, 0};
};

// Byte offsets in the context parameters of release 0.5.0.
constexpr int kCtx = 0, kBatch = 4, kUbatch = 8, kSequences = 12, kThreads = 28, kThreadsBatch = 32;

std::vector<void*> libraries;

template <class F>
F Find(const char* name) {
  for (void* library : libraries)
    if (void* symbol = dlsym(library, name)) return reinterpret_cast<F>(symbol);
  std::fprintf(stderr, "llama_bench: the library has no %s\n", name);
  std::exit(1);
}

template <class T>
void Put(Block* block, int at, T value) {
  std::memcpy(block->at + at, &value, sizeof value);
}

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

uint64_t PeakBytes() {
  std::ifstream in("/proc/self/status");
  std::string word;
  uint64_t kilobytes = 0;
  while (in >> word)
    if (word == "VmHWM:") in >> kilobytes;
  return kilobytes * 1024;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: llama_bench LIBRARY_FOLDER MODEL THREADS PROMPT GENERATE DEPTH\n");
    return 2;
  }
  const std::string folder = argv[1];
  const int threads = std::atoi(argv[3]), prompt = std::atoi(argv[4]);
  const int generate = std::atoi(argv[5]), depth = std::atoi(argv[6]);
  for (const char* name : {"libggml-base.so", "libggml.v0.5.0.so", "libllama.v0.5.0.so"}) {
    void* library = dlopen((folder + "/" + name).c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
      std::fprintf(stderr, "llama_bench: %s\n", dlerror());
      return 1;
    }
    libraries.push_back(library);
  }
  Find<void (*)(void (*)(int, const char*, void*), void*)>("llama_log_set")(
      [](int level, const char* text, void*) {
        if (level == 4) std::fputs(text, stderr);
      },
      nullptr);
  // Picks the backend built for this processor.
  Find<void (*)(const char*)>("ggml_backend_load_all_from_path")(folder.c_str());
  Find<void (*)()>("llama_backend_init")();

  const double start = Now();
  void* model = Find<void* (*)(const char*, Block)>("llama_model_load_from_file")(
      argv[2], Find<Block (*)()>("llama_model_default_params")());
  if (!model) return 1;
  const double load = Now() - start;
  const int vocab = Find<int (*)(void*)>("llama_vocab_n_tokens")(
      Find<void* (*)(void*)>("llama_model_get_vocab")(model));

  Block params = Find<Block (*)()>("llama_context_default_params")();
  const int longest = std::max(depth + generate, prompt) + 8;
  Put<uint32_t>(&params, kCtx, static_cast<uint32_t>((longest + 255) / 256 * 256));
  Put<uint32_t>(&params, kBatch, 2048);
  Put<uint32_t>(&params, kUbatch, 512);
  Put<uint32_t>(&params, kSequences, 1);
  Put<int32_t>(&params, kThreads, threads);
  Put<int32_t>(&params, kThreadsBatch, threads);
  void* context = Find<void* (*)(void*, Block)>("llama_init_from_model")(model, params);
  if (!context) return 1;

  const auto decode = Find<int (*)(void*, Batch)>("llama_decode");
  const auto logits = Find<float* (*)(void*, int)>("llama_get_logits_ith");
  const auto synchronize = Find<void (*)(void*)>("llama_synchronize");
  void* memory = Find<void* (*)(void*)>("llama_get_memory")(context);
  const auto clear = Find<void (*)(void*, bool)>("llama_memory_clear");
  std::mt19937 rng(7);
  std::vector<int32_t> token(2048), pos(2048), n_seq(2048, 1), zero(2048, 0);
  std::vector<int32_t*> seq(2048);
  std::vector<int8_t> want(2048);
  const auto feed = [&](int at, int n) {
    while (n > 0) {
      const int k = std::min(n, 2048);
      for (int i = 0; i < k; ++i) {
        token[i] = static_cast<int32_t>(1000 + rng() % static_cast<uint32_t>(vocab - 2000));
        pos[i] = at + i;
        seq[i] = &zero[i];
        want[i] = i == n - 1;
      }
      Batch batch;
      batch.n = k;
      batch.token = token.data();
      batch.pos = pos.data();
      batch.n_seq = n_seq.data();
      batch.seq = seq.data();
      batch.want = want.data();
      if (decode(context, batch) != 0) std::exit(1);
      at += k;
      n -= k;
    }
    synchronize(context);
    (void)logits(context, -1);
  };

  feed(0, 16);  // warm-up
  clear(memory, true);
  double t = Now();
  feed(0, prompt);
  const double prefill = prompt / (Now() - t);
  clear(memory, true);
  const int from = std::max(depth, 1);
  feed(0, from);
  feed(from, 1);
  t = Now();
  for (int i = 0; i < generate; ++i) feed(from + 1 + i, 1);
  const double decoded = generate / (Now() - t);
  std::printf(
      "{\"load_s\": %.3f, \"prefill_tok_s\": %.3f, \"decode_tok_s\": %.3f, \"peak_rss_bytes\": "
      "%llu}\n",
      load, prefill, decoded, static_cast<unsigned long long>(PeakBytes()));
  std::fflush(stdout);
  _exit(0);  // the library's destructors take seconds and are not measured
}
