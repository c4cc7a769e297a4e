#include "appliance/evidence/event_log.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/ledger/note.h"
#include "firmware/measure/event_log.h"

namespace stele::evidence {
namespace {

using nlohmann::json;

constexpr char kRecordSeparator = '\x1e';

// The first event: no SHA-1 digest, the sha256 bank alone.
Bytes SpecIdEvent() {
  measure::SpecId spec_id;
  spec_id.digests = {{measure::kAlgSha256, static_cast<std::uint16_t>(kHashBytes)}};
  return measure::EncodeSpecId(spec_id);
}

std::optional<CheckpointEvent> CheckpointOf(const measure::Event& event, std::uint32_t pcr) {
  const auto digest = event.Of(measure::kAlgSha256);
  const bool ours = event.pcr == pcr && event.type == measure::kEventTag && event.digests.size() == 1 && digest;
  if (!ours || event.data.size() > ledger::kNoteBytesMax) return std::nullopt;
  CheckpointEvent checkpoint;
  std::copy(digest->begin(), digest->end(), checkpoint.digest.begin());
  checkpoint.note = std::string(AsText(event.data));
  return checkpoint;
}

// One line of a CEL-JSON sequence; members come out in alphabetical order, without spaces.
std::string CelLine(const json& event) {
  return kRecordSeparator + event.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string AnchorLine(std::uint64_t record_number, std::uint32_t nv_handle, const AnchorEvent& event) {
  json content = {{"eventType", "anchor"}, {"number", event.number}};
  if (event.note) content["string"] = *event.note;
  return CelLine({{"recnum", record_number},
                  {"nv_index", nv_handle},
                  {"digests", {{{"hashAlg", "sha256"}, {"digest", HexOf(event.digest)}}}},
                  {"content_type", "stele"},
                  {"content", std::move(content)}});
}

std::optional<AnchorEvent> AnchorOf(const json& line) {
  if (!line.is_object() || !line.contains("content") || !line.contains("digests")) return std::nullopt;
  const json& content = line["content"];
  const json& digests = line["digests"];
  if (!content.is_object() || !content.contains("number") || !content["number"].is_number_unsigned()) return std::nullopt;
  if (!digests.is_array() || digests.size() != 1 || !digests[0].is_object() || !digests[0].contains("digest") ||
      !digests[0]["digest"].is_string()) {
    return std::nullopt;
  }
  const auto digest = ParseHash(digests[0]["digest"].get_ref<const std::string&>());
  if (!digest) return std::nullopt;
  AnchorEvent event{content["number"].get<std::uint64_t>(), *digest, std::nullopt};
  if (content.contains("string") && content["string"].is_string()) event.note = content["string"].get<std::string>();
  return event;
}

tl::unexpected<Error> Bad(const char* log, std::size_t number) {
  return Fail(Code::kInvalid, std::string(log) + ": event " + std::to_string(number) + " is not in its one form");
}

}  // namespace

Bytes EncodeEventLog(std::uint32_t pcr, const std::vector<CheckpointEvent>& events) {
  Bytes out = SpecIdEvent();
  for (const CheckpointEvent& event : events) {
    measure::AppendEvent(out, {pcr, measure::kEventTag, {{measure::kAlgSha256, event.digest}}, AsBytes(event.note)});
  }
  return out;
}

Result<std::vector<CheckpointEvent>> ParseEventLog(ByteView log, std::uint32_t pcr) {
  const Bytes head = SpecIdEvent();
  if (!SameBytes(log.first(std::min(head.size(), log.size())), head)) {
    return Fail(Code::kInvalid, "event log: no Spec ID event of sha256 alone");
  }
  STELE_TRY(measure::EventLogReader reader, measure::EventLogReader::Open(log));
  std::vector<CheckpointEvent> events;
  for (;;) {
    const auto event = reader.Next();
    if (event && !*event) return events;
    auto checkpoint = event ? CheckpointOf(**event, pcr) : std::nullopt;
    if (!checkpoint) return Bad("event log", events.size());
    events.push_back(std::move(*checkpoint));
  }
}

std::string EncodeCheckpointsCel(std::uint32_t pcr, const std::vector<CheckpointEvent>& events) {
  std::string out;
  for (std::size_t i = 0; i < events.size(); ++i) {
    out += CelLine({{"recnum", i},
                    {"pcr", pcr},
                    {"digests", {{{"hashAlg", "sha256"}, {"digest", HexOf(events[i].digest)}}}},
                    {"content_type", "stele"},
                    {"content", {{"eventType", "checkpoint"}, {"string", events[i].note}}}});
  }
  return out;
}

std::string EncodeAnchorsCel(std::uint32_t nv_handle, const std::vector<AnchorEvent>& events) {
  std::string out;
  for (std::size_t i = 0; i < events.size(); ++i) out += AnchorLine(i, nv_handle, events[i]);
  return out;
}

Result<std::vector<AnchorEvent>> ParseAnchorsCel(std::string_view cel, std::uint32_t nv_handle) {
  std::vector<AnchorEvent> events;
  while (!cel.empty()) {
    const std::size_t end = cel.find('\n');
    if (end == std::string_view::npos || cel.front() != kRecordSeparator) return Bad("anchors.cel", events.size());
    const std::string_view line = cel.substr(0, end + 1);
    const auto event = AnchorOf(json::parse(line.substr(1), nullptr, false));
    const bool follows = event && (events.empty() || event->number == events.back().number + 1);
    if (!follows || AnchorLine(events.size(), nv_handle, *event) != line) return Bad("anchors.cel", events.size());
    events.push_back(*event);
    cel.remove_prefix(line.size());
  }
  return events;
}

}  // namespace stele::evidence
