// What holds for every parsed syslog message, whatever the bytes.
#pragma once

#include "appliance/base/result.h"
#include "appliance/ingest/message.h"

namespace stele::ingest {

inline void CheckInside(std::string_view payload, std::string_view view) {
  if (view.empty()) return;
  STELE_CHECK(view.data() >= payload.data());
  STELE_CHECK(view.data() + view.size() <= payload.data() + payload.size());
}

inline void CheckMessage(std::string_view payload, const ParsedMessage& message) {
  for (const auto view : {message.time_text, message.host, message.app, message.pid, message.msgid, message.sequence}) CheckInside(payload, view);
  STELE_CHECK(message.message_offset <= payload.size());
  STELE_CHECK(message.message_length <= payload.size() - message.message_offset);
  STELE_CHECK(message.elements.size() <= kElementsListedMax);
  STELE_CHECK(message.parameters.size() <= kParametersListedMax);
  std::size_t next = 0;
  for (const auto& element : message.elements) {
    CheckInside(payload, element.id);
    STELE_CHECK(element.parameter_first == next);
    next += element.parameter_count;
  }
  STELE_CHECK(next == message.parameters.size());
  for (const auto& parameter : message.parameters) {
    CheckInside(payload, parameter.name);
    CheckInside(payload, parameter.value);
    STELE_CHECK(Unescape(parameter.value).size() <= parameter.value.size());
  }
  STELE_CHECK(message.facility.has_value() == message.severity.has_value());
  STELE_CHECK(message.facility.has_value() != message.Has(kBadPriority));
  const auto peek = PeekPriority(AsBytes(payload));
  STELE_CHECK(peek.facility == message.facility);
  STELE_CHECK(peek.severity == message.severity);
  STELE_CHECK(PeekHost(AsBytes(payload), 0) == message.host);
}

}  // namespace stele::ingest
