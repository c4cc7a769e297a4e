// Hostile packets as the kernel hands them on: its message, the headers, the rows. Oracle: a part of a packet says less
// than the whole and nothing else; every packet is in exactly one row; no more rows than asked for.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "netfilter/nflog.h"
#include "netfilter/violation_entries.h"

namespace {

using namespace stele;
using namespace stele::netfilter;

void CheckParts(ByteView packet) {
  const auto whole = ParsePacketHeaders(packet);
  for (std::size_t size = 0; size < std::min<std::size_t>(packet.size(), kLogBytes); ++size) {
    const auto part = ParsePacketHeaders(packet.first(size));
    STELE_CHECK(whole || !part);
    if (!part) continue;
    STELE_CHECK(part->source == whole->source && part->destination == whole->destination);
    STELE_CHECK(!part->port || *part == *whole);
  }
}

Crossings SomeCrossings() {
  Crossings crossings;
  crossings.ingest_zones = {"machines", "a"};
  crossings.guarded = {
      {"operator", {*ParseIpPrefix("10.0.0.0/8"), *ParseIpPrefix("2001:db8::/32")}, {{Protocol::kTcp, 22}}}};
  return crossings;
}

}  // namespace

// Every packet is a length, a zone and reason, and so many octets.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteView rest(reinterpret_cast<const std::byte*>(data), size);
  (void)ParseLoggedPacket(rest);  // total
  if (rest.size() < 2) return 0;
  const std::size_t most = 1 + std::to_integer<std::size_t>(rest[0]) % 32;
  rest = rest.subspan(1);
  Violations violations(SomeCrossings());
  std::uint64_t added = 0;
  std::uint64_t taken = 0;
  std::int64_t now = 1'000'000'000;
  while (rest.size() >= 2) {
    const std::size_t length = std::min<std::size_t>(std::to_integer<std::size_t>(rest[0]), rest.size() - 2);
    const unsigned choice = std::to_integer<unsigned>(rest[1]);
    const ByteView packet = rest.subspan(2, length);
    rest = rest.subspan(2 + length);
    CheckParts(packet);
    const std::string zone =
        choice % 8 == 7 ? std::string(AsText(packet)) : std::string(choice % 2 == 0 ? "machines" : "b+c");
    violations.Add(LogPrefixText(zone, static_cast<DropReason>(choice / 8 % kDropReasons.size())), packet, now);
    ++added;
    now += std::int64_t{choice} * 100'000'000;
    if (choice < 200) continue;
    for (const ViolationRow& row : violations.Take(most, now)) taken += row.packets;
    STELE_CHECK(taken + violations.pending() == added);
  }
  const auto rows = violations.TakeAll(most, now);
  STELE_CHECK(rows.size() <= most);
  for (const ViolationRow& row : rows) {
    taken += row.packets;
    STELE_CHECK(!ViolationEntry(row).empty());
  }
  STELE_CHECK(taken == added && violations.pending() == 0);
  return 0;
}
