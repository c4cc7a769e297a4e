#include "tests/unit/receive/receive_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "appliance/channel/append_messages.h"
#include "appliance/channel/channel.h"

namespace stele::receive {

KeepingLedger::KeepingLedger(UniqueFd channel) : channel_(std::move(channel)), thread_([this] { Run(); }) {}
KeepingLedger::~KeepingLedger() {
  (void)::shutdown(channel_.get(), SHUT_RDWR);
  thread_.join();
}

void KeepingLedger::Run() {
  for (;;) {
    const auto frame = channel::Receive(channel_.get(), /*wait=*/true);
    if (!frame) return;
    const std::lock_guard lock(mutex_);
    Take(*frame);
  }
}

void KeepingLedger::Take(const channel::Frame& frame) {
  const auto keep = [this](const channel::AppendRecord& r, ByteView payload) {
    records_.push_back({r.kind, r.flags, sources_.at(r.source_local - 1), std::string(AsText(payload))});
  };
  OpenFrame open;
  if (frame.type == channel::Type::kSettle) {
    (void)channel::Send(channel_.get(), channel::Type::kSettled, channel::EncodeSettled({1, false, {}}));
    return;
  }
  if (frame.type == channel::Type::kDeclareSource) {
    const auto declared = channel::DecodeDeclareSource(frame.body);
    STELE_CHECK(declared.has_value() && declared->local == sources_.size() + 1);
    sources_.push_back(nlohmann::json::parse(declared->description));
    return;
  }
  if (frame.type == channel::Type::kRecords) {
    channel::RecordsFrame records;
    STELE_CHECK(channel::DecodeRecords(frame.body, records).has_value());
    open = {records.frame_id, static_cast<std::uint32_t>(records.records.size())};
    if (!refuse_) {
      for (const auto& r : records.records) keep(r, r.payload);
    }
  } else if (frame.type == channel::Type::kLargeRecord) {
    const auto part = channel::DecodeLargePart(frame.body);
    STELE_CHECK(part.has_value() && part->offset == large_.size());
    Append(large_, part->header.payload);
    if (large_.size() < part->total_length) return;
    if (!refuse_) keep(part->header, large_);
    large_.clear();
    open = {part->frame_id, 1};
  } else {
    return;
  }
  if (hold_) {
    held_.push_back(open);
  } else {
    Answer(open, !refuse_);
  }
}

void KeepingLedger::Answer(const OpenFrame& frame, bool commit) {
  if (commit) {
    (void)channel::Send(channel_.get(), channel::Type::kCommitted,
                        channel::EncodeCommitted({frame.id, next_sequence_, frame.count}));
    next_sequence_ += frame.count;
  } else {
    (void)channel::Send(channel_.get(), channel::Type::kRefused, channel::EncodeRefused({frame.id, "full"}));
  }
}

void KeepingLedger::Hold(bool hold) {
  const std::lock_guard lock(mutex_);
  hold_ = hold;
  if (hold) return;
  for (const OpenFrame& frame : held_) Answer(frame, !refuse_);
  held_.clear();
}
void KeepingLedger::AnswerHeld(std::size_t index, bool commit) {
  const std::lock_guard lock(mutex_);
  Answer(held_.at(index), commit);
  held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(index));
}
void KeepingLedger::Refuse(bool refuse) {
  const std::lock_guard lock(mutex_);
  refuse_ = refuse;
}
std::size_t KeepingLedger::held() const {
  const std::lock_guard lock(mutex_);
  return held_.size();
}
std::vector<KeptRecord> KeepingLedger::records() const {
  const std::lock_guard lock(mutex_);
  return records_;
}
std::size_t KeepingLedger::source_count() const {
  const std::lock_guard lock(mutex_);
  return sources_.size();
}

