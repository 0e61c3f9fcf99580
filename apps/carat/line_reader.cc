// SPDX-License-Identifier: Apache-2.0
#include "line_reader.h"

#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "interrupt.h"
#include "output.h"

#if CARAT_HAS_LIBEDIT
#include <histedit.h>
#endif

namespace carat {
namespace {

class PlainReader final : public LineReader {
 public:
  Event Read(const std::string& prompt, std::string* line) override {
    const Interrupt::Polled polled;
    std::fputs((prompt + " ").c_str(), stdout);
    std::fflush(stdout);
    line->clear();
    for (;;) {
      char c = 0;
      const ssize_t n = read(STDIN_FILENO, &c, 1);
      if (n < 0 && errno == EINTR) {
        if (Interrupt::pending()) return Event::kInterrupt;
        continue;  // a window was resized, say
      }
      if (n <= 0) return line->empty() ? Event::kEnd : Event::kLine;
      if (c == '\n') return Event::kLine;
      *line += c;
    }
  }
};

#if CARAT_HAS_LIBEDIT
class EditReader final : public LineReader {
 public:
  static std::unique_ptr<LineReader> Create() {
    // libedit takes the bytes of a character from the locale. Where none is set, UTF-8 is the
    // better guess.
    std::setlocale(LC_CTYPE, "");
    if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
    auto reader = std::unique_ptr<EditReader>(new EditReader);
    reader->editor_ = el_init("carat", stdin, stdout, stderr);
    reader->history_ = history_init();
    if (reader->editor_ == nullptr || reader->history_ == nullptr) return nullptr;
    HistEvent event;
    history(reader->history_, &event, H_SETSIZE, 1000);
    history(reader->history_, &event, H_SETUNIQUE, 1);
    el_set(reader->editor_, EL_CLIENTDATA, reader.get());
    el_set(reader->editor_, EL_PROMPT_ESC, &Prompt, '\1');
    el_set(reader->editor_, EL_HIST, history, reader->history_);
    el_set(reader->editor_, EL_EDITOR, "emacs");
    el_set(reader->editor_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_source(reader->editor_, nullptr);  // the user's own ~/.editrc, if there is one
    return reader;
  }
  ~EditReader() override {
    if (editor_ != nullptr) el_end(editor_);
    if (history_ != nullptr) history_end(history_);
  }

  Event Read(const std::string& prompt, std::string* line) override {
    const Interrupt::Polled polled;
    // libedit drops an escape sequence that nothing follows.
    prompt_ = ColourWanted(true) ? "\1\033[1;32m\1" + prompt + "\1\033[0m\1 " : prompt + " ";
    int count = 0;
    errno = 0;
    const char* text = el_gets(editor_, &count);
    if (text == nullptr || count <= 0) {
      if (!Interrupt::pending()) return Event::kEnd;
      el_reset(editor_);
      return Event::kInterrupt;
    }
    line->assign(text, static_cast<size_t>(count));
    HistEvent event;
    if (line->find_first_not_of(" \t\r\n") != std::string::npos)
      history(history_, &event, H_ENTER, text);
    if (!line->empty() && line->back() == '\n') line->pop_back();
    return Event::kLine;
  }

 private:
  EditReader() = default;
  static char* Prompt(EditLine* editor) {
    EditReader* reader = nullptr;
    el_get(editor, EL_CLIENTDATA, &reader);
    return reader->prompt_.data();
  }

  EditLine* editor_ = nullptr;
  History* history_ = nullptr;
  std::string prompt_;
};
#endif

}  // namespace

std::unique_ptr<LineReader> LineReader::Create() {
#if CARAT_HAS_LIBEDIT
  const char* term = std::getenv("TERM");
  const bool capable = term != nullptr && *term != '\0' && std::strcmp(term, "dumb") != 0;
  if (capable && InputIsTerminal() && isatty(STDOUT_FILENO) == 1) {
    if (auto reader = EditReader::Create()) return reader;
  }
#endif
  return std::make_unique<PlainReader>();
}

}  // namespace carat
