#include "firmware/update/decision.h"

namespace stele::update {
namespace {

using State = Note::State;

std::string Version(std::uint64_t version) { return "version " + std::to_string(version); }

bool DidNotServe(State state) { return state == State::kLeft || state == State::kForgiven; }

}  // namespace

Review ReviewNote(const Running& running, const std::optional<Note>& note, bool is_offered) {
  if (!note) return {};
  const std::string version = Version(note->version);
  if (running.trial) return {version + " on trial", std::nullopt, false};
  if (note->version == running.image.version && !DidNotServe(note->state)) {
    if (!running.regular && note->state != State::kConfirmed)
      return {version + " runs without having been confirmed", std::nullopt, false};
    return {version + " confirmed", note->state == State::kConfirmed ? std::nullopt : std::optional(State::kConfirmed),
            running.regular};
  }
  if (note->state == State::kConfirmed)
    return {version + " was confirmed once and is not what runs", std::nullopt, false};
  const std::string left = version + " did not come to serve and was left; ";
  if (note->state == State::kForgiven || !is_offered)
    return {left + "it may be offered again", State::kForgiven, running.regular};
  return {left + "it is not tried again before a start without it", State::kLeft, running.regular};
}

std::string WhyNot(const Running& running, const Manifest& offered, const Hash& digest, const std::optional<Note>& note,
                   std::optional<std::uint64_t> version_index) {
  const std::string version = Version(offered.version);
  if (offered.model != running.image.model)
    return version + " is for the model " + offered.model + ", this is " + running.image.model;
  if (offered.version == running.image.version) return version + " is what runs; take its disk away";
  if (offered.version < running.image.version)
    return version + " is older than what runs, " + Version(running.image.version);
  if (version_index && offered.version < *version_index)
    return version + " is older than one that has run here, " + Version(*version_index);
  if (note && note->manifest == digest && note->state != State::kForgiven) return version + " was tried already";
  return {};
}

}  // namespace stele::update
