// stele-query: reads the store for people. Its promise: it cannot write any file; what was read is in the log before
// the answer leaves. This file is its loop: descriptors, queues, the supervisor's words. What it does is in
// appliance/query.
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "appliance/anchor/epoch_files.h"
#include "appliance/base/limits.h"
#include "appliance/base/system.h"
#include "appliance/channel/control.h"
#include "appliance/daemons/program.h"
#include "appliance/daemons/version.h"
#include "appliance/ledger/witness_policy.h"
#include "appliance/query/service.h"
#include "appliance/sandbox/profiles.h"
#include "appliance/sandbox/sandbox.h"
#include "appliance/store/medium.h"

namespace stele {
namespace {

constexpr int kFramesPerTurn = 32;
constexpr std::int64_t kTickNs = 1'000'000'000;
constexpr std::int64_t kFinishNs = 5'000'000'000;
constexpr std::size_t kLocalClientsMax = 64;
constexpr std::size_t kLedgerQueueMax = 4'096;
constexpr std::size_t kBootLogBytesMax = std::size_t{4} << 20U;
constexpr std::size_t kEkChainBytesMax = std::size_t{64} << 10U;

struct Configuration {
  store::MediumPlace place;
  std::optional<Hash> log_id;  // absent: of the log that is there
  std::string state_dir;
  query::ReadsConfig reads;
  query::TreeAccess tree;
  std::string network_json;  // empty: the supervisor says nothing of it
};

// The only part that changes while the process runs.
std::string NetworkIn(const nlohmann::json& configuration) {
  const auto at = configuration.is_object() ? configuration.find("network") : configuration.end();
  return configuration.is_object() && at != configuration.end() && at->is_object() ? at->dump() : std::string();
}

// Empty where there is none: what such a file holds, a bundle can do without.
std::string TextFile(const std::string& path, std::size_t size_bytes_max) {
  if (path.empty()) return {};
  const auto bytes = ReadFile(path, size_bytes_max);
  if (!bytes && bytes.error().code != Code::kNotFound) LogWarning(Describe(bytes.error()));
  return bytes ? std::string(AsText(*bytes)) : std::string{};
}

Result<Configuration> ParseConfiguration(const std::string& text) {
  const auto object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return Fail(Code::kInvalid, "the configuration is not a JSON object");
  const auto take = [&object](const char* name) {
    const auto at = object.find(name);
    return at != object.end() && at->is_string() ? at->get<std::string>() : std::string{};
  };
  Configuration configuration;
  configuration.place.directory = take("store_dir");
  configuration.place.partitions = object.value("partitions", configuration.place.partitions);
  if (const auto log_id = ParseHash(take("log_id"))) configuration.log_id = *log_id;
  configuration.state_dir = take("state_dir");
  configuration.reads.origin = take("origin");
  configuration.reads.vkey = take("vkey");
  if (configuration.place.directory.empty() || configuration.state_dir.empty()) {
    return Fail(Code::kInvalid, "the configuration needs store_dir and state_dir");
  }
  // Readable by root only, and only where there is a TPM that the firmware knows.
  if (auto log = ReadFile("/sys/kernel/security/tpm0/binary_bios_measurements", kBootLogBytesMax))
    configuration.reads.boot_log = std::move(*log);
  configuration.reads.cosigned_path = take("cosigned_path");
  configuration.reads.witness_policy = TextFile(take("witness_policy_path"), ledger::kPolicyBytesMax);
  configuration.reads.ek_chain_pem = TextFile(take("ek_chain_path"), kEkChainBytesMax);
  configuration.reads.cosigned_only = object.value("cosigned_only", false);
  configuration.reads.cosigned_max_age_s = object.value("cosigned_max_age_s", std::int64_t{0});
  const auto feeds = object.value("feeds", nlohmann::json::object());
  for (const auto& [name, rules] : feeds.items()) {
    configuration.reads.feeds[name] = {rules.value("losses", false),
                                       rules.value("sources", std::vector<std::string>())};
  }
  configuration.tree.serve = query::ParseTreeServe(take("tree_serve")).value_or(query::TreeServe::kOff);
  configuration.tree.entries = object.value("tree_entries", false);
  configuration.network_json = NetworkIn(object);
  configuration.reads.tree_public = configuration.tree.serve == query::TreeServe::kAnyone;
  const auto epochs = anchor::LoadEpochs(configuration.state_dir);
  if (!epochs) {
    LogWarning("the provisioning record: " + Describe(epochs.error()));
    return configuration;
  }
  configuration.reads.provisioning_json = anchor::EncodeSignedRecord(epochs->genesis().signed_record);
  for (std::size_t i = 1; i < epochs->all().size(); ++i)
    configuration.reads.epochs.push_back(epochs->all()[i].signed_record);
  return configuration;
}

// A channel with frames that wait to be sent.
struct Peer {
  UniqueFd fd;
  std::string role;  // web, courier; empty for local clients
  std::string name;  // of such a channel
  std::optional<uid_t> local_uid;
  std::deque<std::pair<channel::Type, Bytes>> queue;
  std::size_t queued_bytes = 0;

