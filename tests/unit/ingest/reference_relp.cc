#include "tests/unit/ingest/reference_relp.h"

#include <algorithm>
#include <ostream>
#include <random>

#include "appliance/base/hash.h"

namespace stele::ingest {
namespace {

using Kind = RelpEvent::Kind;

struct Frame {
  std::uint64_t txnr = 0;
  std::string command;
  std::uint64_t data_length = 0;
  std::size_t header_octets = 0;
};
enum class Verdict { kFrame, kCut, kWrong };

Verdict ReadHeader(std::string_view text, Frame& frame) {
  std::size_t at = 0;
  const auto take = [&](std::size_t most, auto&& belongs) {
    const std::size_t from = at;
    while (at < text.size() && at - from < most && belongs(text[at])) ++at;
    return std::string(text.substr(from, at - from));
  };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const std::string txnr = take(9, digit);
  if (at == text.size()) return Verdict::kCut;
  if (txnr.empty() || text[at++] != ' ') return Verdict::kWrong;
  frame.command = take(32, letter);
  if (at == text.size()) return Verdict::kCut;
  if (frame.command.empty() || text[at++] != ' ') return Verdict::kWrong;
  const std::string length = take(9, digit);
  if (at == text.size()) return Verdict::kCut;
  if (length.empty()) return Verdict::kWrong;
  frame.txnr = std::stoull(txnr);
  frame.data_length = std::stoull(length);
  if (text[at++] != (frame.data_length == 0 ? '\n' : ' ')) return Verdict::kWrong;
  frame.header_octets = at;
  return Verdict::kFrame;
}

// What the answer to an open says: empty when the offers are good.
std::string ProblemOfOffers(const std::string& offers) {
  bool version = false;
  bool syslog = false;
  std::size_t from = 0;
  while (from < offers.size()) {
    const std::size_t end = std::min(offers.find('\n', from), offers.size());
    const std::string line = offers.substr(from, end - from);
    from = end + 1;
    if (line.rfind("relp_version=", 0) == 0) {
      const std::string value = line.substr(13);
      version = !value.empty() && value.find_first_not_of("0123456789") == std::string::npos;
    }
    if (line.rfind("commands=", 0) == 0)
      syslog = syslog || ("," + line.substr(9) + ",").find(",syslog,") != std::string::npos;
  }
  if (!version) return "the offer relp_version is missing or not a number";
  return syslog ? "" : "the command syslog is not offered";
}

class Reference {
 public:
  Reference(const RelpServer::Options& options, RelpRun& run)
      : salt_key_(options.salt_key),
        limit_(std::max(options.message_bytes_max, kMessageBytesMin)),
        expected_(options.first_txnr),
        run_(run) {}

  void Read(std::string_view stream) {
    while (!stream.empty()) {
      Frame frame;
      const Verdict verdict = over_ ? Verdict::kWrong : ReadHeader(stream, frame);
      if (verdict == Verdict::kCut) return KeepIncomplete(stream);
      if (verdict == Verdict::kWrong || !MayFollow(frame)) return Break(stream);
      const std::size_t data_end = frame.header_octets + static_cast<std::size_t>(frame.data_length);
      const std::size_t octets = data_end + (frame.data_length == 0 ? 0 : 1);
      if (octets > stream.size()) return End(frame, stream);
      const std::string data(stream.substr(frame.header_octets, static_cast<std::size_t>(frame.data_length)));
      if (frame.data_length != 0 && stream[data_end] != '\n') {
        if (frame.command == "syslog") {
          ReferenceRelpEvent& event = Keep(data, data.size());
          event.framing_error = true;
          event.txnr = static_cast<std::uint32_t>(frame.txnr);
        }
        return Break(stream.substr(data_end));
      }
      Take(frame, data);
      stream.remove_prefix(octets);
    }
  }

 private:
  bool MayFollow(const Frame& frame) const {
    if (frame.txnr == 0) return opened_ || frame.command != "syslog";
    if (!opened_ && frame.command != "open") return false;
    if (frame.txnr != expected_) return false;
    return frame.command != "open" || frame.data_length <= limits::kRelpOffersBytes;
  }

  void Take(const Frame& frame, const std::string& data) {
    if (frame.command == "syslog") {
      ReferenceRelpEvent& event = Keep(data, data.size());
      event.txnr = static_cast<std::uint32_t>(frame.txnr);
      event.answerable = frame.txnr != 0;
      if (!event.answerable) return;
      const bool refused = !event.payload.empty() && event.payload[0] == kRefusedOctet;
      return Respond(refused ? "500 " + std::string(kRefusedReason) : "200 OK");
    }
    if (frame.txnr == 0) return;
    ReferenceRelpEvent event;
    event.txnr = static_cast<std::uint32_t>(frame.txnr);
    if (frame.command == "open" && opened_) {
      event.kind = Kind::kOpened;
      Respond("200 OK the session is open already");
    } else if (frame.command == "open") {
      const std::string problem = ProblemOfOffers(data);
      opened_ = problem.empty();
      over_ = !opened_;
      event.kind = opened_ ? Kind::kOpened : Kind::kOpenRefused;
      Respond(opened_ ? "200 OK\nrelp_version=0\nrelp_software=stele\ncommands=syslog" : "500 " + problem);
    } else if (frame.command == "close") {
      event.kind = Kind::kClosed;
      Respond("");
      over_ = true;
    } else {
      event.kind = Kind::kUnknown;
      Respond("500 unknown command");
    }
    run_.events.push_back(event);
    if (over_) SayClose();
  }

