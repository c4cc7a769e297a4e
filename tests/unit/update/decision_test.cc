// Goal: no update is tried twice in vain, none brings an older image, and the outcome of the last one is said. Method:
// the table of running image, note and offer.
#include "firmware/update/decision.h"

#include <gtest/gtest.h>

namespace stele::update {
namespace {

using State = Note::State;

Running Version(std::uint64_t version, bool regular = false) { return {{"model", version}, Slot::kA, false, regular}; }
Note Noted(State state, std::uint64_t version) { return {state, version, Hash{std::byte{1}}}; }
Manifest Offered(std::uint64_t version, const std::string& model = "model") { return {model, version, {}, {}, {}}; }
bool Says(const std::string& sentence, const char* words) { return sentence.find(words) != std::string::npos; }

TEST(Review, WithoutANoteThereIsNothingToSay) {
  const Review review = ReviewNote(Version(1), std::nullopt, false);
  EXPECT_EQ(review.words, "");
  EXPECT_FALSE(review.now);
  EXPECT_FALSE(review.confirmed);
}

TEST(Review, ATrialIsLeftToItsConfirmation) {
  Running trial = Version(2);
  trial.trial = true;
  const Review review = ReviewNote(trial, Noted(State::kStarted, 2), true);
  EXPECT_TRUE(Says(review.words, "version 2 on trial"));
  EXPECT_FALSE(review.now);
  EXPECT_FALSE(review.confirmed);
}

TEST(Review, TheFirstRegularStartOfTheUpdateConfirmsIt) {
  const Review review = ReviewNote(Version(2, true), Noted(State::kStarted, 2), false);
  EXPECT_EQ(review.now, State::kConfirmed);
  EXPECT_TRUE(review.confirmed);
  const Review later = ReviewNote(Version(2, true), Noted(State::kConfirmed, 2), false);
  EXPECT_FALSE(later.now);
  EXPECT_TRUE(later.confirmed);
}

TEST(Review, AnUpdateThatRunsWithoutBeingFirstConfirmsNothing) {
  const Review review = ReviewNote(Version(2, false), Noted(State::kStarted, 2), false);
  EXPECT_FALSE(review.now);
  EXPECT_FALSE(review.confirmed);
  EXPECT_TRUE(Says(review.words, "without having been confirmed"));
}

TEST(Review, AfterAFallBackTheUpdateIsLeftUntilAStartWithoutIt) {
  for (const State before : {State::kOrdered, State::kStarted, State::kLeft}) {
    const Review offered = ReviewNote(Version(1), Noted(before, 2), true);
    EXPECT_EQ(offered.now, State::kLeft);
    EXPECT_TRUE(Says(offered.words, "did not come to serve"));
    EXPECT_FALSE(offered.confirmed);
    EXPECT_EQ(ReviewNote(Version(1), Noted(before, 2), false).now, State::kForgiven);
  }
  EXPECT_EQ(ReviewNote(Version(1), Noted(State::kForgiven, 2), true).now, State::kForgiven);
}

TEST(Review, AFallBackFromAnUpdateDoesNotUnconfirmWhatRuns) {
  // Version 2 is first in the order; version 3 failed.
  const Review review = ReviewNote(Version(2, true), Noted(State::kStarted, 3), true);
  EXPECT_EQ(review.now, State::kLeft);
  EXPECT_TRUE(review.confirmed);
  EXPECT_FALSE(ReviewNote(Version(1, false), Noted(State::kStarted, 3), true).confirmed);
}

TEST(WhyNot, AHigherVersionOfThisModelIsTaken) {
  EXPECT_EQ(WhyNot(Version(1), Offered(2), {}, std::nullopt, std::nullopt), "");
  EXPECT_EQ(WhyNot(Version(1), Offered(2), {}, std::nullopt, 2), "");
  EXPECT_EQ(WhyNot(Version(1), Offered(2), {}, Noted(State::kLeft, 2), 1), "");  // another update than the noted one
}

TEST(WhyNot, OlderTheSameAndForAnotherModelIsRefused) {
  EXPECT_TRUE(Says(WhyNot(Version(3), Offered(2), {}, std::nullopt, std::nullopt), "older"));
  EXPECT_TRUE(Says(WhyNot(Version(3), Offered(3), {}, std::nullopt, std::nullopt), "is what runs"));
  EXPECT_TRUE(Says(WhyNot(Version(3), Offered(4, "other"), {}, std::nullopt, std::nullopt), "model other"));
}

TEST(WhyNot, BelowTheVersionIndexIsRefused) {
  EXPECT_TRUE(Says(WhyNot(Version(1), Offered(2), {}, std::nullopt, 3), "has run here"));
}

TEST(WhyNot, WhatWasTriedIsNotTriedAgainUnlessItWasForgiven) {
  for (const State state : {State::kOrdered, State::kStarted, State::kLeft, State::kConfirmed}) {
    const Note note = Noted(state, 2);
    EXPECT_TRUE(Says(WhyNot(Version(1), Offered(2), note.manifest, note, std::nullopt), "tried already"));
  }
  const Note forgiven = Noted(State::kForgiven, 2);
  EXPECT_EQ(WhyNot(Version(1), Offered(2), forgiven.manifest, forgiven, std::nullopt), "");
}

}  // namespace
}  // namespace stele::update
