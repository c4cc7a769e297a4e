// The commands of `stele`. Each returns the exit status (client.h) and prints what it has to say.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "appliance/daemons/home.h"

namespace stele::daemons::cli {

int RunStatus(const Home& home, bool json);

struct SearchOptions {
  std::string query;
  std::string from;  // RFC 3339, ns since the epoch, or an age: 90s, 15m, 2h, 7d
  std::string to;
  std::optional<std::uint64_t> limit;
  std::optional<std::uint64_t> before;
  bool json = false;
};
int RunSearch(const Home& home, const SearchOptions& options);

int RunTail(const Home& home, const std::string& query, bool json);

struct ShowOptions {
  std::uint64_t sequence = 0;
  bool proof = false;
  bool raw = false;
  bool json = false;
  std::string output_dir;  // with proof: plain files for stock tools
};
int RunShow(const Home& home, const ShowOptions& options);

struct VerifyOptions {
  bool json = false;
  std::string pin;  // file: the provisioning public key, PEM
  std::vector<std::string> devices;  // of the store, as store.partitions; empty: what stele.toml says
};
int RunVerify(const Home& home, const VerifyOptions& options);

struct PolicyOptions {
  std::string file;   // stele.toml
  std::string other;  // of diff: the newer one
  bool json = false;
  bool ruleset = false;                 // print what nftables would be told
  bool force = false;                   // also when it cuts off the operators
  bool here = false;                    // the interfaces of this machine
  std::vector<std::string> interfaces;  // those there are
  std::vector<std::string> from;        // addresses of operators who must still get in
};
int RunPolicyCheck(const PolicyOptions& options);
int RunPolicyDiff(const PolicyOptions& options);

struct ProvisionOptions {
  std::string config;
  bool dry_run = false;
  std::string exchange;  // folder; with `pin`: an enroller elsewhere signs
  std::string pin;
  std::string ek_root;   // file or folder
  bool no_ek_root = false;
  std::string escrow;    // file
  bool no_lock_down = false;
  bool start_over = false;
  std::vector<std::uint32_t> seal_pcrs;
  std::string enroller;  // folder: this is the enroller's machine
  std::string key;       // file: the provisioning key
  std::string make_key;  // file to make
  bool epoch = false;    // the log that is here goes on with another TPM state
  std::string reason;    // with `epoch`: why
};
// By itself: running it twice changes nothing.
int RunProvision(const Home& home, const ProvisionOptions& options);

struct BenchOptions {
  std::string config;
  std::string auths;  // file: tpm-auths.json, to measure NV on a TPM that is locked down
  int rounds = 20;
  bool json = false;
};
// Measures the device, or a scratch software TPM where the log has the embedded one.
int RunTpmBench(const Home& home, const BenchOptions& options);

struct BundleOptions {
  std::string nonce;
  std::string range;                 // FIRST..LAST
  std::optional<std::string> query;
  std::string from;
  std::string to;
  std::vector<std::uint64_t> records;
  std::vector<std::string> since;    // sizes, or files with receipts
  bool no_payloads = false;
  bool no_anchor = false;
  bool full_log = false;
  std::string output;
};
// Without a selection: the TPM's word alone, as JSON on standard output.
int RunBundle(const Home& home, const BundleOptions& options);

struct ExportOptions {
  std::string tlog_dir;
  bool no_entries = false;  // hashes only: the tree can be checked, the entries cannot
};
int RunExport(const Home& home, const ExportOptions& options);

// stele witness: a witness of one's own, in a directory of its own (init, serve, sign), and the log's side where only files
// travel (request, import).
struct WitnessOptions {
  std::string witness_dir;
  std::string name;      // init: of the key; request: of a witness in the policy
  std::string listen;    // ADDRESS:PORT
  std::string tls_certificate;
  std::string tls_key;
  std::string input;
  std::string output;
  std::string config;
  std::optional<std::uint64_t> old_size;
};
int RunWitnessInit(const WitnessOptions& options);
int RunWitnessServe(const WitnessOptions& options);
int RunWitnessSign(const WitnessOptions& options);
int RunWitnessRequest(const Home& home, const WitnessOptions& options);
int RunWitnessImport(const Home& home, const WitnessOptions& options);

// "15m" -> the time then, in ns; RFC 3339 and ns pass through. nullopt: none of these.
[[nodiscard]] std::optional<std::string> TimeArgument(const std::string& text, std::int64_t now_ns);

}  // namespace stele::daemons::cli
