// What belongs to the guard on its channels, beside channel.h: the frames between it and the command line. Their bodies are JSON, in netfilter/guard/requests.h.
#pragma once

#include "appliance/channel/channel.h"

namespace stele::channel {

inline constexpr Type kPolicyRequestPart{70};  // long_message.h
inline constexpr Type kPolicyRequest{71};
inline constexpr Type kPolicyAnswerPart{72};
inline constexpr Type kPolicyAnswer{73};

}  // namespace stele::channel