namespace {

UniqueFd ListenOnLoopback(bool ipv6, std::uint16_t& port) {
  UniqueFd fd(::socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = in6addr_loopback;
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* name = ipv6 ? reinterpret_cast<sockaddr*>(&v6) : reinterpret_cast<sockaddr*>(&v4);
  socklen_t size = ipv6 ? sizeof v6 : sizeof v4;
  STELE_CHECK(::bind(fd.get(), name, size) == 0);
  STELE_CHECK(::listen(fd.get(), 128) == 0);
  STELE_CHECK(::getsockname(fd.get(), name, &size) == 0);
  port = ntohs(ipv6 ? v6.sin6_port : v4.sin_port);
  return fd;
}

}  // namespace

Rig::Rig(RigOptions options) : ipv6(options.ipv6) {
  auto ends = channel::MakePair();
  STELE_CHECK(ends.has_value());
  ledger = std::make_unique<KeepingLedger>(std::move(ends->first));
  link_ = std::make_unique<LedgerLink>(context_, clock, entropy_);
  link_->Connect(std::move(ends->second));
  alarms_ = std::make_unique<SignatureAlarms>(*link_, alarm_account_);
  if (options.syslog_keys) {
    signed_syslog_ = std::make_unique<SignedSyslog>(*link_, clock, alarm_account_, *alarms_, options.syslog_keys);
  }
  listener.name = "test";
  listener.zone = "default";
  StreamFactory factory = options.own;
  if (options.way == Way::kSyslog || options.way == Way::kSyslogTls) {
    factory = SyslogFactory(*link_, entropy_, budget_, listener, {options.message_bytes_max, signed_syslog_.get()},
                            options.way == Way::kSyslog ? ingest::Framing::kAuto : ingest::Framing::kCounted);
  } else if (options.way == Way::kJsonLines) {
    JsonLinesOptions lines;
    lines.message_bytes_max = options.message_bytes_max;
    auto trust = std::make_shared<JsonTrust>();
    trust->tokens = options.tokens;
    trust->senders = options.senders;
    if (options.keys) trust->keys = options.keys;
    lines.trust = std::move(trust);
    lines.alarms = alarms_.get();
    factory = JsonLinesFactory(*link_, entropy_, budget_, listener, lines);
  } else if (options.way == Way::kRelp) {
    factory = RelpFactory(*link_, entropy_, budget_, resent_, listener,
                          {options.message_bytes_max, options.relp_refusal, signed_syslog_.get()});
  }
  StreamOptions stream_options;
  stream_options.tls = options.tls;
  stream_options.connections_per_address_max = options.connections_per_address_max;
  stream = std::make_unique<StreamListener>(context_, *link_, clock, budget_, listener, 0, ListenOnLoopback(ipv6, port),
                                            stream_options, factory);
  stream->Start();
  thread_ = std::thread([this] { context_.run(); });
}

Rig::~Rig() {
  Do([this] {
    stream.reset();
    link_.reset();
    return 0;
  });
  work_.reset();
  context_.stop();
  thread_.join();
}

std::vector<KeptRecord> Rig::Records(std::size_t count) {
  (void)Eventually([&] { return ledger->records().size() >= count; });
  return ledger->records();
}

void Rig::Pass(std::int64_t ms) {
  clock.Advance(ms);
  Do([this] {
    stream->Sweep();
    return 0;
  });
}

PlainClient::PlainClient(const Rig& rig) : fd_(::socket(rig.ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = in6addr_loopback;
  v6.sin6_port = htons(rig.port);
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  v4.sin_port = htons(rig.port);
  const timeval limit{10, 0};
  (void)::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  (void)::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  STELE_CHECK(::connect(fd_.get(), rig.ipv6 ? reinterpret_cast<sockaddr*>(&v6) : reinterpret_cast<sockaddr*>(&v4),
                        rig.ipv6 ? sizeof v6 : sizeof v4) == 0);
}

bool PlainClient::Send(std::string_view octets) {
  while (!octets.empty()) {
    const ssize_t n = ::send(fd_.get(), octets.data(), octets.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    octets.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}
void PlainClient::EndSending() { (void)::shutdown(fd_.get(), SHUT_WR); }

std::string PlainClient::ReadToEnd() {
  std::string all;
  std::array<char, 4096> part{};
  for (ssize_t n = 0; (n = ::recv(fd_.get(), part.data(), part.size(), 0)) > 0;)
    all.append(part.data(), static_cast<std::size_t>(n));
  return all;
}
std::string PlainClient::ReadLine() {
  std::string line;
  char c = 0;
  while (::recv(fd_.get(), &c, 1, 0) == 1) {
    if (c == '\n') return line;
    line += c;
  }
  return line + "<cut>";
}

TlsClient::TlsClient(const Rig& rig, const TlsClientOptions& options)
    : plain_(rig), context_(SSL_CTX_new(TLS_client_method())) {
  SSL_CTX_set_security_level(context_, 0);  // TLS 1.1 can then be offered at all
  SSL_CTX_set_min_proto_version(context_, options.version_min);
  SSL_CTX_set_max_proto_version(context_, options.version_max);
  if (options.certificate != nullptr) {
    SSL_CTX_use_certificate(context_, options.certificate->certificate.get());
    SSL_CTX_use_PrivateKey(context_, options.certificate->key.get());
  }
  ssl_ = SSL_new(context_);
  SSL_set_fd(ssl_, plain_.fd());
}
TlsClient::~TlsClient() {
  SSL_free(ssl_);
  SSL_CTX_free(context_);
}
bool TlsClient::Handshake() { return SSL_connect(ssl_) == 1; }
bool TlsClient::Refused() {
  const timeval soon{1, 0};
  (void)::setsockopt(plain_.fd(), SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
  char c = 0;
  const int result = SSL_read(ssl_, &c, 1);
  return result <= 0 && SSL_get_error(ssl_, result) != SSL_ERROR_WANT_READ;
}
bool TlsClient::Send(std::string_view octets) {
  return SSL_write(ssl_, octets.data(), static_cast<int>(octets.size())) == static_cast<int>(octets.size());
}
std::string TlsClient::ReadLine() {
  std::string line;
  char c = 0;
  while (SSL_read(ssl_, &c, 1) == 1) {
    if (c == '\n') return line;
    line += c;
  }
  return line + "<cut>";
}
std::string TlsClient::ReadToEnd() {
  std::string all;
  char c = 0;
  while (SSL_read(ssl_, &c, 1) == 1) all += c;
  return all;
}
void TlsClient::EndSending() { (void)SSL_shutdown(ssl_); }

std::string Counted(std::string_view message) { return std::to_string(message.size()) + " " + std::string(message); }

const TestPki& Pki() {
  static const TestPki pki = [] {
    TestPki made;
    made.authority = test::Issue({"test authority", "", true});
    made.server = test::Issue({"stele.example.org", "DNS:stele.example.org"}, &made.authority);
    made.client = test::Issue({"web1", "DNS:web1.example.org,IP:192.0.2.1"}, &made.authority);
    made.other_client = test::Issue({"web2", "DNS:web2.example.org"}, &made.authority);
    made.expired_client = test::Issue({"old", "", false, -7'200, -3'600}, &made.authority);
    made.stranger_authority = test::Issue({"test authority", "", true});  // of the same name, but another key
    made.stranger = test::Issue({"web1", "DNS:web1.example.org"}, &made.stranger_authority);
    made.self_signed = test::Issue({"pinned", "DNS:pinned.example.org"});
    return made;
  }();
  return pki;
}

std::shared_ptr<const ingest::TlsContext> ServerTls(const std::function<void(ingest::TlsOptions&)>& change) {
  ingest::TlsOptions options;
  options.certificate_pem = Pki().server.CertificatePem();
  options.key_pem = Pki().server.KeyPem();
  if (change) change(options);
  auto made = ingest::TlsContext::Make(options);
  STELE_CHECK(made.has_value());
  return *made;
}

}  // namespace stele::receive
