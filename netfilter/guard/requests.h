// What the command line asks the guard, and what it answers: one JSON object each way on run/guard.sock (a
// SOCK_SEQPACKET Unix socket; appliance/channel/policy_messages.h). Who asks is the kernel's word (SO_PEERCRED): the
// user of the appliance, or root.
//
//   request := {"op":"show"}
//            | {"op":"apply","policy":TEXT,"why","force":bool,"from":["192.0.2.7",...],"approvals":[TEXT,...]}
//   answer  := {"result":"in_force"|"none","log","digest","entry":N,"since_ns":N,"who","policy":TEXT,"approvals":N}
//            | {"result":RESULT,"digest","entry":N,"diff":[...],"reasons":[...],"warnings":[...]}
//   RESULT  := "applied" | "unchanged" | "refused" | "failed" (the kernel refused; the old rules stay)
//            | "wrong" (the policy contradicts itself)
//            | "cannot" (it could not be written into the log, or another change is under way)
#pragma once

#include <cstddef>

#include "appliance/base/limits.h"

namespace stele::limits {

inline constexpr std::size_t kPolicyRequestBytes = 2 * kMiB;
inline constexpr std::size_t kPolicyClients = 8;  // at a time

}  // namespace stele::limits
