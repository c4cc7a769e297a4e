// stele-store-payloads DIR: the payload of every syslog and JSON record of a stopped store, one a line, with its flags:
//   SEQUENCE <tab> FLAGS or - <tab> PAYLOAD (line feeds as spaces)
// For demonstrations and tests that compare what was sent with what is stored, payload by payload. Exit status: 0 all
// of it read, 1 the log is damaged (what is before the damage is printed), 2 wrong usage.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>

#include "appliance/store/file_device.h"
#include "appliance/store/log_reader.h"

namespace stele::bench {
namespace {

Result<void> Print(const char* directory) {
  store::FileShelf shelf{std::filesystem::path(directory)};
  STELE_TRY(const auto reader, store::LogReader::Open(shelf));
  for (std::size_t b = 0; b < reader->block_count(); ++b) {
    STELE_TRY(const auto block, reader->Block(b));
    for (std::size_t i = 0; i < block->header.record_count; ++i) {
      const store::StoredRecord record = store::LogReader::RecordAt(*block, i);
      if (record.kind != record::Kind::kSyslog && record.kind != record::Kind::kJson) continue;
      std::string payload(AsText(record.payload));
      std::replace(payload.begin(), payload.end(), '\n', ' ');
      const std::string flags = record.flags == 0 ? "-" : record::FlagNames(record.flags);
      std::printf("%llu\t%s\t%s\n", static_cast<unsigned long long>(record.sequence), flags.c_str(), payload.c_str());
    }
  }
  if (!reader->damage().empty()) return Fail(Code::kCorrupt, reader->damage());
  return {};
}

}  // namespace
}  // namespace stele::bench

int main(int argc, char** argv) {
  if (argc != 2 || std::string(argv[1]) == "--help") {
    std::fprintf(stderr, "stele-store-payloads DIR\n");
    return 2;
  }
  try {
    const auto printed = stele::bench::Print(argv[1]);
    if (printed && std::fflush(stdout) == 0) return 0;
    if (!printed) std::fprintf(stderr, "stele-store-payloads: %s\n", stele::Describe(printed.error()).c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stele-store-payloads: %s\n", error.what());
  }
  return 1;
}