  void Queue(channel::Type type, Bytes body) {
    queued_bytes += body.size();
    queue.emplace_back(type, std::move(body));
  }
  // Sends what the peer takes. False: it is gone.
  bool Flush() {
    while (!queue.empty()) {
      const auto sent = channel::Send(fd.get(), queue.front().first, queue.front().second);
      if (!sent && sent.error().code == Code::kUnavailable) return true;
      if (!sent) return false;
      queued_bytes -= queue.front().second.size();
      queue.pop_front();
    }
    return true;
  }
};

class Loop final : public query::Outlet {
 public:
  Loop(UniqueFd control, Clock& clock)
      : control_(std::move(control)), clock_(clock), buffer_(limits::kChannelFrameBytes) {}

  void Attach(query::Service& service, query::Workers& workers) {
    service_ = &service;
    workers_ = &workers;
  }
  Result<void> Give(const channel::TakeChannel& what, UniqueFd fd);
  Result<void> Run();

  void ToFront(query::FrontId front, channel::Type type, Bytes body) override {
    if (const auto at = fronts_.find(front); at != fronts_.end()) at->second.Queue(type, std::move(body));
  }
  [[nodiscard]] std::size_t QueuedBytes(query::FrontId front) const override {
    const auto at = fronts_.find(front);
    return at == fronts_.end() ? 0 : at->second.queued_bytes;
  }
  [[nodiscard]] bool ToLedger(channel::Type type, ByteView body) override {
    if (!ledger_.fd.valid() || ledger_.queue.size() >= kLedgerQueueMax) return false;
    ledger_.Queue(type, ToBytes(body));
    return true;
  }

 private:
  Result<void> Greet(int fd) {
    return channel::SendHello(fd, {channel::Role::kQuery, limits::kChannelFrameBytes, limits::kChannelCredits});
  }
  void AcceptClients();
  void ReadFront(query::FrontId id);
  Result<void> HandleFront(query::FrontId id, const channel::FrameView& frame);
  void ReadLedger();
  bool ReadControl();
  void TakeConfiguration(const std::string& text);
  void FlushAll();
  void DropFront(query::FrontId id);
  void DropLedger();
  [[nodiscard]] int TimeoutMs() const;

  UniqueFd control_;
  std::string configuration_parts_;  // of one that is being told
  Clock& clock_;
  Bytes buffer_;
  query::Service* service_ = nullptr;
  query::Workers* workers_ = nullptr;
  Peer ledger_;
  UniqueFd listener_;
  std::map<query::FrontId, Peer> fronts_;
  query::FrontId next_front_ = 1;
  std::int64_t next_tick_ns_ = 0;
  std::int64_t finish_by_ns_ = 0;  // 0: serving
};

Result<void> Loop::Give(const channel::TakeChannel& what, UniqueFd fd) {
  STELE_TRY_VOID(channel::SetBlocking(fd.get(), false));
  if (what.role == "ledger") {
    DropLedger();
    STELE_TRY_VOID(Greet(fd.get()));
    ledger_.fd = std::move(fd);
    return {};
  }
  if (what.role == "web" || what.role == "courier") {
    for (auto at = fronts_.begin(); at != fronts_.end(); ++at) {
      if (at->second.role == what.role && at->second.name == what.name) {
        DropFront(at->first);
        break;
      }
    }
    STELE_TRY_VOID(Greet(fd.get()));
    Peer& peer = fronts_[next_front_++];
    peer.fd = std::move(fd);
    peer.role = what.role;
    peer.name = what.name;
    return {};
  }
  if (what.role == "api-socket") {
    listener_ = std::move(fd);
    return {};
  }
  return Fail(Code::kInvalid, "a descriptor of the unknown role " + what.role);
}

void Loop::AcceptClients() {
  for (int i = 0; i < kFramesPerTurn; ++i) {
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid()) return;
    struct ucred who {};
    socklen_t size = sizeof who;
    const auto local = std::count_if(fronts_.begin(), fronts_.end(),
                                     [](const auto& entry) { return entry.second.local_uid.has_value(); });
    if (static_cast<std::size_t>(local) >= kLocalClientsMax) continue;  // closed again: the client sees the end
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0 || !Greet(fd.get())) continue;
    Peer& peer = fronts_[next_front_++];
    peer.fd = std::move(fd);
    peer.local_uid = who.uid;
  }
}