  // The stream ends inside the frame.
  void End(const Frame& frame, std::string_view stream) {
    if (frame.command != "syslog") return;
    const std::string_view data = stream.substr(frame.header_octets, static_cast<std::size_t>(frame.data_length));
    ReferenceRelpEvent& event =
        data.empty() ? Keep(stream.substr(0, frame.header_octets), frame.header_octets) : Keep(data, frame.data_length);
    event.incomplete = true;
    event.txnr = static_cast<std::uint32_t>(frame.txnr);
  }

  void Break(std::string_view rest) {
    ReferenceRelpEvent& event = Keep(rest, rest.size());
    event.kind = Kind::kBroken;
    event.framing_error = true;
    SayClose();
  }

  void KeepIncomplete(std::string_view octets) { Keep(octets, octets.size()).incomplete = true; }

  ReferenceRelpEvent& Keep(std::string_view octets, std::uint64_t full_length) {
    ReferenceRelpEvent event;
    event.payload = std::string(octets.substr(0, limit_));
    event.full_length = full_length;
    if (octets.size() > limit_) {
      event.truncated = true;
      const record::Salt salt = record::DeriveSalt(salt_key_, truncated_++);
      event.whole_hash = Sha256Of({AsBytes("stele/whole/v1"), salt, AsBytes(octets)});
    }
    run_.events.push_back(event);
    return run_.events.back();
  }

  void Respond(const std::string& data) {
    run_.answers +=
        std::to_string(expected_) + " rsp " + std::to_string(data.size()) + (data.empty() ? "" : " " + data) + "\n";
    expected_ = expected_ == 999'999'999 ? 1 : expected_ + 1;
  }

  void SayClose() {
    if (!run_.closing) run_.answers += "0 serverclose 0\n";
    run_.closing = true;
  }

  record::SaltKey salt_key_;
  std::size_t limit_;
  std::uint64_t expected_;
  RelpRun& run_;
  std::uint32_t truncated_ = 0;
  bool opened_ = false;
  bool over_ = false;
};

}  // namespace

std::ostream& operator<<(std::ostream& out, const RelpRun& run) {
  for (const auto& e : run.events) {
    out << "\n  kind " << static_cast<int>(e.kind) << " txnr " << e.txnr << (e.answerable ? " answerable" : "")
        << (e.incomplete ? " incomplete" : "") << (e.framing_error ? " framing_error" : "")
        << (e.truncated ? " truncated" : "") << " of " << e.full_length << ": " << e.payload.substr(0, 60);
  }
  return out << "\n  answers: " << run.answers.substr(0, 500) << (run.closing ? "closing" : "");
}

RelpRun ReferenceRelp(std::string_view stream, const RelpServer::Options& options, EndReason) {
  RelpRun run;
  Reference(options, run).Read(stream);
  return run;
}

RelpRun FastRelp(std::string_view stream, const RelpServer::Options& options, EndReason reason,
                 const std::vector<std::size_t>& pieces, std::uint64_t seed) {
  RelpRun run;
  RelpServer server(options);
  std::mt19937_64 random(seed);
  struct Waiting {
    std::uint64_t number = 0;
    bool refused = false;
  };
  std::vector<Waiting> waiting;
  const auto judge = [&](std::size_t keep) {
    while (waiting.size() > keep) {
      const std::size_t i = seed == 0 ? 0 : random() % waiting.size();
      const Waiting one = waiting[i];
      waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(i));
      if (one.refused) {
        server.Refused(one.number, 1, kRefusedReason);
      } else {
        server.Committed(one.number, 1);
      }
    }
    run.answers += AsText(server.answers());
    server.ClearAnswers();
  };
  const auto take = [&] {
    RelpEvent event;
    std::vector<std::pair<ByteView, std::string>> views;
    while (server.Next(event)) {
      ReferenceRelpEvent kept{
          event.kind,       event.txnr,          event.answerable, std::string(AsText(event.payload)),
          event.incomplete, event.framing_error, event.truncated,  event.full_length,
          event.whole_hash};
      if (kept.kind == Kind::kMessage && kept.answerable) {
        waiting.push_back({event.number, !kept.payload.empty() && kept.payload[0] == kRefusedOctet});
      }
      views.emplace_back(event.payload, kept.payload);
      run.events.push_back(std::move(kept));
    }
    for (const auto& [view, text] : views) STELE_CHECK(AsText(view) == text);  // valid until the next Feed()
    judge(seed == 0 ? 0 : random() % 5);
  };
  std::vector<char> buffer;  // as a listener's, reused: a view into it after Feed() would show
  std::size_t turn = 0;
  while (!stream.empty()) {
    const std::size_t wanted = pieces.empty() ? 0 : pieces[turn++ % pieces.size()];
    const std::size_t octets = wanted == 0 ? stream.size() : std::min(wanted, stream.size());
    buffer.assign(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(octets));
    server.Feed(AsBytes(std::string_view(buffer.data(), buffer.size())));
    take();
    std::fill(buffer.begin(), buffer.end(), '\xaa');
    stream.remove_prefix(octets);
  }
  server.End(reason);
  take();
  judge(0);
  run.closing = server.closing();
  STELE_CHECK(server.unanswered() == 0);
  STELE_CHECK(!server.inside_frame());
  return run;
}

bool SameButForTheRest(const RelpRun& whole, const RelpRun& pieces) {
  if (whole.answers != pieces.answers || whole.closing != pieces.closing || whole.events.size() != pieces.events.size())
    return false;
  for (std::size_t i = 0; i < whole.events.size(); ++i) {
    const ReferenceRelpEvent& a = whole.events[i];
    const ReferenceRelpEvent& b = pieces.events[i];
    if (a.kind == Kind::kBroken && b.kind == Kind::kBroken) {
      if (b.payload.empty() || a.payload.substr(0, b.payload.size()) != b.payload) return false;
    } else if (!(a == b)) {
      return false;
    }
  }
  return true;
}

}  // namespace stele::ingest
