// stele search, stele tail.
#include <charconv>
#include <cstdio>
#include <fmt/format.h>

#include "appliance/base/system.h"
#include "appliance/base/text.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/commands.h"
#include "appliance/daemons/cli/output.h"

namespace stele::daemons::cli {
namespace {

using nlohmann::json;

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::size_t kEventBytesMax = 1'048'576;  // of one event of a live tail

// What the answer covers, on stderr: the rows on stdout stay clean for a pipe.
void PrintFooter(const json& answer, std::size_t row_count) {
  const json& range = ObjectOf(answer, "range");
  const json& checkpoint = ObjectOf(answer, "checkpoint");
  const std::string from = TextOf(range, "from");
  const std::string to = TextOf(range, "to");
  std::string line = fmt::format("-- {} {}, {} to {}, {} records scanned, checkpoint {}", row_count,
                                 row_count == 1 ? "record" : "records", from.empty() ? "the beginning" : from,
                                 to.empty() ? "now" : to, NumberOf(answer, "scanned_records"), NumberOf(checkpoint, "size"));
  if (answer.value("limit_hit", false)) line += "; limit reached";
  if (answer.value("timed_out", false)) line += "; not everything was scanned in time";
  if (answer.contains("next_before") && answer["next_before"].is_number()) {
    line += fmt::format("; older: --before {}", NumberOf(answer, "next_before"));
  }
  std::fprintf(stderr, "%s\n", line.c_str());
}

// Server-sent events, as far as stele-query writes them: fields `event`, `data`, `id`; a blank line ends one.
class EventReader {
 public:
  explicit EventReader(bool as_json) : as_json_(as_json) {}

  bool Take(ByteView part) {
    for (const char c : AsText(part)) {
      if (c != '\n') {
        line_ += c;
        if (line_.size() > kEventBytesMax) return false;
        continue;
      }
      if (line_.empty()) {
        Finish();
      } else if (line_.starts_with("data: ")) {
        data_ += line_.substr(6);
      } else if (line_.starts_with("event: ")) {
        event_ = line_.substr(7);
      }
      line_.clear();
    }
    std::fflush(stdout);
    return true;
  }

 private:
  void Finish() {
    const json value = json::parse(data_, nullptr, false);
    if (value.is_object() && as_json_) {
      PrintJsonLine(json{{"event", event_.empty() ? "record" : event_}, {"data", value}});
    } else if (value.is_object() && event_.empty()) {
      Print(RowLine(value));
    } else if (value.is_object() && event_ == "lag") {
      std::fprintf(stderr, "-- %lld records skipped: this reader is too slow\n",
                   static_cast<long long>(NumberOf(value, "skipped")));
    }
    event_.clear();
    data_.clear();
  }

  bool as_json_;
  std::string line_, event_, data_;
};

// "" stays absent. False, after a complaint, when it is no time.
bool AddTime(Query& query, const char* name, const std::string& text) {
  if (text.empty()) return true;
  SystemClock clock;
  const auto time = TimeArgument(text, clock.WallNs());
  if (!time) {
    std::fprintf(stderr, "stele: --%s %s: neither a time (2026-11-21T03:00:00Z) nor an age (15m, 2h, 7d)\n", name,
                 Safe(text).c_str());
    return false;
  }
  query[name] = *time;
  return true;
}

}  // namespace

std::optional<std::string> TimeArgument(const std::string& text, std::int64_t now_ns) {
  if (ParseTime(text)) return text;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return std::nullopt;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (unit.empty()) return text;  // nanoseconds since the epoch
  const std::int64_t seconds = unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3'600 : unit == "d" ? 86'400 : 0;
  if (seconds == 0 || number > now_ns / kNsPerSecond / seconds) return std::nullopt;
  return std::to_string(now_ns - number * seconds * kNsPerSecond);
}

int RunSearch(const Home& home, const SearchOptions& options) {
  Query query{{"q", options.query}, {"proofs", "0"}};
  if (!AddTime(query, "from", options.from) || !AddTime(query, "to", options.to)) return kExitUsage;
  if (options.limit) query["limit"] = std::to_string(*options.limit);
  if (options.before) query["before"] = std::to_string(*options.before);
  auto client = Client::Connect(home);
  if (!client) return Complain(client.error());
  const auto answer = client->Get("/api/v1/search", query);
  if (!answer) return Complain(answer.error());
  if (!answer->ok()) return Complain(*answer);
  const auto body = answer->Json();
  if (!body) return Complain(body.error());
  if (options.json) {
    PrintJson(*body);
    return kExitYes;
  }
  const json rows = body->value("rows", json::array());
  for (auto row = rows.rbegin(); row != rows.rend(); ++row) Print(RowLine(*row));  // the newest last, next to the prompt
  std::fflush(stdout);
  PrintFooter(*body, rows.size());
  return kExitYes;
}

int RunTail(const Home& home, const std::string& query, bool json) {
  auto client = Client::Connect(home);
  if (!client) return Complain(client.error());
  EventReader reader(json);
  const auto answer = client->Stream("/api/v1/tail", {{"q", query}}, [&reader](ByteView part) { return reader.Take(part); });
  if (!answer) return Complain(answer.error());
  return answer->ok() ? kExitYes : Complain(*answer);
}

}  // namespace stele::daemons::cli
