// `stele audit`: checks a bundle offline. No TPM, no network, no daemon: this file and appliance/evidence are all that the
// static program `stele-audit` is made of.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "appliance/base/result.h"
#include "appliance/evidence/verify.h"

namespace stele::daemons::cli {

struct AuditOptions {
  std::string file;
  std::string nonce;
  std::string pin;
  std::vector<std::string> ek_roots;
  std::string expected_pcrs;
  std::string compare;
  std::string since;
  std::string witness_policy;
  std::uint64_t witness_max_age_s = evidence::kWitnessMaxAgeS;
  std::string html;
  bool json = false;
};
void AddAuditOptions(CLI::App& app, AuditOptions& options);

// The checkpoint a receipt carries: itself, or a member of an acknowledgement, a status, a checkpoint entry. kInvalid: none.
[[nodiscard]] Result<std::string> NoteOfReceipt(const std::string& text);

// Exit status: 0 the evidence is good, 1 it is not, 2 wrong usage, 3 cannot tell.
int RunAudit(const AuditOptions& options);

}  // namespace stele::daemons::cli
