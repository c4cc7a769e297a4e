#include "netfilter/guard/places.h"

#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <sched.h>

#include <memory>

namespace stele::guard {

std::string Places::Where(const Place& place) {
  return place.name.empty() ? std::string() : "network namespace " + place.name + ": ";
}

Result<Places::Place> Places::OpenHere(std::string name) {
  STELE_TRY(auto nft, netfilter::Nft::Open());  // first: it says what is missing
  STELE_TRY(auto watch, netfilter::RulesWatch::Open());
  return Place{std::move(name), std::move(watch), std::move(nft)};
}

Result<Places> Places::Open(const std::vector<Namespace>& namespaces) {
  (void)::getprotobyname("tcp");  // what the C library loads for that, it loads now
  Places places;
  if (namespaces.empty()) {
    STELE_TRY(Place place, OpenHere(""));
    places.places_.push_back(std::move(place));
    return places;
  }
  const UniqueFd own(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!own.valid()) return FailErrno("open the network namespace");
  for (const Namespace& one : namespaces) {
    if (::setns(one.descriptor.get(), CLONE_NEWNET) != 0) return FailErrno("enter network namespace " + one.name);
    auto place = OpenHere(one.name);
    if (::setns(own.get(), CLONE_NEWNET) != 0) return FailErrno("leave network namespace " + one.name);
    if (!place) return Fail(place.error().code, "network namespace " + one.name + ": " + place.error().context);
    places.places_.push_back(std::move(*place));
  }
  return places;
}

Result<void> Places::Apply(const std::string& ruleset, const std::string& older) {
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const auto done = places_[i].nft.Apply(ruleset);
    if (done) continue;
    Error error = done.error();
    error.context = Where(places_[i]) + error.context;
    const std::size_t back = error.code == Code::kCorrupt ? i + 1 : i;  // refused whole: nothing to put back here
    for (std::size_t j = 0; j < back; ++j) {
      const auto undone = older.empty() ? places_[j].nft.Remove() : places_[j].nft.Apply(older);
      if (!undone) error.context += "; and the old rules could not be put back: " + undone.error().context;
    }
    return tl::unexpected(std::move(error));
  }
  return {};
}

Result<std::vector<std::string>> Places::DifferencesFrom(const std::string& ruleset) {
  std::vector<std::string> all;
  for (Place& place : places_) {
    STELE_TRY(const auto differences, place.nft.DifferencesFrom(ruleset));
    for (const std::string& one : differences) all.push_back(Where(place) + one);
  }
  return all;
}

Result<std::vector<std::string>> Places::ForeignTables() {
  std::vector<std::string> all;
  for (Place& place : places_) {
    STELE_TRY(const auto tables, place.nft.ForeignTables());
    for (const std::string& one : tables) all.push_back(Where(place) + one);
  }
  return all;
}

Result<netfilter::DropCounts> Places::CountDrops() {
  netfilter::DropCounts sum;
  for (Place& place : places_) {
    STELE_TRY(const auto counts, place.nft.CountDrops());
    for (const auto& [what, packets] : counts) sum[what] += packets;
  }
  return sum;
}

Result<std::vector<std::string>> Places::ChangesFrom(const std::string& ruleset) {
  std::vector<std::string> all;
  for (Place& place : places_) {
    const auto listing = place.nft.List();
    if (!listing && listing.error().code == Code::kNotFound) continue;
    STELE_TRY(const auto differences, place.nft.DifferencesFrom(ruleset));
    for (const std::string& one : differences) all.push_back(Where(place) + one);
  }
  return all;
}

std::vector<int> Places::watched() const {
  std::vector<int> out;
  for (const Place& place : places_) out.push_back(place.watch.fd());
  return out;
}

Result<std::vector<netfilter::RulesChange>> Places::ReadChanges() {
  std::vector<netfilter::RulesChange> all;
  for (Place& place : places_) {
    STELE_TRY(auto changes, place.watch.Read());
    all.insert(all.end(), changes.begin(), changes.end());
  }
  return all;
}

std::optional<std::vector<std::string>> Places::Interfaces() const {
  if (places_.size() != 1 || !places_.front().name.empty()) return std::nullopt;
  const std::unique_ptr<struct if_nameindex, void (*)(struct if_nameindex*)> all(::if_nameindex(), ::if_freenameindex);
  if (all == nullptr) return std::nullopt;
  std::vector<std::string> out;
  for (const struct if_nameindex* one = all.get(); one->if_name != nullptr; ++one) out.emplace_back(one->if_name);
  return out;
}

std::vector<std::string> Places::names() const {
  std::vector<std::string> out;
  for (const Place& place : places_) out.push_back(place.name);
  return out;
}

}  // namespace stele::guard
