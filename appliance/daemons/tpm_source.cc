#include "appliance/daemons/tpm_source.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <utility>

#include "appliance/anchor/epoch_files.h"
#include "appliance/base/system.h"
#include "tpm/provision.h"

namespace stele::daemons {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDevice = "/dev/tpmrm0";
constexpr int kTpmTimeoutMs = 30'000;
constexpr int kStartAttempts = 20;  // an swtpm of a killed supervisor needs a moment to end
constexpr std::chrono::milliseconds kBetweenAttempts{250};

// A log that was begun on a chip waits for that chip: an embedded TPM would be a stranger to it.
bool BegunOnChip(const Home& home) {
  const auto epochs = anchor::LoadEpochs(home.State());
  return epochs && !epochs->current().record.software_tpm;
}

bool FitsUnixAddress(const fs::path& socket) {
  return socket.string().size() + std::string(".ctrl").size() < sizeof(sockaddr_un::sun_path);
}

}  // namespace

Result<UniqueFd> OpenTpmDevice() {
  UniqueFd device(::open(kDevice, O_RDWR | O_CLOEXEC));
  if (!device.valid()) return FailErrno(std::string("open ") + kDevice);
  return device;
}

bool HasTpmDevice() { return ::access(kDevice, R_OK | W_OK) == 0; }

TpmSource::TpmSource(TpmSource&& other) noexcept
    : kind_(other.kind_),
      device_(std::move(other.device_)),
      state_dir_(std::move(other.state_dir_)),
      socket_(std::move(other.socket_)),
      socket_dir_made_(std::exchange(other.socket_dir_made_, {})),
      process_(std::exchange(other.process_, {})),
      watch_(std::move(other.watch_)) {}

TpmSource::~TpmSource() {
  Stop();
  std::error_code ignored;  // an empty folder in /tmp
  if (!socket_dir_made_.empty()) fs::remove_all(socket_dir_made_, ignored);
}

Result<TpmSource> TpmSource::Open(const Home& home, const TpmChoice& choice) {
  TpmSource source;
  const bool has_state = tpm::HasSwtpmState(home.Tpm());
  source.kind_ = choice.kind;
  if (choice.kind == TpmKind::kAuto) {
    const bool has_device = HasTpmDevice() || BegunOnChip(home);
    source.kind_ = has_state || !has_device ? TpmKind::kEmbedded : TpmKind::kDevice;
  }
  source.device_ = choice.path.empty() ? kDevice : choice.path;
  if (source.kind_ == TpmKind::kSocket) source.socket_ = choice.path;
  if (!source.embedded()) return source;
  source.state_dir_ = home.Tpm();
  source.socket_ = home.Run() / "tpm.sock";
  if (!FitsUnixAddress(source.socket_)) {
    std::string folder = "/tmp/stele-tpm-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) return FailErrno("make a folder for the TPM's socket");
    source.socket_dir_made_ = folder;
    source.socket_ = fs::path(folder) / "tpm.sock";
  }
  if (!has_state) STELE_TRY_VOID(tpm::MakeSwtpmState(source.state_dir_));
  STELE_TRY_VOID(source.StartEmbedded());
  return source;
}

Result<void> TpmSource::StartEmbedded() {
  for (int attempt = 1;; ++attempt) {
    auto started = tpm::StartSwtpm(state_dir_, socket_);
    if (started) {
      process_ = std::move(*started);
      break;
    }
    if (started.error().code != Code::kDenied || attempt == kStartAttempts) return tl::unexpected(std::move(started.error()));
    std::this_thread::sleep_for(kBetweenAttempts);
  }
  watch_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, process_.pid, 0U)));
  if (!watch_.valid()) return FailErrno("watch swtpm");
  // A reset enables the platform hierarchy, which could clear the TPM; nobody here needs it.
  STELE_TRY(UniqueFd connection, Connect());
  STELE_TRY_VOID(tpm::DisablePlatform(std::move(connection), kTpmTimeoutMs));
  return {};
}

Result<void> TpmSource::StartAgain() {
  watch_.reset();
  int status = 0;
  (void)::waitpid(process_.pid, &status, WNOHANG);  // only to bury it
  process_ = {};
  return StartEmbedded();
}

Result<void> TpmSource::MakeAfresh() {
  STELE_CHECK(embedded());
  Stop();
  std::error_code error;
  fs::remove_all(state_dir_, error);
  if (error) return Fail(Code::kIo, "remove " + state_dir_.string(), static_cast<std::uint32_t>(error.value()));
  STELE_TRY_VOID(tpm::MakeSwtpmState(state_dir_));
  return StartEmbedded();
}

Result<fs::path> TpmSource::Replace(const fs::path& retired) {
  STELE_CHECK(embedded());
  Stop();
  fs::path kept = retired;
  std::error_code error;
  for (int again = 2; fs::exists(kept, error); ++again) kept = retired.string() + "." + std::to_string(again);
  fs::rename(state_dir_, kept, error);
  if (error) return Fail(Code::kIo, "rename " + state_dir_.string(), static_cast<std::uint32_t>(error.value()));
  STELE_TRY_VOID(tpm::MakeSwtpmState(state_dir_));
  STELE_TRY_VOID(StartEmbedded());
  return kept;
}

Result<UniqueFd> TpmSource::Connect() const {
  if (kind_ != TpmKind::kDevice) return tpm::ConnectSwtpm(socket_);
  UniqueFd device(::open(device_.c_str(), O_RDWR | O_CLOEXEC));
  if (!device.valid()) return FailErrno("open " + device_.string());
  return device;
}

void TpmSource::Stop() {
  watch_.reset();
  if (process_.pid <= 0) return;
  if (const auto stopped = tpm::StopSwtpm(process_); !stopped) LogWarning("stopping swtpm: " + Describe(stopped.error()));
  process_ = {};
}

}  // namespace stele::daemons