void Loop::DropFront(query::FrontId id) {
  if (fronts_.erase(id) > 0 && service_ != nullptr) service_->OnFrontGone(id);
}

void Loop::DropLedger() {
  const bool had = ledger_.fd.valid();
  ledger_ = Peer{};
  if (had && service_ != nullptr) service_->OnLedgerGone();
}

Result<void> Loop::HandleFront(query::FrontId id, const channel::FrameView& frame) {
  switch (frame.type) {
    case channel::Type::kHello:
      return channel::DecodeHello(frame.body).map([](const channel::Hello&) {});
    case channel::Type::kApiRequest: {
      STELE_TRY(channel::ApiRequest request, channel::DecodeApiRequest(frame.body));
      const Peer& peer = fronts_.at(id);
      service_->OnRequest(query::Front{id, peer.local_uid, peer.role == "courier"}, std::move(request));
      return {};
    }
    case channel::Type::kApiCancel: {
      STELE_TRY(const std::uint64_t request, channel::DecodeApiCancel(frame.body));
      service_->OnCancel(id, request);
      return {};
    }
    case channel::Type::kApiTaken: {
      STELE_TRY(const channel::ApiTaken taken, channel::DecodeApiTaken(frame.body));
      service_->OnTaken(id, taken);
      return {};
    }
    default:
      return Fail(Code::kInvalid, "a frame that has no place on this channel");
  }
}

void Loop::ReadFront(query::FrontId id) {
  for (int i = 0; i < kFramesPerTurn; ++i) {
    const auto at = fronts_.find(id);
    if (at == fronts_.end()) return;
    const auto frame = channel::ReceiveInto(at->second.fd.get(), buffer_, false);
    if (!frame && frame.error().code == Code::kUnavailable) return;
    const Result<void> handled = frame ? HandleFront(id, *frame) : tl::unexpected(frame.error());
    if (handled) continue;
    if (handled.error().code != Code::kNotFound)
      LogWarning("a front's channel is closed: " + Describe(handled.error()));
    return DropFront(id);
  }
}

void Loop::ReadLedger() {
  for (int i = 0; i < kFramesPerTurn && ledger_.fd.valid(); ++i) {
    const auto frame = channel::ReceiveInto(ledger_.fd.get(), buffer_, false);
    if (!frame && frame.error().code == Code::kUnavailable) return;
    const Result<void> handled =
        frame ? service_->OnLedgerFrame(frame->type, frame->body) : tl::unexpected(frame.error());
    if (handled) continue;
    LogWarning("the ledger's channel is closed: " + Describe(handled.error()));
    return DropLedger();
  }
}

void Loop::TakeConfiguration(const std::string& text) {
  const std::string network = NetworkIn(nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false));
  if (!network.empty()) service_->SetNetwork(network);
}

// False: the supervisor is gone or said stop.
bool Loop::ReadControl() {
  for (int i = 0; i < kFramesPerTurn; ++i) {
    auto frame = channel::Receive(control_.get(), /*wait=*/false, /*with_descriptors=*/true);
    if (!frame) return frame.error().code == Code::kUnavailable;
    if (frame->type == channel::Type::kStop) return false;
    if (frame->type == channel::Type::kConfigurePart || frame->type == channel::Type::kConfigure) {
      configuration_parts_ += AsText(frame->body);
      if (frame->type == channel::Type::kConfigure) TakeConfiguration(std::exchange(configuration_parts_, {}));
      continue;
    }
    if (frame->type != channel::Type::kTakeChannel) continue;
    const auto what = channel::DecodeTakeChannel(frame->body);
    if (!what || frame->descriptors.size() != 1) {
      LogWarning("a descriptor from the supervisor came without its role");
      continue;
    }
    if (const auto given = Give(*what, std::move(frame->descriptors.front())); !given)
      LogWarning(Describe(given.error()));
  }
  return true;
}

void Loop::FlushAll() {
  std::vector<query::FrontId> gone;
  std::vector<query::FrontId> drained;
  for (auto& [id, peer] : fronts_) {
    const bool waited = !peer.queue.empty();
    if (!peer.Flush()) gone.push_back(id);
    if (waited && peer.queued_bytes < query::Service::kTailQueuedBytesMax / 2) drained.push_back(id);
  }
  for (const query::FrontId id : gone) DropFront(id);
  for (const query::FrontId id : drained) service_->OnFrontDrained(id);
  if (ledger_.fd.valid() && !ledger_.Flush()) DropLedger();
}

