// One record as the matcher and the renderer see it: what the log says about it, and what its payload says, taken apart only
// when somebody asks. Views point into the payload.
#pragma once

#include <simdjson.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "appliance/base/bytes.h"
#include "appliance/ingest/message.h"
#include "appliance/record/entry.h"

namespace stele::query {

struct RecordView {
  std::uint64_t sequence = 0;
  record::Kind kind = record::Kind::kSyslog;
  std::uint16_t flags = 0;
  std::uint32_t source = 0;  // 0: Stele's own entry
  std::int64_t receive_wall_ns = 0;
  record::Peer peer{};
  ByteView payload;
};

// A source as its `source` entry names it (docs/entries.md).
struct SourceNames {
  std::uint32_t id = 0;
  std::string zone;
  std::string listener;
  std::string transport;
  std::string peer;
  std::string target;    // what the request's path named: an index, a webhook
  std::string sender;    // the registered name in the identity
  std::string identity;  // of a client certificate, the JSON object as text; empty when there is none
  std::string name;  // the operator's, where there is one
};
[[nodiscard]] SourceNames ParseSourceNames(std::uint32_t id, std::string_view description_json);

// Who knows a record's source; nullptr when nobody does.
using SourceLookup = std::function<const SourceNames*(std::uint32_t source, std::uint64_t sequence)>;

// The JSON parser with its buffers, kept from record to record. One thread.
class JsonScratch {
 public:
  // One JSON object, or nothing. Valid until the next call.
  [[nodiscard]] std::optional<simdjson::dom::element> ParseObject(std::string_view text);

 private:
  simdjson::dom::parser parser_;
};

class RecordFields {
 public:
  RecordFields(const RecordView& record, const SourceLookup& sources, JsonScratch& scratch)
      : record_(record), sources_(sources), scratch_(scratch) {}

  [[nodiscard]] const RecordView& record() const { return record_; }
  [[nodiscard]] std::string_view payload() const { return AsText(record_.payload); }
  [[nodiscard]] const SourceNames* source();

  // Only of kind syslog; nullptr otherwise.
  [[nodiscard]] const ingest::ParsedMessage* syslog();
  // The payload as a JSON object (every kind but syslog), or a syslog message's text where that is one.
  [[nodiscard]] std::optional<simdjson::dom::element> json();

  // syslog: PRI and header; json: top-level members (severity|level, facility, host|hostname, app|program|service, pid).
  [[nodiscard]] std::optional<unsigned> severity();
  [[nodiscard]] std::optional<unsigned> facility();
  [[nodiscard]] std::string_view host();
  [[nodiscard]] std::string_view app();
  [[nodiscard]] std::string_view pid();
  [[nodiscard]] std::string_view msgid();
  // The message text inside the payload; everything but syslog: the whole payload.
  [[nodiscard]] std::string_view message();

 private:
  [[nodiscard]] std::string_view JsonText(std::initializer_list<std::string_view> names);

  const RecordView& record_;
  const SourceLookup& sources_;
  JsonScratch& scratch_;
  std::optional<ingest::ParsedMessage> parsed_;
  std::optional<simdjson::dom::element> object_;
  bool json_tried_ = false;
};

}  // namespace stele::query
