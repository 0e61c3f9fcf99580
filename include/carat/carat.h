// SPDX-License-Identifier: Apache-2.0
// carat's public C++ interface: open a Gemma checkpoint, tokenise, generate, score, trace.
//
//   auto model = carat::Model::Load("gemma.gguf", {});
//   auto session = (*model)->NewSession({});
//   auto ids = (*model)->Tokenize("The capital of France is", {.add_bos = true});
//   (*session)->Generate(ids, {}, [](const carat::TokenEvent& e) {
//     std::fwrite(e.text.data(), 1, e.text.size(), stdout);
//     return true;
//   });
//
// Everything that can fail returns Result<T> (carat/result.h). Nothing here prints or exits.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "carat/result.h"

namespace carat {

enum class Mode {
  kExact,  // float32 activations on dequantised weights: equal to the official implementation
  kFast,   // integer products on quantised weights
};

struct LoadOptions {
  Mode mode = Mode::kFast;
  int threads = 0;                    // 0: one per physical core that we may use
  int64_t context_tokens = 0;         // 0: min(trained context, 8192); checked by the memory plan
  int max_sequences = 1;              // sessions that the memory plan provides for
  bool bf16_embedding_scale = false;  // round sqrt(D) to bfloat16, as a bfloat16 run does
  bool check_memory = true;           // refuse (kNoMemory) a plan that can't fit
  // Progress of loading, 0..1; may be empty. Returning false cancels.
  std::function<bool(double)> progress;
};

// Named regions with their bytes, computed before anything is allocated.
struct MemoryPlan {
  uint64_t weights_mapped = 0;     // read in place from the file
  uint64_t weights_anonymous = 0;  // packed for the kernels, norms
  uint64_t ple_rows = 0;           // buffers of per-layer-embedding and embedding rows
  uint64_t kv = 0;                 // caches of max_sequences sequences at the chosen context
  uint64_t scratch = 0;            // activations
  uint64_t tokenizer = 0;
  uint64_t program = 0;  // the program itself
  uint64_t peak = 0;     // largest sum at any moment, loading included
  int64_t context_tokens = 0;
};

// The regions by the names people see ("weights-mapped", ...), "peak" last.
std::vector<std::pair<std::string_view, uint64_t>> PlanLines(const MemoryPlan& plan);

struct ModelInfo {
  std::string name;    // general.name, or the file's or folder's name
  std::string family;  // "gemma4", "gemma3"
  std::string format;  // "gguf", "huggingface"
  std::string path;
  int layers = 0, width = 0, heads = 0, window = 0, ple_width = 0, experts = 0, experts_used = 0;
  int64_t vocab = 0;
  int64_t trained_context = 0;
  uint64_t parameters = 0;                                // elements of all tensors in use
  std::vector<std::pair<std::string, int>> tensor_types;  // "Q4_0" -> number of tensors
  std::vector<std::string> layer_kinds;  // per layer: "sliding", "global", "sliding shared:13", ...
  // Special tokens by name: "bos", "eos", ..., ids; -1 left out.
  std::vector<std::pair<std::string, int32_t>> special_tokens;
  std::vector<int32_t> stop_ids;
  std::vector<int32_t> suppress;
  std::string chat_format;  // "gemma4-small", "gemma4-large", "gemma3", "none" (base model)
  float temperature = 1, top_p = 1;  // recommended sampling
  int top_k = 0;
  std::vector<std::string> warnings;
};

// What `carat inspect` shows of a model without loading it: headers only.
Result<ModelInfo> InspectModel(const std::filesystem::path& path);
Result<MemoryPlan> PlanModel(const std::filesystem::path& path, const LoadOptions& options);

struct TokenizeOptions {
  bool add_bos = false;
  bool parse_special = false;  // control strings in the text become their ids
};

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

struct SamplingOptions {
  float temperature = 1;  // 0: greedy
  int top_k = 0;          // 0: off
  float top_p = 1;
  float min_p = 0;
  float repeat_penalty = 1;  // divides positive, multiplies negative logits of seen tokens
  int repeat_window = 64;    // tokens looked back by the three penalties; 0: all
  float frequency_penalty = 0;
  float presence_penalty = 0;
  std::vector<std::pair<int32_t, float>> logit_bias = {};
  std::vector<int32_t> suppress = {};  // never generated
  uint64_t seed = 0;                   // same seed, same tokens, whatever the threads or the batch
};

struct GenerateOptions {
  SamplingOptions sampling = {};
  int64_t max_tokens = -1;             // -1: until the context is full
  std::vector<int32_t> stop_ids = {};  // generation ends before such a token
  std::vector<std::string> stop = {};  // ... or before such a string
  int top_logprobs = -1;  // -1: no log-probabilities; 0: of the chosen token; n: also n best
};

struct TokenLogprob {
  int32_t id;
  float logprob;
};

struct TokenEvent {
  int32_t id;             // -1: no token, text that was held back until the end
  std::string_view text;  // complete UTF-8; may be empty while bytes or a stop string are pending
  float logprob = 0;      // natural logarithm, before penalties and temperature
  std::span<const TokenLogprob> top;
};

enum class FinishReason { kStop, kLength, kCancelled };

struct GenerateStats {
  FinishReason reason = FinishReason::kStop;
  std::string stop_string;  // the stop string that ended it, if one did
  int32_t stop_id = -1;     // the stop token that ended it, if one did
  int64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  double prefill_s = 0, decode_s = 0, ttft_s = 0;
};

// Input of `carat trace` and of embeddings of media: ids, and rows that replace embeddings.
struct TraceInput {
  std::vector<int32_t> ids;
  std::vector<int32_t> soft_positions;  // ascending
  std::vector<float> soft_rows;         // [soft_positions, D], used as they are
  std::vector<int32_t> mm_token_types;  // per id: 0 text, 1 image, 2 video, 3 audio; may be empty
  int chunk = 0;                        // prefill in chunks of this many tokens; 0: one piece
  int64_t greedy = 0;                   // tokens of greedy continuation; stop ids not honoured
  std::vector<int32_t> suppress;        // never chosen by the continuation
  int64_t logits_from = 0;              // the first position whose logits are wanted
};

struct TraceOutput {
  int64_t vocab = 0;
  std::vector<float> logits;               // [T - logits_from, V]
  std::vector<std::vector<float>> hidden;  // L + 1 of [T, D]: input of layer 0, outputs of layers
  std::vector<float> hidden_final;         // [T, D] after the final norm
  std::vector<float> ple;                  // [T, L, P]
  int experts_used = 0;
  std::vector<std::vector<int32_t>> experts;       // per layer [T, k], by falling probability
  std::vector<std::vector<float>> expert_weights;  // per layer [T, k]
  std::vector<int32_t> greedy;
  std::vector<float> greedy_margin, greedy_top;  // best minus second logit; best logit
};

// One conversation or document: a KV cache and its state. Use from one thread at a time; Cancel()
// may be called from any thread or a signal handler.
class Session {
 public:
  virtual ~Session() = default;

