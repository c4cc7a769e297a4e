#include "appliance/channel/control.h"

#include <nlohmann/json.hpp>

namespace stele::channel {
namespace {

using nlohmann::json;

Bytes Dump(const json& object) {
  return ToBytes(AsBytes(object.dump(-1, ' ', false, json::error_handler_t::replace)));
}

// A string member; absent counts as empty when it is optional.
bool TakeText(const json& object, const char* name, bool required, std::string& out) {
  const auto member = object.find(name);
  if (member == object.end()) return !required;
  if (!member->is_string()) return false;
  out = member->get<std::string>();
  return true;
}

}  // namespace

Result<void> SendTakeChannel(int control_fd, const TakeChannel& what, int descriptor) {
  const json object = {{"role", what.role}, {"name", what.name}, {"detail_json", what.detail_json}};
  return SendWithDescriptor(control_fd, Type::kTakeChannel, Dump(object), descriptor);
}

Result<TakeChannel> DecodeTakeChannel(ByteView body) {
  const json object = json::parse(AsText(body), nullptr, false);
  if (!object.is_object()) return Fail(Code::kInvalid, "take-channel: not a JSON object");
  TakeChannel what;
  if (!TakeText(object, "role", true, what.role) || what.role.empty() || !TakeText(object, "name", false, what.name) ||
      !TakeText(object, "detail_json", false, what.detail_json)) {
    return Fail(Code::kInvalid, "take-channel: role, name and detail_json are strings, and role is not empty");
  }
  return what;
}

Result<void> SendReady(int control_fd, std::string_view detail_json) {
  return Send(control_fd, Type::kReady, AsBytes(detail_json));
}

Result<StartUp> ReceiveStartUp(int control_fd) {
  StartUp start_up;
  bool configured = false;
  for (;;) {
    STELE_TRY(Frame frame, Receive(control_fd, /*wait=*/true, /*with_descriptors=*/true));
    switch (frame.type) {
      case Type::kConfigurePart: start_up.configuration_json += AsText(frame.body); break;
      case Type::kConfigure:
        start_up.configuration_json += AsText(frame.body);
        configured = true;
        break;
      case Type::kTakeChannel: {
        STELE_TRY(TakeChannel what, DecodeTakeChannel(frame.body));
        if (frame.descriptors.size() != 1) return Fail(Code::kInvalid, "take-channel: exactly one descriptor");
        start_up.channels.push_back({std::move(what), std::move(frame.descriptors.front())});
        break;
      }
      case Type::kStart:
        if (!configured) return Fail(Code::kInvalid, "start before configuration");
        return start_up;
      case Type::kStop:
        return Fail(Code::kNotFound, "stopped before the start");
      default:
        break;  // a later supervisor may say more; nothing else matters before the start
    }
  }
}

}  // namespace stele::channel
