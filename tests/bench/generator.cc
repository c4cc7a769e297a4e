#include "tests/bench/generator.h"

#include <cmath>
#include <ctime>
#include <utility>

namespace stele::bench {
namespace {

using Words = std::string_view;

constexpr std::int64_t kStartUs = 1'795'240'800LL * 1'000'000;  // 2026-11-21T06:00:00Z
constexpr double kMeanGapUs = 1'000.0;

constexpr std::array<Words, 8> kMethods = {"GET", "GET", "GET", "GET", "GET", "POST", "PUT", "HEAD"};
constexpr std::array<Words, 10> kStatus = {"200", "200", "200", "200", "204", "301", "304", "403", "404", "502"};
constexpr std::array<Words, 12> kSegments = {"catalogue", "orders", "basket", "static", "api", "v2",
                                             "reports",   "login",  "assets", "search", "media", "feed"};
constexpr std::array<Words, 6> kAgents = {"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
                                          "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/126.0.0.0",
                                          "curl/7.88.1",
                                          "stock-poller/3.2 (+contact ops)",
                                          "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Safari/604.1",
                                          "health-check/1"};
constexpr std::array<Words, 4> kActions = {"pass", "pass", "block", "reject"};
constexpr std::array<Words, 3> kProtocols = {"tcp", "udp", "icmp"};
constexpr std::array<Words, 5> kFlags = {"S", "SA", "PA", "FA", "R"};
constexpr std::array<Words, 8> kCommands = {"bash", "systemctl", "tar", "rsync", "passwd", "crontab", "find", "install"};
constexpr std::array<Words, 6> kServices = {"billing", "stock", "mailer", "gateway", "scheduler", "identity"};
constexpr std::array<Words, 4> kLevels = {"debug", "info", "info", "error"};
constexpr std::array<Words, 5> kEvents = {"request served", "cache refreshed", "retry of upstream call", "job finished",
                                          "token renewed"};
constexpr std::array<Words, 6> kTypes = {"A", "AAAA", "MX", "TXT", "PTR", "HTTPS"};
constexpr std::array<Words, 5> kDomains = {"plant.example", "office.example", "mail.example", "shop.example", "lab.example"};
constexpr std::array<Words, 5> kImages = {"web", "worker", "queue", "proxy", "report"};
constexpr std::array<Words, 6> kTenants = {"north-works", "south-works", "headquarters", "warehouse", "laboratory", "harbour"};
constexpr std::array<Words, 4> kSites = {"fw", "web", "db", "plc"};

std::uint64_t SplitMix(std::uint64_t& state) {
  state += 0x9e3779b97f4a7c15ULL;
  std::uint64_t z = state;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31U);
}

}  // namespace

Random::Random(std::uint64_t seed) {
  for (auto& word : state_) word = SplitMix(seed);
}

std::uint64_t Random::Next() {
  const auto rotate = [](std::uint64_t x, unsigned k) { return (x << k) | (x >> (64U - k)); };
  const std::uint64_t result = rotate(state_[1] * 5, 7) * 9;
  const std::uint64_t shifted = state_[1] << 17U;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = rotate(state_[3], 45);
  return result;
}

std::uint32_t Random::Below(std::uint32_t bound) {
  return static_cast<std::uint32_t>(((Next() >> 32U) * bound) >> 32U);
}

double Random::Unit() { return static_cast<double>(Next() >> 11U) * 0x1.0p-53; }

std::string Needle(std::uint64_t seed, std::uint64_t number) {
  std::uint64_t state = seed * 0x100000001b3ULL + number;
  const std::uint64_t value = SplitMix(state);
  std::string text = "needle-";
  for (unsigned shift = 64; shift > 0; shift -= 4) text.push_back("0123456789abcdef"[(value >> (shift - 4)) & 15U]);
  return text;
}

Generator::Generator(GeneratorOptions options)
    : options_(std::move(options)), random_(options_.seed), time_us_(kStartUs) {
  line_.reserve(1024);
}

std::string_view Generator::Next() {
  // The mix, in hundredths: web 24, firewall 22, JSON 14, ssh 10, audit 10, mail 8, name server 8, containers 4.
  static constexpr std::array<std::pair<std::uint32_t, Shape>, 8> kMix = {{{24, &Generator::Nginx},
                                                                           {46, &Generator::Firewall},
                                                                           {60, &Generator::Json},
                                                                           {70, &Generator::Sshd},
                                                                           {80, &Generator::Auditd},
                                                                           {88, &Generator::Postfix},
                                                                           {96, &Generator::Named},
                                                                           {100, &Generator::Dockerd}}};
  time_us_ += static_cast<std::int64_t>(-std::log(1.0 - random_.Unit()) * kMeanGapUs) + 1;
  line_.clear();
  const std::uint32_t draw = random_.Below(100);
  for (const auto& [below, shape] : kMix) {
    if (draw < below) {
      (this->*shape)();
      break;
    }
  }
  if (options_.size_bytes != 0) FitTo(options_.size_bytes);
  ++made_;
  return line_;
}

