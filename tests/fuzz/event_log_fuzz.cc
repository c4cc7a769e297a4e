// TCG event logs under libFuzzer. Oracles: what is read is written back to the same bytes (behind the first event's
// register and digest, which nothing depends on); what replays is no log any more without its last byte; the sha256
// registers are what a fold over the events read gives; whatever is shown is ASCII.
#include <algorithm>
#include <cstdint>

#include "appliance/base/hash.h"
#include "firmware/measure/event_log.h"
#include "firmware/measure/event_text.h"

namespace {

using namespace stele;
using namespace stele::measure;

// The log's events, if all of them can be read.
std::optional<std::vector<Event>> EventsOf(EventLogReader& reader) {
  std::vector<Event> events;
  for (;;) {
    auto event = reader.Next();
    if (!event) return std::nullopt;
    if (!*event) return events;
    events.push_back(std::move(**event));
  }
}

void CheckRoundTrip(ByteView log, const SpecId& spec_id, const std::vector<Event>& events) {
  constexpr std::size_t kFirstHeaderBytes = 4 + 4 + 20;
  Bytes written = EncodeSpecId(spec_id);
  for (const Event& event : events) AppendEvent(written, event);
  STELE_CHECK(SameBytes(ByteView(written).subspan(kFirstHeaderBytes), log.subspan(kFirstHeaderBytes)));
}

void CheckReplay(const Replay& replay, const std::vector<Event>& events) {
  for (std::uint32_t pcr = 1; pcr < kRegisters; ++pcr) {  // PCR 0 may begin elsewhere
    Hash value{};
    for (const Event& event : events) {
      if (event.pcr != pcr || event.type == kNoAction) continue;
      const auto digest = event.Of(kAlgSha256);
      STELE_CHECK(digest.has_value());
      value = Sha256Of({value, *digest});
    }
    STELE_CHECK(SameBytes(replay[pcr].value, value));
  }
}

bool IsAscii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c == '\n' || (c >= ' ' && c < 0x7f); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView log(reinterpret_cast<const std::byte*>(data), size);
  auto reader = EventLogReader::Open(log);
  if (!reader) {
    STELE_CHECK(!ReplayLog(log, kAlgSha256));
    return 0;
  }
  const auto events = EventsOf(*reader);
  const auto replay = ReplayLog(log, kAlgSha256);
  STELE_CHECK(events || !replay);
  STELE_CHECK(EventLogText(log).has_value() == events.has_value());
  if (!events) return 0;
  CheckRoundTrip(log, reader->spec_id(), *events);
  if (replay) CheckReplay(*replay, *events);
  STELE_CHECK(IsAscii(EventLogText(log).value()) && IsAscii(EventLogJson(log).value()));
  auto shorter = EventLogReader::Open(log.first(log.size() - 1));
  STELE_CHECK(!shorter || !EventsOf(*shorter));
  return 0;
}
