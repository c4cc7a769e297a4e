// The real clock and the real randomness, and the few operating-system words every daemon needs.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "appliance/base/fd.h"
#include "appliance/base/seams.h"

namespace stele {

class SystemClock final : public Clock {
 public:
  std::int64_t WallNs() override;
  std::int64_t BoottimeNs() override;
};

class SystemEntropy final : public Entropy {
 public:
  void Fill(MutableBytes out) override;
};

[[nodiscard]] Result<Bytes> ReadFile(const std::filesystem::path& path, std::size_t size_bytes_max);
// Whole or not at all: temporary file, fsync, rename, fsync of the directory.
[[nodiscard]] Result<void> WriteFileDurably(const std::filesystem::path& path, ByteView data, unsigned mode);

// One line to stderr: "<program>: <level>: <text>", control characters escaped. Daemons log; libraries never do.
void SetLogName(std::string_view program);
void LogInfo(std::string_view text);
void LogWarning(std::string_view text);
void LogError(std::string_view text);

}  // namespace stele
