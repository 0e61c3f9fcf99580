// SPDX-License-Identifier: Apache-2.0
// Opening, planning and loading: from a path to a Model.
#include <system_error>
#include <utility>

#include "carat/carat.h"
#include "kernels/dispatch.h"
#include "model/weights.h"
#include "runtime/engine.h"
#include "runtime/opened_model.h"
#include "runtime/plan.h"
#include "runtime/session.h"
#include "runtime/vocabulary.h"

namespace carat {
namespace {

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
    CARAT_RETURN_IF_ERROR(CheckContext(options.context_tokens));
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
  CARAT_ASSIGN_OR_RETURN(const OpenedModel o, OpenModel(path));
  return MakeInfo(o);
}

Result<MemoryPlan> PlanModel(const std::filesystem::path& path, const LoadOptions& options) {
  CARAT_ASSIGN_OR_RETURN(const OpenedModel o, OpenModel(path));
  return MakePlan(o.config, o.tensors, o.tokenizer->bytes(), options);
}

Result<std::shared_ptr<Model>> Model::Load(const std::filesystem::path& path,
                                           const LoadOptions& options) {
  CARAT_ASSIGN_OR_RETURN(OpenedModel o, OpenModel(path));
  ModelInfo info = MakeInfo(o);
  CARAT_ASSIGN_OR_RETURN(const MemoryPlan plan,
                         MakePlan(o.config, o.tensors, o.tokenizer->bytes(), options));
  if (options.check_memory) CARAT_RETURN_IF_ERROR(CheckPlan(plan, o.config.file));

  auto pool = std::make_unique<ThreadPool>(ThreadsOf(options));
  PrepareOptions prepare;
  prepare.mode = ToNumeric(options.mode);
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
