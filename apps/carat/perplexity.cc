// SPDX-License-Identifier: Apache-2.0
// carat perplexity: how well a model predicts a text, and how far a mode is from the exact one.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "commands.h"
#include "interrupt.h"
#include "json_writer.h"
#include "model_loading.h"
#include "progress.h"
#include "row_queue.h"
#include "scoring.h"

namespace carat {
namespace {

struct Score {
  int64_t tokens = 0, predictions = 0;
  double nll_sum = 0;
  // Compared with the exact mode.
  double kl_sum = 0, max_kl = 0, exact_nll_sum = 0;
  int64_t same_best = 0;
};

// Windows of ids. The logits after ids[i] predict ids[i + 1].
using Windows = std::vector<std::vector<int32_t>>;

Result<std::string> ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file) return NotFound("{}: {}", path, std::strerror(errno));
  if (!(text << file.rdbuf())) return BadFile("{}: expected text, found nothing to read", path);
  return std::move(text).str();
}

Result<Windows> CutWindows(const Model& model, const PerplexityOptions& options, int64_t* tokens) {
  CARAT_ASSIGN_OR_RETURN(const std::string text, ReadText(options.file));
  const auto ids = model.Tokenize(text, {});
  *tokens = static_cast<int64_t>(ids.size());
  const int32_t bos = SpecialToken(model.info(), "bos");
  if (bos < 0) return BadFile("{}: expected a BOS token, found none", model.info().path);
  const size_t run = options.long_window ? 2047 : 511;
  const size_t count =
      options.long_window ? std::min<size_t>(1, ids.size() / run) : ids.size() / run;
  if (count == 0) {
    return InvalidArgument("{}: expected at least {} tokens, found {}", options.file, run,
                           ids.size());
  }
  Windows windows(count);
  for (size_t w = 0; w < count; ++w) {
    windows[w].push_back(bos);
    const auto begin = ids.begin() + static_cast<ptrdiff_t>(w * run);
    windows[w].insert(windows[w].end(), begin, begin + static_cast<ptrdiff_t>(run));
  }
  return windows;
}

// The ids to feed: all but the last, which is only predicted.
std::span<const int32_t> Fed(const std::vector<int32_t>& window) {
  return std::span(window).first(window.size() - 1);
}

Status AddNll(const PerplexityOptions& options, std::span<const float> row, int32_t target,
              double* sum) {
  const double nll = NegativeLogLikelihood(row, target);
  if (!std::isfinite(nll)) {
    return Internal("{}: the {} mode gives logits that are not finite", options.file,
                    ModeName(options.model.mode));
  }
  *sum += nll;
  return {};
}

class Scorer {
 public:
  Scorer(const PerplexityOptions& options, const Windows& windows)
      : options_(options), windows_(windows), progress_("perplexity") {}

  Result<Score> Alone(Session& session) {
    for (const auto& window : windows_) {
      const Interrupt::Polled polled(&session);
      Status status;
      const auto on_row = [&](int64_t i, std::span<const float> row) {
        status = AddNll(options_, row, window[static_cast<size_t>(i) + 1], &score_.nll_sum);
        return Next(status);
      };
      const Status run = session.Logits(Fed(window), 0, on_row);
      CARAT_RETURN_IF_ERROR(status);  // the reason, where `run` only says that it was stopped
      CARAT_RETURN_IF_ERROR(run);
    }
    return score_;
  }

  // `other` runs in a second thread, which hands its rows to this one.
  Result<Score> Compared(Session& exact, Session& other) {
    for (const auto& window : windows_) CARAT_RETURN_IF_ERROR(CompareWindow(window, exact, other));
    return score_;
  }

 private:
  bool Next(const Status& status) {
    ++score_.predictions;
    const double all = static_cast<double>(windows_.size() * (windows_[0].size() - 1));
    progress_.Update(static_cast<double>(score_.predictions) / all);
    return status.has_value() && !Interrupt::pending();
  }

