// What a start does about updates. Pure: from what runs, what the note says and what is offered.
#pragma once

#include <optional>
#include <string>

#include "firmware/update/boot_variables.h"
#include "firmware/update/update_file.h"

namespace stele::update {

struct Running {
  Identity image;
  Slot slot = Slot::kA;
  bool trial = false;    // of the note's update
  bool regular = false;  // started by its slot's own entry, which is first in the order
};

// What the note of the last update comes to in this start.
struct Review {
  std::string words;               // for people; empty: nothing to say
  std::optional<Note::State> now;  // the note's new state
  // The running image was confirmed by its trial, and is the default as well once `now` is kept: older ones may be shut
  // out. An update is taken up only after that, so what a later note says of another version does not undo it.
  bool confirmed = false;
};
[[nodiscard]] Review ReviewNote(const Running& running, const std::optional<Note>& note, bool is_offered);

// Why a rightly signed update is not applied; empty: it is. `version_index`: the oldest version that opens the state
// partition, as far as it could be read.
[[nodiscard]] std::string WhyNot(const Running& running, const Manifest& offered, const Hash& digest,
                                 const std::optional<Note>& note, std::optional<std::uint64_t> version_index);

}  // namespace stele::update
