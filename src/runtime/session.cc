// SPDX-License-Identifier: Apache-2.0
#include "runtime/session.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "runtime/sampler.h"
#include "runtime/stop_strings.h"
#include "runtime/trace.h"
#include "text/stream_decoder.h"

namespace carat {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class SessionImpl final : public Session {
 public:
  SessionImpl(std::shared_ptr<Engine> engine, std::shared_ptr<const Tokenizer> tokenizer,
              int64_t context)
      : engine_(std::move(engine)),
        tokenizer_(std::move(tokenizer)),
        context_(context),
        cache_(engine_->geometry(), engine_->kv_pool(), std::min(kPrefillChunk, context)) {}

  Result<GenerateStats> Generate(std::span<const int32_t> prompt, const GenerateOptions& options,
                                 const std::function<bool(const TokenEvent&)>& on_token) override;
  Status Logits(std::span<const int32_t> ids, int64_t first,
                const std::function<bool(int64_t, std::span<const float>)>& on_row) override;
  Result<TraceOutput> Trace(const TraceInput& input) override;
  Status Feed(std::span<const int32_t> ids) override;

  void Clear() override {
    cache_.Clear();
    ids_.clear();
  }
  int64_t length() const override { return cache_.length(); }
  int64_t context() const override { return context_; }
  void Cancel() override { cancel_.Cancel(); }

 private:
  Status CheckIds(std::span<const int32_t> ids) const;
  // Logits without the clearing.
  Status LogitRows(std::span<const int32_t> ids, int64_t first,
                   const std::function<bool(int64_t, std::span<const float>)>& on_row);
  // Feeds ids in chunks; if `last`, the final row's logits are left in logits_.
  Status Prefill(std::span<const int32_t> ids, bool last);
  // Cuts the cache to the longest prefix it shares with `ids` and returns its length.
  int64_t ReusePrefix(std::span<const int32_t> ids);

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  int64_t context_;
  KvCache cache_;
  std::vector<int32_t> ids_;  // what the cache holds
  std::vector<float> logits_;
  CancelToken cancel_;
};

Status SessionImpl::CheckIds(std::span<const int32_t> ids) const {
  const int64_t vocab = engine_->config().vocab;
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= vocab)
      return InvalidArgument("token {} of the input is {}, expected 0 to {}", i, ids[i], vocab - 1);
  return {};
}

Status SessionImpl::Prefill(std::span<const int32_t> ids, bool last) {
  for (size_t at = 0; at < ids.size();) {
    const size_t n = std::min<size_t>(kPrefillChunk, ids.size() - at);
    const bool want = last && at + n == ids.size();
    StepSpan span;
    span.cache = &cache_;
    span.ids = ids.subspan(at, n);
    span.wants_from = static_cast<int64_t>(want ? n - 1 : n);
    std::lock_guard<std::mutex> lock(engine_->mutex());
    CARAT_ASSIGN_OR_RETURN(
        auto hidden, Forward(engine_->weights(), engine_->pool(), engine_->scratch(), {&span, 1},
                             {.cancel = &cancel_}));
    ids_.insert(ids_.end(), span.ids.begin(), span.ids.end());
    if (want) {
      logits_.resize(static_cast<size_t>(engine_->config().vocab));
      carat::Logits(engine_->weights(), engine_->pool(), engine_->scratch(), hidden,
                    logits_.data());
    }
    at += n;
  }
  return {};
}

int64_t SessionImpl::ReusePrefix(std::span<const int32_t> ids) {
  // At least one row must run to give logits.
  const size_t most = std::min(ids_.size(), ids.size() - 1);
  size_t same = 0;
  while (same < most && ids_[same] == ids[same]) ++same;
  if (static_cast<int64_t>(same) < cache_.length() &&
      static_cast<int64_t>(same) < cache_.OldestCut())
    same = 0;
  if (same == 0) {
    Clear();
  } else {
    cache_.Truncate(static_cast<int64_t>(same));
    ids_.resize(same);
  }
  return static_cast<int64_t>(same);
}

Status SessionImpl::Feed(std::span<const int32_t> ids) {
  cancel_.Reset();
  CARAT_RETURN_IF_ERROR(CheckIds(ids));
  if (cache_.length() + static_cast<int64_t>(ids.size()) > context_)
    return InvalidArgument("{} tokens do not fit behind {}: the context is {}", ids.size(),
                           cache_.length(), context_);
  return Prefill(ids, false);
}

