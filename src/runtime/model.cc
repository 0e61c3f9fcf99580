// SPDX-License-Identifier: Apache-2.0
// Opening, planning and loading: from a path to a Model.
#include <algorithm>
#include <map>
#include <system_error>
#include <utility>

#include "carat/carat.h"
#include "kernels/dispatch.h"
#include "model/config.h"
#include "model/tensors.h"
#include "model/weights.h"
#include "runtime/chat_format.h"
#include "runtime/engine.h"
#include "runtime/plan.h"
#include "runtime/session.h"
#include "runtime/vocabulary.h"

namespace carat {
namespace {

// Everything that headers say, checked.
struct Opened {
  Checkpoint checkpoint;
  Config config;
  ModelTensors tensors;
  std::shared_ptr<const Tokenizer> tokenizer;
  GenerationDefaults defaults;
  ChatFormat chat;
};

Result<Opened> OpenModel(const std::filesystem::path& path) {
  Opened o;
  CARAT_ASSIGN_OR_RETURN(o.checkpoint, OpenCheckpoint(path));
  CARAT_ASSIGN_OR_RETURN(o.config, ReadConfig(o.checkpoint));
  CARAT_ASSIGN_OR_RETURN(o.tensors, ResolveTensors(o.checkpoint, o.config));
  CARAT_ASSIGN_OR_RETURN(o.tokenizer, LoadTokenizer(o.checkpoint, o.config));
  CARAT_ASSIGN_OR_RETURN(o.defaults, ReadGenerationDefaults(o.checkpoint, o.config));
  AddStopIds(*o.tokenizer, o.config.family, &o.defaults.stop_ids);
  CARAT_ASSIGN_OR_RETURN(o.chat, FindChatFormat(o.checkpoint, o.config));
  // The vocabulary was copied; a GGUF's header need not stay resident.
  if (o.checkpoint.format == CheckpointFormat::kGguf)
    for (const auto& file : o.tensors.files) file->Drop(0, file->size());
  if (o.checkpoint.metadata && o.checkpoint.metadata->owner)
    o.checkpoint.metadata->owner->Drop(0, o.checkpoint.metadata->owner->size());
  return o;
}

ModelInfo MakeInfo(const Opened& o) {
  const Config& c = o.config;
  ModelInfo info;
  info.name = c.name;
  info.family = c.family == Family::kGemma3 ? "gemma3" : "gemma4";
  info.format = o.checkpoint.format == CheckpointFormat::kGguf ? "gguf" : "huggingface";
  info.path = o.checkpoint.path.string();
  info.layers = c.layers;
  info.width = c.width;
  info.heads = c.heads;
  info.window = c.window;
  info.ple_width = c.ple_width;
  info.experts = c.experts;
  info.experts_used = c.experts_used;
  info.vocab = c.vocab;
  info.trained_context = c.context;
  info.parameters = CountWeights(c, o.tensors, NumericMode::kExact).parameters;
  std::map<std::string, int> types;
  for (const auto& [name, tensor] : o.checkpoint.tensors) ++types[Name(tensor.dtype)];
  info.tensor_types.assign(types.begin(), types.end());
  for (int i = 0; i < c.layers; ++i) {
    const LayerPlan& plan = c.plan[i];
    std::string kind = plan.sliding ? "sliding" : "global";
    if (!plan.owns_kv) kind += fmt::format(" shared:{}", plan.kv_layer);
    info.layer_kinds.push_back(std::move(kind));
  }
  const auto special = [&](const char* name, int32_t id) {
    if (id >= 0) info.special_tokens.emplace_back(name, id);
  };
  special("bos", o.tokenizer->bos());
  special("eos", o.tokenizer->eos());
  special("image", c.image_token);
  special("audio", c.audio_token);
  special("video", c.video_token);
  info.stop_ids = o.defaults.stop_ids;
  info.suppress = o.defaults.suppress;
  info.chat_format = o.chat.name();
  info.temperature = o.defaults.temperature;
  info.top_k = o.defaults.top_k;
  info.top_p = o.defaults.top_p;
  for (const auto* list : {&o.checkpoint.warnings, &c.warnings, &o.tensors.warnings})
    info.warnings.insert(info.warnings.end(), list->begin(), list->end());
  return info;
}

class ModelImpl final : public Model {
 public:
  ModelImpl(ModelInfo info, MemoryPlan plan, std::shared_ptr<Engine> engine,
            std::shared_ptr<const Tokenizer> tokenizer, GenerationDefaults defaults,
            ChatFormat chat)
      : info_(std::move(info)),
        plan_(plan),
        engine_(std::move(engine)),
        tokenizer_(std::move(tokenizer)),
        defaults_(std::move(defaults)),
        chat_(std::move(chat)) {}

  const ModelInfo& info() const override { return info_; }
  const MemoryPlan& plan() const override { return plan_; }
  int threads() const override { return engine_->pool().threads(); }