  // Feeds `prompt` (reusing the longest prefix already in the cache) and generates. `on_token` is
  // called for every token; returning false cancels, and it is not called again. Errors:
  // kInvalidArgument (ids, context full), kBadFile (weights that give no numbers). Being cancelled
  // is no error here but a reason.
  virtual Result<GenerateStats> Generate(
      std::span<const int32_t> prompt, const GenerateOptions& options,
      const std::function<bool(const TokenEvent&)>& on_token) = 0;

  // The logits [V] after each of ids[first..], in order, until `on_row` returns false. The cache
  // is cleared before and after. Takes memory beyond the plan: 16 rows of logits, and the last
  // layers' activations of 512 rows. Errors: kInvalidArgument, kCancelled (also by on_row),
  // kBadFile.
  virtual Status Logits(std::span<const int32_t> ids, int64_t first,
                        const std::function<bool(int64_t, std::span<const float>)>& on_row) = 0;

  // Everything that can be compared with another implementation. Clears the cache. Takes memory
  // beyond the plan: its output, and activations of a whole chunk's rows. Errors: as of Logits.
  virtual Result<TraceOutput> Trace(const TraceInput& input) = 0;

  // Feeds ids without wanting logits, for benchmarks: the cache grows by ids.size().
  virtual Status Feed(std::span<const int32_t> ids) = 0;

