// Where the anchor's TPM comes from: the kernel's resource manager (/dev/tpmrm0), the embedded swtpm, which the supervisor
// runs, or the data socket of a software TPM that somebody else runs. Every start of stele-anchor gets a fresh connection.
#pragma once

#include <filesystem>

#include "appliance/base/fd.h"
#include "appliance/base/result.h"
#include "appliance/daemons/config.h"
#include "appliance/daemons/home.h"
#include "tpm/swtpm.h"

namespace stele::daemons {

[[nodiscard]] Result<UniqueFd> OpenTpmDevice();
[[nodiscard]] bool HasTpmDevice();  // /dev/tpmrm0, and we may use it

class TpmSource {
 public:
  // kAuto: the embedded one where this directory already has it, else the device where there is one or where this log
  // was begun on a chip, else a new embedded one. A log stays with the TPM it was provisioned with. A device or socket need
  // not be there: only a first run must reach it.
  [[nodiscard]] static Result<TpmSource> Open(const Home& home, const TpmChoice& choice);
  TpmSource(TpmSource&& other) noexcept;
  TpmSource& operator=(TpmSource&&) = delete;
  TpmSource(const TpmSource&) = delete;
  TpmSource& operator=(const TpmSource&) = delete;
  ~TpmSource();

  [[nodiscard]] bool embedded() const { return kind_ == TpmKind::kEmbedded; }
  [[nodiscard]] TpmKind kind() const { return kind_; }  // never kAuto
  [[nodiscard]] const char* channel_name() const { return kind_ == TpmKind::kDevice ? "device" : "swtpm"; }
  [[nodiscard]] pid_t pid() const { return process_.pid; }         // -1 unless embedded
  [[nodiscard]] int watch_fd() const { return watch_.get(); }      // readable when swtpm has died; -1 unless embedded
  [[nodiscard]] Result<UniqueFd> Connect() const;
  [[nodiscard]] Result<void> StartAgain();                         // after it died: to the log, a power cut of the TPM
  // Throws the embedded TPM away and makes a fresh one: for a first run that was interrupted before anything was pinned.
  [[nodiscard]] Result<void> MakeAfresh();
  // The same, but the old one is kept in a folder of its own, as evidence: for an epoch that ends (`retired` is given a further
  // suffix where it exists).
  [[nodiscard]] Result<std::filesystem::path> Replace(const std::filesystem::path& retired);
  void Stop();                                                     // orderly; all connections are closed before

 private:
  TpmSource() = default;
  [[nodiscard]] Result<void> StartEmbedded();

  TpmKind kind_ = TpmKind::kDevice;
  std::filesystem::path device_;
  std::filesystem::path state_dir_;
  std::filesystem::path socket_;
  std::filesystem::path socket_dir_made_;  // a short path made for a home whose own is too long
  tpm::SwtpmProcess process_;
  UniqueFd watch_;
};

}  // namespace stele::daemons
