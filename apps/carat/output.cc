// SPDX-License-Identifier: Apache-2.0
#include "output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "interrupt.h"

namespace carat {
namespace {

constexpr size_t kBufferBytes = 64 << 10;

// Writes everything or gives the error number.
int WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    text.remove_prefix(static_cast<size_t>(n));
  }
  return 0;
}

}  // namespace

Status Output::Write(std::string_view text) {
  if (broken_) return Cancelled();
  buffer_ += text;
  return buffer_.size() >= kBufferBytes ? Flush() : Status();
}

Status Output::Flush() {
  if (broken_) return Cancelled();
  const int error = WriteAll(STDOUT_FILENO, buffer_);
  buffer_.clear();
  if (error == 0) return {};
  failed_ = true;
  if (error == EPIPE) {
    broken_ = true;
    return Cancelled();
  }
  return Internal("cannot write to standard output: {}", std::strerror(error));
}

Status Output::Show(std::string_view text) {
  CARAT_RETURN_IF_ERROR(Write(text));
  return Flush();
}

bool Output::terminal() const { return isatty(STDOUT_FILENO) == 1; }

void PrepareStreams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) == -1 && errno == EBADF) {
      // Write-only for standard input and read-only for the others: using them stays an error.
      const int opened = open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
      if (opened >= 0 && opened != fd) {
        dup2(opened, fd);
        close(opened);
      }
    }
  }
  std::signal(SIGPIPE, SIG_IGN);
}

void Complain(std::string_view message) {
  std::string line = ColourWanted(ErrorIsTerminal()) ? "\033[1;31mcarat:\033[0m " : "carat: ";
  // One line, whatever a file name or an argument holds.
  for (const char c : message) line += c == '\n' || c == '\r' ? ' ' : c;
  line += '\n';
  WriteAll(STDERR_FILENO, line);
}

void Note(std::string_view text) { WriteAll(STDERR_FILENO, text); }

bool ErrorIsTerminal() { return isatty(STDERR_FILENO) == 1; }

bool ColourWanted(bool terminal) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return terminal && (no_color == nullptr || *no_color == '\0') && term != nullptr &&
         *term != '\0' && std::strcmp(term, "dumb") != 0;
}

Result<std::string> ReadStandardInput() {
  const Interrupt::Polled polled;
  std::string text;
  for (;;) {
    const size_t size = text.size();
    text.resize(size + kBufferBytes);
    const ssize_t n = read(STDIN_FILENO, text.data() + size, kBufferBytes);
    text.resize(size + static_cast<size_t>(n > 0 ? n : 0));
    if (n == 0) return text;
    if (n < 0) {
      if (errno != EINTR) return Internal("cannot read standard input: {}", std::strerror(errno));
      if (Interrupt::pending()) return Cancelled();
    }
  }
}

bool InputIsTerminal() { return isatty(STDIN_FILENO) == 1; }

}  // namespace carat
