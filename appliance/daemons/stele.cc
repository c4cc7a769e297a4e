// The `stele` command: what an operator types. Exit status: 0 yes, 1 no, 2 wrong usage or configuration, 3 cannot tell.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>

#include "appliance/base/system.h"
#include "appliance/daemons/cli/audit.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/commands.h"
#include "appliance/daemons/cli/policy_change.h"
#include "appliance/daemons/supervisor.h"
#include "appliance/daemons/version.h"

namespace stele::daemons {
namespace {

// Everything the command line can say.
struct Arguments {
  std::string dir;
  std::string config;
  std::string listen;
  bool netns = false;
  std::string units;
  bool json = false;
  cli::SearchOptions search;
  cli::ShowOptions show;
  cli::BundleOptions bundle;
  cli::AuditOptions audit;
  std::string tail_query;
  cli::VerifyOptions verify;
  cli::ProvisionOptions provision;
  cli::BenchOptions bench;
  cli::ExportOptions exported;
  cli::WitnessOptions witness;
  cli::PolicyOptions policy;
  cli::PolicyChangeOptions policy_change;
};

struct Commands {
  CLI::App* up = nullptr;
  CLI::App* status = nullptr;
  CLI::App* search = nullptr;
  CLI::App* tail = nullptr;
  CLI::App* show = nullptr;
  CLI::App* verify = nullptr;
  CLI::App* bundle = nullptr;
  CLI::App* audit = nullptr;
  CLI::App* provision = nullptr;
  CLI::App* tpm_bench = nullptr;
  CLI::App* exported = nullptr;
  CLI::App* witness_init = nullptr;
  CLI::App* witness_serve = nullptr;
  CLI::App* witness_sign = nullptr;
  CLI::App* witness_request = nullptr;
  CLI::App* witness_import = nullptr;
  CLI::App* policy_check = nullptr;
  CLI::App* policy_diff = nullptr;
  CLI::App* policy_apply = nullptr;
  CLI::App* policy_show = nullptr;
  CLI::App* policy_approve = nullptr;
};

CLI::App* AddCommand(CLI::App& app, Arguments& arguments, const char* name, const char* description) {
  CLI::App* command = app.add_subcommand(name, description);
  command->add_option("--dir", arguments.dir, "directory of this Stele (default: ~/.local/share/stele)");
  return command;
}

void DescribeBundle(CLI::App& command, cli::BundleOptions& bundle) {
  command.add_option("--nonce", bundle.nonce, "64 hexadecimal digits that the auditor chose")->required();
  CLI::Option* range = command.add_option("--range", bundle.range, "FIRST..LAST, both inclusive; FIRST.. is to the end");
  CLI::Option* query = command.add_option("--query", bundle.query, "docs/query.md; empty: everything")->excludes(range);
  command.add_option("--record", bundle.records, "single records")->excludes(range)->excludes(query);
  command.add_option("--from", bundle.from, "with --query: received at or after, RFC 3339")->needs(query);
  command.add_option("--to", bundle.to, "with --query: received before")->needs(query);
  command.add_option("--since", bundle.since, "prove that this log continues an earlier one: a size, or a file with a receipt");
  command.add_flag("--no-payloads", bundle.no_payloads, "entries without what they commit to");
  command.add_flag("--no-anchor", bundle.no_anchor, "quote what is anchored now; make no new anchor");
  command.add_flag("--full-log", bundle.full_log, "every checkpoint since the boot, so that stock tools can replay the register");
  command.add_option("-o,--output", bundle.output, "the file; without a selection the TPM's answer goes to standard output");
}

void DescribeProvision(CLI::App& command, cli::ProvisionOptions& options) {
  command.add_option("--config", options.config, "configuration (default: DIR/stele.toml where it exists)");
  command.add_flag("--dry-run", options.dry_run, "say what each stage would do; change nothing");
  command.add_option("--ek-root", options.ek_root, "TPM makers' certificates, a file or folder: the EK must chain to one");
  command.add_option("--escrow", options.escrow, "file for the TPM's owner, endorsement and lockout authorisations");
  command.add_flag("--no-lock-down", options.no_lock_down, "leave the hierarchies as they are");
  command.add_option("--seal-pcrs", options.seal_pcrs, "seal the seed to these PCRs too, as they are now (for example 7,12)")
      ->delimiter(',')
      ->check(CLI::Range(0, 23));
  command.add_flag("--start-over", options.start_over, "remove what an interrupted attempt left in the TPM");
  CLI::Option* epoch = command.add_flag("--epoch", options.epoch,
                                        "the log that is here goes on with another TPM, or with this one made anew");
  CLI::Option* reason = command.add_option("--reason", options.reason, "with --epoch: why; it stays in the log")->needs(epoch);
  epoch->needs(reason);
  command.add_option("--exchange", options.exchange, "folder for the enroller's files; needs --pin");
  command.add_option("--pin", options.pin, "with --exchange: the enroller's public key (PEM)");
  command.add_option("--enroller", options.enroller, "this is the enroller's machine: answer the newest file in this folder");
  command.add_option("--key", options.key, "with --enroller or --epoch: the provisioning key (PEM)");
  command.add_flag("--no-ek-root", options.no_ek_root, "with --enroller: do not verify the EK certificate's chain");
  command.add_option("--make-key", options.make_key, "make a provisioning key in FILE and its pin in FILE.pub, and stop");
}

void DescribeWitness(CLI::App& app, Arguments& arguments, Commands& commands) {
  CLI::App* witness = app.add_subcommand("witness", "cosign the checkpoints of other logs, or have this one's cosigned by file");
  witness->require_subcommand(1);
  cli::WitnessOptions& options = arguments.witness;
  const auto own_dir = [&](const char* name, const char* description) {
    CLI::App* command = witness->add_subcommand(name, description);
    command->add_option("--dir", options.witness_dir, "directory of the witness")->required();
    return command;
  };
  commands.witness_init = own_dir("init", "make the key of a witness; prints its vkey");
  commands.witness_init->add_option("--name", options.name, "name of the key: a URL without its scheme")->required();
  commands.witness_serve = own_dir("serve", "answer requests for cosignatures until stopped");
  commands.witness_serve->add_option("--listen", options.listen, "ADDRESS:PORT, [ADDRESS]:PORT; port 0: any")->required();
  CLI::Option* certificate = commands.witness_serve->add_option("--tls-certificate", options.tls_certificate, "PEM chain: HTTPS");
  CLI::Option* key = commands.witness_serve->add_option("--tls-key", options.tls_key, "PEM key")->needs(certificate);
  certificate->needs(key);
  commands.witness_sign = own_dir("sign", "answer one request file");
  commands.witness_sign->add_option("REQUEST", options.input, "made by stele witness request")->required();
  commands.witness_sign->add_option("-o,--output", options.output, "the answer")->required();

  commands.witness_request = AddCommand(*witness, arguments, "request", "write a request for a cosignature of the newest checkpoint");
  commands.witness_request->add_option("-o,--output", options.output, "the request")->required();
  commands.witness_request->add_option("--config", options.config, "configuration (default: DIR/stele.toml where it exists)");
  commands.witness_request->add_option("--witness", options.name, "its name in the policy: continues what it cosigned last");
  commands.witness_request->add_option("--old", options.old_size, "the size it has: what a refusal with 409 said");
  commands.witness_import = AddCommand(*witness, arguments, "import", "take the answer of a witness");
  commands.witness_import->add_option("ANSWER", options.input, "made by stele witness sign")->required();
  commands.witness_import->add_option("--config", options.config, "configuration (default: DIR/stele.toml where it exists)");
}

void DescribePolicyChanges(CLI::App& policy, Arguments& arguments, Commands& commands) {
  cli::PolicyChangeOptions& options = arguments.policy_change;
  commands.policy_apply = AddCommand(policy, arguments, "apply", "put a policy in force: first an entry of the log, then the rules");
  commands.policy_apply->add_option("FILE", options.file, "stele.toml; of it, the zones and flows")->required();
  commands.policy_apply->add_option("--why", options.why, "the reason; it stays in the log")->required();
  commands.policy_apply->add_option("--approval", options.approvals, "made by stele policy approve; once for each person");
  commands.policy_apply->add_option("--from", options.from, "addresses of operators who must still get in")->delimiter(',');
  commands.policy_apply->add_flag("--force", options.force, "also where operators are cut off, or an interface is not there");
  commands.policy_apply->add_flag("--json", options.json, "the answer as one object");
  commands.policy_show = AddCommand(policy, arguments, "show", "the policy in force, and since when");
  commands.policy_show->add_flag("--json", options.json, "as one object, for stele policy approve --in-force");
  commands.policy_approve = AddCommand(policy, arguments, "approve", "sign that a policy may replace the one in force");
  commands.policy_approve->add_option("FILE", options.file, "stele.toml, as it will be applied")->required();
  commands.policy_approve->add_option("--key", options.key, "the approver's private key (Ed25519, PEM)")->required();
  commands.policy_approve->add_option("--name", options.name, "the approver's name in policy.approvers")->required();
  commands.policy_approve->add_option("--in-force", options.in_force, "what stele policy show --json said; else the appliance is asked");
  commands.policy_approve->add_option("--days", options.days, "until it expires (default: 7)")->check(CLI::Range(1, 365));
  commands.policy_approve->add_option("-o,--output", options.output, "the approval")->required();
}

void DescribePolicy(CLI::App& app, Arguments& arguments, Commands& commands) {
  cli::PolicyOptions& options = arguments.policy;
  CLI::App* policy = app.add_subcommand("policy", "the network policy: who may reach what (docs/segmentation.md)");
  policy->require_subcommand(1);
  commands.policy_check = policy->add_subcommand("check", "find what is wrong with it, and print its reachability matrix");
  commands.policy_check->add_option("FILE", options.file, "stele.toml")->required();
  CLI::Option* json = commands.policy_check->add_flag("--json", options.json, "findings and matrix as one object");
  commands.policy_check->add_flag("--ruleset", options.ruleset, "print the nftables ruleset instead of the matrix")->excludes(json);
  CLI::Option* here = commands.policy_check->add_flag("--here", options.here, "the interfaces must be those of this machine");
  commands.policy_check->add_option("--interfaces", options.interfaces, "the interfaces there are")->delimiter(',')->excludes(here);
  commands.policy_check->add_option("--from", options.from, "addresses of operators who must still get in")->delimiter(',');
  commands.policy_check->add_flag("--force", options.force, "say yes also where the operators would be cut off");
  commands.policy_diff = policy->add_subcommand("diff", "say what a change of the policy opens and closes");
  commands.policy_diff->add_option("OLD", options.file, "stele.toml")->required();
  commands.policy_diff->add_option("NEW", options.other, "stele.toml")->required();
  commands.policy_diff->add_flag("--json", options.json, "as one object");
  DescribePolicyChanges(*policy, arguments, commands);
}

Commands Describe(CLI::App& app, Arguments& arguments) {
  Commands commands;
  app.set_version_flag("--version", std::string("stele ") + kVersion);
  app.require_subcommand(1);

  commands.up = AddCommand(app, arguments, "up", "run the whole appliance here until stopped");
  commands.up->add_option("--config", arguments.config, "configuration (default: DIR/stele.toml where it exists)");
  commands.up->add_option("--listen", arguments.listen, "address of all listeners (default: 127.0.0.1)");
  commands.up->add_flag("--netns", arguments.netns,
                        "each zone in a network namespace of its own, with its interface or a veth pair (needs root)");
  commands.up->add_option("--units", arguments.units,
                          "join each process behind DIR/NAME, where a socket unit with Accept=yes starts it, instead of starting it");

  commands.provision = AddCommand(app, arguments, "provision", "make keys, certificates, users and TPM registers, and stop");
  DescribeProvision(*commands.provision, arguments.provision);

  CLI::App* tpm = app.add_subcommand("tpm", "the TPM");
  tpm->require_subcommand(1);
  commands.tpm_bench = AddCommand(*tpm, arguments, "bench", "measure the TPM on scratch objects and propose cadences");
  commands.tpm_bench->add_option("--config", arguments.bench.config, "configuration (default: DIR/stele.toml where it exists)");
  commands.tpm_bench->add_option("--auths", arguments.bench.auths, "the escrowed authorisations: NV is measured only with the owner's");
  commands.tpm_bench->add_option("--rounds", arguments.bench.rounds, "of each command (NV writes: at most 8)")->check(CLI::Range(1, 1000));
  commands.tpm_bench->add_flag("--json", arguments.bench.json, "the report as one object");

  commands.status = AddCommand(app, arguments, "status", "health, sizes, checkpoint, anchor, losses");
  commands.status->add_flag("--json", arguments.json, "the answer of GET /api/v1/status");

  commands.search = AddCommand(app, arguments, "search", "find records; newest last");
  commands.search->add_option("QUERY", arguments.search.query, "docs/query.md; empty: everything");
  commands.search->add_option("--from", arguments.search.from, "received at or after: RFC 3339, or an age such as 15m, 2h, 7d");
  commands.search->add_option("--to", arguments.search.to, "received before");
  commands.search->add_option("--limit", arguments.search.limit, "rows, at most 1000 (default: 100)")->check(CLI::Range(1, 1000));
  commands.search->add_option("--before", arguments.search.before, "only sequence numbers below this one: the next page")
      ->check(CLI::NonNegativeNumber);
  commands.search->add_flag("--json", arguments.search.json, "the answer of GET /api/v1/search");

  commands.tail = AddCommand(app, arguments, "tail", "print records as they are committed");
  commands.tail->add_option("QUERY", arguments.tail_query, "docs/query.md; empty: everything");
  commands.tail->add_flag("--json", arguments.json, "one object per line: {\"event\",\"data\"}");

  commands.show = AddCommand(app, arguments, "show", "one record");
  commands.show->add_option("SEQ", arguments.show.sequence, "sequence number")->required()->check(CLI::NonNegativeNumber);
  CLI::Option* proof = commands.show->add_flag("--proof", arguments.show.proof, "with its inclusion proof");
  CLI::Option* raw = commands.show->add_flag("--raw", arguments.show.raw, "only the payload, byte for byte, unescaped");
  commands.show->add_flag("--json", arguments.show.json, "the answer of GET /api/v1/record/SEQ")->excludes(raw);
  commands.show->add_option("-o,--output", arguments.show.output_dir, "with --proof: plain files for stock tools, in this folder")
      ->needs(proof);
  raw->excludes(proof);

  commands.verify = AddCommand(app, arguments, "verify", "check the whole store, and the TPM where there is one");
  commands.verify->add_flag("--json", arguments.verify.json, "the report as one object");
  commands.verify->add_option("--pin", arguments.verify.pin, "the provisioning public key (PEM) that must have signed the log's record");
  commands.verify->add_option("--device", arguments.verify.devices, "the log's partitions, instead of what store.partitions says; patterns are allowed");

  commands.bundle = AddCommand(app, arguments, "bundle", "evidence for an auditor: a quote over a nonce, and proven records, in one file");
  DescribeBundle(*commands.bundle, arguments.bundle);

  commands.audit = app.add_subcommand("audit", "check a bundle offline: no TPM, no network, no running Stele");
  cli::AddAuditOptions(*commands.audit, arguments.audit);

  commands.exported = AddCommand(app, arguments, "export", "the log as a static tree for mirrors, witnesses and auditors");
  commands.exported->add_option("--tlog", arguments.exported.tlog_dir, "folder of the tree (c2sp.org/tlog-tiles); a later export adds what is new")
      ->required();
  commands.exported->add_flag("--no-entries", arguments.exported.no_entries, "hashes only, no entry headers");
  DescribeWitness(app, arguments, commands);
  DescribePolicy(app, arguments, commands);
  return commands;
}

int Run(const Commands& commands, const Arguments& arguments) {
  if (commands.audit->parsed()) return cli::RunAudit(arguments.audit);
  if (commands.policy_check->parsed()) return cli::RunPolicyCheck(arguments.policy);
  if (commands.policy_diff->parsed()) return cli::RunPolicyDiff(arguments.policy);
  if (commands.witness_init->parsed()) return cli::RunWitnessInit(arguments.witness);
  if (commands.witness_serve->parsed()) return cli::RunWitnessServe(arguments.witness);
  if (commands.witness_sign->parsed()) return cli::RunWitnessSign(arguments.witness);
  Home home{arguments.dir};
  if (arguments.dir.empty()) {
    const auto standard = DefaultDir();
    if (!standard) return cli::Complain(standard.error());
    home.dir = *standard;
  }
  home.dir = std::filesystem::absolute(home.dir);
  if (commands.policy_apply->parsed()) return cli::RunPolicyApply(home, arguments.policy_change);
  if (commands.policy_show->parsed()) return cli::RunPolicyShow(home, arguments.policy_change);
  if (commands.policy_approve->parsed()) return cli::RunPolicyApprove(home, arguments.policy_change);
  if (commands.up->parsed()) return RunUp(home, {arguments.config, arguments.listen, arguments.netns, arguments.units});
  if (commands.provision->parsed()) return cli::RunProvision(home, arguments.provision);
  if (commands.tpm_bench->parsed()) return cli::RunTpmBench(home, arguments.bench);
  if (commands.status->parsed()) return cli::RunStatus(home, arguments.json);
  if (commands.search->parsed()) return cli::RunSearch(home, arguments.search);
  if (commands.tail->parsed()) return cli::RunTail(home, arguments.tail_query, arguments.json);
  if (commands.bundle->parsed()) return cli::RunBundle(home, arguments.bundle);
  if (commands.show->parsed()) return cli::RunShow(home, arguments.show);
  if (commands.exported->parsed()) return cli::RunExport(home, arguments.exported);
  if (commands.witness_request->parsed()) return cli::RunWitnessRequest(home, arguments.witness);
  if (commands.witness_import->parsed()) return cli::RunWitnessImport(home, arguments.witness);
  return cli::RunVerify(home, arguments.verify);
}

int Main(int argument_count, char** argument_values) {
  SetLogName("stele");
  // tpm2-tss prints every answer of the TPM it does not like, also those we ask for on purpose (is there such a handle?).
  (void)::setenv("TSS2_LOG", "all+none", /*overwrite=*/0);
  CLI::App app{"Stele: a tamper-evident log appliance"};
  Arguments arguments;
  const Commands commands = Describe(app, arguments);
  try {
    app.parse(argument_count, argument_values);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? cli::kExitYes : cli::kExitUsage;  // help and version are no errors
  }
  return Run(commands, arguments);
}

}  // namespace
}  // namespace stele::daemons

int main(int argc, char** argv) {
  try {
    return stele::daemons::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stele: %s\n", error.what());
    return stele::daemons::cli::kExitCannotTell;
  }
}
