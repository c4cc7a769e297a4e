// What the TPM and the anchor's own slots say about a log that `stele verify` has read. Three ways to ask:
//   live      a Stele runs in the directory: its anchor has judged at its start and watches since; the status tells
//   copy      stopped, embedded TPM: a private swtpm on a copy of tpm/ (powering it on changes the copy, not the original).
//             It gives the NV registers; the PCR has no past after power-on, so PCR rows go unchecked
//   device    stopped, hardware TPM: its registers are only read
#pragma once

#include <string>
#include <vector>

#include "appliance/anchor/provisioning_record.h"
#include "appliance/channel/anchor_messages.h"
#include "appliance/daemons/home.h"

namespace stele::daemons::cli {

struct TpmCheck {
  std::string source = "none";  // live copy device none
  std::string word;             // a verdict; empty when none could be had
  std::string detail;
  std::vector<std::string> qualifiers;
  std::vector<std::string> warnings;
  std::vector<std::string> unchecked;  // what this way of asking cannot see
};

// The running Stele's own verdict. An empty word, with the reason in `detail`, when it does not answer.
[[nodiscard]] TpmCheck AskRunning(const Home& home);

// The same judgement that the anchor makes at its start, from the registers as they are; nothing is written.
[[nodiscard]] TpmCheck JudgeStopped(const Home& home, const anchor::SignedRecord& signed_record,
                                    const anchor::ProvisioningRecord& record, const channel::LogState& state);

}  // namespace stele::daemons::cli
