#include "firmware/measure/expected_pcrs.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "firmware/measure/event_log.h"
#include "firmware/measure/event_text.h"

namespace stele::measure {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "stele/expected-pcrs/v1";
constexpr std::size_t kTextBytesMax = std::size_t{1} << 20U;
constexpr std::size_t kEventsMax = 4'096;

tl::unexpected<Error> Bad(const std::string& why) { return Fail(Code::kInvalid, "expected PCRs: " + why); }

std::optional<Hash> HashIn(const json& object, const char* name) {
  const auto member = object.find(name);
  if (member == object.end() || !member->is_string()) return std::nullopt;
  return ParseHash(member->get_ref<const std::string&>());
}

bool Is(const json& object, const char* name, std::string_view value) {
  const auto member = object.find(name);
  return member != object.end() && member->is_string() && member->get_ref<const std::string&>() == value;
}

std::optional<std::uint32_t> RegisterNumber(std::string_view text) {
  std::uint32_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool canonical =
      parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && std::to_string(number) == text;
  return canonical && number < kRegisters ? std::optional(number) : std::nullopt;
}

Result<std::vector<PredictedEvent>> EventsOf(const json& file) {
  const auto member = file.find("events");
  if (member == file.end() || !member->is_array() || member->size() > kEventsMax) return Bad("no events");
  std::vector<PredictedEvent> events;
  for (const json& one : *member) {
    if (!one.is_object() || !one.contains("pcr") || !one["pcr"].is_number_unsigned()) return Bad("a malformed event");
    const auto pcr = one["pcr"].get<std::uint64_t>();
    const auto digest = HashIn(one, "digest");
    if (pcr >= kRegisters || !digest) return Bad("a malformed event");
    events.push_back({static_cast<std::uint32_t>(pcr), 0, *digest, {}});
  }
  return events;
}

}  // namespace

std::string EncodeExpectedPcrs(const Prediction& prediction) {
  json events = json::array();
  for (const PredictedEvent& event : prediction.events) {
    events.push_back({{"pcr", event.pcr},
                      {"type", EventTypeText(event.type)},
                      {"digest", HexOf(event.digest)},
                      {"what", event.what}});
  }
  json registers = json::object();
  for (const auto& [number, value] : prediction.registers) registers[std::to_string(number)] = HexOf(value);
  json phases = json::array();
  for (const PhaseValue& phase : prediction.phases)
    phases.push_back({{"path", phase.path}, {"pcr11", HexOf(phase.value)}});
  json sections = json::array();
  for (const SectionFact& section : prediction.sections) {
    sections.push_back({{"name", section.name}, {"size_bytes", section.size_bytes}, {"sha256", HexOf(section.sha256)}});
  }
  json variables = json::object();
  for (const auto& [name, digest] : prediction.variables) variables[name] = HexOf(digest);
  const json file = {
      {"format", kFormat},
      {"bank", "sha256"},
      {"registers", std::move(registers)},
      {"phases", std::move(phases)},
      {"events", std::move(events)},
      {"secure_boot",
       {{"variables", std::move(variables)},
        {"authority",
         {{"owner", TextOf(prediction.authority_owner)}, {"sha256", HexOf(prediction.authority_sha256)}}}}},
      {"uki",
       {{"stub", prediction.stub},
        {"size_bytes", prediction.uki_size_bytes},
        {"sha256", HexOf(prediction.uki_sha256)},
        {"authenticode_sha256", HexOf(prediction.authenticode)},
        {"sections", std::move(sections)}}}};
  return file.dump(2, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace) + "\n";
}

Result<std::map<std::uint32_t, Hash>> ParseExpectedPcrs(std::string_view json_text) {
  if (json_text.size() > kTextBytesMax) return Bad("larger than 1 MiB");
  const json file = json::parse(json_text, nullptr, /*allow_exceptions=*/false);
  if (!file.is_object() || !Is(file, "format", kFormat)) return Bad(std::string("not of the format ") + kFormat);
  if (!Is(file, "bank", "sha256")) return Bad("not of the sha256 bank");
  const auto member = file.find("registers");
  if (member == file.end() || !member->is_object() || member->empty()) return Bad("no registers");
  STELE_TRY(const std::vector<PredictedEvent> events, EventsOf(file));
  std::map<std::uint32_t, Hash> led_to = RegistersAfter(events);
  std::map<std::uint32_t, Hash> registers;
  for (const auto& [name, value] : member->items()) {
    const auto number = RegisterNumber(name);
    const auto hash = HashIn(*member, name.c_str());
    if (!number || !hash) return Bad("\"" + name + "\" is not a register with a sha256 value");
    if (*hash != led_to[*number]) return Bad("its events do not lead to its PCR " + name);  // without events: zeros
    registers[*number] = *hash;
  }
  for (const auto& [number, value] : led_to) {
    if (!registers.contains(number))
      return Bad("its events extend PCR " + std::to_string(number) + ", which it does not name");
  }
  return registers;
}

}  // namespace stele::measure
