// The commands of `stele policy` that have to do with the policy in force, by the guard of a running appliance
// (netfilter/guard/requests.h). Each returns the exit status (client.h).
#pragma once

#include <string>
#include <vector>

#include "appliance/daemons/home.h"

namespace stele::daemons::cli {

struct PolicyChangeOptions {
  std::string file;  // stele.toml
  bool json = false;
  bool force = false;                  // also when it cuts off the operators
  std::vector<std::string> from;       // addresses of operators who must still get in
  std::string why;                     // it stays in the log
  std::vector<std::string> approvals;  // files
  std::string in_force;                // of approve: what `stele policy show --json` said
  std::string key;                     // of approve: Ed25519 private key, PEM
  std::string name;                    // of approve: of the approver
  unsigned days = 7;                   // of approve: until it expires
  std::string output;
};
int RunPolicyApply(const Home& home, const PolicyChangeOptions& options);
int RunPolicyShow(const Home& home, const PolicyChangeOptions& options);
int RunPolicyApprove(const Home& home, const PolicyChangeOptions& options);

}  // namespace stele::daemons::cli