  Status CompareWindow(const std::vector<int32_t>& window, Session& exact, Session& other) {
    RowQueue queue;
    Status other_status;
    std::thread second([&] {
      other_status = other.Logits(Fed(window), 0, [&](int64_t, std::span<const float> row) {
        return queue.Push(std::vector<float>(row.begin(), row.end()));
      });
      queue.Close();
    });
    Status status;
    std::vector<float> other_row;
    const Interrupt::Polled polled(&exact);
    const Status exact_status =
        exact.Logits(Fed(window), 0, [&](int64_t i, std::span<const float> row) {
          // Nothing to pop: the other one failed and says why below.
          if (!queue.Pop(&other_row)) return false;
          status = AddRow(row, other_row, window[static_cast<size_t>(i) + 1]);
          return Next(status);
        });
    queue.Close();
    other.Cancel();
    second.join();
    CARAT_RETURN_IF_ERROR(status);
    // Each may have been stopped only because the other had ended.
    if (!other_status && other_status.error().code != Code::kCancelled) return other_status;
    return exact_status;
  }

  Status AddRow(std::span<const float> exact, std::span<const float> other, int32_t target) {
    CARAT_RETURN_IF_ERROR(AddNll(options_, other, target, &score_.nll_sum));
    CARAT_RETURN_IF_ERROR(AddNll(options_, exact, target, &score_.exact_nll_sum));
    const RowComparison row = CompareRows(exact, other);
    score_.kl_sum += row.kl;
    score_.max_kl = std::max(score_.max_kl, row.kl);
    score_.same_best += row.same_best ? 1 : 0;
    return {};
  }

  const PerplexityOptions& options_;
  const Windows& windows_;
  Progress progress_;
  Score score_;
};

double Mean(double sum, int64_t n) { return sum / static_cast<double>(n); }

std::string ScoreJson(const PerplexityOptions& options, const Model& model, const Score& score) {
  JsonWriter json;
  json.BeginObject();
  json.Key("model").String(model.info().name);
  json.Key("method").String(options.long_window ? "window-2048" : "windows-512");
  json.Key("mode").String(ModeName(options.model.mode));
  json.Key("tokens").Int(score.tokens);
  json.Key("predictions").Int(score.predictions);
  json.Key("nll_sum").Number(score.nll_sum);
  json.Key("perplexity").Number(std::exp(Mean(score.nll_sum, score.predictions)));
  if (options.compare_exact) {
    json.Key("exact_nll_sum").Number(score.exact_nll_sum);
    json.Key("exact_perplexity").Number(std::exp(Mean(score.exact_nll_sum, score.predictions)));
    json.Key("mean_kl").Number(Mean(score.kl_sum, score.predictions));
    json.Key("max_kl").Number(score.max_kl);
    json.Key("top1_agreement")
        .Number(Mean(static_cast<double>(score.same_best), score.predictions));
  }
  json.EndObject();
  return json.text() + "\n";
}

std::string ScoreText(const PerplexityOptions& options, const Score& score) {
  std::string text = fmt::format(
      "tokens          {}\npredictions     {}\nnll_sum         {:.6f}\nperplexity      {:.6f}\n",
      score.tokens, score.predictions, score.nll_sum,
      std::exp(Mean(score.nll_sum, score.predictions)));
  if (options.compare_exact) {
    text += fmt::format(
        "exact           {:.6f}\nmean_kl         {:.6g}\nmax_kl          {:.6g}\n"
        "top1_agreement  {:.6f}\n",
        std::exp(Mean(score.exact_nll_sum, score.predictions)),
        Mean(score.kl_sum, score.predictions), score.max_kl,
        Mean(static_cast<double>(score.same_best), score.predictions));
  }
  return text;
}

}  // namespace

Status PerplexityCommand(const PerplexityOptions& options, Output& out) {
  LoadOptions load;
  load.context_tokens = options.long_window ? 2048 : 512;
  CARAT_ASSIGN_OR_RETURN(const auto model, LoadModel(options.model, load));
  int64_t tokens = 0;
  CARAT_ASSIGN_OR_RETURN(const Windows windows, CutWindows(*model, options, &tokens));
  CARAT_ASSIGN_OR_RETURN(const auto session, model->NewSession({}));

  Score score;
  if (options.compare_exact) {
    ModelFlags exact_flags = options.model;
    exact_flags.mode = Mode::kExact;
    CARAT_ASSIGN_OR_RETURN(const auto exact_model, LoadModel(exact_flags, load));
    CARAT_ASSIGN_OR_RETURN(const auto exact_session, exact_model->NewSession({}));
    CARAT_ASSIGN_OR_RETURN(score, Scorer(options, windows).Compared(*exact_session, *session));
  } else {
    CARAT_ASSIGN_OR_RETURN(score, Scorer(options, windows).Alone(*session));
  }
  score.tokens = tokens;
  return out.Write(options.json ? ScoreJson(options, *model, score) : ScoreText(options, score));
}

}  // namespace carat