int Loop::TimeoutMs() const {
  const std::int64_t left_ns = next_tick_ns_ - clock_.BoottimeNs();
  return static_cast<int>(std::clamp<std::int64_t>(left_ns / 1'000'000 + 1, 0, 1'000));
}

Result<void> Loop::Run() {
  next_tick_ns_ = clock_.BoottimeNs() + kTickNs;
  for (;;) {
    std::vector<pollfd> polled;
    std::vector<query::FrontId> ids;
    const auto watch = [&polled](int fd, bool write) {
      polled.push_back({fd, static_cast<short>(write ? POLLIN | POLLOUT : POLLIN), 0});
    };
    watch(finish_by_ns_ == 0 ? control_.get() : -1, false);
    watch(workers_->done_fd(), false);
    watch(ledger_.fd.get(), !ledger_.queue.empty());
    watch(finish_by_ns_ == 0 ? listener_.get() : -1, false);
    for (const auto& [id, peer] : fronts_) {
      watch(peer.fd.get(), !peer.queue.empty());
      ids.push_back(id);
    }
    if (::poll(polled.data(), polled.size(), TimeoutMs()) < 0 && errno != EINTR) return FailErrno("poll");
    if (polled[1].revents != 0) workers_->RunDone();
    if (polled[2].revents != 0) ReadLedger();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (polled[4 + i].revents != 0) ReadFront(ids[i]);
    }
    if (polled[3].revents != 0) AcceptClients();
    if (polled[0].revents != 0 && !ReadControl()) finish_by_ns_ = clock_.BoottimeNs() + kFinishNs;
    if (clock_.BoottimeNs() >= next_tick_ns_) {
      next_tick_ns_ = clock_.BoottimeNs() + kTickNs;
      service_->OnTick();
    }
    const bool finished = finish_by_ns_ != 0 && (service_->Finish() || clock_.BoottimeNs() >= finish_by_ns_);
    FlushAll();
    if (const std::string notice = service_->TakeNotice(); !notice.empty()) LogWarning(notice);
    if (finished) return {};
  }
}

Result<uid_t> OwnerOf(const std::string& directory) {
  struct stat info {};
  if (::stat(directory.c_str(), &info) != 0) return FailErrno("look at " + directory);
  return info.st_uid;
}

Result<void> Serve() {
  UniqueFd control(channel::kControlFd);
  const int control_fd = control.get();
  auto start_up = channel::ReceiveStartUp(control_fd);
  if (!start_up && start_up.error().code == Code::kNotFound) return {};  // never started
  if (!start_up) return tl::unexpected(start_up.error());
  STELE_TRY(const Configuration configuration, ParseConfiguration(start_up->configuration_json));
  STELE_TRY(const uid_t owner, OwnerOf(configuration.place.directory));
  SystemClock clock;
  SystemEntropy entropy;
  query::UserBook users(configuration.state_dir);
  if (const auto read = users.Refresh(); !read) LogError("nobody of this file can sign in: " + Describe(read.error()));
  STELE_TRY(const std::string unknown_user_hash, query::UnknownUserHash(entropy));
  Loop loop(std::move(control), clock);
  for (channel::GivenChannel& given : start_up->channels)
    STELE_TRY_VOID(loop.Give(given.what, std::move(given.descriptor)));
  STELE_TRY_VOID(channel::SetBlocking(control_fd, false));

  STELE_TRY(const store::Medium medium, store::Medium::Open(configuration.place, store::MediumUse::kRead));
  STELE_TRY(const sandbox::Report report,
            sandbox::LockDown(sandbox::QueryProfile(configuration.place.directory, configuration.state_dir)));
  query::Workers workers([&]() -> Result<std::unique_ptr<query::Reads>> {
    STELE_TRY(store::OpenedShelf opened, medium.Shelf(configuration.log_id));
    return query::Reads::Open(std::move(opened.shelf), clock, configuration.reads);
  });
  STELE_TRY_VOID(workers.Start());
  const query::ServiceConfig service_config{owner,
                                            daemons::kVersion,
                                            configuration.reads.origin,
                                            owner == ::geteuid() ? "same-uid" : "own-uid",
                                            configuration.tree,
                                            configuration.reads.cosigned_path};
  query::Service service(service_config, clock, entropy, workers, loop, std::move(users), unknown_user_hash);
  if (!configuration.network_json.empty()) service.SetNetwork(configuration.network_json);
  loop.Attach(service, workers);
  STELE_TRY_VOID(channel::SendReady(control_fd, report.ToJson()));
  return loop.Run();
}

}  // namespace
}  // namespace stele

int main() { return stele::daemons::RunProgram("stele-query", stele::Serve); }
