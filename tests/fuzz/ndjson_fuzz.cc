// NDJSON bodies of arbitrary bytes. Oracle: a plain RFC 8259 grammar gives the same verdict on every line, events lie in order inside
// the body with nothing but blanks between them, and the parts a body arrives in change nothing.
#include <algorithm>
#include <cstdint>
#include <string>

#include "appliance/ingest/json_body.h"
#include "appliance/ingest/json_grammar.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stele;
  using namespace stele::ingest;
  if (size == 0) return 0;
  const ByteView body(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  JsonChecker checker;

  std::vector<JsonSlice> expected;
  NdjsonSplitter splitter(body, checker);
  JsonEvent event;
  std::size_t end = 0;
  while (splitter.Next(event)) {
    STELE_CHECK(event.parsed == IsJsonText(AsText(event.bytes), kJsonDepthMax));
    const auto offset = static_cast<std::size_t>(event.bytes.data() - body.data());
    STELE_CHECK(offset >= end);
    const auto between = AsText(body.subspan(end, offset - end));
    STELE_CHECK(between.find_first_not_of(" \t\r\n") == std::string_view::npos);
    end = offset + event.bytes.size();
    expected.push_back({static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(event.bytes.size()), static_cast<std::uint32_t>(event.line),
                        event.parsed});
  }

  JsonBody parts(JsonBody::Kind::kLines, checker);
  const std::size_t part = 1 + data[0];
  for (std::size_t at = 0; at < body.size(); at += part) STELE_CHECK(parts.Append(body.subspan(at, std::min(part, body.size() - at))).has_value());
  STELE_CHECK(parts.Finish().has_value());
  STELE_CHECK(parts.events().size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const auto& one = parts.events()[i];
    STELE_CHECK(one.offset_bytes == expected[i].offset_bytes);
    STELE_CHECK(one.length_bytes == expected[i].length_bytes);
    STELE_CHECK(one.line == expected[i].line);
    STELE_CHECK(one.parsed == expected[i].parsed);
  }

  JsonBody object(JsonBody::Kind::kObjectOrLines, checker);
  if (object.Append(body) && object.Finish()) {
    for (const auto& slice : object.events()) {
      STELE_CHECK(slice.parsed == IsJsonText(AsText(body.subspan(slice.offset_bytes, slice.length_bytes)), kJsonDepthMax));
    }
  }
  return 0;
}
