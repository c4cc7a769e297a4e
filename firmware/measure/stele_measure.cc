// stele-measure: what boots and what it leaves in a TPM's registers, computed from files. No TPM, no network.
// Exit status: 0 done, 1 the firmware would refuse the image, 2 wrong usage or input, 3 cannot read or write.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "appliance/base/system.h"
#include "appliance/base/text.h"
#include "firmware/measure/event_text.h"
#include "firmware/measure/expected_pcrs.h"
#include "firmware/measure/pe.h"

namespace {

using namespace stele;
using namespace stele::measure;

constexpr std::size_t kImageBytesMax = std::size_t{1} << 30U;
constexpr std::size_t kListsBytesMax = std::size_t{1} << 20U;
constexpr std::size_t kLogBytesMax = std::size_t{64} << 20U;

struct Options {
  std::string uki;
  std::string pk;
  std::string kek;
  std::string db;
  std::string dbx;
  std::string phases;
  std::string out;
  std::string file;
  bool json = false;
};

std::vector<std::string> Words(std::string_view path) {
  std::vector<std::string> words;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find(':'), path.size());
    words.emplace_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return words;
}

Result<std::string> RunPredict(const Options& options) {
  STELE_TRY(const Bytes uki, ReadFile(options.uki, kImageBytesMax));
  SecureBootVariables variables;
  STELE_TRY(variables.pk, ReadFile(options.pk, kListsBytesMax));
  STELE_TRY(variables.kek, ReadFile(options.kek, kListsBytesMax));
  STELE_TRY(variables.db, ReadFile(options.db, kListsBytesMax));
  if (!options.dbx.empty()) {
    STELE_TRY(variables.dbx, ReadFile(options.dbx, kListsBytesMax));
  }
  STELE_TRY(const Prediction prediction, Predict(uki, variables, Words(options.phases)));
  return EncodeExpectedPcrs(prediction);
}

Result<std::string> RunEventLog(const Options& options) {
  STELE_TRY(const Bytes log, ReadFile(options.file, kLogBytesMax));
  return options.json ? EventLogJson(log) : EventLogText(log);
}

Result<std::string> RunDigest(const Options& options) {
  STELE_TRY(const Bytes file, ReadFile(options.file, kImageBytesMax));
  STELE_TRY(const PeImage image, ParsePe(file));
  return HexOf(AuthenticodeDigest(file, image)) + "\n";
}

Result<void> Write(const std::string& text, const std::string& path) {
  if (!path.empty()) return WriteFileDurably(path, AsBytes(text), 0644);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    return FailErrno("write");
  return {};
}

int Finish(const Result<std::string>& answer, const std::string& path) {
  const Result<void> written = answer ? Write(*answer, path) : Result<void>(tl::unexpected(answer.error()));
  if (written) return 0;
  std::fprintf(stderr, "stele-measure: %s\n", EscapeForTerminal(AsBytes(Describe(written.error()))).c_str());
  switch (written.error().code) {
    case Code::kDenied:
      return 1;
    case Code::kInvalid:
      return 2;
    default:
      return 3;
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"What boots, and what it leaves in a TPM's registers"};
  app.set_version_flag("--version", std::string("stele-measure ") + STELE_VERSION);
  app.require_subcommand(1);
  CLI::App* predict =
      app.add_subcommand("predict", "the registers a signed unified kernel image leads to, as expected-pcrs.json");
  predict->add_option("--uki", options.uki, "the image as it lies on the EFI system partition")->required();
  predict->add_option("--pk", options.pk, "Secure Boot's PK: EFI signature lists, as the variable holds them")
      ->required();
  predict->add_option("--kek", options.kek, "KEK")->required();
  predict->add_option("--db", options.db, "db")->required();
  predict->add_option("--dbx", options.dbx, "dbx; not given: there is none");
  predict->add_option("--phases", options.phases, "words extended into PCR 11 after the kernel's start: sysinit:ready");
  predict->add_option("-o,--output", options.out, "write it there instead of to standard output");
  CLI::App* event_log = app.add_subcommand("eventlog", "a TCG event log (crypto-agile form) and what it replays to");
  event_log->add_option("FILE", options.file, "for example /sys/kernel/security/tpm0/binary_bios_measurements")
      ->required();
  event_log->add_flag("--json", options.json, "as one object");
  CLI::App* digest = app.add_subcommand("digest", "the Authenticode SHA-256 digest of a PE image");
  digest->add_option("FILE", options.file, "the image")->required();
  try {
    app.parse(argc, argv);
    if (*predict) return Finish(RunPredict(options), options.out);
    return Finish(*event_log ? RunEventLog(options) : RunDigest(options), {});
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;  // help and version are no errors
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stele-measure: %s\n", error.what());
    return 3;
  }
}
