// The login line of JSON lines on arbitrary bytes, alone and as the inside of the object. Oracle: what is taken for a
// login is JSON by the plain grammar, and the token is what that JSON says; a token written as a login is read back.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "appliance/ingest/json_grammar.h"
#include "appliance/ingest/json_lines.h"
#include "appliance/ingest/ndjson.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stele;
  using namespace stele::ingest;
  const std::string raw(reinterpret_cast<const char*>(data), size);
  for (const std::string& line : {raw, "{\"auth\":\"" + raw + "\"}", "{\"auth\":" + raw + "}"}) {
    const auto token = ParseLogin(AsBytes(line));
    if (!token) continue;
    STELE_CHECK(line.size() <= kLoginLineBytes);
    STELE_CHECK(IsJsonText(line, kJsonDepthMax));
    const auto object = nlohmann::json::parse(line);
    STELE_CHECK(object.size() == 1 && object.at("auth") == *token);
    const std::string written = nlohmann::json{{"auth", *token}}.dump();
    if (written.size() <= kLoginLineBytes) STELE_CHECK(ParseLogin(AsBytes(written)) == token);
  }
  return 0;
}