void Generator::Header(unsigned severity, unsigned facility, std::string_view app, std::string_view message_id) {
  Text("<");
  Number(facility * 8 + severity);
  Text(">1 ");
  Timestamp();
  Text(" ");
  HostName(random_.Below(kHosts));
  Text(" ");
  Text(app);
  Text(" ");
  Number(300 + random_.Below(32'000));
  Text(" ");
  Text(message_id);
  if (options_.tag.empty()) {
    Text(" - ");
  } else {
    Text(" [run@32473 id=\"");
    Text(options_.tag);
    Text("\" n=\"");
    Number(made_);
    Text("\"] ");
  }
  if (options_.needle_every != 0 && (made_ + 1) % options_.needle_every == 0) {
    Text(Needle(options_.seed, (made_ + 1) / options_.needle_every));
    Text(" ");
  }
}

void Generator::Nginx() {
  Header(6, 23, "nginx", "access");
  Address();
  Text(" ");
  User();
  Text(" \"");
  Text(Pick(kMethods));
  Text(" ");
  Path();
  Text(" HTTP/1.1\" ");
  Text(Pick(kStatus));
  Text(" ");
  Number(120 + random_.Below(90'000));
  Text(" \"");
  Text(Pick(kAgents));
  Text("\" rt=0.");
  Padded(random_.Below(1'000), 3);
  Text(" id=");
  Hex(16);
}

void Generator::Firewall() {
  const std::string_view action = Pick(kActions);
  Header(action == "pass" ? 6 : 4, 0, "filterlog", "rule");
  Text("rule=");
  Number(1 + random_.Below(240));
  Text(" action=");
  Text(action);
  Text(" in=eth");
  Number(random_.Below(4));
  Text(" proto=");
  Text(Pick(kProtocols));
  Text(" src=");
  Address();
  Text(" spt=");
  Number(1024 + random_.Below(64'000));
  Text(" dst=");
  Address();
  Text(" dpt=");
  Number(1 + random_.Below(9'000));
  Text(" len=");
  Number(40 + random_.Below(1'460));
  Text(" ttl=");
  Number(32 + random_.Below(96));
  Text(" id=");
  Number(random_.Below(65'536));
  Text(" flags=");
  Text(Pick(kFlags));
}

void Generator::Sshd() {
  const bool accepted = random_.Below(3) == 0;
  Header(accepted ? 6 : 4, 10, "sshd", "auth");
  Text(accepted ? "key accepted for " : "password refused for ");
  User();
  Text(" from ");
  Address();
  Text(" port ");
  Number(1024 + random_.Below(64'000));
  if (accepted) {
    Text(" ed25519 ");
    Hex(32);
  }
}

void Generator::Auditd() {
  Header(5, 13, "audit", "syscall");
  Text("serial=");
  Number(1'000'000 + made_);
  Text(" syscall=");
  Number(random_.Below(330));
  Text(random_.Below(20) == 0 ? " success=no exit=-13" : " success=yes exit=0");
  Text(" ppid=");
  Number(random_.Below(40'000));
  Text(" pid=");
  Number(random_.Below(40'000));
  Text(" auid=");
  Number(1'000 + random_.Below(kUsers));
  Text(" tty=pts");
  Number(random_.Below(12));
  const std::string_view command = Pick(kCommands);
  Text(" comm=\"");
  Text(command);
  Text("\" exe=\"/usr/bin/");
  Text(command);
  Text("\" inode=");
  Number(random_.Below(4'000'000));
}

void Generator::Json() {
  const std::string_view level = Pick(kLevels);
  Header(level == "error" ? 3 : 6, 16, Pick(kServices), "event");
  Text("{\"level\":\"");
  Text(level);
  Text("\",\"event\":\"");
  Text(Pick(kEvents));
  Text("\",\"user\":\"");
  User();
  Text("\",\"client\":\"");
  Address();
  Text("\",\"trace\":\"");
  Hex(32);
  Text("\",\"ms\":");
  Number(random_.Below(2'000));
  Text(",\"bytes\":");
  Number(random_.Below(1'000'000));
  Text("}");
}

void Generator::Postfix() {
  Header(6, 2, "postfix", "delivery");
  Hex(11);
  Text(": to=<");
  User();
  Text("@");
  Text(Pick(kDomains));
  Text(">, relay=");
  Address();
  Text(":25, delay=");
  Number(random_.Below(40));
  Text(".");
  Number(random_.Below(100));
  Text(", dsn=2.0.0, status=sent (250 queued as ");
  Hex(10);
  Text(")");
}

void Generator::Named() {
  Header(6, 3, "named", "query");
  Text("client ");
  Address();
  Text("#");
  Number(1024 + random_.Below(64'000));
  Text(" asks ");
  Word(4 + random_.Below(9));
  Text(".");
  Text(Pick(kDomains));
  Text(" IN ");
  Text(Pick(kTypes));
  Text(" id=");
  Number(random_.Below(65'536));
}

void Generator::Dockerd() {
  Header(6, 3, "dockerd", "container");
  Text("container=");
  Hex(64);
  Text(" image=");
  Text(Pick(kImages));
  Text(":");
  Number(1 + random_.Below(30));
  Text(".");
  Number(random_.Below(10));
  Text(random_.Below(2) == 0 ? " started" : " exited status=0");
}

// Cuts, or lengthens by key-value pairs as applications add them, to the exact size.
void Generator::FitTo(std::uint32_t size_bytes) {
  while (line_.size() < size_bytes) {
    Text(" ");
    switch (random_.Below(6)) {
      case 0:
        Text("zone=");
        Text(Pick(kDomains));
        break;
      case 1:
        Text("tenant=");
        Text(Pick(kTenants));
        break;
      case 2:
        Text("session=");
        Word(8);
        break;
      case 3:
        Text("policy=\"default-");
        Text(Pick(kSegments));
        Text("\"");
        break;
      case 4:
        Text("build=4.2.");
        Number(random_.Below(40));
        break;
      default:
        Text("tags=[");
        Text(Pick(kSegments));
        Text(",");
        Text(Pick(kImages));
        Text("]");
        break;
    }
  }
  line_.resize(size_bytes);
}

void Generator::Number(std::uint64_t value) { Padded(value, 1); }

void Generator::Padded(std::uint64_t value, unsigned digits) {
  std::array<char, 20> raw{};
  std::size_t at = raw.size();
  while (value != 0 || digits > raw.size() - at) {
    raw[--at] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
  line_.append(raw.data() + at, raw.size() - at);
}

void Generator::Hex(unsigned digits) {
  std::uint64_t bits = 0;
  for (unsigned i = 0; i < digits; ++i) {
    if (i % 16 == 0) bits = random_.Next();
    line_.push_back("0123456789abcdef"[bits & 15U]);
    bits >>= 4U;
  }
}

void Generator::Word(unsigned letters) {
  std::uint64_t bits = random_.Next();
  for (unsigned i = 0; i < letters; ++i) {  // consonant, vowel, consonant: words a person can say
    line_.push_back(i % 2 == 0 ? "bcdfghklmnprstvz"[bits & 15U] : "aeioaeuo"[bits & 7U]);
    bits >>= 4U;
  }
}

void Generator::Address() {
  // Zipf with exponent 1: the logarithm of the rank is uniform.
  static const double kScale = std::log(static_cast<double>(kAddresses));
  const auto rank = static_cast<std::uint32_t>(std::exp(random_.Unit() * kScale)) - 1;
  const std::uint32_t mixed = rank * 2'654'435'761U;  // spreads neighbours of rank over the networks
  Text(rank % 3 == 0 ? "198.18." : "10.");
  if (rank % 3 != 0) {
    Number(mixed >> 24U);
    Text(".");
  }
  Number((mixed >> 16U) & 255U);
  Text(".");
  Number((rank ^ (rank >> 8U)) & 255U);
}

void Generator::User() {
  const std::uint32_t user = random_.Below(kUsers);
  static constexpr std::array<Words, 10> kNames = {"ada",  "bela", "carl", "dora", "emil",
                                                   "fred", "gert", "hana", "ivan", "jane"};
  Text(kNames[user % kNames.size()]);
  Padded(user / kNames.size(), 3);
}

void Generator::HostName(std::uint32_t host) {
  Text(kSites[host % kSites.size()]);
  Padded(host / kSites.size(), 2);
  Text(".");
  Text(kDomains[host % kDomains.size()]);
}

void Generator::Path() {
  const std::uint32_t depth = 1 + random_.Below(3);
  for (std::uint32_t i = 0; i < depth; ++i) {
    Text("/");
    Text(Pick(kSegments));
  }
  if (random_.Below(2) == 0) {
    Text("/");
    Number(random_.Below(200'000));
  } else {
    Text("?q=");
    Word(4 + random_.Below(8));
  }
}

void Generator::Timestamp() {
  const std::time_t seconds = static_cast<std::time_t>(time_us_ / 1'000'000);
  std::tm parts{};
  (void)::gmtime_r(&seconds, &parts);  // fails only for years beyond int
  Padded(static_cast<std::uint64_t>(parts.tm_year + 1900), 4);
  Text("-");
  Padded(static_cast<std::uint64_t>(parts.tm_mon + 1), 2);
  Text("-");
  Padded(static_cast<std::uint64_t>(parts.tm_mday), 2);
  Text("T");
  Padded(static_cast<std::uint64_t>(parts.tm_hour), 2);
  Text(":");
  Padded(static_cast<std::uint64_t>(parts.tm_min), 2);
  Text(":");
  Padded(static_cast<std::uint64_t>(parts.tm_sec), 2);
  Text(".");
  Padded(static_cast<std::uint64_t>(time_us_ % 1'000'000), 6);
  Text("Z");
}

}  // namespace stele::bench