  virtual void Clear() = 0;
  virtual int64_t length() const = 0;   // tokens in the cache
  virtual int64_t context() const = 0;  // most tokens it can hold
  virtual void Cancel() = 0;            // ends the running call within one layer's time
};

struct SessionOptions {
  int64_t context_tokens = 0;  // 0: as planned at loading
};

class Model {
 public:
  // Errors: kNotFound, kBadFile, kInvalidArgument (options, CARAT_ISA), kNoMemory (with the plan's
  // numbers), kCancelled.
  static Result<std::shared_ptr<Model>> Load(const std::filesystem::path& path,
                                             const LoadOptions& options);
  virtual ~Model() = default;

  virtual const ModelInfo& info() const = 0;
  virtual const MemoryPlan& plan() const = 0;
  virtual int threads() const = 0;

  virtual std::vector<int32_t> Tokenize(std::string_view text,
                                        const TokenizeOptions& options) const = 0;
  virtual std::string Detokenize(std::span<const int32_t> ids, bool skip_special) const = 0;

  // The ids of a conversation that ends with the model's turn opened; text from users can't
  // introduce control tokens. Errors: kInvalidArgument (unknown role; a base model has no chat
  // format: info().chat_format == "none").
  virtual Result<std::vector<int32_t>> ChatPrompt(std::span<const ChatMessage> messages) const = 0;

  // The model's recommended sampling and stop ids.
  virtual GenerateOptions DefaultGenerateOptions() const = 0;

  virtual Result<std::unique_ptr<Session>> NewSession(const SessionOptions& options) = 0;
};

// A tokenizer alone: opens headers, loads no weights. `path`: a model, or a tokenizer.json or the
// folder that it is in.
class TextCodec {
 public:
  static Result<std::unique_ptr<TextCodec>> Open(const std::filesystem::path& path);
  virtual ~TextCodec() = default;
  virtual std::vector<int32_t> Tokenize(std::string_view text,
                                        const TokenizeOptions& options) const = 0;
  virtual std::string Detokenize(std::span<const int32_t> ids, bool skip_special) const = 0;
  virtual std::string_view Piece(int32_t id) const = 0;  // requires a valid id
  virtual int32_t size() const = 0;
};

struct InspectOptions {
  // "" (guessed), "container", "model", "split", "adapter", "mmproj", "safetensors",
  // "safetensors-index".
  std::string as;
  std::filesystem::path base;  // the base model of an adapter; may be empty
  bool tensors = false;        // list every tensor and its shape
  LoadOptions load;            // what the memory plan of a model is made for
};
struct InspectReport {
  std::string kind;  // one of the above
  std::string json;  // everything, as a JSON object
  std::string text;  // the same for people
};
// What `carat inspect` shows of any file; only headers are read. Errors: kNotFound, kBadFile,
// kInvalidArgument (an unknown kind).
Result<InspectReport> Inspect(const std::filesystem::path& path, const InspectOptions& options);

// "avx512vnni", "avx2", "scalar": the kernels this process uses. Errors: kInvalidArgument when
// CARAT_ISA names one that this machine lacks.
Result<std::string> InstructionSet();

// Resolves what a user typed: a path, or the name of a model in the cache
// ($CARAT_CACHE, else $XDG_CACHE_HOME/carat or ~/.cache/carat; models in models/NAME/).
Result<std::filesystem::path> ResolveModel(std::string_view name_or_path);
struct CachedModel {
  std::string name;
  std::filesystem::path path;
  uint64_t bytes;
};
std::vector<CachedModel> ListModels();

}  // namespace carat