Result<GenerateStats> SessionImpl::Generate(
    std::span<const int32_t> prompt, const GenerateOptions& options,
    const std::function<bool(const TokenEvent&)>& on_token) {
  cancel_.Reset();
  if (prompt.empty()) return InvalidArgument("the prompt is empty");
  CARAT_RETURN_IF_ERROR(CheckIds(prompt));
  if (static_cast<int64_t>(prompt.size()) > context_)
    return InvalidArgument("the prompt has {} tokens, the context holds {}; raise --ctx",
                           prompt.size(), context_);
  GenerateStats stats;
  stats.prompt_tokens = static_cast<int64_t>(prompt.size());
  const double start = Now();
  const auto cancelled = [&](const Error& e) { return e.code == Code::kCancelled; };

  stats.cached_tokens = ReusePrefix(prompt);
  Status fed = Prefill(prompt.subspan(static_cast<size_t>(stats.cached_tokens)), true);
  stats.prefill_s = Now() - start;
  if (!fed) {
    if (!cancelled(fed.error())) return tl::unexpected(fed.error());
    stats.reason = FinishReason::kCancelled;
    return stats;
  }

  Sampler sampler(options.sampling);
  StopStrings stops(options.stop);
  StreamDecoder decoder(tokenizer_.get(), /*skip_special=*/true);
  std::vector<int32_t> history(prompt.begin(), prompt.end());
  std::vector<TokenLogprob> top;
  std::vector<float> raw;  // the logits before the sampler changes them
  stats.reason = FinishReason::kLength;
  bool heard = true;  // until on_token returns false
  const auto emit = [&](int32_t id, std::string_view text, float logprob) {
    heard = !on_token || on_token(TokenEvent{id, text, logprob, top});
    return heard;
  };
  for (int64_t n = 0; options.max_tokens < 0 || n < options.max_tokens; ++n) {
    if (cancel_.cancelled()) {
      stats.reason = FinishReason::kCancelled;
      break;
    }
    float logprob = 0;
    if (options.top_logprobs >= 0) raw = logits_;
    const int32_t id = sampler.Sample(logits_, history, n);
    if (id < 0)
      return BadFile(
          "{}: expected a token to choose after {} tokens, found no logit that is a number "
          "(damaged weights, or every token suppressed?)",
          engine_->config().file, cache_.length());
    if (options.top_logprobs >= 0) logprob = TopLogprobs(raw, id, options.top_logprobs, &top);
    if (n == 0) stats.ttft_s = Now() - start;
    if (std::find(options.stop_ids.begin(), options.stop_ids.end(), id) != options.stop_ids.end()) {
      stats.reason = FinishReason::kStop;
      stats.stop_id = id;
      break;
    }
    ++stats.generated_tokens;
    history.push_back(id);
    const std::string text = stops.Push(decoder.Push(id));
    if (!emit(id, text, logprob)) {
      stats.reason = FinishReason::kCancelled;
      break;
    }
    if (stops.stopped()) {
      stats.reason = FinishReason::kStop;
      stats.stop_string = stops.match();
      break;
    }
    if (cache_.length() >= context_) break;
    if (n + 1 == options.max_tokens) break;
    Status next = Prefill({&id, 1}, true);
    if (!next) {
      if (!cancelled(next.error())) return tl::unexpected(next.error());
      stats.reason = FinishReason::kCancelled;
      break;
    }
  }
  // Bytes and beginnings of stop strings that turned out to be plain text.
  if (heard && !stops.stopped()) {
    const std::string rest = stops.Push(decoder.Flush());
    const std::string tail = rest + stops.Flush();
    top.clear();
    if (!tail.empty()) emit(-1, tail, 0);
  }
  stats.decode_s = Now() - start - stats.prefill_s;
  return stats;
}

Status SessionImpl::Logits(std::span<const int32_t> ids, int64_t first,
                           const std::function<bool(int64_t, std::span<const float>)>& on_row) {
  cancel_.Reset();
  Clear();
  Status status = LogitRows(ids, first, on_row);
  Clear();
  return status;
}

Status SessionImpl::LogitRows(std::span<const int32_t> ids, int64_t first,
                              const std::function<bool(int64_t, std::span<const float>)>& on_row) {
  CARAT_RETURN_IF_ERROR(CheckIds(ids));
  if (static_cast<int64_t>(ids.size()) > context_)
    return InvalidArgument("{} tokens, the context holds {}", ids.size(), context_);
  const int64_t total = static_cast<int64_t>(ids.size());
  const size_t vocab = static_cast<size_t>(engine_->config().vocab);
  const size_t width = static_cast<size_t>(engine_->config().width);
  std::vector<float> rows(static_cast<size_t>(kLogitRows) * vocab);
  for (int64_t at = 0; at < total;) {
    const int64_t n = std::min(kPrefillChunk, total - at);
    StepSpan span;
    span.cache = &cache_;
    span.ids = ids.subspan(static_cast<size_t>(at), static_cast<size_t>(n));
    span.wants_from = std::clamp<int64_t>(first - at, 0, n);
    std::vector<float> hidden;
    {
      std::lock_guard<std::mutex> lock(engine_->mutex());
      CARAT_ASSIGN_OR_RETURN(
          auto states, Forward(engine_->weights(), engine_->pool(), engine_->scratch(), {&span, 1},
                               {.cancel = &cancel_}));
      hidden.assign(states.begin(), states.end());
    }
    for (int64_t r = span.wants_from; r < n; r += kLogitRows) {
      const int64_t count = std::min(kLogitRows, n - r);
      {
        std::lock_guard<std::mutex> lock(engine_->mutex());
        carat::Logits(
            engine_->weights(), engine_->pool(), engine_->scratch(),
            std::span<const float>(hidden).subspan(static_cast<size_t>(r - span.wants_from) * width,
                                                   static_cast<size_t>(count) * width),
            rows.data());
      }
      for (int64_t i = 0; i < count; ++i) {
        if (cancel_.cancelled() ||
            !on_row(at + r + i, {rows.data() + static_cast<size_t>(i) * vocab, vocab})) {
          return Cancelled();
        }
      }
    }
    at += n;
  }
  return {};
}

Result<TraceOutput> SessionImpl::Trace(const TraceInput& input) {
  cancel_.Reset();
  Clear();
  CARAT_RETURN_IF_ERROR(CheckIds(input.ids));
  if (static_cast<int64_t>(input.ids.size()) + input.greedy > context_)
    return InvalidArgument("{} tokens and {} of continuation, the context holds {}",
                           input.ids.size(), input.greedy, context_);
  std::lock_guard<std::mutex> lock(engine_->mutex());
  auto out = RunTrace(*engine_, cache_, input, cancel_);
  Clear();
  return out;
}

}  // namespace

std::unique_ptr<Session> MakeSession(std::shared_ptr<Engine> engine,
                                     std::shared_ptr<const Tokenizer> tokenizer,
                                     int64_t context_tokens) {
  return std::make_unique<SessionImpl>(std::move(engine), std::move(tokenizer), context_tokens);
}

}  // namespace carat