  std::vector<int32_t> Tokenize(std::string_view text,
                                const TokenizeOptions& options) const override {
    return tokenizer_->Encode(text, {options.add_bos, options.parse_special});
  }
  std::string Detokenize(std::span<const int32_t> ids, bool skip_special) const override {
    return tokenizer_->Decode({ids.begin(), ids.end()}, skip_special);
  }
  Result<std::vector<int32_t>> ChatPrompt(std::span<const ChatMessage> messages) const override {
    return chat_.Render(messages, *tokenizer_);
  }
  GenerateOptions DefaultGenerateOptions() const override {
    GenerateOptions options;
    options.sampling.temperature = defaults_.temperature;
    options.sampling.top_k = defaults_.top_k;
    options.sampling.top_p = defaults_.top_p;
    options.sampling.suppress = defaults_.suppress;
    options.stop_ids = defaults_.stop_ids;
    return options;
  }
  Result<std::unique_ptr<Session>> NewSession(const SessionOptions& options) override {
    const int64_t context =
        options.context_tokens > 0 ? options.context_tokens : plan_.context_tokens;
    return MakeSession(engine_, tokenizer_, context);
  }

 private:
  ModelInfo info_;
  MemoryPlan plan_;
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  GenerationDefaults defaults_;
  ChatFormat chat_;
};

class TextCodecImpl final : public TextCodec {
 public:
  explicit TextCodecImpl(std::shared_ptr<const Tokenizer> tokenizer)
      : tokenizer_(std::move(tokenizer)) {}
  std::vector<int32_t> Tokenize(std::string_view text,
                                const TokenizeOptions& options) const override {
    return tokenizer_->Encode(text, {options.add_bos, options.parse_special});
  }
  std::string Detokenize(std::span<const int32_t> ids, bool skip_special) const override {
    return tokenizer_->Decode({ids.begin(), ids.end()}, skip_special);
  }
  std::string_view Piece(int32_t id) const override { return tokenizer_->PieceText(id); }
  int32_t size() const override { return tokenizer_->size(); }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
};

// A tokenizer.json by itself, or in a folder that holds no model; else an empty path.
std::filesystem::path LoneTokenizer(const std::filesystem::path& path) {
  std::error_code error;
  if (path.filename() == "tokenizer.json") return path;
  const auto inside = path / "tokenizer.json";
  return std::filesystem::is_regular_file(inside, error) &&
                 !std::filesystem::exists(path / "config.json", error)
             ? inside
             : std::filesystem::path();
}

}  // namespace

Result<ModelInfo> InspectModel(const std::filesystem::path& path) {
  CARAT_ASSIGN_OR_RETURN(const Opened o, OpenModel(path));
  return MakeInfo(o);
}

Result<MemoryPlan> PlanModel(const std::filesystem::path& path, const LoadOptions& options) {
  CARAT_RETURN_IF_ERROR(InitKernels());
  CARAT_ASSIGN_OR_RETURN(const Opened o, OpenModel(path));
  return MakePlan(o.config, o.tensors, o.tokenizer->bytes(), options);
}

Result<std::shared_ptr<Model>> Model::Load(const std::filesystem::path& path,
                                           const LoadOptions& options) {
  CARAT_RETURN_IF_ERROR(InitKernels());
  if (options.threads < 0 || options.threads > 1024)
    return InvalidArgument("threads is {}, expected 0 to 1024", options.threads);
  if (options.context_tokens < 0)
    return InvalidArgument("the context is {}, expected at least 1", options.context_tokens);
  CARAT_ASSIGN_OR_RETURN(Opened o, OpenModel(path));
  ModelInfo info = MakeInfo(o);
  const MemoryPlan plan = MakePlan(o.config, o.tensors, o.tokenizer->bytes(), options);
  if (options.check_memory) CARAT_RETURN_IF_ERROR(CheckPlan(plan, o.config.file));

  auto pool =
      std::make_unique<ThreadPool>(options.threads > 0 ? options.threads : DefaultThreads());
  PrepareOptions prepare;
  prepare.mode = options.mode == Mode::kExact ? NumericMode::kExact : NumericMode::kFast;
  prepare.bf16_embedding_scale = options.bf16_embedding_scale;
  prepare.progress = options.progress;
  CARAT_ASSIGN_OR_RETURN(auto weights,
                         PrepareWeights(o.config, std::move(o.tensors), prepare, *pool));
  auto engine = std::make_shared<Engine>(std::move(weights), std::move(pool));
  return std::shared_ptr<Model>(
      std::make_shared<ModelImpl>(std::move(info), plan, std::move(engine), std::move(o.tokenizer),
                                  std::move(o.defaults), std::move(o.chat)));
}

Result<std::unique_ptr<TextCodec>> TextCodec::Open(const std::filesystem::path& path) {
  if (const auto lone = LoneTokenizer(path); !lone.empty()) {
    CARAT_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(lone));
    const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()),
                                file->bytes().size());
    CARAT_ASSIGN_OR_RETURN(auto alone, Tokenizer::FromTokenizerJson(text, lone.string()));
    return std::unique_ptr<TextCodec>(std::make_unique<TextCodecImpl>(std::move(alone)));
  }
  CARAT_ASSIGN_OR_RETURN(const Checkpoint checkpoint, OpenCheckpoint(path));
  CARAT_ASSIGN_OR_RETURN(const Config config, ReadConfig(checkpoint));
  CARAT_ASSIGN_OR_RETURN(auto tokenizer, LoadTokenizer(checkpoint, config));
  return std::unique_ptr<TextCodec>(std::make_unique<TextCodecImpl>(std::move(tokenizer)));
}

Result<std::string> InstructionSet() {
  CARAT_RETURN_IF_ERROR(InitKernels());
  return std::string(Kernels().isa);
}

}  // namespace carat
